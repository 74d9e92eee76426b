//! Mending entries in place: damaged bytes are written again from another node's copy.
//!
//! A frame is the same bytes on every node, so it fits exactly where it lay. The index knows
//! where a stretch of entries lies and the chain hash before and behind it: a copy is proven to
//! be the same history before a byte of it is written.

use std::borrow::Cow;

use antiphon_proto::{Batch, Chain, Frame, Lsn, ShardId, StoreUuid};

use super::group::{
    Check, GROUP_HEADER, GROUP_HEADER_BYTES, GroupHeader, behind, is_control, slice,
};
use super::index::{Point, ShardIndex};
use super::reader::LogReader;
use super::segment::{Segment, index_path};
use crate::StoreError;
use crate::disk::write_one;
use crate::mutation::{Mutation, Planted};
use crate::replace::{remove_if_there, sync_parent};

/// Entries between two places that the index knows: the least that can be mended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The log.
    pub shard: ShardId,
    /// Its first entry.
    pub first: Lsn,
    /// Its last entry.
    pub last: Lsn,
    /// The chain hash before the first entry.
    pub before: Chain,
    /// The chain hash after the last entry.
    pub after: Chain,
    /// Its frames are no longer than this together. Unit: bytes.
    pub bytes_max: u64,
}

/// What came of mending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mended {
    /// The entries can be read, and that is durable.
    Whole,
    /// The entries are not in the log any more.
    Gone,
    /// The copy can't be put in place; nothing was written.
    Unfit(&'static str),
}

/// Where a stretch lies.
struct Place {
    stretch: Stretch,
    from: Point,
    /// The place of the entry behind it, when it lies in the same run.
    next: Option<Point>,
}

impl ShardIndex {
    fn place(&self, shard: ShardId, lsn: Lsn, file_bytes: impl Fn(u64) -> u64) -> Option<Place> {
        let run = self.run(lsn)?;
        let from = run.point(lsn);
        let next = run.points.iter().find(|point| point.lsn > lsn).copied();
        let last = next.map_or(run.last, |next| next.lsn.prev());
        let after = match (next, self.run_after(lsn)) {
            (Some(next), _) => next.before,
            (None, _) if last == self.end.id.lsn => self.end.chain,
            (None, Some(behind)) if behind.first == last.next() => {
                behind.point(behind.first).before
            }
            (None, Some(_) | None) => return None,
        };
        let end = next.map_or(file_bytes(run.segment), |next| next.offset);
        let bytes_max = end.saturating_sub(from.offset);
        let (first, before) = (from.lsn, from.before);
        let stretch = Stretch { shard, first, last, before, after, bytes_max };
        Some(Place { stretch, from, next })
    }
}

impl LogReader {
    /// What must be fetched to mend the log at an entry. None when the entry is not there, or
    /// when what lies behind it is missing too.
    #[must_use]
    pub fn stretch(&self, shard: ShardId, lsn: Lsn) -> Option<Stretch> {
        let index = self.shared.read();
        let bytes = |number| index.segments.get(&number).map_or(0, |segment| segment.bytes);
        Some(index.shards.get(&shard)?.place(shard, lsn, bytes)?.stretch)
    }

    /// Takes away the index file of the segment that holds an entry, durably, so that the next
    /// opening reads the segment and finds its damage.
    ///
    /// # Errors
    /// What the disk says.
    pub fn distrust(&self, shard: ShardId, lsn: Lsn) -> Result<(), StoreError> {
        let mut index = self.shared.write();
        let run = index.shards.get(&shard).and_then(|of| of.run(lsn));
        let Some(segment) = run.map(|run| run.segment) else { return Ok(()) };
        index.damaged.insert(segment);
        drop(index);
        let Some(home) = &self.shared.home else { return Ok(()) };
        let path = index_path(&home.dir, segment);
        remove_if_there(&*home.disk, &path)?;
        sync_parent(&*home.disk, &path)
    }

