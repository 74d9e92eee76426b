//! Opening a log: which segments there are, what they hold, and how the last one ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_proto::{EntryId, ShardId, StoreUuid};

use super::group::{GROUP_HEADER, GroupHeader, slice};
use super::hint::Hint;
use super::index::ShardIndex;
use super::prepare::Prepared;
use super::replay::{Ending, Replay};
use super::segment::{
    HEADER_BYTES_MAX, Segment, SegmentHeader, read_head, segment_numbers, segment_path,
};
use super::sidecar::{Effect, Sidecar};
use crate::disk::{Access, Disk, DiskFile, SECTOR_BYTES, write_one};
use crate::envelope::{FORMAT_VERSION, Refused};
use crate::inspect::Progress;
use crate::mutation::{Mutation, Planted};
use crate::replace::remove_if_there;
use crate::{Damage, StoreError};

/// What was found when the log was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// A group that was never acknowledged and not whole: it was cut.
    pub torn: Option<Torn>,
    /// Bytes that were durable and are not what was written: nothing of it was cut. Entries are
    /// missing only where `entries` names them; the place of damage that was made good since
    /// is still reported until its segment is trimmed.
    pub damage: Vec<Damage>,
    /// Whether the node has forgotten something that it acknowledged: the log ends too early,
    /// or entries within it are missing.
    pub amnesia: bool,
    /// Sealed segments whose index had to be made again.
    pub rescanned: u64,
}

/// A cut group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment's file.
    pub path: PathBuf,
    /// Where the group began.
    pub offset: u64,
    /// How long it was. Unit: bytes.
    pub bytes: u64,
}

/// What the log works in.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) store: StoreUuid,
    pub(crate) access: Access,
    pub(crate) spacing: u64,
    pub(crate) planted: Planted,
}

/// A log that was read.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) shards: BTreeMap<ShardId, ShardIndex>,
    pub(crate) recovery: Recovery,
    /// The segment to go on in, and where.
    pub(crate) active: Option<(Arc<Segment>, u64)>,
    pub(crate) next_segment: u64,
    pub(crate) next_group: u64,
    /// The greatest run met in the log.
    pub(crate) incarnation: u64,
    /// A file that is ready for the next segment.
    pub(crate) prepared: Option<Prepared>,
}

/// The files of a log before they are read.
#[derive(Debug, Default)]
struct Found {
    segments: BTreeMap<u64, Arc<Segment>>,
    /// Files whose header is not theirs, behind the last segment.
    unbegun: Vec<(u64, Prepared)>,
    /// Segments that hold groups but whose header is damaged.
    beheaded: Vec<u64>,
}

/// Reads the log in a directory.
///
/// With `verify` every sealed segment is scanned too, and the progress is told.
pub(crate) fn recover(
    place: &Place,
    hint: &Hint,
    mut verify: Option<&mut dyn FnMut(Progress)>,
) -> Result<Recovered, StoreError> {
    let found = find(place, hint)?;
    let mut replay = Replay {
        store: place.store,
        shards: BTreeMap::new(),
        damage: Vec::new(),
        next_group: 1,
        incarnation: 0,
        spacing: place.spacing,
        planted: place.planted,
        adrift: None,
    };
    let mut recovery = Recovery::default();
    let mut ending = None;
    let of = found.segments.values().map(|segment| segment.bytes).sum();
    let mut progress = Progress { bytes: 0, of };
    let mut before: Option<u64> = None;
    let segments: Vec<Arc<Segment>> = found.segments.values().cloned().collect();
    for (at, segment) in segments.iter().enumerate() {
        begin_segment(place, &mut replay, &found, (before, segment));
        before = Some(segment.number);
        let next = segments.get(at + 1);
        let sealed_at = next.map(|next| next.header.first_group);
        if let Some(first_group) = sealed_at
            && verify.is_none()
            && load_sidecar(place, &mut replay, segment, first_group)?
        {
            continue;
        }
        let acked = sealed_at.map_or(hint.group, |first_group| first_group.saturating_sub(1));
        let bytes = segment.read_all()?;
        let clean = replay.damage.len();
        let end = replay.segment(segment, &bytes, acked);
        if sealed_at.is_some() {
            recovery.rescanned += 1;
            if replay.damage.len() == clean && place.access == Access::Write {
                save_sidecar(place, &replay, segment.number)?;
            }
        }
        ending = Some(end);
        progress.bytes += segment.bytes;
        if let Some(tell) = &mut verify {
            tell(progress);
        }
    }
    finish(place, hint, found, (replay, recovery, ending))
}

