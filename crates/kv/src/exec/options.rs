//! The options of `SET` and `GETEX`, and the times they give.

use xxhash_rust::xxh3::xxh3_64;

use crate::number;
use crate::payload::EXPIRE_AT_MS_MAX;
use crate::reply::Fault;

/// How a time is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

/// What a time counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Now,
    Epoch,
}

/// What becomes of a key's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry<'a> {
    /// Nothing was said.
    Default,
    /// It stays.
    Keep,
    /// It goes.
    Persist,
    /// It is this; the text is not yet read.
    At(&'a [u8], Unit, Origin),
}

/// What must hold for a command to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    Always,
    Missing,
    Present,
    Equal(&'a [u8]),
    NotEqual(&'a [u8]),
    DigestEqual(&'a [u8]),
    DigestNotEqual(&'a [u8]),
}

impl<'a> Condition<'a> {
    /// Reads a condition on the value: its word and its operand.
    pub(super) fn on_value(word: &[u8], operand: Option<&'a [u8]>) -> Option<Self> {
        let operand = operand?;
        match word.to_ascii_uppercase().as_slice() {
            b"IFEQ" => Some(Self::Equal(operand)),
            b"IFNE" => Some(Self::NotEqual(operand)),
            b"IFDEQ" => Some(Self::DigestEqual(operand)),
            b"IFDNE" => Some(Self::DigestNotEqual(operand)),
            _ => None,
        }
    }

    /// Whether it is one on the value.
    pub(super) const fn needs_value(&self) -> bool {
        match self {
            Self::Always | Self::Missing | Self::Present => false,
            Self::Equal(_) | Self::NotEqual(_) | Self::DigestEqual(_) | Self::DigestNotEqual(_) => {
                true
            }
        }
    }

    /// Whether it holds for a key with this value, or without one.
    pub(super) fn holds(&self, value: Option<&[u8]>) -> bool {
        let digest_is = |value: &[u8], wanted: &[u8]| {
            digest_text(value).as_bytes().eq_ignore_ascii_case(wanted)
        };
        match self {
            Self::Always => true,
            Self::Missing => value.is_none(),
            Self::Present => value.is_some(),
            Self::Equal(wanted) => value.is_some_and(|value| value == *wanted),
            Self::NotEqual(wanted) => value.is_none_or(|value| value != *wanted),
            Self::DigestEqual(wanted) => value.is_some_and(|value| digest_is(value, wanted)),
            Self::DigestNotEqual(wanted) => value.is_none_or(|value| !digest_is(value, wanted)),
        }
    }
}

/// A value's hash as `DIGEST` prints it: XXH3 of 64 bits in hexadecimal.
pub(super) fn digest_text(value: &[u8]) -> String {
    format!("{:016x}", xxh3_64(value))
}

/// The options of `SET`, or of `GETEX`.
#[derive(Debug)]
pub(super) struct Options<'a> {
    pub(super) expiry: Expiry<'a>,
    pub(super) condition: Condition<'a>,
    pub(super) get: bool,
}

/// Whose options are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Set,
    GetEx,
}

impl<'a> Options<'a> {
    /// Reads the options.
    ///
    /// # Errors
    /// When one is unknown, or does not go with another.
    pub(super) fn parse(owner: Owner, words: &[&'a [u8]]) -> Result<Self, Fault> {
        let mut options =
            Self { expiry: Expiry::Default, condition: Condition::Always, get: false };
        let mut left = words;
        while let Some((word, behind)) = left.split_first() {
            let next = behind.first().copied();
            let took_next = match owner {
                Owner::Set => options.set_word(word, next)?,
                Owner::GetEx => options.getex_word(word, next)?,
            };
            left = behind.get(usize::from(took_next)..).unwrap_or_default();
        }
        Ok(options)
    }

    /// Takes in a word of `SET`. Returns whether the word after it belongs to it.
    fn set_word(&mut self, word: &[u8], next: Option<&'a [u8]>) -> Result<bool, Fault> {
        let upper = word.to_ascii_uppercase();
        match upper.as_slice() {
            b"NX" => self.condition(Condition::Missing).map(|()| false),
            b"XX" => self.condition(Condition::Present).map(|()| false),
            b"GET" => {
                self.get = true;
                Ok(false)
            }
            b"KEEPTTL" if matches!(self.expiry, Expiry::Default | Expiry::Keep) => {
                self.expiry = Expiry::Keep;
                Ok(false)
            }
            _ => match Condition::on_value(word, next) {
                Some(condition) => self.condition(condition).map(|()| true),
                None => self.time_word(&upper, next),
            },
        }
    }

    fn getex_word(&mut self, word: &[u8], next: Option<&'a [u8]>) -> Result<bool, Fault> {
        let upper = word.to_ascii_uppercase();
        if upper == b"PERSIST" && matches!(self.expiry, Expiry::Default | Expiry::Persist) {
            self.expiry = Expiry::Persist;
            return Ok(false);
        }
        self.time_word(&upper, next)
    }

    fn condition(&mut self, condition: Condition<'a>) -> Result<(), Fault> {
        // The same word twice is allowed, as long as it takes no operand.
        if self.condition != Condition::Always
            && (self.condition != condition || condition.needs_value())
        {
            return Err(Fault::SYNTAX);
        }
        self.condition = condition;
        Ok(())
    }

    fn time_word(&mut self, upper: &[u8], next: Option<&'a [u8]>) -> Result<bool, Fault> {
        let (unit, origin) = match upper {
            b"EX" => (Unit::Seconds, Origin::Now),
            b"PX" => (Unit::Milliseconds, Origin::Now),
            b"EXAT" => (Unit::Seconds, Origin::Epoch),
            b"PXAT" => (Unit::Milliseconds, Origin::Epoch),
            _ => return Err(Fault::SYNTAX),
        };
        let allowed = match self.expiry {
            Expiry::Default => true,
            Expiry::At(_, same_unit, same_origin) => (same_unit, same_origin) == (unit, origin),
            Expiry::Keep | Expiry::Persist => false,
        };
        let text = next.filter(|_| allowed).ok_or(Fault::SYNTAX)?;
        self.expiry = Expiry::At(text, unit, origin);
        Ok(true)
    }
}

/// Reads a time that a string gets with its value: it must be greater than zero.
///
/// # Errors
/// When it is no number, not greater than zero, or past the last millisecond.
pub(super) fn positive_time(
    text: &[u8],
    (unit, origin): (Unit, Origin),
    now_ms: u64,
    command: &str,
) -> Result<u64, Fault> {
    let number = number::word(text)?;
    let number = u64::try_from(number).ok().filter(|&number| number > 0);
    let ms = match unit {
        Unit::Seconds => number.and_then(|seconds| seconds.checked_mul(1_000)),
        Unit::Milliseconds => number,
    };
    let at = match origin {
        Origin::Now => ms.and_then(|ms| ms.checked_add(now_ms)),
        Origin::Epoch => ms,
    };
    at.filter(|&at| at <= EXPIRE_AT_MS_MAX).ok_or_else(|| Fault::expire_time(command))
}
