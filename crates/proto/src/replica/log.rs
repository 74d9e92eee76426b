//! What the machine knows of its log: where it begins and ends, where each epoch of it ends, and
//! its newest entries, which children and the state machine are served from.

use std::collections::VecDeque;

use crate::{Batch, BatchBuilder, Chain, Cut, EntryId, Epoch, Hlc, Lsn, ShardId};

/// A log as it was found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStart {
    /// The entry before the first.
    pub base: EntryId,
    /// The end.
    pub end: LogEnd,
    /// Where each epoch of the log ends, oldest first; epochs before the first entry are not in.
    pub runs: Vec<Cut>,
}

impl LogStart {
    /// A log without entries.
    #[must_use]
    pub const fn empty() -> Self {
        Self { base: EntryId::ZERO, end: LogEnd::EMPTY, runs: Vec::new() }
    }
}

/// The end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    /// The last entry.
    pub last: EntryId,
    /// The chain hash after it.
    pub chain: Chain,
    /// Its time.
    pub hlc: Hlc,
}

impl LogEnd {
    /// The end of a log without entries.
    pub const EMPTY: Self = Self { last: EntryId::ZERO, chain: Chain::ZERO, hlc: Hlc::ZERO };
}

#[derive(Debug)]
pub(super) struct LogView {
    base: EntryId,
    end: LogEnd,
    durable: Lsn,          // base.lsn <= durable <= end.last.lsn
    runs: Vec<Cut>,        // epochs rise, ends rise, the last ends at end.last.lsn
    tail: VecDeque<Batch>, // contiguous, up to the end; may be empty
    tail_bytes: usize,
    unreadable: bool, // entries within it are damaged on this disk
}

impl LogView {
    pub(super) fn new(start: LogStart) -> Self {
        let ends = start.runs.last().map_or(start.base.lsn, |run| run.end);
        assert_eq!(ends, start.end.last.lsn, "the last epoch ends where the log does");
        Self {
            base: start.base,
            durable: start.end.last.lsn,
            end: start.end,
            runs: start.runs,
            tail: VecDeque::new(),
            tail_bytes: 0,
            unreadable: false,
        }
    }

    pub(super) const fn set_unreadable(&mut self, unreadable: bool) {
        self.unreadable = unreadable;
    }

    pub(super) const fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    pub(super) const fn base(&self) -> EntryId {
        self.base
    }

    pub(super) const fn last(&self) -> EntryId {
        self.end.last
    }

    pub(super) const fn chain(&self) -> Chain {
        self.end.chain
    }

    pub(super) const fn hlc(&self) -> Hlc {
        self.end.hlc
    }

    pub(super) const fn durable(&self) -> Lsn {
        self.durable
    }

    pub(super) fn runs(&self) -> &[Cut] {
        &self.runs
    }

    pub(super) fn builder(&self, shard: ShardId) -> BatchBuilder {
        BatchBuilder::new(shard, self.end.last, self.end.chain, self.end.hlc)
    }

    /// The epoch of the entry at `lsn`; none outside of the log.
    pub(super) fn epoch_at(&self, lsn: Lsn) -> Option<Epoch> {
        if lsn == self.base.lsn {
            return Some(self.base.epoch);
        }
        if lsn < self.base.lsn {
            return None;
        }
        let run = self.runs.partition_point(|run| run.end < lsn);
        self.runs.get(run).map(|run| run.epoch)
    }

    pub(super) fn contains(&self, id: EntryId) -> bool {
        self.epoch_at(id.lsn) == Some(id.epoch)
    }

    /// Whether time goes on from the log's last entry to the batch's first. A peer's batch may
    /// not: the log could never be read back in one piece.
    pub(super) fn is_later(&self, batch: &Batch) -> bool {
        batch.frames().next().is_some_and(|frame| frame.header.hlc > self.end.hlc)
    }

    pub(super) fn push(&mut self, batch: Batch) {
        assert_eq!(batch.first().lsn, self.end.last.lsn.next(), "a log has no gap");
        assert_eq!(batch.before(), self.end.chain, "a log is one chain");
        for frame in batch.frames() {
            let id = frame.header.id;
            match self.runs.last_mut() {
                Some(run) if run.epoch == id.epoch => run.end = id.lsn,
                _ => self.runs.push(Cut { epoch: id.epoch, end: id.lsn }),
            }
        }
        self.end = LogEnd { last: batch.last(), chain: batch.chain(), hlc: batch.last_hlc() };
        self.tail_bytes += batch.bytes().len();
        self.tail.push_back(batch);
    }

    pub(super) fn set_durable(&mut self, lsn: Lsn) {
        assert!(lsn <= self.end.last.lsn, "only what was appended becomes durable");
        self.durable = self.durable.max(lsn);
    }

    /// The log was cut and ends here now.
    pub(super) fn truncate(&mut self, end: LogEnd) {
        assert!(end.last.lsn >= self.base.lsn, "a cut keeps what was trimmed");
        assert!(self.contains(end.last), "a cut ends at an entry of the log");
        self.end = end;
        self.durable = self.durable.min(end.last.lsn);
        self.runs.retain_mut(|run| {
            let starts_before = run.epoch <= end.last.epoch;
            run.end = run.end.min(end.last.lsn);
            starts_before && end.last.lsn > self.base.lsn
        });
        // Cuts are rare; what memory held is read from the disk again if it is needed.
        self.tail.clear();
        self.tail_bytes = 0;
    }

    /// The log's first entries were removed; `base` is the last of those.
    pub(super) fn trim(&mut self, base: EntryId) {
        assert!(self.contains(base), "only entries of the log are trimmed");
        assert!(base.lsn <= self.durable, "only durable entries are trimmed");
        self.base = base;
        self.runs.retain(|run| run.end > base.lsn);
        while self.tail.front().is_some_and(|batch| batch.last().lsn <= base.lsn) {
            self.pop_front();
        }
    }

    /// The batch in memory that follows `lsn`, without what is not behind it.
    pub(super) fn after(&self, lsn: Lsn) -> Option<Batch> {
        let at = self.tail.partition_point(|batch| batch.last().lsn <= lsn);
        let batch = self.tail.get(at)?;
        if batch.first().lsn == lsn.next() {
            return Some(batch.clone());
        }
        if batch.first().lsn > lsn { None } else { batch.after(lsn) }
    }

    /// Lets go of the oldest batches while memory holds more than `bytes_max`, but of nothing
    /// that is not durable. What is evicted is read from the disk when it is needed.
    pub(super) fn evict(&mut self, bytes_max: usize) {
        while self.tail_bytes > bytes_max
            && self.tail.front().is_some_and(|batch| batch.last().lsn <= self.durable)
        {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(batch) = self.tail.pop_front() {
            self.tail_bytes -= batch.bytes().len();
        }
    }
}

#[cfg(test)]
mod tests;
