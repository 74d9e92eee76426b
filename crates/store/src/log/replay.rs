//! Reading a segment's groups into the index: what is good, what is torn, what is damaged.

use std::collections::BTreeMap;
use std::path::Path;

use antiphon_proto::{EntryId, Frame, Lsn, ShardId, StoreUuid};

use super::group::{Check, Control, ControlKind, GroupAt, Record, align, behind, group_at};
use super::index::{Place, ShardIndex};
use super::segment::Segment;
use crate::disk::SECTOR_BYTES;
use crate::mutation::{Mutation, Planted};
use crate::{Damage, Position};

/// The state of reading a log from its first segment to its last.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) store: StoreUuid,
    pub(crate) shards: BTreeMap<ShardId, ShardIndex>,
    pub(crate) damage: Vec<Damage>,
    /// The group that comes next.
    pub(crate) next_group: u64,
    /// The run that wrote the last group.
    pub(crate) incarnation: u64,
    pub(crate) spacing: u64,
    pub(crate) planted: Planted,
    /// After damage: where it was, for the shards that have not been met since.
    pub(crate) adrift: Option<Damage>,
}

/// How the groups of a segment end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The next group can go to this offset.
    Open(u64),
    /// A group that was never acknowledged begins here and is not whole.
    Torn {
        /// Where it begins.
        offset: u64,
        /// Where it would have ended, as far as its header tells.
        end: u64,
    },
    /// Groups that were durable are missing here; nothing may be written over the place.
    Lost,
}

/// A record of a group that was checked.
#[derive(Debug)]
enum Noted {
    Entry { offset: u64, shard: ShardId, position: Position },
    Control(Control),
}

impl Replay {
    /// Reads a segment. Groups up to `acked` are known to have been durable.
    pub(crate) fn segment(&mut self, segment: &Segment, bytes: &[u8], acked: u64) -> Ending {
        let mut at = segment.body;
        self.incarnation = self.incarnation.max(segment.header.incarnation);
        loop {
            let group = self.group_at(segment, bytes, at);
            if let Some(group) = group
                && let Some(records) = self.whole(&group, bytes)
            {
                self.apply(segment, &group, &records);
                self.next_group = group.header.number + 1;
                self.incarnation = group.header.incarnation;
                at = behind(group.end(), self.planted);
                continue;
            }
            let group = group.filter(|group| group.header.number == self.next_group);
            let later = self.later_group(segment, bytes, at);
            let lost = later.is_some() || self.next_group <= acked;
            if !lost || self.planted.is(Mutation::CutOnDamage) {
                return self.torn(segment, group, bytes, at);
            }
            let what = "a group of entries is not what was written";
            self.lose(segment, group, bytes, (at, what));
            let Some(later) = later else {
                self.next_group = acked + 1;
                return Ending::Lost;
            };
            self.next_group = later.header.number;
            at = later.offset;
        }
    }

    fn torn(
        &mut self,
        segment: &Segment,
        group: Option<GroupAt>,
        bytes: &[u8],
        offset: u64,
    ) -> Ending {
        let Some(group) = group else { return Ending::Open(offset) };
        if self.planted.is(Mutation::KeepTornGroup) {
            self.salvage(segment, &group, bytes);
            self.next_group += 1;
            return Ending::Open(align(group.end()));
        }
        Ending::Torn { offset, end: group.end().min(segment.bytes) }
    }

    fn group_at(&self, segment: &Segment, bytes: &[u8], at: u64) -> Option<GroupAt> {
        if self.planted.is(Mutation::BelieveRecycled) {
            return group_anywhere(self.store, bytes, at);
        }
        group_at(self.store, segment.number, bytes, at)
    }

    /// The first group behind a bad one: it was begun after the bad one was durable.
    fn later_group(&self, segment: &Segment, bytes: &[u8], at: u64) -> Option<GroupAt> {
        let mut offset = at + SECTOR_BYTES;
        while offset < segment.bytes {
            let found = self.group_at(segment, bytes, offset);
            let later = found.filter(|group| {
                let new = group.header.incarnation >= self.incarnation;
                group.header.number > self.next_group && new
            });
            if later.is_some() {
                return later;
            }
            offset += SECTOR_BYTES;
        }
        None
    }

