//! Where each entry lies: per shard the runs of entries, with a sparse list of offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use antiphon_proto::{Batch, Chain, EntryId, Epoch, Lsn, ShardId};

use super::segment::Segment;
use crate::{Bounds, Position};

/// What readers and the writer share about the log.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) shards: BTreeMap<ShardId, ShardIndex>,
    /// Segments in which damage was met in this run and not mended: they get no index file.
    pub(crate) damaged: BTreeSet<u64>,
}

/// Where a shard's entries lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ShardIndex {
    /// The entry before the first readable one.
    pub(crate) base: Position,
    /// The last entry.
    pub(crate) end: Position,
    /// Rising and apart; a hole between two is damage.
    pub(crate) runs: Vec<Run>,
    /// First entry of each epoch, rising.
    pub(crate) epochs: Vec<EntryId>,
    /// The least entry that controls in the active segment left of earlier segments.
    pub(crate) kept: Option<Lsn>,
    /// Whether a control in the active segment voided all earlier segments.
    pub(crate) restarted: bool,
    /// After damage: the next frame may lie anywhere.
    pub(crate) adrift: bool,
    /// After a cut: void entries lie between the last run and the next one.
    pub(crate) apart: bool,
}

/// Entries that follow one another in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) segment: u64,
    pub(crate) first: Lsn,
    pub(crate) last: Lsn,
    /// Never empty; the first point is the run's first entry.
    pub(crate) points: Vec<Point>,
}

/// An entry whose place is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) lsn: Lsn,
    /// Where its frame begins.
    pub(crate) offset: u64,
    /// Where the records of its group end.
    pub(crate) group_end: u64,
    /// The chain hash before it.
    pub(crate) before: Chain,
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) group_end: u64,
    /// How far apart points are at least. Unit: bytes.
    pub(crate) spacing: u64,
}

impl ShardIndex {
    /// A log that begins behind a position.
    pub(crate) fn starting_at(base: Position) -> Self {
        let mut this = Self { base, end: base, ..Self::default() };
        if base.id != EntryId::ZERO {
            this.epochs.push(base.id);
        }
        this
    }

    /// Notes one frame, which is the next one, or stands behind a hole.
    pub(crate) fn push(&mut self, place: Place, position: Position, before: Chain) {
        let lsn = position.id.lsn;
        assert!(lsn > self.end.id.lsn, "entries are noted in order");
        let follows = self.end.id.lsn.next() == lsn && !std::mem::take(&mut self.apart);
        if self.epochs.last().is_none_or(|last| last.epoch < position.id.epoch) {
            self.epochs.push(position.id);
        }
        let point = Point { lsn, offset: place.offset, group_end: place.group_end, before };
        match self.runs.last_mut() {
            Some(run) if run.segment == place.segment && run.last.next() == lsn && follows => {
                run.last = lsn;
                let far =
                    run.points.last().is_none_or(|p| place.offset >= p.offset + place.spacing);
                if far {
                    run.points.push(point);
                }
            }
            Some(_) | None => self.runs.push(Run {
                segment: place.segment,
                first: lsn,
                last: lsn,
                points: vec![point],
            }),
        }
        self.end = position;
    }

    /// The log goes on behind this entry, which cannot be read itself.
    pub(crate) fn skip_to(&mut self, position: Position) {
        if self.epochs.last().is_none_or(|last| last.epoch < position.id.epoch) {
            self.epochs.push(position.id);
        }
        self.end = position;
    }

    /// Notes a batch that lies in one piece at a place.
    pub(crate) fn push_batch(&mut self, place: Place, batch: &Batch) {
        let end = Position { id: batch.last(), chain: batch.chain(), hlc: batch.last_hlc() };
        let length = u64::try_from(batch.bytes().len()).expect("a length in memory");
        if let Some(run) = self.runs.last_mut()
            && run.segment == place.segment
            && run.last.next() == batch.first().lsn
            && !self.apart
            && self.end.id.epoch == batch.last().epoch
            && run.points.last().is_some_and(|p| place.offset + length < p.offset + place.spacing)
        {
            run.last = batch.last().lsn;
            self.end = end;
            return;
        }
        let (mut at, mut before) = (place, batch.before());
        for frame in batch.frames() {
            let Frame { id, chain, hlc, bytes } = Frame::of(&frame);
            self.push(at, Position { id, chain, hlc }, before);
            (at.offset, before) = (at.offset + bytes, chain);
        }
    }

