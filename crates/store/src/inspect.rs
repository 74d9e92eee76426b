//! Looking into a data directory without opening it: no lock, no change, live or dead.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_proto::{Frame, Lsn, ShardId};

use crate::disk::{Access, Disk};
use crate::hard::HardStates;
use crate::log::{Diverged, LogReader, Recovered, RecoveryPlace, believed_hint, recover};
use crate::snapshot::{SnapshotInfo, look};
use crate::store::{HARD_DIR, LOG_DIR};
use crate::superblock::Superblock;
use crate::{Damage, Options, Planted, Recovery, StoreError};

/// What a data directory holds.
#[derive(Debug)]
pub struct Inspection {
    /// Whose it is.
    pub superblock: Superblock,
    /// How opening it would find the log.
    pub recovery: Recovery,
    /// The segments, rising.
    pub segments: Vec<SegmentInfo>,
    /// Bytes of each shard's hard state; none where it is damaged.
    pub hard: Vec<(ShardId, Option<usize>)>,
    /// The good snapshots, rising by entry.
    pub snapshots: Vec<SnapshotInfo>,
    /// Everything that is not what was written, in whatever file.
    pub damage: Vec<Damage>,
    reader: LogReader,
}

/// A segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its ordinal.
    pub number: u64,
    /// The file.
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// Number of the first commit group in it.
    pub first_group: u64,
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of segments that were looked through.
    pub bytes: u64,
    /// Bytes of all segments.
    pub of: u64,
}

/// Looks at a directory; sealed segments are not read, their indexes are.
///
/// # Errors
/// No or a damaged superblock, a newer version, or what the disk says.
pub fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Inspection, StoreError> {
    inspect(disk, dir, None)
}

/// Reads every byte of the log and every snapshot, and reports all damage.
///
/// # Errors
/// As [`open`]. Damage is no error.
pub fn verify(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    mut progress: impl FnMut(Progress),
) -> Result<Inspection, StoreError> {
    inspect(disk, dir, Some(&mut progress))
}

/// Reads a file of entries that a truncation set aside.
///
/// # Errors
/// Damage, or what the disk says.
pub fn diverged(disk: &dyn Disk, path: &Path) -> Result<Diverged, StoreError> {
    crate::log::load_diverged(disk, path)
}

fn inspect(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    verify: Option<&mut dyn FnMut(Progress)>,
) -> Result<Inspection, StoreError> {
    let superblock = Superblock::load(&**disk, dir)?
        .ok_or_else(|| StoreError::NoSuperblock { dir: dir.to_path_buf() })?;
    let store = superblock.store;
    let place = RecoveryPlace {
        disk: Arc::clone(disk),
        dir: dir.join(LOG_DIR),
        store,
        access: Access::Read,
        spacing: Options::default().index_bytes,
        planted: Planted::default(),
    };
    // The hint first: a live log only moves on behind it.
    let hint = believed_hint(&**disk, dir, store)?;
    let found = recover(&place, &hint, verify)?;
    let hard = HardStates::survey(Arc::clone(disk), &dir.join(HARD_DIR), store)?;
    let (snapshots, broken) = look(&**disk, dir, store)?;
    let mut damage = found.recovery.damage.clone();
    damage.extend(hard.iter().filter_map(|(_, state)| state.as_ref().err().cloned()));
    damage.extend(broken);
    let segments = found.segments.values().map(|segment| SegmentInfo {
        number: segment.number,
        path: segment.path.clone(),
        bytes: segment.bytes,
        first_group: segment.header.first_group,
    });
    Ok(Inspection {
        superblock,
        recovery: found.recovery.clone(),
        segments: segments.collect(),
        hard: hard.into_iter().map(|(shard, state)| (shard, state.ok())).collect(),
        snapshots,
        damage,
        reader: reader_of(found),
    })
}

fn reader_of(found: Recovered) -> LogReader {
    LogReader::of(found.segments, found.shards)
}

impl Inspection {
    /// A handle for reading entries: bounds, epochs, batches.
    #[must_use]
    pub const fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// Hands a shard's entries to `visit`, from `from` or the first one on.
    ///
    /// # Errors
    /// Damage where it is met, or what the disk says.
    pub fn entries(
        &self,
        shard: ShardId,
        from: Lsn,
        mut visit: impl FnMut(&Frame<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let base = self.reader.bounds(shard).base.id.lsn;
        let mut next = from.max(base.next());
        while let Some(batch) = self.reader.read(shard, next, 1 << 20)? {
            for frame in batch.frames() {
                if visit(&frame).is_break() {
                    return Ok(());
                }
            }
            next = batch.last().lsn.next();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
