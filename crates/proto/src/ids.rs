//! The words of the protocol that are numbers: each is a type, its conversions are written once.

use std::fmt;
use std::str::FromStr;

/// The greatest epoch and position that is read from a peer or a disk. No run gets there by
/// counting, and from there to the end of 64 bits is room for all that is added to them.
pub(crate) const NUMBER_MAX: u64 = u64::MAX >> 8;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a raw number.
            #[must_use]
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The raw number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after this.
            ///
            /// # Panics
            /// When the number is the last of its type, which no run can reach by counting.
            #[must_use]
            pub const fn next(self) -> Self {
                match self.0.checked_add(1) {
                    Some(raw) => Self(raw),
                    None => panic!("a counter of the protocol ran out"),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A node for all time. Unit: none; 0 is not a node.
    NodeId
}
number! {
    /// One run of a node: greater at every start of its process, persisted in the superblock.
    Incarnation
}
number! {
    /// Number of a configuration; the greater wins; persisted before it is obeyed.
    Epoch
}
number! {
    /// Ordinal of an entry in a shard's log: dense, the first is 1, 0 is "before the first".
    Lsn
}

impl Lsn {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// Behind every entry that there can be: an end that nobody knows.
    pub const MAX: Self = Self(u64::MAX);

    /// The one before this; 0 stays 0.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// This position moved forward by `count` entries.
    ///
    /// # Panics
    /// When the sum does not fit 64 bits.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        match self.0.checked_add(count) {
            Some(raw) => Self(raw),
            None => panic!("a position of the log ran out"),
        }
    }

    /// Entries after `earlier` up to and with this one; 0 when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Epoch {
    /// Before the first configuration.
    pub const ZERO: Self = Self(0);
}

/// One replicated log with its state machine, within a node's files and links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ShardId(u32);

impl ShardId {
    /// Wraps a raw number.
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The raw number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One data directory: made with it, so that a replaced disk is a different store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StoreUuid(u128);

impl StoreUuid {
    /// Wraps 128 random bits, which the caller drew.
    #[must_use]
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The raw bits.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for StoreUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Identifies an entry for ever: the epoch it was appended in, and its ordinal.
///
/// Orders by epoch first: of two logs, the one whose last entry is greater here is the longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    /// The epoch of the primary that appended it.
    pub epoch: Epoch,
    /// Its ordinal.
    pub lsn: Lsn,
}

impl EntryId {
    /// Before the first entry of any log.
    pub const ZERO: Self = Self { epoch: Epoch::ZERO, lsn: Lsn::ZERO };

    /// Joins the two halves.
    #[must_use]
    pub const fn new(epoch: Epoch, lsn: Lsn) -> Self {
        Self { epoch, lsn }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.lsn)
    }
}

/// What a writer gets for a write: the unit of read-your-writes and of fate.
///
/// Text form: `shard-epoch-lsn`, three decimal numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The log it is in.
    pub shard: ShardId,
    /// The entry.
    pub entry: EntryId,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.shard, self.entry.epoch, self.entry.lsn)
    }
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token: expected SHARD-EPOCH-LSN, three decimal numbers")]
pub struct TokenError;

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.split('-').map(decimal);
        let mut part = || parts.next().flatten().ok_or(TokenError);
        let (shard, epoch, lsn) = (part()?, part()?, part()?);
        let shard = u32::try_from(shard).map_err(|_too_large| TokenError)?;
        match parts.next() {
            None => Ok(Self {
                shard: ShardId::new(shard),
                entry: EntryId::new(Epoch::new(epoch), Lsn::new(lsn)),
            }),
            Some(_) => Err(TokenError),
        }
    }
}

/// A decimal number as we print it: digits only, so that a text has one reading.
fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Hybrid logical time of an entry, by the primary that appended it.
///
/// Unit: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
/// Strictly increasing along a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(u64);

impl Hlc {
    /// Before any time.
    pub const ZERO: Self = Self(0);

    /// Wraps the packed form.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The packed form.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The first instant of a millisecond. Milliseconds past the 48 bits stay at the last one.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        let last = (1 << 48) - 1;
        Self(if ms > last { last } else { ms } << 16)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next instant after this one, at `wall_ms` if that is later.
    ///
    /// # Panics
    /// When 48 bits of milliseconds and the counter are used up (the year 10889).
    #[must_use]
    pub fn tick(self, wall_ms: u64) -> Self {
        let wall = Self::from_ms(wall_ms);
        if wall > self {
            return wall;
        }
        Self(self.0.checked_add(1).expect("hybrid time does not run out before the year 10889"))
    }
}

/// A reading of a node's own monotonic clock, handed in by the driver.
///
/// Unit: nanoseconds since an arbitrary origin of this run. Never compared between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// Wraps nanoseconds since the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Wraps milliseconds since the origin.
    ///
    /// # Panics
    /// When the nanoseconds do not fit 64 bits (584 years).
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        match ms.checked_mul(1_000_000) {
            Some(nanos) => Self(nanos),
            None => panic!("a clock reading past 584 years"),
        }
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Milliseconds from `earlier` to this; 0 when `earlier` is not earlier.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }

    /// This instant moved by milliseconds; stays at the end of time.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }
}

#[cfg(test)]
mod tests;
