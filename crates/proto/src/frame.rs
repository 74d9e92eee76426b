//! The one encoding of an entry: these bytes go to the disk and to the wire unchanged.
//!
//! A frame is a fixed header of 64 bytes and the payload. The header carries a CRC-32C of the
//! frame and a chain hash over all frames before it, so two logs with the same chain hash at a
//! position are equal up to there. `docs/format.md` shows golden bytes.

use bytes::{BufMut, Bytes, BytesMut};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::NUMBER_MAX;
use crate::{EntryId, Epoch, Hlc, Lsn, ShardId};

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 64;
/// The most bytes that an entry's payload may have.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// The most bytes that a frame may have, with its header.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;
/// Version of the frame's layout that this code writes, and the only one that it reads.
pub const FRAME_VERSION: u8 = 1;

const MAGIC: u16 = 0x4641; // "AF" as it lies in a file
const CRC_BYTES: usize = 4;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Effects of a write; only the state machine knows what they mean.
    Data = 1,
    /// The first entry of an epoch; the payload is the epoch's configuration.
    EpochStart = 2,
    /// Carries nothing but its time.
    Noop = 3,
    /// Opens a client's session, named after the entry.
    SessionOpen = 4,
    /// Closes sessions.
    SessionClose = 5,
    /// Effects of a session's write, with the write's name and its reply.
    SessionData = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            2 => Some(Self::EpochStart),
            3 => Some(Self::Noop),
            4 => Some(Self::SessionOpen),
            5 => Some(Self::SessionClose),
            6 => Some(Self::SessionData),
            _ => None,
        }
    }
}

/// Hash over all frames of a log up to a position. Equal hashes mean equal logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Chain(u128);

impl Chain {
    /// Before the first frame.
    pub const ZERO: Self = Self(0);

    /// Wraps a raw hash, as read from a file or a message.
    #[must_use]
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The raw hash.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// The hash after one more frame whose own bytes hash to `frame`.
    fn extend(self, frame: u128) -> Self {
        let mut both = [0; 32];
        let (left, right) = both.split_at_mut(16);
        left.copy_from_slice(&self.0.to_le_bytes());
        right.copy_from_slice(&frame.to_le_bytes());
        Self(xxhash_rust::xxh3::xxh3_128(&both))
    }
}

/// Fields of a frame's header besides length, checksum and chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the entry is.
    pub kind: Kind,
    /// The log it belongs to.
    pub shard: ShardId,
    /// Its identity.
    pub id: EntryId,
    /// When it was appended, by its primary.
    pub hlc: Hlc,
}

/// The header as it lies in memory, on disk and on the wire.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    crc: U32, // CRC-32C of all that follows, to the end of the payload
    magic: U16,
    version: u8,
    kind: u8,
    payload_bytes: U32,
    shard: U32,
    epoch: U64,
    lsn: U64,
    hlc: U64,
    attribute_bytes: U32, // for sessions and origins; 0 in version 1
    reserved: U32,        // 0
    chain: U128,          // over the previous chain hash and this frame without `crc` and `chain`
}

const _: () = assert!(size_of::<Raw>() == HEADER_BYTES, "the header's size is part of the format");
const CHAIN_OFFSET: usize = 48;

/// Why bytes are no frame. Never a reason to stop: the bytes came from a peer or a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end before the frame does.
    #[error("frame is cut: {have} bytes of {need}")]
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes that the header or its size asks for.
        need: usize,
    },
    /// The first bytes are not those of a frame.
    #[error("not a frame")]
    Magic,
    /// Another layout than ours.
    #[error("frame version {0} is not known, this build reads version {FRAME_VERSION}")]
    Version(u8),
    /// A kind that this build does not know.
    #[error("entry kind {0} is not known")]
    Kind(u8),
    /// A length past [`PAYLOAD_BYTES_MAX`].
    #[error("payload of {0} bytes is over the limit of {PAYLOAD_BYTES_MAX}")]
    TooLong(u32),
    /// The checksum does not match.
    #[error("frame checksum does not match")]
    Checksum,
    /// A field that must be zero is not.
    #[error("frame has bits set that this version does not use")]
    Reserved,
    /// The frame does not follow the one before it.
    #[error("frame does not continue the log")]
    Chain,
}

