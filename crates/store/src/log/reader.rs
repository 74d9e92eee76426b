//! Reading entries from any position, on any thread, without stopping the writer.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use antiphon_proto::{
    Batch, Chain, EntryId, Epoch, Frame, FrameError, HEADER_BYTES, Lsn, ShardId, frame_bytes,
};
use bytes::{Bytes, BytesMut};

use super::Shared;
use super::group::{GROUP_HEADER, behind, is_control};
use super::index::{Index, Point, ShardIndex};
use super::replay::position_of;
use super::segment::Segment;
use crate::{Bounds, Damage, Planted, Position, StoreError};

/// Reads at least this much at a time. Unit: bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// A handle for reading the log. It sees what was written, durable or not.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(super) shared: Arc<Shared>,
}

/// Where a reading begins and how far it may go.
struct Start {
    segment: Arc<Segment>,
    point: Point,
    /// The last entry of the run.
    last: Lsn,
    planted: Planted,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// A reader of segments that nobody writes, as far as it knows.
    pub(crate) fn of(
        segments: BTreeMap<u64, Arc<Segment>>,
        shards: BTreeMap<ShardId, ShardIndex>,
    ) -> Self {
        let index = RwLock::new(Index { segments, shards, ..Index::default() });
        let planted = Planted::default();
        Self { shared: Arc::new(Shared { index, planted, home: None }) }
    }

    /// Where a shard's log begins and ends.
    #[must_use]
    pub fn bounds(&self, shard: ShardId) -> Bounds {
        self.shared.read().shards.get(&shard).map_or_else(Bounds::default, |s| s.bounds())
    }

    /// The shards that have a log.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardId> {
        self.shared.read().shards.keys().copied().collect()
    }

    /// The identity of an entry, without reading it; none when it is not in the log.
    #[must_use]
    pub fn entry_at(&self, shard: ShardId, lsn: Lsn) -> Option<EntryId> {
        self.shared.read().shards.get(&shard)?.entry(lsn)
    }

    /// The epochs of the entries there are, with the first entry of each.
    #[must_use]
    pub fn epochs(&self, shard: ShardId) -> Vec<(Epoch, Lsn)> {
        self.shared.read().shards.get(&shard).map(|s| s.epochs()).unwrap_or_default()
    }

    /// The entries from `from` on: at least one, then as many as fit `bytes_max`, up to the
    /// end of what lies together. None when `from` is behind the end.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`], [`StoreError::Damaged`], or what the disk says.
    pub fn read(
        &self,
        shard: ShardId,
        from: Lsn,
        bytes_max: usize,
    ) -> Result<Option<Batch>, StoreError> {
        let Some(start) = self.start(shard, from)? else { return Ok(None) };
        let read = Walk::new(&start, shard, from, bytes_max).run();
        match read {
            Ok((before, bytes)) => {
                let batch = Batch::decode(shard, before, bytes).map_err(|_why| {
                    damaged(&start, shard, from, "the entries do not continue the log")
                })?;
                Ok(Some(batch))
            }
            // The segment may have been trimmed and used again under our hands.
            Err(error) => match self.start(shard, from)? {
                Some(again) if again.segment.number == start.segment.number => Err(error),
                Some(_) | None => self.read(shard, from, bytes_max),
            },
        }
    }

    /// Where an entry stands, with its chain hash and time.
    ///
    /// # Errors
    /// As [`Self::read`]; [`StoreError::Trimmed`] when it lies before the log.
    pub fn position(&self, shard: ShardId, lsn: Lsn) -> Result<Position, StoreError> {
        let bounds = self.bounds(shard);
        if lsn == bounds.last.id.lsn {
            return Ok(bounds.last);
        }
        if lsn == bounds.base.id.lsn {
            return Ok(bounds.base);
        }
        match self.read(shard, lsn, 0)? {
            Some(batch) => {
                Ok(Position { id: batch.last(), chain: batch.chain(), hlc: batch.last_hlc() })
            }
            None => Ok(bounds.last),
        }
    }

    fn start(&self, shard: ShardId, from: Lsn) -> Result<Option<Start>, StoreError> {
        let index = self.shared.read();
        let Some(of) = index.shards.get(&shard) else { return Ok(None) };
        if from > of.end.id.lsn {
            return Ok(None);
        }
        if from <= of.base.id.lsn {
            let first = of.base.id.lsn.next();
            return Err(StoreError::Trimmed { shard, from, first });
        }
        let Some(run) = of.run(from) else {
            let next = of.run_after(from).map_or(of.end.id.lsn, |run| run.first.prev());
            let segment = index.segments.values().next_back();
            return Err(StoreError::damaged(Damage {
                path: segment.map(|segment| segment.path.clone()).unwrap_or_default(),
                offset: 0,
                entries: Some((shard, from, next)),
                what: "entries are missing",
            }));
        };
        let segment = index.segments.get(&run.segment).expect("a run's segment is open");
        let (segment, point) = (Arc::clone(segment), run.point(from));
        Ok(Some(Start { segment, point, last: run.last, planted: self.shared.planted }))
    }
}

fn damaged(start: &Start, shard: ShardId, lsn: Lsn, what: &'static str) -> StoreError {
    StoreError::damaged(Damage {
        path: start.segment.path.clone(),
        offset: start.point.offset,
        entries: Some((shard, lsn, lsn)),
        what,
    })
}

