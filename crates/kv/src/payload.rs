//! The encoding of effects in an entry's payload: a version byte, then effects to the end.
//!
//! | effect | bytes |
//! | --- | --- |
//! | put a string | 1, database, key, value |
//! | put a string that expires | 2, database, time, key, value |
//! | delete | 3, database, key |
//! | set the expiry | 4, database, time, key |
//! | persist | 5, database, key |
//! | flush a database | 6, database |
//! | exchange two databases | 7, database, database |
//!
//! A database is one byte; a time is 8 bytes, little-endian, milliseconds since 1970; a key or
//! value is its length (LEB128, at most 5 bytes) and its bytes.

use bytes::{BufMut, BytesMut};

use crate::base::Db;

/// The layout that this build writes, and the only one that it reads.
pub const PAYLOAD_VERSION: u8 = 1;

/// The latest expiry that is accepted, in milliseconds: what clients read as a signed number.
pub(crate) const EXPIRE_AT_MS_MAX: u64 = i64::MAX.unsigned_abs();

const PUT: u8 = 1;
const PUT_EXPIRING: u8 = 2;
const DELETE: u8 = 3;
const EXPIRE: u8 = 4;
const PERSIST: u8 = 5;
const FLUSH: u8 = 6;
const SWAP: u8 = 7;
const TIME_BYTES: usize = 8;

/// One change of the stable state. Values are absolute: applying needs no clock, no dice, and no
/// knowledge of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<'a> {
    /// The key holds a string.
    Put {
        /// The database.
        db: Db,
        /// The key.
        key: &'a [u8],
        /// The whole value.
        value: &'a [u8],
        /// When it expires, in milliseconds since 1970.
        expire_at_ms: Option<u64>,
    },
    /// The key is gone, whatever its type was.
    Delete {
        /// The database.
        db: Db,
        /// The key.
        key: &'a [u8],
    },
    /// The key, if it is there, keeps its value and gets this expiry or none.
    Expire {
        /// The database.
        db: Db,
        /// The key.
        key: &'a [u8],
        /// When it expires, in milliseconds since 1970; none: never.
        expire_at_ms: Option<u64>,
    },
    /// The database is empty.
    Flush {
        /// The database.
        db: Db,
    },
    /// Two databases exchange their contents.
    Swap {
        /// One.
        one: Db,
        /// The other.
        other: Db,
    },
}

/// Why a payload is none. Such an entry must not be applied in part or skipped: the node stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Another layout than ours.
    #[error("payload version {0} is not known, this build reads version {PAYLOAD_VERSION}")]
    Version(u8),
    /// An effect that this build does not know.
    #[error("effect {0} is not known")]
    Effect(u8),
    /// The bytes end within an effect.
    #[error("payload is cut")]
    Short,
    /// A database past the last.
    #[error("database {0} is not one of {DATABASES}", DATABASES = crate::DATABASES)]
    Database(u8),
    /// A length past 32 bits, or with bytes to spare.
    #[error("a length in the payload is not well formed")]
    Length,
    /// A time that clients could not be told.
    #[error("expiry {0} is past the last millisecond")]
    Time(u64),
}

impl Effect<'_> {
    /// Bytes that [`Effect::encode`] appends.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        match *self {
            Self::Put { key, value, expire_at_ms, .. } => {
                2 + time_bytes(expire_at_ms) + text_bytes(key) + text_bytes(value)
            }
            Self::Delete { key, .. } => 2 + text_bytes(key),
            Self::Expire { key, expire_at_ms, .. } => {
                2 + time_bytes(expire_at_ms) + text_bytes(key)
            }
            Self::Flush { .. } => 2,
            Self::Swap { .. } => 3,
        }
    }

    /// Appends the effect, without the version byte that stands before the first.
    pub fn encode(&self, out: &mut BytesMut) {
        match *self {
            Self::Put { db, key, value, expire_at_ms } => {
                let head = if expire_at_ms.is_some() { PUT_EXPIRING } else { PUT };
                put_head(out, head, db, expire_at_ms);
                put_text(out, key);
                put_text(out, value);
            }
            Self::Delete { db, key } => {
                put_head(out, DELETE, db, None);
                put_text(out, key);
            }
            Self::Expire { db, key, expire_at_ms } => {
                let head = if expire_at_ms.is_some() { EXPIRE } else { PERSIST };
                put_head(out, head, db, expire_at_ms);
                put_text(out, key);
            }
            Self::Flush { db } => put_head(out, FLUSH, db, None),
            Self::Swap { one, other } => {
                put_head(out, SWAP, one, None);
                out.put_u8(other.get());
            }
        }
    }
}

