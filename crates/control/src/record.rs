//! What the register keeps: one record for the cluster, each node and each shard, and the history
//! of what was changed by whom and why.

mod codec;

use std::collections::BTreeMap;
use std::fmt;

use antiphon_proto::{Config, EntryId, Epoch, Incarnation, NodeId, ShardId, StoreUuid};

pub use codec::RecordError;
pub(crate) use codec::{WireItem, WireRow};

/// The most bytes of a name, a reason or an address.
pub const TEXT_BYTES_MAX: usize = 255;

/// The most addresses of a node.
pub const ADDRESSES_MAX: usize = 16;

/// The most stores that a node has had before its present one. They are remembered for ever,
/// since a disk that was replaced may come back.
pub const FORMER_STORES_MAX: usize = 64;

/// The most bytes of an encoded record: two configurations with full cut tables have room.
pub const RECORD_BYTES_MAX: usize = 128 << 10;

/// The register's count of changes. Of a record: the change that wrote it last; 0 is "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(u64);

impl Version {
    /// Of a record that was never written, and of an empty register.
    pub const ZERO: Self = Self(0);

    /// Wraps a raw count.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw count.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after this.
    ///
    /// # Panics
    /// When 64 bits are used up, which no run can reach by counting.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(raw) => Self(raw),
            None => panic!("the register's count of changes ran out"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A reading of some node's wall clock, to be shown to people. Nothing is decided by it but how
/// long a pause lasts.
///
/// Unit: milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallMs(u64);

impl WallMs {
    /// Wraps milliseconds since 1970.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// One cluster for all time: drawn when it is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClusterUuid(u128);

impl ClusterUuid {
    /// Wraps 128 random bits, which the founder drew. 0 is not a cluster.
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

impl fmt::Display for ClusterUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Names a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// What holds for the whole cluster. There is one.
    Cluster,
    /// A node.
    Node(NodeId),
    /// A shard.
    Shard(ShardId),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the cluster"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::Shard(shard) => write!(f, "shard {shard}"),
        }
    }
}

/// A record of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// What holds for the whole cluster.
    Cluster(ClusterRecord),
    /// A node.
    Node(Box<NodeRecord>),
    /// A shard.
    Shard(Box<ShardRecord>),
}

impl Record {
    /// The key that it belongs under.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Cluster(_) => Key::Cluster,
            Self::Node(node) => Key::Node(node.node),
            Self::Shard(shard) => Key::Shard(shard.active.shard),
        }
    }

    /// The node's, if it is one.
    #[must_use]
    pub fn as_node(&self) -> Option<&NodeRecord> {
        if let Self::Node(node) = self { Some(node) } else { None }
    }

    /// The shard's, if it is one.
    #[must_use]
    pub fn as_shard(&self) -> Option<&ShardRecord> {
        if let Self::Shard(shard) = self { Some(shard) } else { None }
    }

    /// The cluster's, if it is one.
    #[must_use]
    pub fn as_cluster(&self) -> Option<&ClusterRecord> {
        if let Self::Cluster(cluster) = self { Some(cluster) } else { None }
    }
}

/// A record and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The change that wrote it.
    pub version: Version,
    /// What it is now.
    pub record: std::sync::Arc<Record>,
}

/// What holds for the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecord {
    /// Which cluster. Never changes.
    pub cluster: ClusterUuid,
    /// Its name, as certificates carry it.
    pub name: String,
    /// When it was founded.
    pub founded: WallMs,
    /// No automatic failover for a while, if somebody asked for that.
    pub paused: Option<Pause>,
}

/// No automatic failover for a while. Always ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// The last instant of it.
    pub until: WallMs,
    /// Who asked.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What a node is to the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Votes on the register's changes.
    Voter,
    /// Follows them.
    Learner,
    /// Is no longer of this cluster. Its record stays, so that its disk is known if it returns.
    Removed,
}