/// One frame, checked, borrowed from the bytes it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The decoded header.
    pub header: Header,
    /// The chain hash that the header claims.
    pub chain: Chain,
    /// The entry's content.
    pub payload: &'a [u8],
    /// The whole frame.
    pub bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Decodes the frame at the start of `bytes`: limits first, then the checksum.
    ///
    /// # Errors
    /// What is wrong with the bytes; [`FrameError::Short`] when more of them are needed.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let short = |need| FrameError::Short { have: bytes.len(), need };
        let Ok((raw, _)) = Raw::ref_from_prefix(bytes) else { return Err(short(HEADER_BYTES)) };
        let need = raw.frame_bytes()?;
        let frame = bytes.get(..need).ok_or_else(|| short(need))?;
        let covered = frame.get(CRC_BYTES..).ok_or_else(|| short(need))?;
        if crc32c(covered) != raw.crc.get() {
            return Err(FrameError::Checksum);
        }
        let kind = Kind::from_byte(raw.kind).ok_or(FrameError::Kind(raw.kind))?;
        let unused = raw.attribute_bytes.get() != 0 || raw.reserved.get() != 0;
        if unused || raw.epoch.get() > NUMBER_MAX || raw.lsn.get() > NUMBER_MAX {
            return Err(FrameError::Reserved);
        }
        if raw.lsn.get() == 0 {
            return Err(FrameError::Chain);
        }
        let header = Header {
            kind,
            shard: ShardId::new(raw.shard.get()),
            id: EntryId::new(Epoch::new(raw.epoch.get()), Lsn::new(raw.lsn.get())),
            hlc: Hlc::new(raw.hlc.get()),
        };
        let payload = frame.get(HEADER_BYTES..).ok_or_else(|| short(need))?;
        Ok(Self { header, chain: Chain(raw.chain.get()), payload, bytes: frame })
    }

    /// Whether this frame's chain hash follows from the one before it.
    #[must_use]
    pub fn continues(&self, before: Chain) -> bool {
        before.extend(own_hash(self.bytes)) == self.chain
    }
}

impl Raw {
    /// The frame's length, after the checks that need no more than the header.
    fn frame_bytes(&self) -> Result<usize, FrameError> {
        if self.magic.get() != MAGIC {
            return Err(FrameError::Magic);
        }
        if self.version != FRAME_VERSION {
            return Err(FrameError::Version(self.version));
        }
        let payload = self.payload_bytes.get();
        match usize::try_from(payload) {
            Ok(length) if length <= PAYLOAD_BYTES_MAX => Ok(HEADER_BYTES + length),
            _ => Err(FrameError::TooLong(payload)),
        }
    }
}

/// How many bytes the frame at the start of `header` has, without looking at its payload.
///
/// # Errors
/// As [`Frame::decode`], as far as the header tells.
pub fn frame_bytes(header: &[u8]) -> Result<usize, FrameError> {
    match Raw::ref_from_prefix(header) {
        Ok((raw, _)) => raw.frame_bytes(),
        Err(_) => Err(FrameError::Short { have: header.len(), need: HEADER_BYTES }),
    }
}

/// Appends one frame to `out`; `write` appends the payload in place, so it is copied nowhere.
/// Returns the chain hash after the frame.
///
/// # Panics
/// When `write` appends more than [`PAYLOAD_BYTES_MAX`] bytes: the caller checks its input first.
pub fn encode(
    out: &mut BytesMut,
    header: Header,
    before: Chain,
    write: impl FnOnce(&mut BytesMut),
) -> Chain {
    let start = out.len();
    out.put_bytes(0, HEADER_BYTES);
    write(out);
    let payload = out.len() - start - HEADER_BYTES;
    assert!(payload <= PAYLOAD_BYTES_MAX, "a payload of {payload} bytes is over the limit");
    let raw = Raw {
        crc: U32::ZERO,
        magic: U16::new(MAGIC),
        version: FRAME_VERSION,
        kind: header.kind as u8,
        payload_bytes: U32::new(u32::try_from(payload).expect("the limit fits 32 bits")),
        shard: U32::new(header.shard.get()),
        epoch: U64::new(header.id.epoch.get()),
        lsn: U64::new(header.id.lsn.get()),
        hlc: U64::new(header.hlc.get()),
        attribute_bytes: U32::ZERO,
        reserved: U32::ZERO,
        chain: U128::ZERO,
    };
    let frame = out.get_mut(start..).expect("the frame was just written");
    put(frame, 0, raw.as_bytes());
    let chain = before.extend(own_hash(frame));
    put(frame, CHAIN_OFFSET, &chain.0.to_le_bytes());
    let crc = crc32c(frame.get(CRC_BYTES..).expect("a frame is longer than its checksum"));
    put(frame, 0, &crc.to_le_bytes());
    chain
}