fn put_head(out: &mut BytesMut, tag: u8, db: Db, expire_at_ms: Option<u64>) {
    out.put_slice(&[tag, db.get()]);
    if let Some(at) = expire_at_ms {
        out.put_u64_le(at);
    }
}

const fn time_bytes(expire_at_ms: Option<u64>) -> usize {
    if expire_at_ms.is_some() { TIME_BYTES } else { 0 }
}

fn put_text(out: &mut BytesMut, text: &[u8]) {
    let mut length = u32::try_from(text.len()).expect("the engine limits keys and values");
    while length >= 0x80 {
        out.put_u8(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    out.put_u8(length.to_le_bytes()[0]);
    out.put_slice(text);
}

/// Bytes of a text with its length.
fn text_bytes(text: &[u8]) -> usize {
    let bits = usize::try_from(usize::BITS - (text.len() | 1).leading_zeros()).expect("at most 64");
    bits.div_ceil(7) + text.len()
}

/// Reads the effects of a payload, in order. Total: any bytes give effects or an error.
#[derive(Debug, Clone)]
pub struct Effects<'a> {
    rest: &'a [u8],
}

/// Opens a payload.
///
/// # Errors
/// When it has no version byte, or one that is not ours.
pub fn decode(payload: &[u8]) -> Result<Effects<'_>, DecodeError> {
    match payload.split_first() {
        Some((&PAYLOAD_VERSION, rest)) => Ok(Effects { rest }),
        Some((&version, _)) => Err(DecodeError::Version(version)),
        None => Err(DecodeError::Short),
    }
}

impl<'a> Iterator for Effects<'a> {
    type Item = Result<Effect<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let effect = self.effect();
        if effect.is_err() {
            self.rest = &[];
        }
        Some(effect)
    }
}

impl<'a> Effects<'a> {
    fn effect(&mut self) -> Result<Effect<'a>, DecodeError> {
        let tag = self.byte()?;
        let db = self.db()?;
        match tag {
            PUT => {
                Ok(Effect::Put { db, key: self.text()?, value: self.text()?, expire_at_ms: None })
            }
            PUT_EXPIRING => {
                let expire_at_ms = Some(self.time()?);
                Ok(Effect::Put { db, key: self.text()?, value: self.text()?, expire_at_ms })
            }
            DELETE => Ok(Effect::Delete { db, key: self.text()? }),
            EXPIRE => {
                let expire_at_ms = Some(self.time()?);
                Ok(Effect::Expire { db, key: self.text()?, expire_at_ms })
            }
            PERSIST => Ok(Effect::Expire { db, key: self.text()?, expire_at_ms: None }),
            FLUSH => Ok(Effect::Flush { db }),
            SWAP => Ok(Effect::Swap { one: db, other: self.db()? }),
            _ => Err(DecodeError::Effect(tag)),
        }
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(byte)
    }

    fn db(&mut self) -> Result<Db, DecodeError> {
        let number = self.byte()?;
        Db::new(u64::from(number)).ok_or(DecodeError::Database(number))
    }

    fn time(&mut self) -> Result<u64, DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Short)?;
        self.rest = rest;
        let at = u64::from_le_bytes(*bytes);
        if at > EXPIRE_AT_MS_MAX { Err(DecodeError::Time(at)) } else { Ok(at) }
    }

    fn text(&mut self) -> Result<&'a [u8], DecodeError> {
        let (length, rest) = length(self.rest)?;
        let (text, rest) = rest.split_at_checked(length).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(text)
    }
}

/// Reads a length, which has one form only.
pub(crate) fn length(bytes: &[u8]) -> Result<(usize, &[u8]), DecodeError> {
    let mut length = 0_u64;
    let mut rest = bytes;
    for shift in (0..35).step_by(7) {
        let (&byte, behind) = rest.split_first().ok_or(DecodeError::Short)?;
        rest = behind;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let spare = byte == 0 && shift > 0; // a shorter form would have done
            let length = u32::try_from(length).ok().filter(|_| !spare);
            let length = length.and_then(|length| usize::try_from(length).ok());
            return length.map(|length| (length, rest)).ok_or(DecodeError::Length);
        }
    }
    Err(DecodeError::Length)
}

/// Reads one effect that fills `bytes`, which have no version byte.
pub(crate) fn one(bytes: &[u8]) -> Result<Effect<'_>, DecodeError> {
    let mut effects = Effects { rest: bytes };
    let effect = effects.effect()?;
    if effects.rest.is_empty() { Ok(effect) } else { Err(DecodeError::Length) }
}

/// Bytes of the time in a put effect, by its first byte; none when it is another effect.
pub(crate) fn put_time_bytes(encoded: &[u8]) -> Option<usize> {
    match encoded {
        [PUT, ..] => Some(0),
        [PUT_EXPIRING, ..] => Some(TIME_BYTES),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
