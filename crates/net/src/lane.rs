//! Lanes: classes of traffic between two nodes, none of which blocks another.

use std::fmt;

/// A class of traffic between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats, votes, acknowledgements: small, and served first.
    Control,
    /// Entries of logs, in order.
    Log,
    /// Snapshots and other mass, which may wait.
    Bulk,
}

impl Lane {
    /// Every lane, in the order in which they are served.
    pub const ALL: [Self; 3] = [Self::Control, Self::Log, Self::Bulk];

    /// The number of this lane on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Log => 1,
            Self::Bulk => 2,
        }
    }

    /// Its name, in messages and on pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Log => "log",
            Self::Bulk => "bulk",
        }
    }

    /// The lane of a number on the wire, if there is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Control),
            1 => Some(Self::Log),
            2 => Some(Self::Bulk),
            _ => None,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value for each lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerLane<T> {
    /// For [`Lane::Control`].
    pub control: T,
    /// For [`Lane::Log`].
    pub log: T,
    /// For [`Lane::Bulk`].
    pub bulk: T,
}

impl<T> PerLane<T> {
    /// Makes the value of each lane.
    pub fn from_fn(mut make: impl FnMut(Lane) -> T) -> Self {
        Self { control: make(Lane::Control), log: make(Lane::Log), bulk: make(Lane::Bulk) }
    }

    /// The value of one lane.
    pub const fn of(&self, lane: Lane) -> &T {
        match lane {
            Lane::Control => &self.control,
            Lane::Log => &self.log,
            Lane::Bulk => &self.bulk,
        }
    }

    /// The value of one lane, to change.
    pub const fn of_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Log => &mut self.log,
            Lane::Bulk => &mut self.bulk,
        }
    }
}
