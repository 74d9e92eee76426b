//! Writing a snapshot: chunk by chunk under a temporary name, then durably under its own.

use std::io::{self, IoSlice, Write};
use std::path::PathBuf;
use std::sync::Arc;

use antiphon_proto::crc32c;
use bytes::BufMut;
use xxhash_rust::xxh3::Xxh3;

use super::{CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, SnapshotInfo, Snapshots, Total, encode_header};
use crate::StoreError;
use crate::disk::{DiskFile, write_one};
use crate::envelope::{self, RecordKind};
use crate::mutation::Mutation;
use crate::replace::{remove_if_there, sync_parent, temporary_name};

/// A snapshot being written. Dropped unfinished, it never was.
pub struct SnapshotWriter {
    snapshots: Arc<Snapshots>,
    info: SnapshotInfo,
    temporary: PathBuf,
    file: Arc<dyn DiskFile>,
    at: u64,
    chunk: Vec<u8>,
    chunks: u64,
    hash: Xxh3,
}

impl std::fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotWriter").field("info", &self.info).finish_non_exhaustive()
    }
}

impl SnapshotWriter {
    pub(super) fn begin(snapshots: Arc<Snapshots>, info: SnapshotInfo) -> Result<Self, StoreError> {
        let temporary = temporary_name(&info.path);
        remove_if_there(&*snapshots.disk, &temporary)?;
        let file = snapshots
            .disk
            .create(&temporary)
            .map_err(|e| StoreError::io("create", &temporary, e))?;
        let header =
            envelope::seal(RecordKind::SnapshotHeader, snapshots.store, &encode_header(&info));
        write_one(&*file, &header, 0).map_err(|e| StoreError::io("write", &temporary, e))?;
        let at = length(header.len());
        let chunk = Vec::with_capacity(CHUNK_BYTES_MAX);
        Ok(Self { snapshots, info, temporary, file, at, chunk, chunks: 0, hash: Xxh3::new() })
    }

    /// Makes the snapshot durable and gives it its name.
    ///
    /// # Errors
    /// [`StoreError::Sync`], full, or what the disk says; there is no such snapshot then.
    pub fn finish(mut self) -> Result<SnapshotInfo, StoreError> {
        let temporary = self.temporary.clone();
        let failed = |doing| {
            let temporary = &temporary;
            move |e: io::Error| StoreError::io(doing, temporary, e)
        };
        self.put_chunk().map_err(failed("write"))?;
        // An empty chunk says that no more come.
        let chunks = self.chunks;
        self.put_piece(&[]).map_err(failed("write"))?;
        let total = Total { chunks, bytes: self.info.bytes, digest: self.hash.digest128() };
        let end = envelope::seal(RecordKind::SnapshotEnd, self.snapshots.store, &total.encode());
        write_one(&*self.file, &end, self.at).map_err(failed("write"))?;
        let disk = &*self.snapshots.disk;
        if !self.snapshots.planted.is(Mutation::SnapshotNotSynced) {
            self.file.sync_data().map_err(|e| StoreError::sync(&temporary, e))?;
        }
        disk.rename(&temporary, &self.info.path).map_err(failed("rename"))?;
        sync_parent(disk, &self.info.path)?;
        self.snapshots.finished(self.info.clone())?;
        Ok(self.info)
    }

    fn put_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        self.hash.update(&chunk);
        self.info.bytes += length(chunk.len());
        let done = self.put_piece(&chunk);
        chunk.clear();
        self.chunk = chunk;
        done
    }

    fn put_piece(&mut self, piece: &[u8]) -> io::Result<()> {
        let head = chunk_header(self.chunks, piece);
        self.file.write_at(&mut [IoSlice::new(&head), IoSlice::new(piece)], self.at)?;
        self.at += length(head.len() + piece.len());
        self.chunks += 1;
        Ok(())
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES_MAX - self.chunk.len();
        let (now, _later) = bytes.split_at(room.min(bytes.len()));
        self.chunk.extend_from_slice(now);
        if self.chunk.len() == CHUNK_BYTES_MAX {
            self.put_chunk()?;
        }
        Ok(now.len())
    }

    /// Does nothing: only [`SnapshotWriter::finish`] makes anything durable.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checksum over the rest and the piece, length, ordinal.
pub(super) fn chunk_header(ordinal: u64, piece: &[u8]) -> [u8; CHUNK_HEADER_BYTES] {
    let mut covered = Vec::with_capacity(12 + piece.len());
    covered.put_u32_le(u32::try_from(piece.len()).expect("a chunk is limited"));
    covered.put_u64_le(ordinal);
    covered.put_slice(piece);
    let mut head = [0; CHUNK_HEADER_BYTES];
    let (crc, rest) = head.split_at_mut(4);
    crc.copy_from_slice(&crc32c(&covered).to_le_bytes());
    rest.copy_from_slice(covered.get(..12).expect("length and ordinal"));
    head
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length in memory fits 64 bits")
}
