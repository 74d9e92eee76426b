//! Opening a data directory: whose it is, that nobody else has it, and what it holds.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_proto::{Incarnation, ShardId, StoreUuid};
use bytes::Bytes;

use crate::disk::{Disk, Lock, LockGuard};
use crate::hard::HardStates;
use crate::log::{Log, Prepare, Recovery};
use crate::mutation::Planted;
use crate::snapshot::Snapshots;
use crate::superblock::{CLUSTER_NAME_BYTES_MAX, Identity, Superblock};
use crate::{Committer, LogReader, StoreError};

/// Where the hard states lie.
pub(crate) const HARD_DIR: &str = "hard";
/// Where the segments lie.
pub(crate) const LOG_DIR: &str = "log";

/// How a store works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of a log segment. Unit: bytes. Default 64 MiB: at 100 MB/s one roll in two thirds
    /// of a second, and retention in steps small against any disk.
    pub segment_bytes: u64,
    /// Bytes after which a group takes no more batches. Default 4 MiB: a device that writes
    /// 1 GB/s holds up the first batch by 4 ms at most.
    pub group_bytes_max: u64,
    /// Distance between known offsets of a shard. Unit: bytes. Default 64 KiB: 40 bytes of
    /// index for each, 6.5 MB in memory for 10 GiB of log.
    pub index_bytes: u64,
    /// Snapshots of a shard that are kept. Default 2: the newest, and one in case it is bad.
    pub snapshots_kept: usize,
    /// Who gets the next segment ready.
    pub prepare: Prepare,
    /// A planted bug, for tests of tests.
    pub planted: Planted,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            group_bytes_max: 4 << 20,
            index_bytes: 64 << 10,
            snapshots_kept: 2,
            prepare: Prepare::Thread,
            planted: Planted::default(),
        }
    }
}

/// An open data directory, locked for this process.
#[derive(Debug)]
pub struct Store {
    superblock: Superblock,
    created: bool,
    recovery: Recovery,
    hard: BTreeMap<ShardId, Bytes>,
    reader: LogReader,
    snapshots: Arc<Snapshots>,
    committer: Committer,
}

/// What stays open with the directory.
pub(crate) struct Held {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) superblock: Superblock,
    pub(crate) lock: LockGuard,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the directory for a new run of the node, or makes it with `fresh` as its uuid.
    ///
    /// # Errors
    /// In use, of another node or cluster, of a newer version, read-only, full, without or
    /// with a damaged superblock or hard state. Damage in the log is no error: it is in
    /// [`Self::recovery`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        fresh: StoreUuid,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let name_bytes = identity.cluster_name.len();
        if name_bytes > CLUSTER_NAME_BYTES_MAX {
            let (what, limit) = ("cluster name", CLUSTER_NAME_BYTES_MAX);
            return Err(StoreError::TooLarge { what, bytes: name_bytes, limit });
        }
        disk.create_dir_all(dir).map_err(|e| StoreError::io("create", dir, e))?;
        let lock = lock(&*disk, dir)?;
        let found = Superblock::load(&*disk, dir)?;
        let created = found.is_none();
        let mut superblock = match found {
            Some(found) => {
                found.check_owner(dir, &identity)?;
                found
            }
            None => {
                check_empty(&*disk, dir)?;
                let incarnation = Incarnation::new(0);
                Superblock { store: fresh, identity, incarnation, clean: true }
            }
        };
        let store = superblock.store;
        let was_clean = superblock.clean;
        superblock.incarnation = superblock.incarnation.next();
        superblock.clean = false;
        if created {
            // Before any other file: files without a superblock are refused.
            superblock.save(&*disk, dir)?;
        }
        let hard_dir = dir.join(HARD_DIR);
        let (hard_states, hard) =
            HardStates::open(Arc::clone(&disk), &hard_dir, store, options.planted)?;
        let run = (store, superblock.incarnation);
        let (log, recovery) = Log::open(Arc::clone(&disk), dir, run, options)?;
        if !created {
            // After the log was compared with the old one, and before anything is written in
            // this run's name.
            superblock.save(&*disk, dir)?;
        }
        let reader = log.reader();
        let limits = (options.snapshots_kept, options.planted);
        let snapshots = Arc::new(Snapshots::open(Arc::clone(&disk), dir, store, limits)?);
        let held = Held { disk, dir: dir.to_path_buf(), superblock: superblock.clone(), lock };
        let committer = Committer::new(log, hard_states, held, options.group_bytes_max);
        superblock.clean = was_clean;
        Ok(Self { superblock, created, recovery, hard, reader, snapshots, committer })
    }

    /// The superblock; `clean` says whether the run before this one ended in good order.
    #[must_use]
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Whether the directory was made by this opening.
    #[must_use]
    pub const fn is_created(&self) -> bool {
        self.created
    }

    /// What was found in the log.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The hard state of a shard, as last saved.
    #[must_use]
    pub fn hard(&self, shard: ShardId) -> Option<&Bytes> {
        self.hard.get(&shard)
    }

    /// The shards that have a hard state.
    pub fn hard_shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.hard.keys().copied()
    }

    /// A handle for reading the log.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// The snapshots; written and read on any thread.
    #[must_use]
    pub fn snapshots(&self) -> Arc<Snapshots> {
        Arc::clone(&self.snapshots)
    }

    /// The side that writes: drive it directly, or give it to a [`crate::Writer`].
    #[must_use]
    pub fn into_committer(self) -> Committer {
        self.committer
    }
}

/// Takes the directory for this process.
fn lock(disk: &dyn Disk, dir: &Path) -> Result<LockGuard, StoreError> {
    let path = dir.join("lock");
    match disk.lock(&path).map_err(|e| StoreError::io("lock", &path, e))? {
        Lock::Held(guard) => Ok(guard),
        Lock::Busy { holder } => Err(StoreError::InUse { dir: dir.to_path_buf(), holder }),
    }
}

/// A directory without a superblock must not hold a log or hard state.
fn check_empty(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    for part in ["log", "hard", "snap", "diverged"] {
        let part = dir.join(part);
        let files = match disk.list(&part) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::io("list", &part, error)),
        };
        if !files.is_empty() {
            return Err(StoreError::NoSuperblock { dir: dir.to_path_buf() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
