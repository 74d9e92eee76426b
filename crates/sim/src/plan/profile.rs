//! Kinds of run: which faults may happen, and what is made small or slow.

use serde::{Deserialize, Serialize};

/// A kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A random subset of everything that a cluster must survive.
    Swarm,
    /// The primary crashes often, with a slow disk: recoveries copy what it lost.
    Elections,
    /// Crashes right before and after chosen acts, with restarts from 50 µs up.
    Points,
    /// Windows, tails and batches of a few entries.
    Tiny,
    /// Links are cut, stalled, slow.
    Partitions,
    /// Disks stall, fail, fill.
    Disks,
    /// Snapshots, trimmed logs, restarts from both.
    Snapshots,
    /// Clocks run at different rates and jump; processes pause.
    Clocks,
    /// All nodes lose power together.
    Blackouts,
    /// Clients ask below the floor, while replicas lag.
    Weak,
    /// Disks are replaced by empty ones, never more at a time than the floor survives.
    Wipes,
    /// One replica's log rots.
    Rot,
    /// More logs rot than any policy survives: nodes must stop, and tell nothing false.
    Beyond,
    /// Replicas are cut off in turn while the primary loses what it has not synced.
    Forks,
    /// The upper members of a chain lose what they have not synced, while one below them gets a
    /// new disk and returns under a parent that was told nothing yet.
    Chains,
    /// Nothing goes wrong.
    Calm,
}

/// A class of faults that a profile may draw from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Kill,
    Power,
    PrimaryPower,
    Point,
    Blackout,
    Cut,
    Isolate,
    Stall,
    Slow,
    Flip,
    DiskStall,
    DiskSlow,
    DiskFails,
    Full,
    Pause,
    WallStep,
    Snapshot,
    GiveUp,
    Wipe,
    Rot,
    Rots,
}

const SWARM: &[Class] = &[
    Class::Kill,
    Class::Power,
    Class::PrimaryPower,
    Class::Point,
    Class::Blackout,
    Class::Cut,
    Class::Isolate,
    Class::Stall,
    Class::Slow,
    Class::Flip,
    Class::DiskStall,
    Class::DiskSlow,
    Class::DiskFails,
    Class::Full,
    Class::Pause,
    Class::WallStep,
    Class::Snapshot,
    Class::GiveUp,
];

impl Profile {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Swarm,
        Self::Elections,
        Self::Points,
        Self::Tiny,
        Self::Partitions,
        Self::Disks,
        Self::Snapshots,
        Self::Clocks,
        Self::Blackouts,
        Self::Weak,
        Self::Wipes,
        Self::Rot,
        Self::Beyond,
        Self::Forks,
        Self::Chains,
        Self::Calm,
    ];

    /// The profile of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Elections => "elections",
            Self::Points => "points",
            Self::Tiny => "tiny",
            Self::Partitions => "partitions",
            Self::Disks => "disks",
            Self::Snapshots => "snapshots",
            Self::Clocks => "clocks",
            Self::Blackouts => "blackouts",
            Self::Weak => "weak",
            Self::Wipes => "wipes",
            Self::Rot => "rot",
            Self::Beyond => "beyond",
            Self::Forks => "forks",
            Self::Chains => "chains",
            Self::Calm => "calm",
        }
    }

    /// Classes of faults, each with the most faults of it.
    pub(super) const fn classes(self) -> (&'static [Class], u64) {
        use Class as C;
        match self {
            Self::Swarm => (SWARM, 6),
            Self::Elections => {
                (&[C::PrimaryPower, C::Power, C::Point, C::Cut, C::Isolate, C::DiskSlow], 12)
            }
            Self::Points => (&[C::Point, C::Point, C::Point, C::PrimaryPower], 12),
            Self::Tiny => (&[C::Kill, C::Cut, C::Stall, C::DiskSlow, C::Isolate], 6),
            Self::Partitions => (&[C::Cut, C::Isolate, C::Stall, C::Slow, C::Flip, C::Kill], 12),
            Self::Disks => (&[C::DiskStall, C::DiskSlow, C::DiskFails, C::Full, C::Power], 8),
            Self::Snapshots => (&[C::Snapshot, C::Snapshot, C::Kill, C::Power, C::Isolate], 8),
            Self::Clocks => (&[C::WallStep, C::Pause, C::Pause, C::PrimaryPower, C::Kill], 8),
            Self::Blackouts => (&[C::Blackout, C::PrimaryPower, C::DiskSlow], 6),
            Self::Weak => (&[C::PrimaryPower, C::Isolate, C::DiskSlow, C::GiveUp], 8),
            Self::Wipes => {
                (&[C::Wipe, C::Wipe, C::PrimaryPower, C::Power, C::Cut, C::Isolate, C::DiskSlow], 6)
            }
            Self::Beyond => (&[C::Rots, C::Kill, C::PrimaryPower], 4),
            Self::Rot => (&[C::Rot, C::PrimaryPower, C::Power, C::Cut], 6),
            // Forks and chains are drawn round by round.
            Self::Forks | Self::Chains | Self::Calm => (&[], 0),
        }
    }
}
