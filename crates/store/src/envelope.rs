//! The wrapping of every record that is not a log frame: kind, version, store and checksum.
//!
//! Every byte of a wrapped record is covered: a flipped bit anywhere, a wrong length, or a file
//! of another store is seen before its body is looked at.

use antiphon_proto::{StoreUuid, crc32c};
use zerocopy::little_endian::{U16, U32, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes before the body.
pub(crate) const ENVELOPE_BYTES: usize = 32;
/// Version of all our file formats that this build writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"ANTI";

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum RecordKind {
    Superblock = 1,
    HardState = 2,
    SegmentHeader = 3,
    SegmentIndex = 4,
    Hint = 5,
    SnapshotHeader = 6,
    SnapshotEnd = 7,
    Diverged = 8,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    crc: U32, // CRC-32C of all that follows, to the end of the body
    magic: [u8; 4],
    kind: U16,
    version: U16,
    body_bytes: U32,
    store: U128,
}

const _: () = assert!(size_of::<Raw>() == ENVELOPE_BYTES, "the size is part of the format");

/// Why bytes are not the record that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Written by a newer build.
    Newer(u16),
    /// Not what was written.
    Bad(&'static str),
}

/// A record that was checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened<'a> {
    pub(crate) store: StoreUuid,
    pub(crate) body: &'a [u8],
    /// Bytes of the record with its envelope.
    pub(crate) bytes: usize,
}

/// Wraps a body.
pub(crate) fn seal(kind: RecordKind, store: StoreUuid, body: &[u8]) -> Vec<u8> {
    let raw = Raw {
        crc: U32::ZERO,
        magic: MAGIC,
        kind: U16::new(kind as u16),
        version: U16::new(FORMAT_VERSION),
        body_bytes: U32::new(u32::try_from(body.len()).expect("a record is under 4 GiB")),
        store: U128::new(store.get()),
    };
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + body.len());
    out.extend_from_slice(raw.as_bytes());
    out.extend_from_slice(body);
    let crc = crc32c(out.get(4..).expect("an envelope is longer than its checksum"));
    out.get_mut(..4).expect("an envelope begins with 4 bytes").copy_from_slice(&crc.to_le_bytes());
    out
}

/// Checks the record at the start of `bytes`; what follows it is not looked at.
pub(crate) fn open_prefix(kind: RecordKind, bytes: &[u8]) -> Result<Opened<'_>, Refused> {
    let Ok((raw, rest)) = Raw::ref_from_prefix(bytes) else {
        return Err(Refused::Bad("the record is cut"));
    };
    if raw.magic != MAGIC {
        return Err(Refused::Bad("not a record of this program"));
    }
    let length = usize::try_from(raw.body_bytes.get()).unwrap_or(usize::MAX);
    let body = rest.get(..length).ok_or(Refused::Bad("the record is cut"))?;
    let covered = bytes.get(4..ENVELOPE_BYTES + length).unwrap_or_default();
    if crc32c(covered) != raw.crc.get() {
        return Err(Refused::Bad("its checksum does not match"));
    }
    if raw.version.get() > FORMAT_VERSION {
        return Err(Refused::Newer(raw.version.get()));
    }
    if raw.version.get() != FORMAT_VERSION || raw.kind.get() != kind as u16 {
        return Err(Refused::Bad("it is another kind of record"));
    }
    Ok(Opened { store: StoreUuid::new(raw.store.get()), body, bytes: ENVELOPE_BYTES + length })
}

/// Checks a record that fills `bytes` to the last one.
pub(crate) fn open(kind: RecordKind, bytes: &[u8]) -> Result<Opened<'_>, Refused> {
    let opened = open_prefix(kind, bytes)?;
    if opened.bytes == bytes.len() {
        return Ok(opened);
    }
    Err(Refused::Bad("bytes follow the record"))
}

#[cfg(test)]
mod tests;
