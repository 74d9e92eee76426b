//! A segment's file: its name, its header, and reading it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_proto::{ShardId, StoreUuid};
use bytes::BufMut;

use super::group::align;
use crate::disk::{Disk, DiskFile, read_exact_at};
use crate::envelope::{self, ENVELOPE_BYTES, RecordKind, Refused};
use crate::fields::{Fields, POSITION_BYTES, put_position};
use crate::{Position, SHARDS_MAX, StoreError};

/// Bytes that any header fits in.
pub(crate) const HEADER_BYTES_MAX: usize = ENVELOPE_BYTES + 28 + SHARDS_MAX * SHARD_BYTES;
const SHARD_BYTES: usize = 4 + POSITION_BYTES;

/// What a segment says of itself, and where each shard stood when it was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Ordinal of the segment: dense, the first is 1.
    pub(crate) number: u64,
    /// Number of the first group in it.
    pub(crate) first_group: u64,
    /// The run that began it.
    pub(crate) incarnation: u64,
    /// The last entry of each shard before it.
    pub(crate) starts: Vec<(ShardId, Position)>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self, store: StoreUuid) -> Vec<u8> {
        let mut body = Vec::with_capacity(28 + self.starts.len() * SHARD_BYTES);
        body.put_u64_le(self.number);
        body.put_u64_le(self.first_group);
        body.put_u64_le(self.incarnation);
        body.put_u32_le(u32::try_from(self.starts.len()).expect("shards are limited"));
        for (shard, position) in &self.starts {
            body.put_u32_le(shard.get());
            put_position(&mut body, position);
        }
        envelope::seal(RecordKind::SegmentHeader, store, &body)
    }

    /// The header at the start of a segment, and where the first group begins.
    pub(crate) fn decode(store: StoreUuid, bytes: &[u8]) -> Result<(Self, u64), Refused> {
        let opened = envelope::open_prefix(RecordKind::SegmentHeader, bytes)?;
        if opened.store != store {
            return Err(Refused::Bad("the segment belongs to another store"));
        }
        let header = Self::decode_body(opened.body)
            .ok_or(Refused::Bad("the segment header's fields do not fit"))?;
        let length = u64::try_from(opened.bytes).expect("a length in memory");
        Ok((header, align(length)))
    }

    fn decode_body(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let (number, first_group, incarnation) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let count = fields.count(SHARD_BYTES)?;
        let mut starts = Vec::with_capacity(count);
        for _ in 0..count {
            starts.push((fields.shard()?, fields.position()?));
        }
        fields.end(Self { number, first_group, incarnation, starts })
    }
}

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Size of the file; nothing is written behind it.
    pub(crate) bytes: u64,
    /// Where the first group begins.
    pub(crate) body: u64,
    pub(crate) header: SegmentHeader,
}

impl Segment {
    /// Reads the whole file.
    pub(crate) fn read_all(&self) -> Result<Vec<u8>, StoreError> {
        read_file(&*self.file, &self.path)
    }
}

/// Reads a whole segment file.
pub(crate) fn read_file(file: &dyn DiskFile, path: &Path) -> Result<Vec<u8>, StoreError> {
    let failed = |e| StoreError::io("read", path, e);
    let length = file.len().map_err(failed)?;
    let too_large =
        |_| StoreError::TooLarge { what: "segment", bytes: usize::MAX, limit: usize::MAX };
    let mut bytes = vec![0; usize::try_from(length).map_err(too_large)?];
    read_exact_at(file, &mut bytes, 0).map_err(failed)?;
    Ok(bytes)
}

/// Reads as much as any header can take.
pub(crate) fn read_head(file: &dyn DiskFile, path: &Path) -> Result<Vec<u8>, StoreError> {
    let failed = |e| StoreError::io("read", path, e);
    let mut bytes = vec![0; 512];
    let got = file.read_at(&mut bytes, 0).map_err(failed)?;
    bytes.truncate(got);
    // Most headers are one sector; the envelope tells when there is more.
    let head = envelope::open_prefix(RecordKind::SegmentHeader, &bytes);
    if head.is_err_and(|why| why == Refused::Bad("the record is cut")) {
        bytes.resize(HEADER_BYTES_MAX, 0);
        let got = file.read_at(&mut bytes, 0).map_err(failed)?;
        bytes.truncate(got);
    }
    Ok(bytes)
}

/// Where a segment lies.
pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.log"))
}

/// Where the index of a sealed segment lies.
pub(crate) fn index_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.idx"))
}

/// Numbers of the segments in a directory, rising.
pub(crate) fn segment_numbers(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, StoreError> {
    let names = disk.list(dir).map_err(|e| StoreError::io("list", dir, e))?;
    Ok(names.iter().filter_map(|name| number_of(name, ".log")).collect())
}

/// The number in a file's name, if it is such a file.
pub(crate) fn number_of(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let plain = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}
