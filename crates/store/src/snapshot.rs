//! Snapshots: the state of a shard at a position, in a file of its own.
//!
//! A file is a header, chunks with a checksum each, and an end with the total. It gets its name
//! only when all of it is durable, so a file with a name is whole, or was damaged later.

mod read;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use antiphon_proto::{ShardId, StoreUuid};
use bytes::{BufMut, Bytes};

use crate::disk::Disk;
use crate::fields::{Fields, put_position};
use crate::mutation::Planted;
use crate::replace::{remove_if_there, settle_names};
use crate::{Damage, Position, StoreError};

pub use read::SnapshotReader;
pub use write::SnapshotWriter;

/// Most bytes of the caller's own in a snapshot's header.
pub const SNAPSHOT_META_BYTES_MAX: usize = 1 << 20;
/// Bytes of the body in one chunk, at most.
const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Before each chunk: checksum, length, ordinal.
const CHUNK_HEADER_BYTES: usize = 16;

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The file.
    pub path: PathBuf,
    /// The shard.
    pub shard: ShardId,
    /// The last entry whose effects are in it.
    pub position: Position,
    /// The caller's own bytes, such as the configuration at that entry.
    pub meta: Bytes,
    /// Bytes of the body.
    pub bytes: u64,
}

/// The snapshots of a data directory.
#[derive(Debug)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: StoreUuid,
    kept: usize,
    planted: Planted,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Read through and found good, rising by entry.
    good: Vec<SnapshotInfo>,
    broken: Vec<Damage>,
}

impl Snapshots {
    /// Reads through all snapshots there are. Broken ones are reported and left alone.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        store: StoreUuid,
        (kept, planted): (usize, Planted),
    ) -> Result<Self, StoreError> {
        let dir = data_dir.join("snap");
        disk.create_dir_all(&dir).map_err(|e| StoreError::io("create", &dir, e))?;
        settle_names(&*disk, &dir, planted)?;
        let known = survey(&*disk, &dir, store)?;
        let (known, kept) = (Mutex::new(known), kept.max(1));
        Ok(Self { disk, dir, store, kept, planted, known })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest good snapshot of a shard.
    #[must_use]
    pub fn latest(&self, shard: ShardId) -> Option<SnapshotInfo> {
        self.known().good.iter().rev().find(|info| info.shard == shard).cloned()
    }

    /// All good snapshots, rising by entry.
    #[must_use]
    pub fn list(&self) -> Vec<SnapshotInfo> {
        self.known().good.clone()
    }

    /// Files that were found broken. They are left for people to look at.
    #[must_use]
    pub fn broken(&self) -> Vec<Damage> {
        self.known().broken.clone()
    }

    /// Reads a snapshot's body, checking as it goes.
    ///
    /// # Errors
    /// When the file cannot be opened or its header is damaged.
    pub fn read(&self, info: &SnapshotInfo) -> Result<SnapshotReader, StoreError> {
        SnapshotReader::open(&*self.disk, &info.path, self.store)
    }

    /// Begins a snapshot of a shard at a position; `meta` is the caller's own.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for the meta bytes; full, read-only, or what the disk says.
    pub fn begin(
        self: &Arc<Self>,
        shard: ShardId,
        position: Position,
        meta: Bytes,
    ) -> Result<SnapshotWriter, StoreError> {
        if meta.len() > SNAPSHOT_META_BYTES_MAX {
            let (what, bytes, limit) = ("snapshot meta", meta.len(), SNAPSHOT_META_BYTES_MAX);
            return Err(StoreError::TooLarge { what, bytes, limit });
        }
        let path = self.dir.join(name(shard, position));
        let info = SnapshotInfo { path, shard, position, meta, bytes: 0 };
        SnapshotWriter::begin(Arc::clone(self), info)
    }

    /// Takes a finished snapshot in, and removes the oldest of its shard over the limit.
    fn finished(&self, info: SnapshotInfo) -> Result<(), StoreError> {
        let mut known = self.known();
        known.good.retain(|other| other.path != info.path);
        let shard = info.shard;
        known.good.push(info);
        known.good.sort_by_key(|info| info.position.id);
        let of_shard = known.good.iter().filter(|info| info.shard == shard).count();
        for _ in self.kept..of_shard {
            let Some(at) = known.good.iter().position(|info| info.shard == shard) else { break };
            let oldest = known.good.remove(at);
            remove_if_there(&*self.disk, &oldest.path)?;
        }
        Ok(())
    }
}

/// Reads through all snapshot files in a directory.
fn survey(disk: &dyn Disk, dir: &Path, store: StoreUuid) -> Result<Known, StoreError> {
    let mut known = Known::default();
    for name in disk.list(dir).map_err(|e| StoreError::io("list", dir, e))? {
        // Anything else is an unfinished file, which the next snapshot writes over.
        if !name.ends_with(".snap") {
            continue;
        }
        match SnapshotReader::open(disk, &dir.join(name), store).and_then(SnapshotReader::check) {
            Ok(info) => known.good.push(info),
            Err(StoreError::Damaged(damage)) => known.broken.push(*damage),
            Err(error) => return Err(error),
        }
    }
    known.good.sort_by_key(|info| info.position.id);
    Ok(known)
}

/// The good and the broken snapshots of a directory that may not exist.
pub(crate) fn look(
    disk: &dyn Disk,
    data_dir: &Path,
    store: StoreUuid,
) -> Result<(Vec<SnapshotInfo>, Vec<Damage>), StoreError> {
    let dir = data_dir.join("snap");
    if disk.list(&dir).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok((Vec::new(), Vec::new()));
    }
    let known = survey(disk, &dir, store)?;
    Ok((known.good, known.broken))
}

fn name(shard: ShardId, at: Position) -> String {
    format!("{:010}-{:020}-{}.snap", shard.get(), at.id.lsn.get(), at.id.epoch)
}

fn encode_header(info: &SnapshotInfo) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + info.meta.len());
    body.put_u32_le(info.shard.get());
    put_position(&mut body, &info.position);
    body.put_slice(&info.meta);
    body
}

fn decode_header(path: &Path, body: &[u8]) -> Option<SnapshotInfo> {
    let mut fields = Fields(body);
    let (shard, position) = (fields.shard()?, fields.position()?);
    let meta = Bytes::copy_from_slice(fields.0);
    Some(SnapshotInfo { path: path.to_path_buf(), shard, position, meta, bytes: 0 })
}

/// What stands at the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Total {
    chunks: u64,
    bytes: u64,
    digest: u128,
}

impl Total {
    fn encode(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(32);
        body.put_u64_le(self.chunks);
        body.put_u64_le(self.bytes);
        body.put_u128_le(self.digest);
        body
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let (chunks, bytes, digest) = (fields.u64()?, fields.u64()?, fields.u128()?);
        fields.end(Self { chunks, bytes, digest })
    }
}

#[cfg(test)]
mod tests;
