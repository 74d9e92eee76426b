//! Reading a snapshot: nothing is handed out that was not checked.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_proto::StoreUuid;
use xxhash_rust::xxh3::Xxh3;

use super::write::chunk_header;
use super::{
    CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, SNAPSHOT_META_BYTES_MAX, SnapshotInfo, Total,
    decode_header,
};
use crate::disk::{Access, Disk, DiskFile, read_exact_at};
use crate::envelope::{self, ENVELOPE_BYTES, RecordKind, Refused};
use crate::fields::{Fields, POSITION_BYTES};
use crate::superblock::refusal;
use crate::{Damage, StoreError};

const HEADER_BYTES_MAX: usize = ENVELOPE_BYTES + 4 + POSITION_BYTES + SNAPSHOT_META_BYTES_MAX;

/// A snapshot's body, read from its start to its end. Reads fail with `InvalidData` where the
/// file is damaged; the end is reported only when the total is right too.
pub struct SnapshotReader {
    info: SnapshotInfo,
    store: StoreUuid,
    file: Arc<dyn DiskFile>,
    at: u64,
    chunk: Vec<u8>,
    /// What was handed out of the chunk.
    taken: usize,
    chunks: u64,
    bytes: u64,
    hash: Xxh3,
    ended: bool,
}

impl std::fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotReader").field("info", &self.info).finish_non_exhaustive()
    }
}

impl SnapshotReader {
    pub(super) fn open(disk: &dyn Disk, path: &Path, store: StoreUuid) -> Result<Self, StoreError> {
        let failed = |e| StoreError::io("read", path, e);
        let file = disk.open(path, Access::Read).map_err(failed)?;
        let there = usize::try_from(file.len().map_err(failed)?).unwrap_or(usize::MAX);
        let mut head = vec![0; there.min(HEADER_BYTES_MAX)];
        read_exact_at(&*file, &mut head, 0).map_err(failed)?;
        let opened = envelope::open_prefix(RecordKind::SnapshotHeader, &head)
            .map_err(|refused| refusal(path, refused))?;
        let bad = |what| refusal(path, Refused::Bad(what));
        if opened.store != store {
            return Err(bad("it belongs to another store"));
        }
        let info = decode_header(path, opened.body).ok_or_else(|| bad("its fields do not fit"))?;
        let at = u64::try_from(opened.bytes).expect("a length in memory");
        Ok(Self {
            info,
            store,
            file,
            at,
            chunk: Vec::new(),
            taken: 0,
            chunks: 0,
            bytes: 0,
            hash: Xxh3::new(),
            ended: false,
        })
    }

    /// What the snapshot is of; `bytes` is what was read so far.
    #[must_use]
    pub const fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// Reads to the end and says what the snapshot is of.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with the place.
    pub fn check(mut self) -> Result<SnapshotInfo, StoreError> {
        while !self.ended {
            self.next_chunk()?;
        }
        self.info.bytes = self.bytes;
        Ok(self.info)
    }

    fn bad(&self, what: &'static str) -> StoreError {
        let path: PathBuf = self.info.path.clone();
        StoreError::damaged(Damage { path, offset: self.at, entries: None, what })
    }

    fn next_chunk(&mut self) -> Result<(), StoreError> {
        let cut = "the snapshot is cut";
        let mut head = [0; CHUNK_HEADER_BYTES];
        self.exactly(&mut head, self.at, cut)?;
        let (_crc, rest) = head.split_at(4);
        let length = Fields(rest).u32().and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= CHUNK_BYTES_MAX);
        let length = length.ok_or_else(|| self.bad("a chunk's length is over the limit"))?;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.resize(length, 0);
        self.exactly(&mut chunk, self.at + size(CHUNK_HEADER_BYTES), cut)?;
        if chunk_header(self.chunks, &chunk) != head {
            return Err(self.bad("a chunk's checksum does not match"));
        }
        self.hash.update(&chunk);
        self.at += size(CHUNK_HEADER_BYTES + length);
        self.bytes += size(length);
        (self.chunk, self.taken) = (chunk, 0);
        if length == 0 {
            return self.end();
        }
        self.chunks += 1;
        Ok(())
    }

    /// Compares the total, which must be the last thing in the file.
    fn end(&mut self) -> Result<(), StoreError> {
        let all = self.file.len().map_err(|e| StoreError::io("read", &self.info.path, e))?;
        let mut end = vec![0; ENVELOPE_BYTES + 32];
        if all != self.at + size(end.len()) {
            return Err(self.bad("the snapshot's end has the wrong length"));
        }
        self.exactly(&mut end, self.at, "the snapshot is cut")?;
        let total = envelope::open(RecordKind::SnapshotEnd, &end)
            .ok()
            .filter(|opened| opened.store == self.store)
            .and_then(|opened| Total::decode(opened.body));
        let (chunks, bytes, digest) = (self.chunks, self.bytes, self.hash.digest128());
        if total != Some(Total { chunks, bytes, digest }) {
            return Err(self.bad("the snapshot's total does not match"));
        }
        self.ended = true;
        Ok(())
    }

    fn exactly(&self, out: &mut [u8], at: u64, what: &'static str) -> Result<(), StoreError> {
        match read_exact_at(&*self.file, out, at) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.bad(what)),
            Err(error) => Err(StoreError::io("read", &self.info.path, error)),
        }
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.chunk.len() {
            if self.ended {
                return Ok(0);
            }
            self.next_chunk().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        }
        let there = self.chunk.get(self.taken..).unwrap_or_default();
        let count = there.len().min(out.len());
        let (Some(to), Some(from)) = (out.get_mut(..count), there.get(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.taken += count;
        Ok(count)
    }
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length in memory fits 64 bits")
}
