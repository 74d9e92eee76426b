//! Entries that a truncation voided, set aside in a file of their own before the cut.

use std::path::{Path, PathBuf};

use antiphon_proto::{Batch, EntryId, Lsn, ShardId, StoreUuid};
use bytes::{BufMut, Bytes};

use super::reader::LogReader;
use crate::disk::{Disk, write_one};
use crate::envelope::{self, RecordKind, Refused};
use crate::fields::{Fields, put_position};
use crate::replace::{read_if_there, remove_if_there, sync_parent, temporary_name};
use crate::superblock::refusal;
use crate::{Position, StoreError};

const CHUNK_BYTES: usize = 1 << 20;
const FILE_BYTES_MAX: u64 = 64 << 30;

/// What a file of cut entries holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DivergedInfo {
    /// The log they were cut from.
    pub shard: ShardId,
    /// The last entry that was kept.
    pub kept: Position,
    /// The last entry that was cut.
    pub last: EntryId,
}

/// Cut entries that were read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diverged {
    /// What the file says of them.
    pub info: DivergedInfo,
    /// The entries; none when all of them were unreadable already when they were cut.
    pub entries: Option<Batch>,
}

/// Copies entries out of the log.
pub(super) struct SetAside<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    pub(super) store: StoreUuid,
    pub(super) reader: &'a LogReader,
}

impl SetAside<'_> {
    /// Copies the entries after `kept` up to `last` into a file, durably; returns its path.
    pub(super) fn run(
        &self,
        shard: ShardId,
        kept: Position,
        last: Position,
    ) -> Result<PathBuf, StoreError> {
        let dir = self.dir.join(format!("{:010}", shard.get()));
        self.disk.create_dir_all(&dir).map_err(|e| StoreError::io("create", &dir, e))?;
        let first = kept.id.lsn.next();
        let name = format!("{}-{}-{}.frames", last.id.epoch, first, last.id.lsn);
        let path = dir.join(name);
        let temporary = temporary_name(&path);
        remove_if_there(self.disk, &temporary)?;
        let file =
            self.disk.create(&temporary).map_err(|e| StoreError::io("create", &temporary, e))?;
        let write = |bytes: &[u8], at: u64| {
            write_one(&*file, bytes, at).map_err(|e| StoreError::io("write", &temporary, e))
        };
        let info = DivergedInfo { shard, kept, last: last.id };
        let head = envelope::seal(RecordKind::Diverged, self.store, &encode(&info));
        write(&head, 0)?;
        let mut at = u64::try_from(head.len()).expect("a small header");
        let mut next = first;
        while let Some(batch) = self.readable(shard, next)? {
            write(batch.bytes(), at)?;
            at += u64::try_from(batch.bytes().len()).expect("a length in memory");
            next = batch.last().lsn.next();
        }
        file.sync_data().map_err(|e| StoreError::sync(&temporary, e))?;
        self.disk.rename(&temporary, &path).map_err(|e| StoreError::io("rename", &temporary, e))?;
        sync_parent(self.disk, &path)?;
        Ok(path)
    }

    /// The next entries; none at the end, or where damage begins: those cannot be copied, and
    /// their bytes stay in the segment.
    fn readable(&self, shard: ShardId, from: Lsn) -> Result<Option<Batch>, StoreError> {
        match self.reader.read(shard, from, CHUNK_BYTES) {
            Err(StoreError::Damaged(_)) => Ok(None),
            other => other,
        }
    }
}

fn encode(info: &DivergedInfo) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u32_le(info.shard.get());
    put_position(&mut body, &info.kept);
    put_position(&mut body, &Position { id: info.last, ..Position::default() });
    body
}

fn decode(body: &[u8]) -> Option<DivergedInfo> {
    let mut fields = Fields(body);
    let shard = fields.shard()?;
    let kept = fields.position()?;
    let last = fields.position()?.id;
    fields.end(DivergedInfo { shard, kept, last })
}

/// Reads a file of cut entries back.
pub(crate) fn load(disk: &dyn Disk, path: &Path) -> Result<Diverged, StoreError> {
    let bad = |what| refusal(path, Refused::Bad(what));
    let bytes = Bytes::from(
        read_if_there(disk, path, FILE_BYTES_MAX)?.ok_or_else(|| bad("there is no such file"))?,
    );
    let opened = envelope::open_prefix(RecordKind::Diverged, &bytes)
        .map_err(|refused| refusal(path, refused))?;
    let info = decode(opened.body).ok_or_else(|| bad("its fields do not fit"))?;
    let frames = bytes.slice(opened.bytes..);
    if frames.is_empty() {
        return Ok(Diverged { info, entries: None });
    }
    let entries = Batch::decode(info.shard, info.kept.chain, frames)
        .map_err(|_why| bad("an entry is not readable"))?;
    Ok(Diverged { info, entries: Some(entries) })
}