/// Turns to the next segment: starts the shards, or compares them with its header.
fn begin_segment(
    place: &Place,
    replay: &mut Replay,
    found: &Found,
    (before, segment): (Option<u64>, &Segment),
) {
    if found.beheaded.contains(&segment.number) {
        replay.set_adrift(&segment.path, 0, "the segment's header is damaged");
        replay.next_group = segment.header.first_group.max(replay.next_group);
        replay.shards.values_mut().for_each(ShardIndex::begin_segment);
        return;
    }
    match before {
        None => {
            replay.next_group = segment.header.first_group;
            for (shard, start) in &segment.header.starts {
                replay.shards.insert(*shard, ShardIndex::starting_at(*start));
            }
        }
        Some(before) => {
            if before + 1 != segment.number {
                let missing = segment_path(&place.dir, before + 1);
                replay.set_adrift(&missing, 0, "the segment is missing");
            }
            replay.begin(segment);
            replay.next_group = segment.header.first_group;
        }
    }
}

/// Takes a sealed segment's index instead of scanning it, if it is good and fits.
fn load_sidecar(
    place: &Place,
    replay: &mut Replay,
    segment: &Segment,
    next_first_group: u64,
) -> Result<bool, StoreError> {
    let sidecar = Sidecar::load(&*place.disk, &place.dir, place.store, segment.number)?;
    // An index from an earlier life of the number was written by an earlier run.
    let fits = |sidecar: &Sidecar| {
        let of_this_life = sidecar.incarnation >= segment.header.incarnation;
        sidecar.next_group == next_first_group && of_this_life
    };
    let Some(sidecar) = sidecar.filter(fits) else {
        return Ok(false);
    };
    for (shard, effect) in sidecar.effects {
        effect.apply(replay.shards.entry(shard).or_default());
    }
    replay.next_group = sidecar.next_group;
    replay.incarnation = replay.incarnation.max(sidecar.incarnation);
    Ok(true)
}

/// Writes the index of a segment that was scanned.
fn save_sidecar(place: &Place, replay: &Replay, segment: u64) -> Result<(), StoreError> {
    let of = |(id, shard): (&ShardId, &ShardIndex)| (*id, Effect::of(shard, segment));
    let sidecar = Sidecar {
        segment,
        next_group: replay.next_group,
        incarnation: replay.incarnation,
        effects: replay.shards.iter().map(of).collect(),
    };
    sidecar.save(&*place.disk, &place.dir, place.store)
}

/// Draws the conclusions from the last segment's end.
fn finish(
    place: &Place,
    hint: &Hint,
    found: Found,
    (mut replay, mut recovery, ending): (Replay, Recovery, Option<Ending>),
) -> Result<Recovered, StoreError> {
    let last = found.segments.values().next_back().cloned();
    let mut active = None;
    match (ending, &last) {
        (Some(Ending::Open(offset)), Some(last)) => active = Some((Arc::clone(last), offset)),
        (Some(Ending::Torn { offset, end }), Some(last)) => {
            recovery.torn = Some(Torn { path: last.path.clone(), offset, bytes: end - offset });
            if place.access == Access::Write {
                erase(&*last.file, &last.path, offset, end)?;
            }
            active = Some((Arc::clone(last), offset));
        }
        (Some(Ending::Lost) | None, _) | (_, None) => {}
    }
    if replay.next_group <= hint.group {
        let path = segment_path(&place.dir, hint.segment);
        replay.set_adrift(&path, 0, "the end of the log is missing");
        replay.next_group = hint.group + 1;
        active = None;
    }
    forgive(&mut replay);
    // A group that was lost leaves no place to go on in.
    let lost = ending == Some(Ending::Lost) || (active.is_none() && hint.group > 0);
    if lost {
        lost_ends(&mut replay, hint);
    }
    recovery.amnesia = lost || replay.damage.iter().any(|damage| damage.entries.is_some());
    recovery.damage = replay.damage;
    let last_number = last.map_or(0, |last| last.number);
    let next_segment = last_number.max(if lost { hint.segment } else { 0 }) + 1;
    let prepared = settle_unbegun(place, found.unbegun, next_segment)?;
    Ok(Recovered {
        segments: found.segments,
        shards: replay.shards,
        recovery,
        active,
        next_segment,
        next_group: replay.next_group,
        incarnation: replay.incarnation,
        prepared,
    })
}

/// Entries that were cut, trimmed or appended again after the damage are not missed any more;
/// the damaged place itself stays reported.
fn forgive(replay: &mut Replay) {
    for damage in &mut replay.damage {
        damage.entries = damage.entries.filter(|(shard, first, last)| {
            replay.shards.get(shard).is_some_and(|index| index.lacks(*first, *last))
        });
    }
    replay.damage.dedup();
}

/// Notes which entries were acknowledged once and are gone from the end.
fn lost_ends(replay: &mut Replay, hint: &Hint) {
    let Some(damage) = replay.adrift.clone() else { return };
    for (shard, acked) in &hint.ends {
        let end = replay.shards.get(shard).map_or(EntryId::ZERO, |index| index.end.id);
        if acked.lsn > end.lsn {
            let entries = Some((*shard, end.lsn.next(), acked.lsn));
            replay.damage.push(Damage { entries, ..damage.clone() });
        }
    }
}

