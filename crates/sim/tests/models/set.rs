//! Sets of at most eight members.

/// A set of nodes, or of writes, by their small numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Set(pub(crate) u8);

impl Set {
    pub(crate) const fn has(self, member: u8) -> bool {
        self.0 >> member & 1 == 1
    }

    pub(crate) const fn with(self, member: u8) -> Self {
        Self(self.0 | 1 << member)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn count(self) -> u32 {
        self.0.count_ones()
    }
}