    /// The records of a group, if it is the next one and all of them are good and continue
    /// their logs.
    fn whole(&self, group: &GroupAt, bytes: &[u8]) -> Option<Vec<Noted>> {
        let next = group.header.number == self.next_group;
        let careless = self.planted.is(Mutation::BelieveRecycled);
        if !careless && (!next || group.header.incarnation < self.incarnation) {
            return None;
        }
        let mut ends: BTreeMap<ShardId, Position> = BTreeMap::new();
        let mut check = Check::default();
        let mut records = Vec::new();
        for (offset, record) in group.records(bytes) {
            match record.ok()? {
                Record::Frame(frame) => {
                    let (shard, position) = (frame.header.shard, position_of(&frame));
                    if !self.continues(ends.get(&shard).copied(), &frame) {
                        return None;
                    }
                    ends.insert(shard, position);
                    records.push(Noted::Entry { offset, shard, position });
                }
                Record::Control(control) => {
                    check.control(&control);
                    records.push(Noted::Control(control));
                }
            }
        }
        for (shard, end) in ends {
            check.entry(shard, end.chain);
        }
        let checked = careless || self.planted.is(Mutation::NoChainCheck);
        let good = checked || check.sum() == group.header.check;
        (good && !records.is_empty()).then_some(records)
    }

    /// Whether a frame comes next in its shard, after `end` in this group or the log so far.
    fn continues(&self, end: Option<Position>, frame: &Frame<'_>) -> bool {
        if self.planted.is(Mutation::NoChainCheck) || self.planted.is(Mutation::BelieveRecycled) {
            return true;
        }
        let shard = self.shards.get(&frame.header.shard);
        let adrift = shard.map_or(self.adrift.is_some(), |shard| shard.adrift);
        if end.is_none() && adrift {
            return true;
        }
        let end = end.or_else(|| shard.map(|shard| shard.end)).unwrap_or_default();
        let id = frame.header.id;
        id.lsn == end.id.lsn.next()
            && id.epoch >= end.id.epoch
            && frame.header.hlc > end.hlc
            && frame.continues(end.chain)
    }

    fn apply(&mut self, segment: &Segment, group: &GroupAt, records: &[Noted]) {
        for record in records {
            match record {
                Noted::Entry { offset, shard, position } => {
                    self.entry(segment, group, *offset, (*shard, *position));
                }
                Noted::Control(control) => self.control(control, segment.number),
            }
        }
    }

    /// Notes what is readable at the start of a group that is damaged further on.
    fn salvage(&mut self, segment: &Segment, group: &GroupAt, bytes: &[u8]) {
        for (offset, record) in group.records(bytes) {
            let Ok(record) = record else { return };
            match record {
                Record::Frame(frame) if self.continues(None, &frame) => {
                    let entry = (frame.header.shard, position_of(&frame));
                    self.entry(segment, group, offset, entry);
                }
                Record::Frame(_) => return,
                Record::Control(control) => self.control(&control, segment.number),
            }
        }
    }

    fn entry(
        &mut self,
        segment: &Segment,
        group: &GroupAt,
        offset: u64,
        (shard, position): (ShardId, Position),
    ) {
        let id = position.id;
        let missing = self.anchor(shard, id.lsn);
        let index = self.shards.entry(shard).or_default();
        // What a lost record voided, or what a planted bug let through.
        if id.lsn <= index.end.id.lsn {
            let before = EntryId::new(id.epoch, id.lsn.prev());
            index.cut(Position { id: before, ..Position::default() }, segment.number);
        }
        if missing {
            // Nothing tells the chain hash before this entry, so it cannot be proven to a
            // reader: it counts as missing too, and the next one continues from it.
            index.skip_to(position);
            return;
        }
        let (segment, group_end) = (segment.number, group.end());
        let place = Place { segment, offset, group_end, spacing: self.spacing };
        let before = index.end.chain;
        index.push(place, position, before);
    }

