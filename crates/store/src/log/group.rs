//! What a segment consists of: commit groups, each a header and the records of one sync.
//!
//! A group begins at a sector of its own and is durable before the next one is begun. So a bad
//! group with a good one behind it is damage, and a bad group with nothing behind it is torn.

use std::collections::BTreeMap;

use antiphon_proto::{
    Chain, EntryId, Epoch, Frame, FrameError, Hlc, Lsn, ShardId, StoreUuid, crc32c,
};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Position;
use crate::disk::SECTOR_BYTES;
use crate::mutation::{Mutation, Planted};

/// Bytes of a group's header, and of a control record.
pub(crate) const GROUP_HEADER_BYTES: usize = 64;
/// The same as an offset.
pub(crate) const GROUP_HEADER: u64 = 64;

const GROUP_MAGIC: U16 = U16::new(0x4741); // "AG" as it lies in the file
const CONTROL_MAGIC: U16 = U16::new(0x4341); // "AC"
const VERSION: u8 = 1;

/// The header of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// Bytes of the records behind it.
    pub(crate) body_bytes: u64,
    /// Number of the segment it was written to: older groups in a recycled file have another.
    pub(crate) segment: u64,
    /// Ordinal of the group in the log: dense, the first is 1.
    pub(crate) number: u64,
    /// The run that wrote it.
    pub(crate) incarnation: u64,
    /// [`Check`] of its records: a header never vouches for what an older group left behind it.
    pub(crate) check: u64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawGroup {
    crc: U32, // CRC-32C of the other 60 bytes
    magic: U16,
    version: u8,
    reserved: u8,
    body_bytes: U64,
    segment: U64,
    number: U64,
    incarnation: U64,
    store: U128,
    check: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawControl {
    crc: U32, // CRC-32C of the other 60 bytes
    magic: U16,
    version: u8,
    kind: u8,
    shard: U32,
    reserved: U32,
    epoch: U64,
    lsn: U64,
    hlc: U64,
    reserved_end: U64,
    chain: U128,
}

const _: () = assert!(size_of::<RawGroup>() == GROUP_HEADER_BYTES, "part of the format");
const _: () = assert!(size_of::<RawControl>() == GROUP_HEADER_BYTES, "part of the format");

/// What a control record does to its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ControlKind {
    /// Entries after the position are void; the log goes on behind it.
    Cut = 1,
    /// All entries are void; the log begins anew behind the position, as after a snapshot.
    Restart = 2,
}

/// A record that changes a shard's log other than by an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) kind: ControlKind,
    pub(crate) shard: ShardId,
    pub(crate) position: Position,
}

impl GroupHeader {
    pub(crate) fn encode(&self, store: StoreUuid) -> [u8; GROUP_HEADER_BYTES] {
        sealed(&RawGroup {
            crc: U32::ZERO,
            magic: GROUP_MAGIC,
            version: VERSION,
            reserved: 0,
            body_bytes: U64::new(self.body_bytes),
            segment: U64::new(self.segment),
            number: U64::new(self.number),
            incarnation: U64::new(self.incarnation),
            store: U128::new(store.get()),
            check: U64::new(self.check),
        })
    }

    /// The header at the start of `bytes`, if there is a good one of this store.
    pub(crate) fn decode(store: StoreUuid, bytes: &[u8]) -> Option<Self> {
        let (raw, _) = RawGroup::ref_from_prefix(bytes).ok()?;
        if raw.store.get() == store.get() { Self::decode_any(bytes) } else { None }
    }

    /// The header at the start of `bytes`, if there is a good one of any store.
    pub(crate) fn decode_any(bytes: &[u8]) -> Option<Self> {
        let (raw, _) = RawGroup::ref_from_prefix(bytes).ok()?;
        if raw.magic != GROUP_MAGIC || raw.version != VERSION || !is_sealed(bytes, raw.crc) {
            return None;
        }
        Some(Self {
            body_bytes: raw.body_bytes.get(),
            segment: raw.segment.get(),
            number: raw.number.get(),
            incarnation: raw.incarnation.get(),
            check: raw.check.get(),
        })
    }
}