fn put(frame: &mut [u8], offset: usize, bytes: &[u8]) {
    frame
        .get_mut(offset..offset + bytes.len())
        .expect("a frame has at least its header")
        .copy_from_slice(bytes);
}

/// Hash of a frame without its checksum and chain fields.
fn own_hash(frame: &[u8]) -> u128 {
    let fields = frame.get(CRC_BYTES..CHAIN_OFFSET).expect("a frame has at least its header");
    let payload = frame.get(HEADER_BYTES..).expect("a frame has at least its header");
    // One pass over each half and a third over the two results: no streaming state, which
    // costs more than the hashing of a small frame.
    let mut halves = [0; 32];
    let (left, right) = halves.split_at_mut(16);
    left.copy_from_slice(&xxhash_rust::xxh3::xxh3_128(fields).to_le_bytes());
    right.copy_from_slice(&xxhash_rust::xxh3::xxh3_128(payload).to_le_bytes());
    xxhash_rust::xxh3::xxh3_128(&halves)
}

/// CRC-32C as all our formats use it.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(crc).expect("a 32-bit checksum")
}

/// A run of whole frames, one after the other, shared by reference: the unit that is appended,
/// sent, read back and applied. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    first: EntryId,
    last: EntryId,
    before: Chain,
    chain: Chain,
    last_hlc: Hlc,
}

impl Batch {
    /// Checks bytes from a peer or a disk: every frame whole and intact, of `shard`, ordinals
    /// dense, epochs not falling, chained from `before`.
    ///
    /// # Errors
    /// The first frame that is wrong, by its offset in `bytes`.
    pub fn decode(shard: ShardId, before: Chain, bytes: Bytes) -> Result<Self, BatchError> {
        let mut offset = 0;
        let mut chain = before;
        let mut ends: Option<(EntryId, EntryId, Hlc)> = None;
        while offset < bytes.len() || ends.is_none() {
            let at = |error| BatchError { offset, error };
            let frame = Frame::decode(bytes.get(offset..).unwrap_or_default()).map_err(at)?;
            let id = frame.header.id;
            let follows = ends.is_none_or(|(_, last, hlc)| {
                id.lsn == last.lsn.next() && id.epoch >= last.epoch && frame.header.hlc > hlc
            });
            if frame.header.shard != shard || !follows || !frame.continues(chain) {
                return Err(at(FrameError::Chain));
            }
            chain = frame.chain;
            offset += frame.bytes.len();
            ends = Some((ends.map_or(id, |(first, ..)| first), id, frame.header.hlc));
        }
        let (first, last, last_hlc) = ends.expect("the loop ran at least once");
        Ok(Self { bytes, first, last, before, chain, last_hlc })
    }

    /// The frames' bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The first entry.
    #[must_use]
    pub const fn first(&self) -> EntryId {
        self.first
    }

    /// The last entry.
    #[must_use]
    pub const fn last(&self) -> EntryId {
        self.last
    }

    /// The chain hash before the first frame.
    #[must_use]
    pub const fn before(&self) -> Chain {
        self.before
    }

    /// The chain hash after the last frame.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// The time of the last entry.
    #[must_use]
    pub const fn last_hlc(&self) -> Hlc {
        self.last_hlc
    }