    fn control(&mut self, control: &Control, active: u64) {
        if control.kind == ControlKind::Cut {
            self.anchor(control.shard, control.position.id.lsn.next());
        }
        let shard = self.shards.entry(control.shard).or_default();
        match control.kind {
            ControlKind::Cut => shard.cut(control.position, active),
            ControlKind::Restart => shard.restart(control.position),
        }
    }

    /// A shard is met for the first time after damage: all up to `known` is missing, if it is
    /// not there. Says whether something is.
    fn anchor(&mut self, shard: ShardId, known: Lsn) -> bool {
        if self.adrift.is_none() {
            return false;
        }
        let index = self
            .shards
            .entry(shard)
            .or_insert_with(|| ShardIndex { adrift: true, ..ShardIndex::default() });
        let adrift = std::mem::take(&mut index.adrift);
        // The next entry proves itself by the chain hash that is known here.
        adrift && known > index.end.id.lsn.next() && self.missing_up_to(shard, known)
    }

    /// Notes that a shard's entries up to `known` are missing; says whether any is.
    fn missing_up_to(&mut self, shard: ShardId, known: Lsn) -> bool {
        let Some(damage) = &self.adrift else { return false };
        let expected = self.shards.get(&shard).map_or(Lsn::ZERO, |index| index.end.id.lsn).next();
        let missing = known >= expected;
        if missing {
            let entries = Some((shard, expected, known));
            self.damage.push(Damage { entries, ..damage.clone() });
        }
        missing
    }

    /// Notes damage: the readable start of the group is kept, the rest is missing.
    fn lose(
        &mut self,
        segment: &Segment,
        group: Option<GroupAt>,
        bytes: &[u8],
        (offset, what): (u64, &'static str),
    ) {
        if let Some(group) = group {
            self.salvage(segment, &group, bytes);
        }
        self.set_adrift(&segment.path, offset, what);
    }

    /// From here on each shard's next entry may lie anywhere.
    pub(crate) fn set_adrift(&mut self, path: &Path, offset: u64, what: &'static str) {
        let damage = Damage { path: path.to_path_buf(), offset, entries: None, what };
        self.damage.push(damage.clone());
        self.adrift = Some(damage);
        for shard in self.shards.values_mut() {
            shard.adrift = true;
        }
    }

    /// Compares where the shards stand with what the next segment says they stood at.
    pub(crate) fn begin(&mut self, segment: &Segment) {
        for (shard, start) in &segment.header.starts {
            let end = self.shards.get(shard).map(|index| index.end);
            if end == Some(*start) {
                self.shards.entry(*shard).or_default().adrift = false;
                continue;
            }
            if self.adrift.is_none() {
                self.set_adrift(&segment.path, 0, "entries before this segment are missing");
            }
            self.missing_up_to(*shard, start.id.lsn);
            let index = self.shards.entry(*shard).or_default();
            if start.id.lsn < index.end.id.lsn {
                index.cut(*start, segment.number);
            }
            index.skip_to(*start);
        }
        self.adrift = None;
        for shard in self.shards.values_mut() {
            shard.begin_segment();
            shard.adrift = false;
        }
    }
}

/// Where a frame stands in its log.
pub(crate) fn position_of(frame: &Frame<'_>) -> Position {
    Position { id: frame.header.id, chain: frame.chain, hlc: frame.header.hlc }
}

/// The planted bug: any group, whatever segment it was written for.
fn group_anywhere(store: StoreUuid, bytes: &[u8], offset: u64) -> Option<GroupAt> {
    let head = super::group::slice(bytes, offset, offset + super::group::GROUP_HEADER)?;
    let header = super::group::GroupHeader::decode(store, head)?;
    Some(GroupAt { offset, header })
}
