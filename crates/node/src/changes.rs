//! Stable entries as a stream: resumable, without gaps, and honest about what is gone.

use antiphon_proto::{Batch, EntryId, Frame, Hlc, Kind, Lsn, SessionWrite, ShardId, Token};
use antiphon_store::{Damage, LogReader, StoreError};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::disk::{Disk, Done, damaged};
use crate::status::Progress;

/// Bytes read from the log at a time.
const READ_BYTES: usize = 1 << 20;

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the first entry that the log still holds.
    Oldest,
    /// Behind the newest stable entry.
    Now,
    /// Behind this position: everything after it and nothing before.
    After(Lsn),
}

/// A stable entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Names it for ever; resume behind its position.
    pub token: Token,
    /// When it was appended.
    pub at: Hlc,
    /// What it carries.
    pub payload: Bytes,
}

/// Why a subscription can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangesError {
    /// Entries between the subscriber's position and this one are no longer in the log.
    #[error("the log begins with entry {first} now; take a snapshot of the state and resume there")]
    Trimmed {
        /// The first entry that is left.
        first: Lsn,
    },
    /// The log can't be read.
    #[error("the log can't be read: {0}")]
    Log(String),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// The log of a node, for reading its stable entries from any thread.
#[derive(Debug, Clone)]
pub struct LogSource {
    reader: LogReader,
    report: mpsc::UnboundedSender<Done>, // of damage; the shard mends it
    progress: watch::Receiver<Progress>,
}

impl LogSource {
    pub(crate) fn new(disk: &Disk, progress: watch::Receiver<Progress>) -> Self {
        Self { reader: disk.reader(), report: disk.report(), progress }
    }

    /// Subscribes to stable entries.
    #[must_use]
    pub fn changes(&self, from: From) -> Subscription {
        let next = match from {
            From::Oldest => self.reader.bounds(ShardId::default()).base.id.lsn.next(),
            From::Now => self.progress.borrow().stable.next(),
            From::After(lsn) => lsn.next(),
        };
        Subscription { source: self.clone(), next, ready: Vec::new().into_iter() }
    }
}

/// A stream of stable entries, in order.
#[derive(Debug)]
pub struct Subscription {
    source: LogSource,
    next: Lsn,
    ready: std::vec::IntoIter<Change>,
}

impl Subscription {
    /// The next change; waits for it. Entries that carry no data are passed over. May be
    /// cancelled without loss.
    ///
    /// # Errors
    /// [`ChangesError`]; after [`ChangesError::Trimmed`] a new subscription is needed.
    pub async fn next(&mut self) -> Result<Change, ChangesError> {
        loop {
            if let Some(change) = self.ready.next() {
                return Ok(change);
            }
            let stable = self.stable_from(self.next).await?;
            let reader = self.source.reader.clone();
            let (after, shard) = (self.next.prev(), ShardId::default());
            let read =
                tokio::task::spawn_blocking(move || reader.read(shard, after.next(), READ_BYTES));
            let batch = match read.await {
                Ok(Ok(batch)) => batch,
                Ok(Err(StoreError::Trimmed { first, .. })) => {
                    return Err(ChangesError::Trimmed { first });
                }
                Ok(Err(StoreError::Damaged(damage))) => return Err(self.damaged(damage).await),
                Ok(Err(error)) => return Err(ChangesError::Log(error.to_string())),
                Err(error) => return Err(ChangesError::Log(error.to_string())),
            };
            // Stable at the primary may run ahead of what this node's own disk holds.
            let Some(batch) = batch.and_then(|batch| batch.up_to(stable)) else {
                self.progressed().await?;
                continue;
            };
            self.next = batch.last().lsn.next();
            self.ready = changes_of(shard, &batch).into_iter();
        }
    }

    /// Whether stable entries lie behind the position, so that a change may be there at once.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.ready.as_slice().is_empty() || self.source.progress.borrow().applied >= self.next
    }

    /// Tells the shard, which fetches the entries from another node: a new subscription at the
    /// same position finds them.
    async fn damaged(&self, damage: Box<Damage>) -> ChangesError {
        let (reader, report) = (self.source.reader.clone(), self.source.report.clone());
        let text = damage.to_string();
        let told = tokio::task::spawn_blocking(move || {
            // The shard's task is gone only when the node is.
            drop(report.send(damaged(&reader, None, damage)));
        });
        match told.await {
            Ok(()) => ChangesError::Log(text),
            Err(error) => ChangesError::Log(error.to_string()),
        }
    }

    /// Waits until the entry at `lsn` is stable; returns how far entries are.
    async fn stable_from(&mut self, lsn: Lsn) -> Result<Lsn, ChangesError> {
        let reached = self.source.progress.wait_for(|progress| progress.applied >= lsn).await;
        reached.map(|progress| progress.applied).map_err(|_gone| ChangesError::Stopped)
    }

    async fn progressed(&mut self) -> Result<(), ChangesError> {
        self.source.progress.changed().await.map_err(|_gone| ChangesError::Stopped)
    }

    /// The position behind which the next change lies: where to resume.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.ready.as_slice().first().map_or(self.next, |change| change.token.entry.lsn).prev()
    }
}

fn changes_of(shard: ShardId, batch: &Batch) -> Vec<Change> {
    let data = batch.frames().filter_map(|frame| Some((frame.header, data_of(&frame)?)));
    data.map(|(header, payload)| Change {
        token: Token { shard, entry: EntryId::new(header.id.epoch, header.id.lsn) },
        at: header.hlc,
        payload: batch.bytes().slice_ref(payload),
    })
    .collect()
}

/// What an entry tells the state machine, if it tells it anything.
#[must_use]
pub fn data_of<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    match frame.header.kind {
        Kind::Data => Some(frame.payload),
        // A stable entry was applied, so it can be read.
        Kind::SessionData => SessionWrite::decode(frame.payload).ok().map(|write| write.payload),
        Kind::EpochStart | Kind::Noop | Kind::SessionOpen | Kind::SessionClose => None,
    }
}
