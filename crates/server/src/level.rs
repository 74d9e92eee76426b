//! How far a write must have come before its reply is sent, in the words of `XPOLICY`.

use std::fmt;

/// A named policy: which copies of an entry are enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Level {
    /// On the primary's disk.
    Local,
    /// In the memory of this many members, the primary among them.
    Received(u8),
    /// On the disks of this many members, the primary among them.
    Ack(u8),
    /// On the disks of a majority.
    #[default]
    Quorum,
    /// On the disks of every member that must have it.
    All,
    /// On a majority of the disks in each of this many regions.
    Region(u8),
    /// On the disks of the first so many members, in the configuration's order.
    Prefix(u8),
    /// At the shard's floor: never lost by an automatic failover.
    Stable,
}

impl Level {
    /// The policy that a word names, in any case: `local`, `received(2)`, `ack(2)`, `quorum`
    /// (or `majority`), `all`, `region(2)`, `prefix(2)`, `floor` (or `stable`).
    #[must_use]
    pub fn parse(word: &[u8]) -> Option<Self> {
        let word = std::str::from_utf8(word).ok()?.to_ascii_lowercase();
        match word.as_str() {
            "local" => Some(Self::Local),
            "quorum" | "majority" => Some(Self::Quorum),
            "all" => Some(Self::All),
            "floor" | "stable" => Some(Self::Stable),
            _ => {
                let (name, count) = word.strip_suffix(')')?.split_once('(')?;
                let count = count.parse().ok().filter(|count| *count > 0)?;
                match name {
                    "received" => Some(Self::Received(count)),
                    "ack" => Some(Self::Ack(count)),
                    "region" => Some(Self::Region(count)),
                    "prefix" => Some(Self::Prefix(count)),
                    _ => None,
                }
            }
        }
    }

    /// This level as two bytes, for forwarding.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 2] {
        match self {
            Self::Local => [0, 0],
            Self::Received(count) => [1, count],
            Self::Ack(count) => [2, count],
            Self::Quorum => [3, 0],
            Self::All => [4, 0],
            Self::Stable => [5, 0],
            Self::Region(count) => [6, count],
            Self::Prefix(count) => [7, count],
        }
    }

    /// The level that two bytes of [`Self::to_bytes`] mean.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        match bytes {
            [0, 0] => Some(Self::Local),
            [1, count @ 1..=u8::MAX] => Some(Self::Received(count)),
            [2, count @ 1..=u8::MAX] => Some(Self::Ack(count)),
            [3, 0] => Some(Self::Quorum),
            [4, 0] => Some(Self::All),
            [5, 0] => Some(Self::Stable),
            [6, count @ 1..=u8::MAX] => Some(Self::Region(count)),
            [7, count @ 1..=u8::MAX] => Some(Self::Prefix(count)),
            _ => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Received(count) => write!(f, "received({count})"),
            Self::Ack(count) => write!(f, "ack({count})"),
            Self::Quorum => f.write_str("quorum"),
            Self::All => f.write_str("all"),
            Self::Region(count) => write!(f, "region({count})"),
            Self::Prefix(count) => write!(f, "prefix({count})"),
            Self::Stable => f.write_str("floor"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Level;

    #[test]
    fn every_level_has_one_text_and_one_encoding() {
        use Level::{Ack, All, Local, Prefix, Quorum, Received, Region, Stable};
        let each =
            [Local, Received(1), Received(3), Ack(2), Quorum, All, Region(2), Prefix(1), Stable];
        for level in each {
            assert_eq!(Level::parse(level.to_string().to_uppercase().as_bytes()), Some(level));
            assert_eq!(Level::from_bytes(level.to_bytes()), Some(level));
        }
        for none in ["", "ack", "ack(0)", "ack(256)", "ack(1", "quorums", "prefix()", "\u{fe}"] {
            assert_eq!(Level::parse(none.as_bytes()), None, "{none}");
        }
        assert_eq!(Level::from_bytes([0, 1]), None);
        assert_eq!(Level::from_bytes([1, 0]), None);
        assert_eq!(Level::from_bytes([9, 0]), None);
    }
}
