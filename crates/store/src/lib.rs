//! All local file I/O of Antiphon: log, hard state, snapshots, behind one small disk trait.
//!
//! A data directory holds `superblock` (whose it is, and which run), `acknowledged` (how far
//! the log was durable), `log/` (segments shared by all shards of the node), `hard/` (what must
//! be durable before it is obeyed), `snap/` and `diverged/`. Everything is synchronous. Nothing
//! here decides anything about the protocol: what is damaged is reported, never cut.

mod commit;
mod disk;
mod envelope;
mod error;
mod fields;
mod hard;
pub mod inspect;
mod log;
mod mutation;
mod replace;
mod snapshot;
mod store;
mod superblock;
mod writer;

pub use commit::{Committer, Completion, Op};
pub use disk::{
    Access, Counts, Disk, DiskFile, Fault, Lock, LockGuard, Operation, RealDisk, SECTOR_BYTES,
    SimDisk, Survivors,
};
pub use error::{Damage, StoreError};
pub use hard::HARD_BYTES_MAX;
pub use log::{
    Bounds, Diverged, DivergedInfo, Latencies, Log, LogReader, LogStats, Mended, Prepare, Recovery,
    Stretch, Torn,
};
pub use mutation::{Mutation, Planted};
pub use snapshot::{
    SNAPSHOT_META_BYTES_MAX, SnapshotInfo, SnapshotReader, SnapshotWriter, Snapshots,
};
pub use store::{Options, Store};
pub use superblock::{CLUSTER_NAME_BYTES_MAX, Identity, Superblock};
pub use writer::{Full, Writer};

use antiphon_proto::{Chain, EntryId, Hlc};

/// Most shards in one store.
pub const SHARDS_MAX: usize = 1024;

/// Where an entry stands in its log: what the next one must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The entry.
    pub id: EntryId,
    /// The chain hash over the log up to and with it.
    pub chain: Chain,
    /// Its time.
    pub hlc: Hlc,
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