    /// Entries after the position are void.
    pub(crate) fn cut(&mut self, to: Position, active: u64) {
        let keep = to.id.lsn;
        while self.runs.last().is_some_and(|run| run.first > keep) {
            self.runs.pop();
        }
        if let Some(run) = self.runs.last_mut()
            && run.last > keep
        {
            run.last = keep;
            run.points.retain(|point| point.lsn <= keep);
        }
        self.epochs.retain(|first| first.lsn <= keep);
        // What the cut left of earlier segments must be told to who reads this one's index.
        let reaches_back = self.runs.last().is_none_or(|run| run.segment < active);
        if reaches_back {
            self.kept = Some(self.kept.map_or(keep, |least| least.min(keep)));
        }
        self.end = to;
        self.apart = true;
        if keep < self.base.id.lsn {
            self.base = to;
        }
    }

    /// All entries are void, the log goes on behind the position.
    pub(crate) fn restart(&mut self, at: Position) {
        *self = Self { restarted: true, ..Self::starting_at(at) };
    }

    /// A new segment is begun.
    pub(crate) fn begin_segment(&mut self) {
        self.kept = None;
        self.restarted = false;
    }

    /// Forgets the runs in segments before `segment`; `start` is where the shard stood there.
    pub(crate) fn trim(&mut self, segment: u64, start: Option<Position>) {
        let gone = self.runs.partition_point(|run| run.segment < segment);
        if gone == 0 {
            return;
        }
        let base = match self.runs.get(gone) {
            None => self.end,
            Some(run) => self.before(run, start),
        };
        self.runs.drain(..gone);
        self.base = base;
        // The epoch that holds the base stays; those wholly before it go.
        let passed = self.epochs.partition_point(|first| first.lsn <= base.id.lsn);
        self.epochs.drain(..passed.saturating_sub(1));
    }

    /// The entry before a run, as far as it is known.
    fn before(&self, run: &Run, start: Option<Position>) -> Position {
        if let Some(start) = start.filter(|start| start.id.lsn.next() == run.first) {
            return start;
        }
        let id = self.entry(run.first.prev()).unwrap_or(self.base.id);
        let hlc = start.map_or(self.base.hlc, |start| start.hlc.min(self.end.hlc));
        Position { id, chain: run.point(run.first).before, hlc }
    }

    /// The run that holds an entry.
    pub(crate) fn run(&self, lsn: Lsn) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.first <= lsn);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (run.last >= lsn).then_some(run)
    }

    /// The first run that begins behind an entry.
    pub(crate) fn run_after(&self, lsn: Lsn) -> Option<&Run> {
        self.runs.get(self.runs.partition_point(|run| run.first <= lsn))
    }

    /// Whether any of these entries belongs to the log and cannot be read.
    pub(crate) fn lacks(&self, first: Lsn, last: Lsn) -> bool {
        let mut at = first.max(self.base.id.lsn.next());
        while at <= last.min(self.end.id.lsn) {
            match self.run(at) {
                Some(run) => at = run.last.next(),
                None => return true,
            }
        }
        false
    }

    /// The identity of an entry of this log.
    pub(crate) fn entry(&self, lsn: Lsn) -> Option<EntryId> {
        if lsn == self.base.id.lsn {
            return Some(self.base.id);
        }
        self.run(lsn)?;
        let after = self.epochs.partition_point(|first| first.lsn <= lsn);
        let epoch = self.epochs.get(after.checked_sub(1)?)?.epoch;
        Some(EntryId::new(epoch, lsn))
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let first = self.runs.first().and_then(|run| self.entry(run.first));
        Bounds { base: self.base, first, last: self.end }
    }

    /// The epochs of the entries there are, with the first entry of each.
    pub(crate) fn epochs(&self) -> Vec<(Epoch, Lsn)> {
        self.epochs.iter().map(|first| (first.epoch, first.lsn)).collect()
    }
}

impl Run {
    /// The last known place at or before an entry of the run.
    pub(crate) fn point(&self, lsn: Lsn) -> Point {
        let after = self.points.partition_point(|point| point.lsn <= lsn);
        *self.points.get(after.saturating_sub(1)).expect("a run has a point at its first entry")
    }
}

/// The fields of a frame that the index keeps.
struct Frame {
    id: EntryId,
    chain: Chain,
    hlc: antiphon_proto::Hlc,
    bytes: u64,
}

impl Frame {
    fn of(frame: &antiphon_proto::Frame<'_>) -> Self {
        Self {
            id: frame.header.id,
            chain: frame.chain,
            hlc: frame.header.hlc,
            bytes: u64::try_from(frame.bytes.len()).expect("a length in memory"),
        }
    }
}

#[cfg(test)]
mod tests;