/// A node, as it registered at the start of its newest run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Which.
    pub node: NodeId,
    /// Its name for people; may be empty.
    pub name: String,
    /// Where it may be found, to be tried in turn.
    pub addresses: Vec<String>,
    /// Its newest run on this store. An older one does not count.
    pub incarnation: Incarnation,
    /// Its data directory.
    pub store: StoreUuid,
    /// Data directories that it had before. None of them counts again.
    pub former_stores: Vec<StoreUuid>,
    /// What it is to the register.
    pub role: Role,
    /// Where it stands; empty is a region too.
    pub region: String,
    /// Where in the region.
    pub zone: String,
    /// When this was last changed.
    pub changed: WallMs,
}

/// A shard: who replicates it, and what was last done about that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRecord {
    /// The configuration whose floor acknowledges writes.
    pub active: Config,
    /// The configuration that follows when its first entry satisfies its floor. Until then each
    /// acknowledgement satisfies both.
    pub pending: Option<Config>,
    /// Whether a failover may begin by itself.
    pub auto_failover: bool,
    /// The one run of the primary that may append in the active epoch. Another run of it may not,
    /// however soon it is there: it could use an entry's identity again.
    pub appointed: Option<Appointment>,
    /// The data directory with which each voter counts. Another has not what the voter
    /// acknowledged, until it has caught up and is named here.
    pub stores: BTreeMap<NodeId, StoreUuid>,
    /// How the present primary was found, if there was ever need to find one.
    pub last_recovery: Option<RecoveryReport>,
}

impl ShardRecord {
    /// The greatest epoch that it names.
    #[must_use]
    pub fn newest_epoch(&self) -> Epoch {
        self.pending.as_ref().map_or(self.active.epoch, |pending| pending.epoch)
    }
}

/// Who may append in an epoch: one run of a node, behind one end of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appointment {
    /// Who.
    pub node: NodeId,
    /// Its run.
    pub incarnation: Incarnation,
    /// The end of its log when it was chosen.
    pub end: EntryId,
}

/// Why the primary or the membership of a shard changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The primary was not heard of any more.
    Failover,
    /// An operator forced a new primary, and accepted a loss.
    Forced,
    /// An operator moved the primary without loss.
    Switchover,
    /// Members, shape or floor changed under the same primary.
    Change,
    /// A node was registered, changed its place or was removed.
    Node,
    /// Automatic failover was switched, paused or resumed.
    Setting,
}

/// What of a shard's writes may be lost by a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Nothing that was acknowledged at the floor.
    Nothing,
    /// At most so many entries that were acknowledged at the floor.
    AtMost(u64),
    /// Nobody who could tell was reached.
    Unknown,
}

/// A voter whose promise a recovery rested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedVoter {
    /// Who.
    pub node: NodeId,
    /// Its run.
    pub incarnation: Incarnation,
    /// Where its log ended.
    pub last: EntryId,
}

/// How a primary was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The epoch that it began.
    pub epoch: Epoch,
    /// Who was primary before.
    pub from: NodeId,
    /// Who is now.
    pub to: NodeId,
    /// Why.
    pub cause: Cause,
    /// Whose promises it rests on, by ascending node. At most one for each voter.
    pub sealed: Vec<SealedVoter>,
    /// The end of the new primary's log: all later epochs hold what is up to there.
    pub cut: EntryId,
    /// What may be lost.
    pub loss: Loss,
    /// When the change was decided.
    pub at: WallMs,
    /// From the first suspicion to the decision. Unit: milliseconds.
    pub took_ms: u64,
}

/// One change, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Its number, which the register gives: dense, the first is 1. A proposer says 0.
    pub number: u64,
    /// What kind of change.
    pub cause: Cause,
    /// The shard that it is about, if one.
    pub shard: Option<ShardId>,
    /// Who did it: an operator, or a node that found another silent.
    pub who: String,
    /// Why, as a sentence.
    pub why: String,
    /// The primary before, or the node that it is about.
    pub from: Option<NodeId>,
    /// The primary after.
    pub to: Option<NodeId>,
    /// At which entry the log went on: the epoch is the one before the change.
    pub position: EntryId,
    /// The epoch that it began.
    pub epoch: Epoch,
    /// When.
    pub at: WallMs,
    /// How long it took. Unit: milliseconds.
    pub took_ms: u64,
    /// What may be lost.
    pub loss: Loss,
}

#[cfg(test)]
mod tests;
