//! The node's disk: operations go to the log writer's thread in order, completions come back as
//! events. Reads go to other threads, so that a replica that is far behind delays nobody.

mod heal;
mod open;
mod snapshots;

use std::time::Instant;

use antiphon_proto::{Batch, EntryId, Load, LogEnd, Lsn, ShardId};
use antiphon_store::{Completion, Damage, LogReader, LogStats, Op, Position, StoreError, Writer};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::error::Fatal;

pub(crate) use open::Opened;
pub(crate) use snapshots::{Shelf, SnapshotDone, Stored};

/// More bytes than this are not written on the shard's own thread.
const HERE_BYTES_MAX: usize = 256 << 10;
/// Nor anything while the disk takes longer than this: clients and links would wait for it.
const HERE_SYNC_US_MAX: u64 = 1_000;

/// Something that the disk has done.
#[derive(Debug)]
pub(crate) enum Done {
    /// All entries up to this one are on disk.
    Durable(EntryId),
    /// A hard state is on disk.
    Persisted(u64),
    /// The log was cut and ends here.
    Truncated(LogEnd),
    /// The log's first entries were removed; this is the last of those.
    Trimmed(EntryId),
    /// Entries were read.
    Loaded {
        /// As asked.
        load: Load,
        /// What was read.
        batch: Option<Batch>,
    },
    /// Entries can't be read. The next opening finds that too.
    Damaged {
        /// Who wanted them; none when it was nobody of the machine.
        load: Option<Load>,
        /// Where, and which.
        damage: Box<Damage>,
    },
    /// A snapshot was written, or not.
    Snapshot(SnapshotDone),
    /// The disk failed, for good.
    Failed(Fatal),
}

/// Figures of the log's files.
#[derive(Debug, Clone, Default)]
pub struct DiskStats {
    /// The entry before the log's first.
    pub base: Lsn,
    /// What the log writer did.
    pub log: LogStats,
    /// Bytes that wait for the log writer.
    pub queued_bytes: usize,
    /// Bytes of entries that were appended in this run.
    pub appended_bytes: u64,
    /// Entries that were appended in this run.
    pub appended_entries: u64,
}

/// The disk of one shard.
#[derive(Debug)]
pub(crate) struct Disk {
    writer: Option<Writer>, // none once it was closed
    reader: LogReader,
    shelf: Shelf,
    done: mpsc::UnboundedSender<Done>,
    shard: ShardId,
    appended_bytes: u64,
    appended_entries: u64,
    snapshot_at_bytes: u64, // `appended_bytes` when the last snapshot was begun
    failed: bool,
    ready: Vec<Op>, // asked for in this turn and not handed over yet
    ready_bytes: usize,
    sync_us: u64, // how long a write and its sync took of late
}

impl Disk {
    pub(crate) fn append(&mut self, batch: Batch) {
        let bytes = batch.bytes().len();
        self.appended_bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        self.appended_entries += batch.last().lsn.since(batch.first().lsn) + 1;
        self.ready_bytes += bytes;
        self.ready.push(Op::Append { shard: self.shard, batch, ticket: 0 });
    }

    /// Hands over what was asked for in this turn. When `here` is wanted, little was gathered
    /// and the disk is quick, it is done at once: two changes of threads cost more than such a
    /// sync. What is done then comes back; everything else comes as an event.
    pub(crate) fn flush(&mut self, here: bool) -> Vec<Done> {
        if self.ready.is_empty() {
            return Vec::new();
        }
        let small = std::mem::take(&mut self.ready_bytes) <= HERE_BYTES_MAX;
        if here && small && self.sync_us <= HERE_SYNC_US_MAX {
            let mut done = Vec::new();
            let begun = Instant::now();
            let writer = self.writer.as_ref();
            if writer.is_some_and(|writer| writer.run_here(&mut self.ready, &mut done)) {
                let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.sync_us = (self.sync_us * 7 + took) / 8;
                let reader = self.reader.clone();
                return done.into_iter().filter_map(|done| completed(&reader, done)).collect();
            }
        } else {
            // A slow disk is tried again in a while: it may have been busy with something else.
            self.sync_us -= self.sync_us / 256;
        }
        for op in std::mem::take(&mut self.ready) {
            self.submit(op);
        }
        Vec::new()
    }