    /// Writes a copy of the entries of a [`Stretch`] where they lay, as far as what is there
    /// differs, and makes that durable. `batch` is exactly that stretch.
    ///
    /// # Errors
    /// What the disk says. What the place holds is then unknown, and the store must stop.
    pub fn mend(&self, shard: ShardId, batch: &Batch) -> Result<Mended, StoreError> {
        let index = self.shared.read();
        let bytes = |number| index.segments.get(&number).map_or(0, |segment| segment.bytes);
        let first = batch.first().lsn;
        let of = index.shards.get(&shard);
        let found = of.and_then(|of| Some((of.run(first)?, of.place(shard, first, bytes)?)));
        let Some((run, place)) = found else { return Ok(Mended::Gone) };
        let segment = index.segments.get(&run.segment).expect("a run's segment is open");
        // As long as it is held here, its file is not used again.
        let segment = std::sync::Arc::clone(segment);
        drop(index);
        let stretch = place.stretch;
        let same = batch.first().lsn == stretch.first
            && batch.last().lsn == stretch.last
            && batch.before() == stretch.before
            && (batch.chain() == stretch.after || self.shared.planted.is(Mutation::MendUnproven));
        if !same {
            return Ok(Mended::Unfit("the copy is of another history"));
        }
        let piece = piece(&segment, &place)?;
        let layout = Layout {
            segment: &segment,
            bytes: &piece,
            base: place.from.offset,
            at: place.from.offset,
            group_end: place.from.group_end,
            shard,
            store: self.shared.home.as_ref().map(|home| home.store),
            planted: self.shared.planted,
            writes: Vec::new(),
        };
        let writes = match layout.plan(batch, place.next) {
            Ok(writes) => writes,
            Err(Unfit(why)) => return Ok(Mended::Unfit(why)),
        };
        for (offset, bytes) in &writes {
            write_one(&*segment.file, bytes, *offset)
                .map_err(|e| StoreError::io("write", &segment.path, e))?;
        }
        segment.file.sync_data().map_err(|e| StoreError::sync(&segment.path, e))?;
        self.settled(&segment, &stretch)
    }

    /// Reads a mended stretch back.
    fn settled(&self, segment: &Segment, stretch: &Stretch) -> Result<Mended, StoreError> {
        let mut next = stretch.first;
        while next <= stretch.last {
            match self.read(stretch.shard, next, 1 << 20) {
                Ok(Some(batch)) => next = batch.last().lsn.next(),
                Ok(None) | Err(StoreError::Trimmed { .. }) => return Ok(Mended::Gone),
                Err(StoreError::Damaged(_)) => {
                    return Ok(Mended::Unfit("what was written can't be read back"));
                }
                Err(error) => return Err(error),
            }
        }
        self.shared.write().damaged.remove(&segment.number);
        Ok(Mended::Whole)
    }
}

/// The file's bytes from a stretch's start to behind its end.
fn piece(segment: &Segment, place: &Place) -> Result<Vec<u8>, StoreError> {
    // The next group's header says what a damaged one before it must have said.
    let from = place.from.offset;
    let to = (from + place.stretch.bytes_max + 2 * GROUP_HEADER).min(segment.bytes);
    let length = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
    let mut piece = vec![0; length];
    let got = segment
        .file
        .read_at(&mut piece, from)
        .map_err(|e| StoreError::io("read", &segment.path, e))?;
    piece.truncate(got);
    Ok(piece)
}

/// An offset, and what is to lie there.
type Write<'a> = (u64, Cow<'a, [u8]>);

/// Why a copy does not fit.
struct Unfit(&'static str);

/// Frames laid out over what a segment holds.
struct Layout<'a> {
    segment: &'a Segment,
    /// What the file holds from `base` on.
    bytes: &'a [u8],
    base: u64,
    at: u64,
    group_end: u64,
    shard: ShardId,
    store: Option<StoreUuid>,
    planted: Planted,
    writes: Vec<Write<'a>>,
}

