//! What can go wrong with local files: each variant is the caller's next move.

use std::io;
use std::path::{Path, PathBuf};

use antiphon_proto::{Lsn, NodeId, ShardId};

/// Why the store refused or stopped. The text ends with what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the directory open.
    #[error("{} is in use by {}; stop that process, or choose another directory", dir.display(), holder_text(*.holder))]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it, when it left its number.
        holder: Option<u32>,
    },
    /// The directory belongs to another node.
    #[error("{} belongs to node {found}, not to node {expected}; give this node its own directory", dir.display())]
    OtherNode {
        /// The data directory.
        dir: PathBuf,
        /// The node it was made for.
        found: NodeId,
        /// The node that tried to open it.
        expected: NodeId,
    },
    /// The directory belongs to another cluster.
    #[error("{} belongs to cluster {found:?}, not to {expected:?}; give this node its own directory", dir.display())]
    OtherCluster {
        /// The data directory.
        dir: PathBuf,
        /// Name of the cluster it was made in.
        found: String,
        /// Name of the cluster that tried to open it.
        expected: String,
    },
    /// A file was written by a newer version of this program.
    #[error("{} has format version {found}, this build reads up to {known}; start the newer version again", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Version found in it.
        found: u16,
        /// Newest version that this build reads.
        known: u16,
    },
    /// The directory holds files but no superblock.
    #[error("{} holds data but no superblock; restore the superblock, or move the directory away and start empty", dir.display())]
    NoSuperblock {
        /// The data directory.
        dir: PathBuf,
    },
    /// The file system is read-only, or the file may not be written.
    #[error("{} cannot be written: {source}; mount it writable, or change its owner", path.display())]
    ReadOnly {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No space left on the device, or over a quota.
    #[error("no space left for {}; free space on its device and start again", path.display())]
    Full {
        /// The file that was to grow.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes on disk are not what was written. Nothing was cut.
    #[error(
        "{0}; nothing was cut: move the data directory aside and start the node with an empty \
         one, which it fills from the other nodes"
    )]
    Damaged(Box<Damage>),
    /// The entries were dropped by retention.
    #[error(
        "entry {from} of shard {shard} was trimmed, the log begins at {first}; load a snapshot"
    )]
    Trimmed {
        /// The log.
        shard: ShardId,
        /// The entry that was asked for.
        from: Lsn,
        /// The first one there is.
        first: Lsn,
    },
    /// A value is larger than its place on disk allows.
    #[error("{what} of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The most that fits.
        limit: usize,
    },
    /// Data could not be made durable. What the page cache holds is unknown from here on.
    #[error("failed to make {} durable: {source}; the store has stopped, check the device and start again", path.display())]
    Sync {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Any other failure of the file system.
    #[error("failed to {doing} {}: {source}; check the device and start again", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier failure stopped the store; it takes nothing more.
    #[error("the store has stopped after a failure; start again")]
    Stopped,
}

impl StoreError {
    /// Names a failure of the file system after what the caller can do about it.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        let kind = source.kind();
        if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::Full { path, source };
        }
        if matches!(kind, io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) {
            return Self::ReadOnly { path, source };
        }
        Self::Io { doing, path, source }
    }

    pub(crate) fn sync(path: &Path, source: io::Error) -> Self {
        Self::Sync { path: path.to_path_buf(), source }
    }

    pub(crate) fn damaged(damage: Damage) -> Self {
        Self::Damaged(Box::new(damage))
    }
}

fn holder_text(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// A place on disk whose bytes are not what was written, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// First bad byte, as far as known.
    pub offset: u64,
    /// The entries that cannot be read, when the damage hides entries: shard, first, last.
    pub entries: Option<(ShardId, Lsn, Lsn)>,
    /// What is wrong.
    pub what: &'static str,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is damaged at byte {}: {}", self.path.display(), self.offset, self.what)?;
        match self.entries {
            Some((shard, first, last)) => {
                write!(f, " (entries {first} to {last} of shard {shard})")
            }
            None => Ok(()),
        }
    }
}