/// One reading through a segment from a known place.
struct Walk<'a> {
    start: &'a Start,
    shard: ShardId,
    from: Lsn,
    bytes_max: usize,
    /// The bytes at hand begin here in the file.
    base: u64,
    buffer: Vec<u8>,
    at: u64,
    group_end: u64,
    /// Chain hash after the last frame of the shard that was passed.
    chain: Chain,
    next: Lsn,
    out: BytesMut,
    before: Chain,
}

/// What stands at a place in a segment.
enum Step {
    /// A frame of this length, to be looked at.
    Frame(usize),
    /// A record or padding of no interest.
    Passed,
}

impl<'a> Walk<'a> {
    fn new(start: &'a Start, shard: ShardId, from: Lsn, bytes_max: usize) -> Self {
        Self {
            start,
            shard,
            from,
            bytes_max,
            base: start.point.offset,
            buffer: Vec::new(),
            at: start.point.offset,
            group_end: start.point.group_end,
            chain: start.point.before,
            next: start.point.lsn,
            out: BytesMut::new(),
            before: start.point.before,
        }
    }

    /// The chain hash before the first entry, and the frames.
    fn run(mut self) -> Result<(Chain, Bytes), StoreError> {
        while self.next <= self.start.last {
            match self.pass() {
                Ok(true) => {}
                Ok(false) => break,
                // What lies before the damage is good, and is not held back for it.
                Err(StoreError::Damaged(_)) if !self.out.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok((self.before, self.out.freeze()))
    }

    /// Passes one record; false when the entry that stands here is too much.
    fn pass(&mut self) -> Result<bool, StoreError> {
        let Step::Frame(length) = self.step()? else { return Ok(true) };
        let bad = |what| damaged(self.start, self.shard, self.next, what);
        let bytes = self.at_hand(length).ok_or_else(|| bad("the segment ends too early"))?;
        let frame = Frame::decode(bytes).map_err(|_why| bad("an entry is not readable"))?;
        if frame.header.shard != self.shard {
            self.at += size(length);
            return Ok(true);
        }
        let position = position_of(&frame);
        if position.id.lsn != self.next {
            return Err(bad("an entry does not continue the log"));
        }
        if self.next >= self.from {
            if !self.out.is_empty() && self.out.len() + length > self.bytes_max {
                return Ok(false);
            }
            if self.out.is_empty() {
                self.before = self.chain;
            }
            let mut out = std::mem::take(&mut self.out);
            out.extend_from_slice(self.at_hand(length).unwrap_or_default());
            self.out = out;
        }
        self.chain = position.chain;
        self.next = self.next.next();
        self.at += size(length);
        Ok(true)
    }

    /// Looks at what stands here, with all its bytes at hand.
    fn step(&mut self) -> Result<Step, StoreError> {
        if self.at >= self.group_end {
            return self.next_group();
        }
        self.fetch(HEADER_BYTES)?;
        let rest = usize::try_from(self.group_end - self.at).unwrap_or(usize::MAX);
        match frame_bytes(self.rest()) {
            Ok(length) if length <= rest => {
                self.fetch(length)?;
                Ok(Step::Frame(length))
            }
            Err(FrameError::Magic) if is_control(self.rest()) => {
                self.at += GROUP_HEADER;
                Ok(Step::Passed)
            }
            Ok(_) | Err(_) => {
                Err(damaged(self.start, self.shard, self.next, "an entry is not readable"))
            }
        }
    }

    fn next_group(&mut self) -> Result<Step, StoreError> {
        self.at = behind(self.group_end, self.start.planted);
        self.fetch(HEADER_BYTES)?;
        let group = super::group::GroupHeader::decode_any(self.rest())
            .filter(|group| group.segment == self.start.segment.number);
        let Some(group) = group else {
            return Err(damaged(self.start, self.shard, self.next, "a group is not readable"));
        };
        self.at += GROUP_HEADER;
        self.group_end = self.at.saturating_add(group.body_bytes);
        Ok(Step::Passed)
    }

    fn rest(&self) -> &[u8] {
        let skip = usize::try_from(self.at - self.base).unwrap_or(usize::MAX);
        self.buffer.get(skip..).unwrap_or_default()
    }

    fn at_hand(&self, length: usize) -> Option<&[u8]> {
        self.rest().get(..length)
    }

    /// Brings at least `need` bytes from here on to hand, if the file has them.
    fn fetch(&mut self, need: usize) -> Result<(), StoreError> {
        if self.rest().len() >= need {
            return Ok(());
        }
        let length = need.max(CHUNK_BYTES.max(self.bytes_max.min(1 << 20)));
        let kept = self.rest().len();
        let skip = self.buffer.len() - kept;
        self.buffer.drain(..skip);
        self.base = self.at;
        self.buffer.resize(length, 0);
        let there = self.buffer.get_mut(kept..).unwrap_or_default();
        let got = self
            .start
            .segment
            .file
            .read_at(there, self.at + size(kept))
            .map_err(|e| StoreError::io("read", &self.start.segment.path, e))?;
        self.buffer.truncate(kept + got);
        Ok(())
    }
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length in memory fits 64 bits")
}
