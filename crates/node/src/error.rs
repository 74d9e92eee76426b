//! Errors of the node: why it can't start, why it stopped.

use antiphon_proto::{EntryId, Halt, Lsn};
use antiphon_store::StoreError;

use crate::machine::ApplyError;

/// Why a node stopped by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The disk failed. What it holds of the last write is not known, so it is not tried again.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// Bytes on disk are not what was written, and no other node has them.
    #[error("{0}; there is no other node to fetch it from")]
    Alone(String),
    /// The disk is full. What was acknowledged is on it.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Going on could lose data.
    #[error(transparent)]
    Halted(Halt),
    /// The links ended by themselves.
    #[error("the links to other nodes ended")]
    Links,
    /// The program in front of the shard panicked.
    #[error("the program in front of the shard failed")]
    Front,
    /// A stable entry that the state machine can't understand.
    #[error("entry {0} can't be applied: {1}; run the version that wrote it, or a newer one")]
    Apply(EntryId, ApplyError),
}

impl From<&StoreError> for Fatal {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Full { .. } => Self::Full(error.to_string()),
            StoreError::InUse { .. }
            | StoreError::OtherNode { .. }
            | StoreError::OtherCluster { .. }
            | StoreError::Newer { .. }
            | StoreError::NoSuperblock { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Damaged(_)
            | StoreError::Trimmed { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Sync { .. }
            | StoreError::Io { .. }
            | StoreError::Stopped => Self::Disk(error.to_string()),
        }
    }
}

/// Why a node can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error("configuration: {0}")]
    Config(String),
    /// The data directory can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Entries are damaged, and no other node has them. Nothing was cut.
    #[error("entries {first} to {last} are damaged and there is no other node to fetch them from")]
    Alone {
        /// The first of them.
        first: Lsn,
        /// The last of them.
        last: Lsn,
    },
    /// The state could not be restored from its snapshot.
    #[error("the snapshot at entry {at} can't be restored: {error}")]
    Restore {
        /// The snapshot's position.
        at: EntryId,
        /// What was wrong.
        error: std::io::Error,
    },
    /// Something of the node's own state on disk can't be understood.
    #[error("{what} can't be read: {why}")]
    State {
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The links can't be set up.
    #[error("links: {0}")]
    Links(String),
    /// The operating system refused a thread or a runtime.
    #[error("can't start the shard's thread: {0}")]
    Thread(#[from] std::io::Error),
}