impl<'a> Layout<'a> {
    /// What must be written, and where.
    fn plan(mut self, batch: &'a Batch, next: Option<Point>) -> Result<Vec<Write<'a>>, Unfit> {
        let frames: Vec<Frame<'a>> = batch.frames().collect();
        for (nth, frame) in frames.iter().enumerate() {
            self.advance(frames.get(nth..).unwrap_or_default())?;
            let end = self.at + size(frame.bytes.len());
            if end > self.group_end {
                return Err(Unfit("the copy does not fit into its group"));
            }
            if self.there(self.at, end) != Some(frame.bytes) {
                self.writes.push((self.at, Cow::Borrowed(frame.bytes)));
            }
            self.at = end;
        }
        let fits = match next {
            // Groups of other shards may lie between, and are theirs to mend.
            Some(next) if self.at == self.group_end => next.offset > self.at,
            Some(next) => {
                self.advance(&[])?;
                self.at == next.offset && self.group_end == next.group_end
            }
            None => self.at == self.group_end || self.is_record(),
        };
        if fits { Ok(self.writes) } else { Err(Unfit("the copy is not as long as its place")) }
    }

    /// Goes to where the next entry of the shard lies. `frames` are those to come.
    fn advance(&mut self, frames: &[Frame<'a>]) -> Result<(), Unfit> {
        loop {
            if self.at == self.group_end {
                self.next_group(frames)?;
            } else if is_control(self.rest()) {
                self.at += GROUP_HEADER;
            } else if let Ok(frame) = Frame::decode(self.rest())
                && frame.header.shard != self.shard
            {
                self.at += size(frame.bytes.len());
            } else {
                return Ok(());
            }
        }
    }

    fn next_group(&mut self, frames: &[Frame<'a>]) -> Result<(), Unfit> {
        let at = behind(self.group_end, self.planted);
        let header = match self.header(at) {
            Some(header) => header,
            None => {
                let rebuilt = self.rebuilt(at, frames);
                let lost = Unfit("the header of a group is damaged and can't be made again");
                let (header, bytes) = rebuilt.ok_or(lost)?;
                self.writes.push((at, Cow::Owned(bytes.to_vec())));
                header
            }
        };
        self.at = at + GROUP_HEADER;
        self.group_end = self.at.saturating_add(header.body_bytes);
        Ok(())
    }

    /// A group's header, out of the frames that lie behind it and the header of the next group.
    fn rebuilt(
        &self,
        at: u64,
        frames: &[Frame<'a>],
    ) -> Option<(GroupHeader, [u8; GROUP_HEADER_BYTES])> {
        let body = at + GROUP_HEADER;
        let mut end = body;
        let mut check = Check::default();
        for frame in frames {
            let frame_end = end + size(frame.bytes.len());
            if self.there(end, frame_end) != Some(frame.bytes) {
                break;
            }
            check.entry(self.shard, frame.chain);
            end = frame_end;
        }
        let next = self.header(behind(end, self.planted)).filter(|_| end > body)?;
        let header = GroupHeader {
            body_bytes: end - body,
            segment: self.segment.number,
            number: next.number.checked_sub(1)?,
            // At most this; replay asks only that runs do not fall.
            incarnation: next.incarnation,
            check: check.sum(),
        };
        Some((header, header.encode(self.store?)))
    }

    fn header(&self, at: u64) -> Option<GroupHeader> {
        let header = GroupHeader::decode_any(self.there(at, at + GROUP_HEADER)?)?;
        (header.segment == self.segment.number).then_some(header)
    }

    /// Whether a record stands here: entries that were cut, behind the last one that was not.
    fn is_record(&self) -> bool {
        is_control(self.rest()) || Frame::decode(self.rest()).is_ok()
    }

    fn rest(&self) -> &'a [u8] {
        let end = self.group_end.min(self.base + size(self.bytes.len()));
        self.there(self.at, end).unwrap_or_default()
    }

    fn there(&self, from: u64, to: u64) -> Option<&'a [u8]> {
        slice(self.bytes, from.checked_sub(self.base)?, to.checked_sub(self.base)?)
    }
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length in memory fits 64 bits")
}

#[cfg(test)]
mod tests;
