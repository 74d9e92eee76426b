//! How far an entry must have come: the one word for it that all interfaces share.

use std::fmt;
use std::str::FromStr;

use antiphon_proto::{Policy, PolicyError};

/// How far an entry must have come.
///
/// Text form: `floor` (or `stable`), or that of a [`Policy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// To what the shard's floor asks: it can never be lost.
    #[default]
    Floor,
    /// To what this policy asks, and to the floor too if the policy is as strong.
    At(Policy),
}

impl Level {
    /// This level as two bytes between nodes: a kind and its number.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 2] {
        match self {
            Self::At(Policy::Local) => [0, 0],
            Self::At(Policy::Received(count)) => [1, count],
            Self::At(Policy::Ack(count)) => [2, count],
            Self::At(Policy::Quorum) => [3, 0],
            Self::At(Policy::All) => [4, 0],
            Self::Floor => [5, 0],
            Self::At(Policy::Region(count)) => [6, count],
            Self::At(Policy::Prefix(count)) => [7, count],
        }
    }

    /// The level that two bytes of [`Self::to_bytes`] mean.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        Some(match bytes {
            [0, 0] => Self::At(Policy::Local),
            [1, count @ 1..=15] => Self::At(Policy::Received(count)),
            [2, count @ 1..=15] => Self::At(Policy::Ack(count)),
            [3, 0] => Self::At(Policy::Quorum),
            [4, 0] => Self::At(Policy::All),
            [5, 0] => Self::Floor,
            [6, count @ 1..=15] => Self::At(Policy::Region(count)),
            [7, count @ 1..=15] => Self::At(Policy::Prefix(count)),
            _ => return None,
        })
    }
}

impl From<Policy> for Level {
    fn from(policy: Policy) -> Self {
        Self::At(policy)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Floor => f.write_str("floor"),
            Self::At(policy) => policy.fmt(f),
        }
    }
}

/// A text that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}, or floor")]
pub struct LevelError(PolicyError);

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let word = text.trim();
        if ["floor", "stable"].iter().any(|name| word.eq_ignore_ascii_case(name)) {
            return Ok(Self::Floor);
        }
        word.parse().map(Self::At).map_err(LevelError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_one_text_and_one_encoding() {
        let policies = [
            Policy::Local,
            Policy::Received(1),
            Policy::Received(15),
            Policy::Ack(2),
            Policy::Quorum,
            Policy::All,
            Policy::Region(2),
            Policy::Prefix(1),
        ];
        for level in policies.into_iter().map(Level::from).chain([Level::Floor]) {
            assert_eq!(level.to_string().to_uppercase().parse(), Ok(level));
            assert_eq!(Level::from_bytes(level.to_bytes()), Some(level));
        }
        assert_eq!("stable".parse(), Ok(Level::Floor));
        assert_eq!("Majority".parse(), Ok(Level::At(Policy::Quorum)));
        for none in ["", "ack", "ack(0)", "ack(16)", "ack(1", "quorums", "prefix()", "\u{fe}"] {
            let error = none.parse::<Level>().expect_err(none).to_string();
            assert!(error.ends_with("N from 1 to 15, or floor"), "{error}");
        }
        for none in [[0, 1], [1, 0], [2, 16], [5, 1], [8, 1]] {
            assert_eq!(Level::from_bytes(none), None, "{none:?}");
        }
    }
}
