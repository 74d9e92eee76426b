//! A simulated node: its disk outlives its processes, which are built from the disk alone.

use std::collections::BTreeMap;

use antiphon_kv::Engine;
use antiphon_proto::{EntryId, Epoch, Lsn, NodeId, Replica, Sessions};
use antiphon_store::SimDisk;

use crate::clock::Clock;
use crate::plan::CrashPoint;
use crate::storage::{Storage, Truth};
use crate::work::Replies;

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) clock: Clock,
    pub(crate) disk: SimDisk,
    pub(crate) stores: u64, // data directories made so far
    pub(crate) truth: Truth,
    pub(crate) process: Option<Process>,
    pub(crate) life: u64, // grows with each process and with its end
    pub(crate) booting: bool,
    pub(crate) gone: Option<String>, // why it can't start any more
    pub(crate) media: Media,
    pub(crate) told: Epoch, // the greatest promise that it answered
    pub(crate) paused_until: u64,
    pub(crate) disk_free_at: u64, // the disk does nothing before
    pub(crate) slow_times: u64,
    pub(crate) slow_until: u64,
    pub(crate) armed: Vec<Armed>,
    pub(crate) read_fails: bool,
}

/// What happened to a node's disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Media {
    pub(crate) hurt: bool,     // it was damaged
    pub(crate) replaced: bool, // it replaces another and has not caught up since
    pub(crate) ill: bool,      // one of its operations was made to fail
}

/// A crash that waits for its moment.
#[derive(Debug, Clone)]
pub(crate) struct Armed {
    pub(crate) point: CrashPoint,
    pub(crate) left: u64,
    pub(crate) before: bool,
    pub(crate) down_us: u64,
    pub(crate) power: bool,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) replica: Replica,
    pub(crate) engine: Engine,
    pub(crate) sessions: Sessions,
    pub(crate) storage: Storage,
    pub(crate) links: BTreeMap<NodeId, u64>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) flushing: bool,
    pub(crate) wrote: bool, // its disk completed something in this life
    pub(crate) wake_at: u64,
    pub(crate) idle_ticks: u64, // ticks in a row after which it wanted another at once
    pub(crate) last: EntryId,   // the end of its log, by its effects
    pub(crate) applied: EntryId,
    pub(crate) stable: Lsn,
    pub(crate) trimmed: Lsn,
    pub(crate) epoch: Epoch, // of the configuration after the last step
    pub(crate) appended_at: BTreeMap<Lsn, u64>, // at the primary, by its own clock, unstable ones
}

/// A command that was executed, and whose reply is held.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) op: usize,
    pub(crate) entry: Option<EntryId>,
    pub(crate) dirty: Lsn,
    pub(crate) replies: Replies,
}

impl Node {
    pub(crate) const fn is_up(&self) -> bool {
        self.process.is_some()
    }
}
