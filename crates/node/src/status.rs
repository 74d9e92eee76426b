//! What a node tells of itself.

use std::collections::BTreeMap;
use std::time::SystemTime;

use antiphon_net::{Lane, PeerStats};
use antiphon_proto::{Closed, Epoch, Incarnation, Lsn, MessageLane, NodeId, Status, StoreUuid};

use crate::disk::DiskStats;
use crate::machine::Machine;
use crate::owner::Owner;

/// A node and its shard at one moment.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// This node.
    pub node: NodeId,
    /// Its run.
    pub incarnation: Incarnation,
    /// Its data directory.
    pub store: StoreUuid,
    /// The replica machine.
    pub replica: Status,
    /// Members that a link leads to now.
    pub linked: Vec<NodeId>,
    /// Figures of each link.
    pub peers: Vec<PeerStats>,
    /// Figures of the log's files.
    pub disk: DiskStats,
    /// Entries that were applied in this run.
    pub applied_entries: u64,
    /// What else was counted in this run.
    pub counts: ReplicationCounts,
    /// Nodes that were refused a link in this run, by reason.
    pub refused_links: BTreeMap<&'static str, u64>,
    /// Time of the newest applied entry. Unit: milliseconds since 1970.
    pub applied_ms: u64,
    /// Since this node heard from its parent. Unit: milliseconds; 0 at the primary.
    pub heard_ms: u64,
    /// Since each child was level with this node's log. Unit: milliseconds.
    pub behind_ms: BTreeMap<NodeId, u64>,
    /// The last snapshot.
    pub snapshot: SnapshotStatus,
    /// Entries of the log that can't be read.
    pub damage: DamageStatus,
    /// When the certificate that other nodes are shown ends; none without certificates.
    pub certificate_ends: Option<SystemTime>,
    /// Client sessions.
    pub sessions: SessionsStatus,
    /// Digest of the stable state and of the sessions.
    pub digest: [u8; 16],
}

/// Client sessions of a shard, as this node knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionsStatus {
    /// How many are open.
    pub open: usize,
    /// What the replies kept for retries take. Unit: bytes.
    pub replies_bytes: usize,
}

/// What a node counts of its replication, in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicationCounts {
    /// Bytes of the entries that were applied.
    pub applied_bytes: u64,
    /// Streams that this node opened from its parent.
    pub resyncs: u64,
    /// Ends of the log that were cut, since another epoch did not keep them.
    pub log_cuts: u64,
    /// Messages of other nodes that could not be read.
    pub unreadable: u64,
    /// Streams that ended since two logs differ, at either end.
    pub diverged: u64,
    /// Streams that ended since the parent's log begins later, at either end.
    pub trimmed: u64,
    /// Streams that ended since the parent can't send yet, at either end.
    pub behind: u64,
    /// Entries that the state machine could not understand; the first one stops the node.
    pub unapplied: u64,
}

impl ReplicationCounts {
    /// What kept entries from getting on, with the words that the pages use.
    #[must_use]
    pub const fn errors(&self) -> [(&'static str, u64); 5] {
        [
            ("message", self.unreadable),
            ("diverged", self.diverged),
            ("trimmed", self.trimmed),
            ("behind", self.behind),
            ("apply", self.unapplied),
        ]
    }

    /// A stream ended, and one of its ends told the other why.
    pub(crate) const fn ended(&mut self, why: Closed) {
        let counter = match why {
            Closed::Diverged => &mut self.diverged,
            Closed::Trimmed(_) => &mut self.trimmed,
            Closed::Behind => &mut self.behind,
        };
        *counter += 1;
    }
}

/// Snapshots of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotStatus {
    /// Whether one is being written.
    pub running: bool,
    /// The position of the newest one.
    pub lsn: Lsn,
    /// When it was finished. Unit: milliseconds since 1970; 0 for before this run.
    pub at_ms: u64,
    /// How many failed in this run.
    pub failed: u64,
}

/// Damage that was found while the node ran.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DamageStatus {
    /// What can't be read now, and where it lies; nothing when all can.
    pub open: Option<String>,
    /// Places found in this run.
    pub found: u64,
    /// Places mended in this run with the copies of other nodes.
    pub mended: u64,
}

/// Positions that others wait for, published at each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// What can never be lost.
    pub stable: Lsn,
    /// What readers here see.
    pub applied: Lsn,
    /// Whether writes are accepted here.
    pub serving: bool,
    /// The configuration obeyed.
    pub epoch: Epoch,
}

/// The transport's lane of a message.
pub(crate) const fn lane(lane: MessageLane) -> Lane {
    match lane {
        MessageLane::Control => Lane::Control,
        MessageLane::Log => Lane::Log,
        MessageLane::Bulk => Lane::Bulk,
    }
}

impl<M: Machine> Owner<M> {
    pub(crate) fn status(&self) -> NodeStatus {
        let identity = self.replica.identity();
        let replica = self.replica.status();
        let now = self.clock.now();
        let behind = self.level_at.iter().map(|(node, at)| (*node, now.ms_since(*at)));
        let linked = self.links.iter().filter(|(_, up)| **up).map(|(node, _)| *node);
        NodeStatus {
            node: identity.node,
            incarnation: identity.incarnation,
            store: identity.store,
            heard_ms: replica.heard.map_or(0, |at| now.ms_since(at)),
            behind_ms: behind.collect(),
            replica,
            linked: linked.collect(),
            peers: self.peers.stats(),
            disk: self.disk.stats(),
            applied_entries: self.applied_entries,
            counts: self.counts,
            refused_links: self.peers.refusals().counts(),
            applied_ms: self.applied.hlc.ms(),
            snapshot: self.snapshot,
            damage: self.mending.status(),
            certificate_ends: self.transport.certificate().map(|info| info.not_after),
            sessions: SessionsStatus {
                open: self.sessions.len(),
                replies_bytes: self.sessions.replies_bytes(),
            },
            digest: self.digest(),
        }
    }
}
