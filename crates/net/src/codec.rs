//! What compresses messages, and what two nodes agree on when a link between them is made.

use std::fmt;

/// A way to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// A block of LZ4: little work, half the bytes.
    Lz4,
    /// A frame of zstd at level 1: about twice the work of LZ4, fewer bytes.
    Zstd,
}

impl Codec {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Lz4, Self::Zstd];

    /// Its number before a message; 0 stands for a message as it is.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }

    /// The way of a number before a message, if there is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its name in configurations and on pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// A set of ways to compress. On the wire a byte: 1 LZ4, 2 zstd; other bits are not looked at, so
/// that a later node may name ways that this one does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codecs(u8);

impl Codecs {
    /// None: messages travel as they are.
    pub const NONE: Self = Self(0);
    /// All that this build knows.
    pub const ALL: Self = Self(Self::of(Codec::Lz4).0 | Self::of(Codec::Zstd).0);

    /// One way.
    #[must_use]
    pub const fn of(codec: Codec) -> Self {
        Self(1 << (codec.code() - 1))
    }

    /// What a byte of the wire names, of what this build knows.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte & Self::ALL.0)
    }

    /// The byte of the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self.0
    }

    /// What is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a way is in it.
    #[must_use]
    pub const fn has(self, codec: Codec) -> bool {
        self.0 & Self::of(codec).0 != 0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Codec::ALL.into_iter().filter(|codec| self.has(*codec)).map(Codec::name);
        f.write_str(names.next().unwrap_or("off"))?;
        names.try_for_each(|name| write!(f, ",{name}"))
    }
}

/// What a node tells the other side of each link that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offer {
    /// What it can read.
    pub decodes: Codecs,
    /// What it means to send.
    pub sends: Codecs,
}

impl Offer {
    /// What both sides make of their offers, as this one sees it.
    #[must_use]
    pub const fn agree(self, theirs: Self) -> Agreed {
        Agreed { send: self.sends.and(theirs.decodes), receive: theirs.sends.and(self.decodes) }
    }
}

/// What is compressed on one link. In a direction with a way in its set each message begins with
/// the byte that [`crate::unpack`] reads; in one without, messages travel as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreed {
    /// What this side may send.
    pub send: Codecs,
    /// What the other side may send.
    pub receive: Codecs,
}

#[cfg(test)]
mod tests;
