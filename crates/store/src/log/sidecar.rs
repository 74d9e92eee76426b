//! The index of a sealed segment, in a file beside it, so that opening does not scan it.
//!
//! It can always be made again from the segment; a missing or damaged one costs time only.

use std::path::Path;

use antiphon_proto::{Chain, EntryId, Epoch, Lsn, ShardId, StoreUuid};
use bytes::BufMut;

use super::index::{Point, Run, ShardIndex};
use super::segment::index_path;
use crate::disk::Disk;
use crate::envelope::{self, RecordKind};
use crate::fields::{Fields, put_position};
use crate::replace::{self, Durability};
use crate::{Position, StoreError};

const FILE_BYTES_MAX: u64 = 256 << 20;
const POINT_BYTES: usize = 40;

/// What a segment does to the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sidecar {
    pub(crate) segment: u64,
    /// Number of the first group after it.
    pub(crate) next_group: u64,
    /// The run that wrote its last group.
    pub(crate) incarnation: u64,
    pub(crate) effects: Vec<(ShardId, Effect)>,
}

/// What a segment does to the index of one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Where the shard begins anew, when it does.
    pub(crate) restart: Option<Position>,
    /// Entries after this one of earlier segments are void.
    pub(crate) kept: Option<Lsn>,
    pub(crate) end: Position,
    pub(crate) epochs: Vec<EntryId>,
    pub(crate) runs: Vec<Run>,
}

impl Effect {
    /// What the active segment did so far.
    pub(crate) fn of(shard: &ShardIndex, segment: u64) -> Self {
        let from = shard.runs.partition_point(|run| run.segment < segment);
        let runs = shard.runs.get(from..).unwrap_or_default().to_vec();
        let first = runs.first().map_or(shard.end.id.lsn.next(), |run| run.first);
        let epochs = shard.epochs.iter().filter(|epoch| epoch.lsn >= first).copied().collect();
        let restart = shard.restarted.then_some(shard.base);
        Self { restart, kept: shard.kept, end: shard.end, epochs, runs }
    }

    /// Does to a shard's index what replaying the segment would.
    pub(crate) fn apply(self, shard: &mut ShardIndex) {
        if let Some(at) = self.restart {
            shard.restart(at);
        } else if let Some(kept) = self.kept {
            // Chain and time of the cut do not matter: the end is set below.
            shard.cut(Position { id: EntryId::new(Epoch::ZERO, kept), ..Position::default() }, 0);
        }
        let last = shard.epochs.last().map_or(Epoch::ZERO, |last| last.epoch);
        shard.epochs.extend(self.epochs.into_iter().filter(|first| first.epoch > last));
        shard.runs.extend(self.runs);
        shard.end = self.end;
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16_le(u16::from(self.restart.is_some()) | u16::from(self.kept.is_some()) << 1);
        put_position(out, &self.restart.unwrap_or_default());
        out.put_u64_le(self.kept.unwrap_or_default().get());
        put_position(out, &self.end);
        put_count(out, self.epochs.len());
        for first in &self.epochs {
            out.put_u64_le(first.epoch.get());
            out.put_u64_le(first.lsn.get());
        }
        put_count(out, self.runs.len());
        for run in &self.runs {
            out.put_u64_le(run.first.get());
            out.put_u64_le(run.last.get());
            put_count(out, run.points.len());
            for point in &run.points {
                out.put_u64_le(point.lsn.get());
                out.put_u64_le(point.offset);
                out.put_u64_le(point.group_end);
                out.put_u128_le(point.before.get());
            }
        }
    }

    fn decode(fields: &mut Fields<'_>, segment: u64) -> Option<Self> {
        let flags = fields.u16()?;
        let restart = fields.position().map(|at| (flags & 1 == 1).then_some(at))?;
        let kept = fields.lsn().map(|kept| (flags & 2 == 2).then_some(kept))?;
        let end = fields.position()?;
        let mut epochs = Vec::new();
        for _ in 0..fields.count(16)? {
            epochs.push(EntryId::new(Epoch::new(fields.u64()?), fields.lsn()?));
        }
        let mut runs = Vec::new();
        for _ in 0..fields.count(20)? {
            runs.push(decode_run(fields, segment)?);
        }
        Some(Self { restart, kept, end, epochs, runs })
    }
}

fn decode_run(fields: &mut Fields<'_>, segment: u64) -> Option<Run> {
    let (first, last) = (fields.lsn()?, fields.lsn()?);
    let mut points = Vec::new();
    for _ in 0..fields.count(POINT_BYTES)? {
        points.push(Point {
            lsn: fields.lsn()?,
            offset: fields.u64()?,
            group_end: fields.u64()?,
            before: Chain::new(fields.u128()?),
        });
    }
    let begins = points.first().is_some_and(|point| point.lsn == first);
    (begins && first <= last).then_some(Run { segment, first, last, points })
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32_le(u32::try_from(count).expect("an index is under 4 G items"));
}

impl Sidecar {
    /// Writes it beside its segment. Not synced: it can be made again.
    pub(crate) fn save(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        store: StoreUuid,
    ) -> Result<(), StoreError> {
        let mut body = Vec::new();
        body.put_u64_le(self.segment);
        body.put_u64_le(self.next_group);
        body.put_u64_le(self.incarnation);
        put_count(&mut body, self.effects.len());
        for (shard, effect) in &self.effects {
            body.put_u32_le(shard.get());
            effect.encode(&mut body);
        }
        let bytes = envelope::seal(RecordKind::SegmentIndex, store, &body);
        replace::replace(disk, &index_path(dir, self.segment), &bytes, Durability::Lazy)
    }

    /// Reads it; none when it is missing or not good.
    pub(crate) fn load(
        disk: &dyn Disk,
        dir: &Path,
        store: StoreUuid,
        segment: u64,
    ) -> Result<Option<Self>, StoreError> {
        let path = index_path(dir, segment);
        let Some(bytes) = replace::read_if_there(disk, &path, FILE_BYTES_MAX)? else {
            return Ok(None);
        };
        let Ok(opened) = envelope::open(RecordKind::SegmentIndex, &bytes) else {
            return Ok(None);
        };
        let found = Self::decode(opened.body);
        Ok(found.filter(|this| opened.store == store && this.segment == segment))
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let (segment, next_group, incarnation) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let mut effects = Vec::new();
        for _ in 0..fields.count(100)? {
            let shard = fields.shard()?;
            effects.push((shard, Effect::decode(&mut fields, segment)?));
        }
        fields.end(Self { segment, next_group, incarnation, effects })
    }
}
