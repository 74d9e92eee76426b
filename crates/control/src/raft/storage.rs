//! The log of the register on a disk: entries, votes and the last snapshot in one file.
//!
//! All writes go through one queue to one thread, which makes what waits there durable in one
//! transaction: votes and entries are one ordered stream. Reads come from memory, which holds what
//! the file holds; the log is short, since a snapshot replaces it. After the first write that
//! fails nothing is written any more: what the disk has then is unknown.

mod writer;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_proto::NodeId;
use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use redb::Database;
use tokio::sync::{mpsc, oneshot};

use super::codec::{Read, WireEntry, WireLogId, WireMeta, WireVote, bytes, value};
use super::types::{Entry, LogId, SnapshotMeta, Types, Vote, failed};
use crate::{ClusterUuid, RecordError};
use writer::{Writer, load};

pub(crate) use writer::FORMAT;

/// Writes that may wait for the disk.
const QUEUE_MAX: usize = 256;

/// Entries of one read, by their bytes as far as they are known: what a message has room for.
pub(crate) const READ_BYTES_MAX: usize = 640 << 10;

/// A snapshot as it is kept: the library's part and the register's state.
pub(crate) type Kept = (SnapshotMeta, Bytes);

/// What is on the disk, or on its way there.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) entries: BTreeMap<u64, Entry>, // dense, behind `purged`
    pub(super) snapshot: Option<Kept>,
    pub(super) cluster: Option<ClusterUuid>,
}

/// A write, in the order in which it must reach the disk.
pub(super) enum Write {
    Vote(Vec<u8>, Done),
    Append(Vec<(u64, Vec<u8>)>, IOFlushed<Types>),
    Truncate {
        from: u64,
        done: Done,
    },
    Purge {
        to: u64,
        id: Vec<u8>,
    },
    Committed(Vec<u8>),
    Snapshot {
        meta: Vec<u8>,
        state: Bytes,
        done: Done,
    },
    Cluster(ClusterUuid, Done),
    /// The last: what comes behind it is not written.
    Close,
}

type Done = oneshot::Sender<io::Result<()>>;

/// Why a register's file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file could not be opened or read.
    #[error("the register's file: {0}")]
    File(String),
    /// The file's bytes are not what was written.
    #[error("the register's file is damaged: {what}; remove it and let the node join again")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The file belongs to another node.
    #[error("the register's file belongs to node {found}, not to node {expected}")]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Who opened it.
        expected: NodeId,
    },
    /// The file is of another version of this program.
    #[error("the register's file has format {found}, this program reads {FORMAT}")]
    Format {
        /// The file's.
        found: u64,
    },
}

impl From<RecordError> for StorageError {
    fn from(error: RecordError) -> Self {
        Self::Damaged { what: error.to_string() }
    }
}

/// The log. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    mirror: Arc<Mutex<Mirror>>,
    writes: mpsc::Sender<Write>,
}

/// The thread that writes. Ends when the last [`LogStore`] is gone.
#[derive(Debug)]
pub(crate) struct WriterThread(std::thread::JoinHandle<()>);

impl WriterThread {
    /// Waits until the last write is done and the file is closed.
    pub(crate) fn join(self) -> io::Result<()> {
        self.0.join().map_err(|_panic| io::Error::other("the register's writer panicked"))
    }
}

impl LogStore {
    /// Takes over the file of a node's register, or begins it.
    pub(crate) fn open(
        database: Database,
        me: NodeId,
    ) -> Result<(Self, WriterThread), StorageError> {
        let mirror = Arc::new(Mutex::new(load(&database, me)?));
        let (writes, queue) = mpsc::channel(QUEUE_MAX);
        let writer = Writer::new(database, queue);
        let thread = std::thread::Builder::new()
            .name("register".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StorageError::File(error.to_string()))?;
        Ok((Self { mirror, writes }, WriterThread(thread)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn queue(&self, write: Write) -> io::Result<()> {
        self.writes.send(write).await.map_err(|_gone| stopped())
    }

    /// Queues a write and waits until it is durable.
    async fn wait(&self, write: impl FnOnce(Done) -> Write + Send) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.queue(write(done)).await?;
        answer.await.map_err(|_gone| stopped())?
    }

    /// Which cluster this register is of, once that is known.
    pub(crate) fn cluster(&self) -> Option<ClusterUuid> {
        self.lock().cluster
    }

    /// Remembers which cluster this is, for ever.
    pub(crate) async fn set_cluster(&self, cluster: ClusterUuid) -> io::Result<()> {
        self.wait(|done| Write::Cluster(cluster, done)).await?;
        self.lock().cluster = Some(cluster);
        Ok(())
    }

    /// Lets the writer end once all before is written.
    pub(crate) async fn close(&self) {
        // A writer that is gone has ended already.
        drop(self.queue(Write::Close).await);
    }

    /// The last snapshot.
    pub(crate) fn snapshot(&self) -> Option<Kept> {
        self.lock().snapshot.clone()
    }

    /// Replaces the last snapshot; it is durable when this returns.
    pub(crate) async fn save_snapshot(&self, meta: &SnapshotMeta, state: Bytes) -> io::Result<()> {
        let encoded = bytes::<WireMeta, _>(meta);
        let copy = state.clone();
        self.wait(|done| Write::Snapshot { meta: encoded, state: copy, done }).await?;
        self.lock().snapshot = Some((meta.clone(), state));
        Ok(())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the register's writer has stopped")
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        Ok(self.lock().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.lock().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let mirror = self.lock();
        let last = mirror.entries.values().next_back().map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id: mirror.purged, last_log_id: last.or(mirror.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let encoded = bytes::<WireVote, _>(vote);
        self.wait(|done| Write::Vote(encoded, done)).await?;
        self.lock().vote = Some(*vote);
        Ok(())
    }

    // Rides with the next write: a restart that knows an older one learns the newer from the
    // leader.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let Some(id) = committed else { return Ok(()) };
        self.lock().committed = Some(id);
        self.queue(Write::Committed(bytes::<WireLogId, _>(&id))).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let encode = |entry: &Entry| (entry.log_id.index, bytes::<WireEntry, _>(entry));
        let encoded = entries.iter().map(encode).collect();
        self.lock().entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
        self.queue(Write::Append(encoded, callback)).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index.saturating_add(1));
        drop(self.lock().entries.split_off(&from));
        self.wait(|done| Write::Truncate { from, done }).await
    }

    async fn purge(&mut self, id: LogId) -> io::Result<()> {
        {
            let mut mirror = self.lock();
            let next = id.index.saturating_add(1);
            mirror.entries = mirror.entries.split_off(&next);
            mirror.purged = mirror.purged.max(Some(id));
        }
        self.queue(Write::Purge { to: id.index, id: bytes::<WireLogId, _>(&id) }).await
    }
}

/// Reads back a value of the file.
pub(super) fn stored<W: Read>(what: &'static str, bytes: &[u8]) -> Result<W::Value, StorageError> {
    value::<W>(bytes).map_err(|error| StorageError::Damaged { what: format!("{what}: {error}") })
}

pub(super) fn broken(error: impl std::fmt::Display) -> io::Error {
    failed("write the register's file", error)
}