    pub(crate) fn persist(&mut self, ticket: u64, hard: Bytes) {
        self.ready.push(Op::Hard { shard: self.shard, state: hard, ticket });
    }

    pub(crate) fn truncate(&mut self, after: Lsn) {
        self.ready.push(Op::Truncate { shard: self.shard, lsn: after, ticket: 0 });
    }

    /// The machine bounds what is under way, so a full queue means that the writer is gone.
    fn submit(&mut self, op: Op) {
        let taken = self.writer.as_ref().is_some_and(|writer| writer.submit(op).is_ok());
        if !taken && !self.failed {
            self.failed = true;
            let why = "the log writer takes nothing more; check the device and start again";
            self.tell(Done::Failed(Fatal::Disk(why.to_owned())));
        }
    }

    /// Lets the log writer finish and closes the directory in order.
    pub(crate) fn close(&mut self) -> Result<(), StoreError> {
        drop(self.flush(false));
        self.writer.take().map_or(Ok(()), Writer::stop)
    }

    fn tell(&self, done: Done) {
        // The shard's task is gone only when the node is.
        drop(self.done.send(done));
    }

    /// Reads entries on another thread.
    pub(crate) fn load(&self, load: Load) {
        let (reader, done, shard) = (self.reader.clone(), self.done.clone(), self.shard);
        tokio::task::spawn_blocking(move || {
            let told = match reader.read(shard, load.after.next(), load.bytes_max) {
                Ok(batch) => Done::Loaded { load, batch },
                Err(StoreError::Trimmed { .. }) => Done::Loaded { load, batch: None },
                Err(StoreError::Damaged(damage)) => damaged(&reader, Some(load), damage),
                Err(error) => Done::Failed(Fatal::from(&error)),
            };
            drop(done.send(told));
        });
    }

    /// Removes whole segments behind `keep`, if more than `retain` bytes are there.
    pub(crate) fn trim(&mut self, keep: Lsn, retain: u64) {
        let ticket = 0;
        if let Some(lsn) = self.trim_point(keep, retain) {
            self.ready.push(Op::Trim { shard: self.shard, lsn, ticket });
        }
    }

    /// For those who read beside the shard's thread: where they tell of damage.
    pub(crate) fn report(&self) -> mpsc::UnboundedSender<Done> {
        self.done.clone()
    }

    pub(crate) fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// Bytes appended since the last snapshot was begun.
    pub(crate) const fn bytes_since_snapshot(&self) -> u64 {
        self.appended_bytes - self.snapshot_at_bytes
    }

    pub(crate) fn stats(&self) -> DiskStats {
        DiskStats {
            base: self.reader.bounds(self.shard).base.id.lsn,
            log: self.writer.as_ref().map(Writer::stats).unwrap_or_default(),
            queued_bytes: self.writer.as_ref().map_or(0, Writer::queued_bytes),
            appended_bytes: self.appended_bytes,
            appended_entries: self.appended_entries,
        }
    }
}

/// A completion of the log writer, as the shard hears it.
fn completed(reader: &LogReader, completion: Completion) -> Option<Done> {
    match completion {
        Completion::Appended { durable, .. } => Some(Done::Durable(durable.id)),
        Completion::HardSaved { ticket, .. } => Some(Done::Persisted(ticket)),
        Completion::Truncated { end, .. } => Some(Done::Truncated(log_end(end))),
        Completion::Restarted { .. } => None,
        Completion::Trimmed { shard, .. } => Some(Done::Trimmed(reader.bounds(shard).base.id)),
        Completion::Failed(error) => Some(Done::Failed(Fatal::from(&*error))),
    }
}

/// Damage that was met in reading, with its segment no longer believed.
pub(crate) fn damaged(reader: &LogReader, load: Option<Load>, damage: Box<Damage>) -> Done {
    let distrusted = match damage.entries {
        Some((shard, first, _)) => reader.distrust(shard, first),
        None => Ok(()),
    };
    match distrusted {
        Ok(()) => Done::Damaged { load, damage },
        Err(error) => Done::Failed(Fatal::from(&error)),
    }
}

/// A position of the store, in the protocol's words.
pub(crate) const fn log_end(position: Position) -> LogEnd {
    LogEnd { last: position.id, chain: position.chain, hlc: position.hlc }
}
