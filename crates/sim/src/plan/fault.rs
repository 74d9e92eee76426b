//! What goes wrong, and when.

use serde::{Deserialize, Serialize};

/// A fault at its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// Microseconds from the start.
    pub at_us: u64,
    /// What happens.
    pub fault: Fault,
}

/// At which act of a node it crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashPoint {
    /// Any effect.
    Effect,
    /// A message.
    Send,
    /// Writing the hard state.
    Persist,
    /// Appending.
    Append,
    /// Cutting the log.
    Truncate,
    /// Applying.
    Apply,
    /// Beginning to serve.
    Serve,
    /// A reply to a client.
    Reply,
    /// The disk worker's start of a write.
    Write,
    /// The disk worker's end of a sync, before anybody hears of it.
    Synced,
}

/// One thing that goes wrong. Nodes are numbered from 1; durations are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[expect(missing_docs, reason = "each field is a node, a duration or a size, as its name says")]
pub enum Fault {
    /// The process ends and starts again; with `power`, what was not synced may be lost.
    Crash { node: u64, down_us: u64, power: bool },
    /// The process ends at its `nth` act of a kind from now on.
    CrashAt { node: u64, point: CrashPoint, nth: u64, before: bool, down_us: u64, power: bool },
    /// All nodes lose power at once.
    Blackout { down_us: u64 },
    /// A link is lost with all that is under way on it, and can't be had again for a while.
    Cut { a: u64, b: u64, for_us: u64 },
    /// A node is cut off from all others.
    Isolate { node: u64, for_us: u64 },
    /// Messages in one direction wait.
    Stall { from: u64, to: u64, for_us: u64 },
    /// Messages in one direction take longer.
    Slow { from: u64, to: u64, extra_us: u64, for_us: u64 },
    /// The next few messages in one direction arrive with a bit flipped.
    Flip { from: u64, to: u64, count: u64 },
    /// The disk does nothing for a while.
    DiskStall { node: u64, for_us: u64 },
    /// The disk is so many times slower.
    DiskSlow { node: u64, times: u64, for_us: u64 },
    /// The next sync fails.
    SyncFails { node: u64 },
    /// The next write fails.
    WriteFails { node: u64 },
    /// A read of the log fails.
    ReadFails { node: u64 },
    /// The disk is full for a while.
    Full { node: u64, for_us: u64 },
    /// The process stands still.
    Pause { node: u64, for_us: u64 },
    /// The wall clock jumps.
    WallStep { node: u64, ms: u64, back: bool },
    /// A snapshot is written and the log trimmed behind it.
    Snapshot { node: u64 },
    /// A byte of the log changes on the medium, and the node is started anew.
    Rot { node: u64, at: u64 },
    /// The node comes back with an empty disk.
    Wipe { node: u64, down_us: u64 },
    /// All clients stop waiting for what they asked.
    GiveUp,
}

impl Fault {
    /// The name of its class, for counts.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Crash { power: true, .. } => "power-loss",
            Self::Crash { .. } => "kill",
            Self::CrashAt { .. } => "crash-at-point",
            Self::Blackout { .. } => "blackout",
            Self::Cut { .. } => "cut",
            Self::Isolate { .. } => "isolate",
            Self::Stall { .. } => "stall",
            Self::Slow { .. } => "slow-link",
            Self::Flip { .. } => "flip",
            Self::DiskStall { .. } => "disk-stall",
            Self::DiskSlow { .. } => "disk-slow",
            Self::SyncFails { .. } => "sync-fails",
            Self::WriteFails { .. } => "write-fails",
            Self::ReadFails { .. } => "read-fails",
            Self::Full { .. } => "disk-full",
            Self::Pause { .. } => "pause",
            Self::WallStep { .. } => "wall-step",
            Self::Snapshot { .. } => "snapshot",
            Self::Rot { .. } => "rot",
            Self::Wipe { .. } => "wipe",
            Self::GiveUp => "give-up",
        }
    }
}
