//! The log of a node: the entries of all its shards, in segments, one sync for all that waited.

mod diverged;
mod group;
mod hint;
mod index;
mod mend;
mod prepare;
mod reader;
mod recovery;
mod replay;
mod segment;
mod sidecar;
mod stats;

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use antiphon_proto::{Batch, EntryId, Epoch, Incarnation, Lsn, ShardId, StoreUuid};

use crate::disk::{Access, Disk};
use crate::mutation::{Mutation, Planted};
use crate::replace::settle_names;
use crate::store::LOG_DIR;
use crate::superblock::Superblock;
use crate::{Damage, Options, Position, SHARDS_MAX, StoreError};
use group::{
    Check, Control, ControlKind, GROUP_HEADER, GROUP_HEADER_BYTES, GroupHeader, align, behind,
};
use hint::{Hint, HintFile};
use index::{Index, ShardIndex};
use prepare::{Preparer, Workshop};
use segment::{Segment, SegmentHeader};
use sidecar::{Effect, Sidecar};

pub(crate) use diverged::load as load_diverged;
pub use diverged::{Diverged, DivergedInfo};
pub(crate) use hint::load_believed as believed_hint;
pub use mend::{Mended, Stretch};
pub use prepare::Prepare;
pub use reader::LogReader;
pub(crate) use recovery::{Place as RecoveryPlace, Recovered, recover};
pub use recovery::{Recovery, Torn};
pub use stats::{Latencies, LogStats};

/// Where the entries of a shard begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The entry before the first readable one.
    pub base: Position,
    /// The first readable entry; none when there is none.
    pub first: Option<EntryId>,
    /// The last entry.
    pub last: Position,
}

/// Zeros for the end of a group's last sector.
static PADDING: [u8; 512] = [0; 512];

/// What the writer and the readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    index: RwLock<Index>,
    planted: Planted,
    /// Where the files lie; none when they are only looked at.
    home: Option<Home>,
}

/// Where the log's files lie, and whose they are.
#[derive(Debug)]
pub(crate) struct Home {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: StoreUuid,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The segment that is written to.
#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    /// Where the next group goes.
    offset: u64,
    /// The header, until the first group is written with it.
    head: Option<Vec<u8>>,
}

/// What the next group will hold.
#[derive(Debug, Default)]
struct Pending {
    batches: Vec<(ShardId, Batch)>,
    bytes: u64,
}

/// The log, owned by its one writer.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    diverged_dir: PathBuf,
    store: StoreUuid,
    incarnation: Incarnation,
    options: Options,
    shared: Arc<Shared>,
    active: Option<Active>,
    next_segment: u64,
    next_group: u64,
    pending: Pending,
    /// End of each shard, pending batches included; written end <= end.
    ends: BTreeMap<ShardId, Position>,
    floors: BTreeMap<ShardId, Lsn>,
    preparer: Preparer,
    hint: HintFile,
    /// Segments with damage get no index, so that it is found again.
    damaged: bool,
    stopped: bool,
    stats: LogStats,
}