/// Overwrites a torn group with zeros, durably.
fn erase(file: &dyn DiskFile, path: &Path, from: u64, to: u64) -> Result<(), StoreError> {
    let zeros = [0; 4096];
    let mut at = from;
    let end = to.next_multiple_of(SECTOR_BYTES);
    while at < end {
        let piece = usize::try_from(end - at).map_or(zeros.len(), |n| n.min(zeros.len()));
        write_one(file, zeros.get(..piece).unwrap_or_default(), at)
            .map_err(|e| StoreError::io("write", path, e))?;
        at += u64::try_from(piece).expect("a piece is small");
    }
    file.sync_data().map_err(|e| StoreError::sync(path, e))
}

/// Opens all segment files and tells those in use from those that are only ready for use.
fn find(place: &Place, hint: &Hint) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let numbers = segment_numbers(&*place.disk, &place.dir)?;
    let mut headless = Vec::new();
    for number in numbers {
        let path = segment_path(&place.dir, number);
        let failed = |e| StoreError::io("open", &path, e);
        let file = place.disk.open(&path, place.access).map_err(failed)?;
        // The run before this one may have ended between a group's write and its sync, or
        // because the sync failed: then the cache shows what the medium may not hold.
        let doubtful = number >= hint.segment && place.access == Access::Write;
        if doubtful && !place.planted.is(Mutation::BelieveCache) {
            file.settle().map_err(|e| StoreError::sync(&path, e))?;
        }
        let bytes = file.len().map_err(failed)?;
        let head = read_head(&*file, &path)?;
        match SegmentHeader::decode(place.store, &head) {
            Ok((header, body)) if header.number == number => {
                let segment = Segment { number, path, file, bytes, body, header };
                found.segments.insert(number, Arc::new(segment));
            }
            Err(Refused::Newer(version)) => {
                return Err(StoreError::Newer { path, found: version, known: FORMAT_VERSION });
            }
            Ok(_) | Err(Refused::Bad(_)) => {
                headless.push(Prepared { number, path, file, bytes });
            }
        }
    }
    for file in headless {
        found.headless(place, hint, file)?;
    }
    Ok(found)
}

impl Found {
    /// A file without a header of its own: a segment that lost it, or one not begun yet.
    fn headless(&mut self, place: &Place, hint: &Hint, file: Prepared) -> Result<(), StoreError> {
        let groups = groups_in_front(place, &file)?;
        let inner = self.segments.keys().next_back().is_some_and(|last| *last > file.number);
        let durable = groups.iter().any(|(_, group)| group.number <= hint.group);
        if let Some((body, first)) = groups.first()
            && (inner || durable || groups.len() > 1)
        {
            let header = SegmentHeader {
                number: file.number,
                first_group: first.number,
                incarnation: 0,
                starts: Vec::new(),
            };
            let Prepared { number, path, file, bytes } = file;
            self.beheaded.push(number);
            let segment = Segment { number, path, file, bytes, body: *body, header };
            self.segments.insert(number, Arc::new(segment));
            return Ok(());
        }
        if let Some((offset, _)) = groups.first()
            && place.access == Access::Write
        {
            // Torn together with the header: never acknowledged.
            erase(&*file.file, &file.path, *offset, *offset + SECTOR_BYTES)?;
        }
        if !inner {
            self.unbegun.push((file.number, file));
        }
        Ok(())
    }
}

/// The groups of its own at the start of a file without a header.
fn groups_in_front(place: &Place, file: &Prepared) -> Result<Vec<(u64, GroupHeader)>, StoreError> {
    let mut bytes = vec![0; HEADER_BYTES_MAX + (64 << 10)];
    let got =
        file.file.read_at(&mut bytes, 0).map_err(|e| StoreError::io("read", &file.path, e))?;
    let mut groups = Vec::new();
    let mut at = 0;
    while at < u64::try_from(got).expect("a length in memory") {
        let header = slice(&bytes, at, at + GROUP_HEADER)
            .and_then(|head| GroupHeader::decode(place.store, head))
            .filter(|header| header.segment == file.number);
        groups.extend(header.map(|header| (at, header)));
        at += SECTOR_BYTES;
    }
    Ok(groups)
}

/// Keeps the file that is ready for the next segment, and removes any other.
fn settle_unbegun(
    place: &Place,
    unbegun: Vec<(u64, Prepared)>,
    next: u64,
) -> Result<Option<Prepared>, StoreError> {
    let mut ready = None;
    for (number, file) in unbegun {
        if number == next {
            ready = Some(file);
        } else if place.access == Access::Write {
            remove_if_there(&*place.disk, &file.path)?;
        }
    }
    Ok(ready)
}

/// Reads the acknowledged end, unless a planted bug forgets it.
pub(crate) fn believed(hint: Hint, planted: Planted) -> Hint {
    if planted.is(Mutation::ForgetHint) { Hint::default() } else { hint }
}