    /// The frames, in order. They were checked when the batch was made.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let mut rest: &[u8] = &self.bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let frame = Frame::decode_checked(rest);
            rest = rest.get(frame.bytes.len()..).expect("a frame lies within its batch");
            Some(frame)
        })
    }

    /// The part of this batch after `lsn`; none when nothing is left.
    #[must_use]
    pub fn after(&self, lsn: Lsn) -> Option<Self> {
        if lsn < self.first.lsn {
            return Some(self.clone());
        }
        let mut before = self.before;
        let mut offset = 0;
        for frame in self.frames() {
            if frame.header.id.lsn > lsn {
                return Some(Self {
                    bytes: self.bytes.slice(offset..),
                    first: frame.header.id,
                    before,
                    ..self.clone()
                });
            }
            before = frame.chain;
            offset += frame.bytes.len();
        }
        None
    }

    /// The part of this batch up to and with `lsn`; none when nothing is left.
    #[must_use]
    pub fn up_to(&self, lsn: Lsn) -> Option<Self> {
        if lsn >= self.last.lsn {
            return Some(self.clone());
        }
        let mut kept: Option<(EntryId, Chain, Hlc)> = None;
        let mut offset = 0;
        for frame in self.frames().take_while(|frame| frame.header.id.lsn <= lsn) {
            kept = Some((frame.header.id, frame.chain, frame.header.hlc));
            offset += frame.bytes.len();
        }
        kept.map(|(last, chain, last_hlc)| Self {
            bytes: self.bytes.slice(..offset),
            last,
            chain,
            last_hlc,
            ..self.clone()
        })
    }
}

impl<'a> Frame<'a> {
    /// Reads a frame whose checksum was verified before, within a [`Batch`].
    fn decode_checked(bytes: &'a [u8]) -> Self {
        let (raw, _) = Raw::ref_from_prefix(bytes).expect("a batch holds whole frames");
        let length = raw.frame_bytes().expect("a batch holds checked frames");
        let frame = bytes.get(..length).expect("a batch holds whole frames");
        let header = Header {
            kind: Kind::from_byte(raw.kind).expect("a batch holds checked frames"),
            shard: ShardId::new(raw.shard.get()),
            id: EntryId::new(Epoch::new(raw.epoch.get()), Lsn::new(raw.lsn.get())),
            hlc: Hlc::new(raw.hlc.get()),
        };
        let payload = frame.get(HEADER_BYTES..).expect("a batch holds whole frames");
        Self { header, chain: Chain(raw.chain.get()), payload, bytes: frame }
    }
}

/// Why bytes are no batch, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {error}")]
pub struct BatchError {
    /// Offset of the frame that is wrong.
    pub offset: usize,
    /// What is wrong with it.
    pub error: FrameError,
}

/// Builds a batch frame by frame at the end of a log, in one buffer.
#[derive(Debug)]
pub struct BatchBuilder {
    shard: ShardId,
    out: BytesMut,
    first: Option<EntryId>,
    last: EntryId,
    before: Chain,
    chain: Chain,
    hlc: Hlc,
}

impl BatchBuilder {
    /// Starts behind the log's `last` entry with its chain hash and time.
    #[must_use]
    pub fn new(shard: ShardId, last: EntryId, chain: Chain, hlc: Hlc) -> Self {
        Self { shard, out: BytesMut::new(), first: None, last, before: chain, chain, hlc }
    }

    /// Appends one entry; `write` writes its payload in place. Returns its identity.
    ///
    /// # Panics
    /// When the epoch is lower than the last entry's, or the payload is over the limit.
    pub fn push(
        &mut self,
        epoch: Epoch,
        kind: Kind,
        wall_ms: u64,
        write: impl FnOnce(&mut BytesMut),
    ) -> EntryId {
        assert!(epoch >= self.last.epoch, "an epoch never falls along a log");
        let id = EntryId::new(epoch, self.last.lsn.next());
        self.hlc = self.hlc.tick(wall_ms);
        let header = Header { kind, shard: self.shard, id, hlc: self.hlc };
        self.chain = encode(&mut self.out, header, self.chain, write);
        self.first.get_or_insert(id);
        self.last = id;
        id
    }

    /// Bytes gathered so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was gathered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The last entry, gathered or before.
    #[must_use]
    pub const fn last(&self) -> EntryId {
        self.last
    }

    /// The chain hash after the last entry.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// The time of the last entry.
    #[must_use]
    pub const fn hlc(&self) -> Hlc {
        self.hlc
    }

    /// Takes what was gathered and goes on behind it; none when there is nothing.
    pub fn take(&mut self) -> Option<Batch> {
        let first = self.first.take()?;
        let batch = Batch {
            bytes: self.out.split().freeze(),
            first,
            last: self.last,
            before: self.before,
            chain: self.chain,
            last_hlc: self.hlc,
        };
        self.before = self.chain;
        Some(batch)
    }
}

#[cfg(test)]
mod tests;