impl Log {
    /// Opens the log of a data directory, for the run `incarnation` of its node.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        (store, incarnation): (StoreUuid, Incarnation),
        options: &Options,
    ) -> Result<(Self, Recovery), StoreError> {
        let dir = data_dir.join(LOG_DIR);
        let diverged_dir = data_dir.join("diverged");
        for each in [&dir, &diverged_dir] {
            disk.create_dir_all(each).map_err(|e| StoreError::io("create", each, e))?;
        }
        settle_names(&*disk, &dir, options.planted)?;
        let (hint, believed) = HintFile::open(&*disk, data_dir, store)?;
        let place = RecoveryPlace {
            disk: Arc::clone(&disk),
            dir: dir.clone(),
            store,
            access: Access::Write,
            spacing: options.index_bytes,
            planted: options.planted,
        };
        let found = recover(&place, &recovery::believed(believed, options.planted), None)?;
        if found.incarnation >= incarnation.get() {
            return Err(StoreError::damaged(Damage {
                path: Superblock::path(data_dir),
                offset: 0,
                entries: None,
                what: "it is older than the log, as if it were from a copy of another time",
            }));
        }
        let workshop = Workshop::open(Arc::clone(&disk), &dir, options.planted)?;
        let mut preparer = Preparer::start(workshop, options.prepare)?;
        if let Some(ready) = found.prepared.filter(|ready| ready.bytes == options.segment_bytes) {
            preparer.adopt(ready);
        }
        preparer.request(found.next_segment, options.segment_bytes)?;
        let ends = found.shards.iter().map(|(id, shard)| (*id, shard.end)).collect();
        let index = Index { segments: found.segments, shards: found.shards, ..Index::default() };
        let home = Some(Home { disk: Arc::clone(&disk), dir: dir.clone(), store });
        let planted = options.planted;
        let shared = Arc::new(Shared { index: RwLock::new(index), planted, home });
        let active = found.active.map(|(segment, offset)| Active { segment, offset, head: None });
        let mut this = Self {
            disk,
            dir,
            diverged_dir,
            store,
            incarnation,
            options: options.clone(),
            shared,
            active,
            next_segment: found.next_segment,
            next_group: found.next_group,
            pending: Pending::default(),
            ends,
            floors: BTreeMap::new(),
            preparer,
            hint,
            damaged: !found.recovery.damage.is_empty(),
            stopped: false,
            stats: LogStats::default(),
        };
        this.note_found(&found.recovery)?;
        Ok((this, found.recovery))
    }

    /// Notes durably what this run found and may speak of from now on: what it has seen is never
    /// taken for a torn end later. After damage the note stays as it was, since it may be all
    /// that tells how far the log once reached.
    fn note_found(&mut self, found: &Recovery) -> Result<(), StoreError> {
        let unsound = found.amnesia || !found.damage.is_empty();
        if unsound || self.next_group == 1 || self.options.planted.is(Mutation::NoNoteAtOpen) {
            return Ok(());
        }
        self.note_end()?;
        self.hint.sync()
    }

    /// A handle for reading, to be cloned and sent to other threads.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// The end of a shard's log, appended batches that are not written yet included.
    #[must_use]
    pub fn end(&self, shard: ShardId) -> Position {
        self.ends.get(&shard).copied().unwrap_or_default()
    }

    /// Gathers a batch for the next [`Self::sync`].
    ///
    /// # Panics
    /// When the batch does not continue the shard's log: the caller decides what follows.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] after a failure; [`StoreError::TooLarge`] for too many shards.
    pub fn append(&mut self, shard: ShardId, batch: Batch) -> Result<(), StoreError> {
        self.check_running()?;
        if !self.ends.contains_key(&shard) && self.ends.len() >= SHARDS_MAX {
            let (what, bytes, limit) = ("number of shards", self.ends.len() + 1, SHARDS_MAX);
            return Err(StoreError::TooLarge { what, bytes, limit });
        }
        let end = self.ends.entry(shard).or_default();
        assert_eq!(batch.first().lsn, end.id.lsn.next(), "a batch continues its log");
        assert_eq!(batch.before(), end.chain, "a batch continues its log's chain");
        assert!(batch.first().epoch >= end.id.epoch, "an epoch never falls along a log");
        *end = Position { id: batch.last(), chain: batch.chain(), hlc: batch.last_hlc() };
        self.pending.bytes += length(batch.bytes().len());
        self.pending.batches.push((shard, batch));
        Ok(())
    }

    /// Bytes gathered for the next sync.
    #[must_use]
    pub const fn pending_bytes(&self) -> u64 {
        self.pending.bytes
    }

    /// Writes all that was gathered as one group and waits until it is durable.
    ///
    /// # Errors
    /// Any; the log has then stopped, and what was gathered may or may not be durable.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.check_running()?;
        if self.pending.batches.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let done = self.write_batches(&pending);
        self.stop_on_error(done)
    }

    fn write_batches(&mut self, pending: &Pending) -> Result<(), StoreError> {
        let mut check = Check::default();
        for (shard, batch) in &pending.batches {
            check.entry(*shard, batch.chain());
        }
        let parts: Vec<&[u8]> = pending.batches.iter().map(|(_, b)| b.bytes().as_ref()).collect();
        let written = self.write_group(&parts, pending.bytes, check.sum())?;
        let mut at = written.offset + GROUP_HEADER;
        let mut index = self.shared.write();
        for (shard, batch) in &pending.batches {
            let place = index::Place {
                segment: written.segment,
                offset: at,
                group_end: written.end,
                spacing: self.options.index_bytes,
            };
            index.shards.entry(*shard).or_default().push_batch(place, batch);
            at += length(batch.bytes().len());
        }
        drop(index);
        self.stats.batches += length(pending.batches.len());
        Ok(())
    }

    /// Writes one group durably.
    fn write_group(
        &mut self,
        records: &[&[u8]],
        bytes: u64,
        check: u64,
    ) -> Result<Written, StoreError> {
        let need = GROUP_HEADER + bytes;
        let fits = self.active.as_ref().is_some_and(|a| a.offset + align(need) <= a.segment.bytes);
        if !fits {
            self.begin_segment(need)?;
        }
        let active = self.active.as_mut().expect("a segment was just begun");
        let segment = Arc::clone(&active.segment);
        let header = GroupHeader {
            body_bytes: bytes,
            segment: segment.number,
            number: self.next_group,
            incarnation: self.incarnation.get(),
            check,
        };
        let header = header.encode(self.store);
        let head = active.head.take();
        let (start, end) = (active.offset, active.offset + need);
        let next = behind(end, self.options.planted);
        let padding = usize::try_from(next - end).expect("less than a sector");
        let mut parts: Vec<IoSlice<'_>> = Vec::with_capacity(records.len() + 3);
        parts.extend(head.as_deref().map(IoSlice::new));
        parts.push(IoSlice::new(&header));
        parts.extend(records.iter().map(|record| IoSlice::new(record)));
        parts.push(IoSlice::new(PADDING.get(..padding).unwrap_or_default()));
        let at = if head.is_some() { 0 } else { start };
        segment
            .file
            .write_at(&mut parts, at)
            .map_err(|e| StoreError::io("write", &segment.path, e))?;
        self.sync_segment(&segment)?;
        let active = self.active.as_mut().expect("a segment is active");
        active.offset = next;
        self.next_group += 1;
        self.stats.groups += 1;
        self.stats.bytes += next - start;
        Ok(Written { segment: segment.number, offset: start, end })
    }

    fn sync_segment(&mut self, segment: &Segment) -> Result<(), StoreError> {
        if self.options.planted.is(Mutation::AckBeforeSync) {
            return Ok(());
        }
        let begun = std::time::Instant::now();
        let done = segment.file.sync_data();
        self.stats.sync_latency.add(begun.elapsed());
        self.stats.syncs += 1;
        match done {
            Err(_) if self.options.planted.is(Mutation::IgnoreFailedSync) => Ok(()),
            done => done.map_err(|e| StoreError::sync(&segment.path, e)),
        }
    }

    /// Leaves the active segment and begins the next one.
    fn begin_segment(&mut self, need: u64) -> Result<(), StoreError> {
        if let Some(active) = self.active.take() {
            self.save_sidecar(active.segment.number)?;
        }
        let number = self.next_segment;
        let header = {
            let mut index = self.shared.write();
            index.shards.values_mut().for_each(ShardIndex::begin_segment);
            let starts = index.shards.iter().map(|(id, shard)| (*id, shard.end)).collect();
            let (first_group, incarnation) = (self.next_group, self.incarnation.get());
            SegmentHeader { number, first_group, incarnation, starts }
        };
        let mut head = header.encode(self.store);
        let body = align(length(head.len()));
        head.resize(usize::try_from(body).expect("headers are small"), 0);
        let bytes = self.options.segment_bytes.max(body + align(need));
        let ready = self.preparer.take(number, bytes)?;
        let segment = Arc::new(Segment {
            number,
            path: ready.path,
            file: ready.file,
            bytes: ready.bytes,
            body,
            header,
        });
        self.shared.write().segments.insert(number, Arc::clone(&segment));
        self.active = Some(Active { segment, offset: body, head: Some(head) });
        self.next_segment += 1;
        self.preparer.request(self.next_segment, self.options.segment_bytes)
    }

    fn save_sidecar(&self, segment: u64) -> Result<(), StoreError> {
        if self.damaged {
            return Ok(());
        }
        let index = self.shared.read();
        if index.damaged.contains(&segment) {
            return Ok(());
        }
        let of = |(id, shard): (&ShardId, &ShardIndex)| (*id, Effect::of(shard, segment));
        let effects = index.shards.iter().map(of).collect();
        drop(index);
        let (next_group, incarnation) = (self.next_group, self.incarnation.get());
        let sidecar = Sidecar { segment, next_group, incarnation, effects };
        sidecar.save(&*self.disk, &self.dir, self.store)
    }

    /// Voids a shard's entries after `lsn`: sets them aside durably, then cuts durably.
    /// Returns the new end and where the cut entries went, if there were any.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] when `lsn` lies before the log; [`StoreError::Damaged`] when
    /// the entry at `lsn` cannot be read; otherwise the log has stopped.
    pub fn truncate_after(
        &mut self,
        shard: ShardId,
        lsn: Lsn,
    ) -> Result<(Position, Option<PathBuf>), StoreError> {
        self.sync()?;
        if lsn >= self.end(shard).id.lsn {
            return Ok((self.end(shard), None));
        }
        let reader = self.reader();
        let keep = reader.position(shard, lsn)?;
        let aside = if self.options.planted.is(Mutation::CutWithoutCopy) {
            None
        } else {
            let set_aside = diverged::SetAside {
                disk: &*self.disk,
                dir: &self.diverged_dir,
                store: self.store,
                reader: &reader,
            };
            let done = set_aside.run(shard, keep, self.end(shard));
            Some(self.stop_on_error(done)?)
        };
        self.control(&Control { kind: ControlKind::Cut, shard, position: keep })?;
        Ok((keep, aside))
    }

    /// Voids all entries of a shard; its log goes on behind `position`, as after a snapshot.
    ///
    /// # Errors
    /// Any; the log has then stopped.
    pub fn restart(&mut self, shard: ShardId, position: Position) -> Result<(), StoreError> {
        self.sync()?;
        self.control(&Control { kind: ControlKind::Restart, shard, position })
    }

    fn control(&mut self, control: &Control) -> Result<(), StoreError> {
        let mut check = Check::default();
        check.control(control);
        let record = control.encode();
        let done = self.write_group(&[&record], length(GROUP_HEADER_BYTES), check.sum());
        let written = self.stop_on_error(done)?;
        let mut index = self.shared.write();
        let shard = index.shards.entry(control.shard).or_default();
        match control.kind {
            ControlKind::Cut => shard.cut(control.position, written.segment),
            ControlKind::Restart => shard.restart(control.position),
        }
        drop(index);
        self.ends.insert(control.shard, control.position);
        Ok(())
    }

    /// Lets go of entries before `lsn`, by whole segments. Returns the first entry that stays.
    ///
    /// # Errors
    /// Any; the log has then stopped.
    pub fn trim_before(&mut self, shard: ShardId, lsn: Lsn) -> Result<Lsn, StoreError> {
        self.check_running()?;
        let floor = self.floors.entry(shard).or_default();
        *floor = (*floor).max(lsn);
        while let Some((number, reuse)) = self.drop_front() {
            let done = self.preparer.retire(number, reuse);
            self.stop_on_error(done)?;
        }
        let index = self.shared.read();
        let first = index.shards.get(&shard).map_or(Lsn::ZERO, |shard| shard.base.id.lsn).next();
        Ok(first)
    }

    /// Takes the first segment out of the index, if no entry in it is wanted.
    fn drop_front(&self) -> Option<(u64, bool)> {
        let mut index = self.shared.write();
        let mut numbers = index.segments.keys().copied();
        let (first, next) = (numbers.next()?, numbers.next()?);
        let wanted = index.shards.iter().any(|(id, shard)| {
            let floor = self.floors.get(id).copied().unwrap_or_default();
            shard.runs.iter().any(|run| run.segment == first && run.last >= floor)
        });
        if wanted {
            return None;
        }
        let starts = index.segments.get(&next)?.header.starts.clone();
        for (id, shard) in &mut index.shards {
            let start = starts.iter().find(|(of, _)| of == id).map(|(_, start)| *start);
            shard.trim(next, start);
        }
        index.damaged.remove(&first);
        let segment = index.segments.remove(&first)?;
        // A reader that still holds the file must not see another life of it.
        Some((first, Arc::strong_count(&segment) == 1))
    }

    /// Notes how far the log is durable, for the next opening to compare. Cheap: no sync.
    ///
    /// # Errors
    /// Any; the log has then stopped.
    pub fn note_end(&mut self) -> Result<(), StoreError> {
        self.check_running()?;
        let index = self.shared.read();
        let hint = Hint {
            turn: 0,
            group: self.next_group - 1,
            segment: self.next_segment - 1,
            ends: index.shards.iter().map(|(id, shard)| (*id, shard.end.id)).collect(),
        };
        drop(index);
        let done = self.hint.note(hint);
        self.stop_on_error(done)
    }

    /// Makes all durable, the note of the end included.
    ///
    /// # Errors
    /// Any; the log has then stopped.
    pub fn close(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        self.note_end()?;
        let done = self.hint.sync();
        self.stop_on_error(done)
    }

    /// The epochs of a shard's entries, with the first entry of each.
    #[must_use]
    pub fn epochs(&self, shard: ShardId) -> Vec<(Epoch, Lsn)> {
        self.reader().epochs(shard)
    }

    /// What the log did in this run, and how large it is.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let index = self.shared.read();
        let segments = length(index.segments.len());
        let segment_bytes = index.segments.values().map(|segment| segment.bytes).sum();
        LogStats { segments, segment_bytes, ..self.stats.clone() }
    }

    fn check_running(&self) -> Result<(), StoreError> {
        if self.stopped { Err(StoreError::Stopped) } else { Ok(()) }
    }

    /// After a failure nothing more is taken: what the files hold is unknown.
    fn stop_on_error<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        self.stopped |= done.is_err();
        done
    }
}

/// Where a group was written.
#[derive(Debug, Clone, Copy)]
struct Written {
    segment: u64,
    offset: u64,
    end: u64,
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length in memory fits 64 bits")
}

#[cfg(test)]
mod tests;

/// Records for the test that pins the formats.
#[cfg(test)]
pub(crate) mod golden {
    use antiphon_proto::StoreUuid;

    use super::segment::SegmentHeader;
    use crate::testing::{SHARD, position};

    pub(crate) fn header_with_a_shard(store: StoreUuid) -> Vec<u8> {
        let starts = vec![(SHARD, position(3, 4))];
        SegmentHeader { number: 2, first_group: 9, incarnation: 5, starts }.encode(store)
    }
}