impl Control {
    pub(crate) fn encode(&self) -> [u8; GROUP_HEADER_BYTES] {
        sealed(&RawControl {
            crc: U32::ZERO,
            magic: CONTROL_MAGIC,
            version: VERSION,
            kind: self.kind as u8,
            shard: U32::new(self.shard.get()),
            reserved: U32::ZERO,
            epoch: U64::new(self.position.id.epoch.get()),
            lsn: U64::new(self.position.id.lsn.get()),
            hlc: U64::new(self.position.hlc.get()),
            reserved_end: U64::ZERO,
            chain: U128::new(self.position.chain.get()),
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (raw, _) = RawControl::ref_from_prefix(bytes).ok()?;
        if raw.magic != CONTROL_MAGIC || raw.version != VERSION || !is_sealed(bytes, raw.crc) {
            return None;
        }
        let kind = match raw.kind {
            1 => ControlKind::Cut,
            2 => ControlKind::Restart,
            _ => return None,
        };
        let id = EntryId::new(Epoch::new(raw.epoch.get()), Lsn::new(raw.lsn.get()));
        let (hlc, chain) = (Hlc::new(raw.hlc.get()), Chain::new(raw.chain.get()));
        let shard = ShardId::new(raw.shard.get());
        Some(Self { kind, shard, position: Position { id, chain, hlc } })
    }
}

/// Sums up the records of a group: the last chain hash of each shard, and the controls.
///
/// A chain hash covers all bytes of all entries up to it, so this covers the group's content.
#[derive(Debug, Default)]
pub(crate) struct Check {
    chains: BTreeMap<ShardId, Chain>,
    controls: Vec<u8>,
}

impl Check {
    pub(crate) fn entry(&mut self, shard: ShardId, chain: Chain) {
        self.chains.insert(shard, chain);
    }

    pub(crate) fn control(&mut self, control: &Control) {
        self.controls.extend_from_slice(&control.encode());
    }

    pub(crate) fn sum(mut self) -> u64 {
        for (shard, chain) in self.chains {
            self.controls.extend_from_slice(&shard.get().to_le_bytes());
            self.controls.extend_from_slice(&chain.get().to_le_bytes());
        }
        xxhash_rust::xxh3::xxh3_64(&self.controls)
    }
}

/// Puts the checksum into the first four bytes.
fn sealed<T: IntoBytes + Immutable>(raw: &T) -> [u8; GROUP_HEADER_BYTES] {
    let mut out = [0; GROUP_HEADER_BYTES];
    out.copy_from_slice(raw.as_bytes());
    let (crc, covered) = out.split_at_mut(4);
    crc.copy_from_slice(&crc32c(covered).to_le_bytes());
    out
}

fn is_sealed(bytes: &[u8], crc: U32) -> bool {
    bytes.get(4..GROUP_HEADER_BYTES).is_some_and(|covered| crc32c(covered) == crc.get())
}

/// One record of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Record<'a> {
    Frame(Frame<'a>),
    Control(Control),
}

impl Record<'_> {
    /// Its length. Unit: bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.bytes.len(),
            Self::Control(_) => GROUP_HEADER_BYTES,
        }
    }
}

/// Decodes the record at the start of `bytes`, which end where the group ends.
pub(crate) fn decode_record(bytes: &[u8]) -> Result<Record<'_>, FrameError> {
    match Frame::decode(bytes) {
        Err(FrameError::Magic) => {
            Control::decode(bytes).map(Record::Control).ok_or(FrameError::Magic)
        }
        other => other.map(Record::Frame),
    }
}

/// Whether a control record stands at the start of `bytes`.
pub(crate) fn is_control(bytes: &[u8]) -> bool {
    Control::decode(bytes).is_some()
}

/// The first sector's start at or behind an offset.
pub(crate) fn align(offset: u64) -> u64 {
    offset.next_multiple_of(SECTOR_BYTES)
}

/// Where the group behind one that ends here begins: at a sector of its own.
pub(crate) fn behind(end: u64, planted: Planted) -> u64 {
    if planted.is(Mutation::ShareSectors) { end } else { align(end) }
}

/// A group in a segment's bytes whose header is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupAt {
    /// Where its header begins.
    pub(crate) offset: u64,
    pub(crate) header: GroupHeader,
}

impl GroupAt {
    /// Where its records end.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(GROUP_HEADER).saturating_add(self.header.body_bytes)
    }

    /// Its records, with the offset of each, until one is bad.
    pub(crate) fn records<'a>(
        &self,
        segment: &'a [u8],
    ) -> impl Iterator<Item = (u64, Result<Record<'a>, FrameError>)> + use<'a> {
        let mut at = self.offset.saturating_add(GROUP_HEADER);
        let end = self.end();
        let mut over = false;
        std::iter::from_fn(move || {
            if at >= end || over {
                return None;
            }
            let record = slice(segment, at, end).map_or(
                Err(FrameError::Short { have: 0, need: GROUP_HEADER_BYTES }),
                decode_record,
            );
            let here = at;
            match &record {
                Ok(record) => at += u64::try_from(record.bytes()).expect("a length in memory"),
                Err(_) => over = true,
            }
            Some((here, record))
        })
    }
}

/// The group whose header lies at `offset`, if it is good and of this segment.
pub(crate) fn group_at(
    store: StoreUuid,
    number: u64,
    segment: &[u8],
    offset: u64,
) -> Option<GroupAt> {
    let header = GroupHeader::decode(store, slice(segment, offset, offset + GROUP_HEADER)?)?;
    (header.segment == number).then_some(GroupAt { offset, header })
}

/// Bytes of a segment by offsets in the file.
pub(crate) fn slice(segment: &[u8], from: u64, to: u64) -> Option<&[u8]> {
    segment.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
}
