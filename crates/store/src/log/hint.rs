//! The acknowledged end: a hint, written lazily, of how far the log was durable.
//!
//! A log that ends before it has lost what was acknowledged. Two slots are written in turn; a
//! torn or damaged slot costs nothing but the age of the other one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_proto::{EntryId, Epoch, ShardId, StoreUuid};
use bytes::BufMut;

use crate::disk::{Access, Disk, DiskFile, write_one};
use crate::envelope::{self, RecordKind};
use crate::fields::Fields;
use crate::replace::sync_parent;
use crate::{SHARDS_MAX, StoreError};

const SLOT_BYTES: u64 = 32 << 10;
const SHARD_BYTES: usize = 20;
const _: () = assert!(32 + 28 + SHARDS_MAX * SHARD_BYTES <= 32 << 10, "a slot holds all shards");

/// What was durable once, and stays so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Grows with every write of the hint.
    pub(crate) turn: u64,
    /// The last durable group.
    pub(crate) group: u64,
    /// The segment it is in.
    pub(crate) segment: u64,
    /// The last entry of each shard then.
    pub(crate) ends: Vec<(ShardId, EntryId)>,
}

/// The file with the two slots.
#[derive(Debug)]
pub(crate) struct HintFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    store: StoreUuid,
    turn: u64,
}

impl HintFile {
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("acknowledged")
    }

    /// Opens the file, or makes it; with the newest hint in it.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        store: StoreUuid,
    ) -> Result<(Self, Hint), StoreError> {
        let path = Self::path(dir);
        let file = match disk.open(&path, Access::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.create(&path).map_err(|e| StoreError::io("create", &path, e))?;
                sync_parent(disk, &path)?;
                file
            }
            Err(error) => return Err(StoreError::io("open", &path, error)),
        };
        let hint = Self::load(&*file, &path, store)?;
        let turn = hint.turn;
        Ok((Self { file, path, store, turn }, hint))
    }

    /// The newest good hint in a file; the zero hint when there is none.
    pub(crate) fn load(
        file: &dyn DiskFile,
        path: &Path,
        store: StoreUuid,
    ) -> Result<Hint, StoreError> {
        let mut newest = Hint::default();
        for slot in 0..2 {
            let mut bytes = vec![0; usize::try_from(SLOT_BYTES).expect("a small slot")];
            let got = file
                .read_at(&mut bytes, slot * SLOT_BYTES)
                .map_err(|e| StoreError::io("read", path, e))?;
            bytes.truncate(got);
            if let Ok(opened) = envelope::open_prefix(RecordKind::Hint, &bytes)
                && opened.store == store
                && let Some(hint) = Hint::decode(opened.body)
                && hint.turn > newest.turn
            {
                newest = hint;
            }
        }
        Ok(newest)
    }

    /// Writes a newer hint, without waiting for the disk.
    pub(crate) fn note(&mut self, mut hint: Hint) -> Result<(), StoreError> {
        self.turn += 1;
        hint.turn = self.turn;
        let bytes = envelope::seal(RecordKind::Hint, self.store, &hint.encode());
        write_one(&*self.file, &bytes, (self.turn % 2) * SLOT_BYTES)
            .map_err(|e| StoreError::io("write", &self.path, e))
    }

    /// Waits until the last hint is durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|e| StoreError::sync(&self.path, e))
    }
}

impl Hint {
    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(28 + self.ends.len() * SHARD_BYTES);
        body.put_u64_le(self.turn);
        body.put_u64_le(self.group);
        body.put_u64_le(self.segment);
        body.put_u32_le(u32::try_from(self.ends.len()).expect("shards are limited"));
        for (shard, end) in &self.ends {
            body.put_u32_le(shard.get());
            body.put_u64_le(end.epoch.get());
            body.put_u64_le(end.lsn.get());
        }
        body
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let (turn, group, segment) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let count = fields.count(SHARD_BYTES)?;
        let mut ends = Vec::with_capacity(count);
        for _ in 0..count {
            let shard = fields.shard()?;
            ends.push((shard, EntryId::new(Epoch::new(fields.u64()?), fields.lsn()?)));
        }
        fields.end(Self { turn, group, segment, ends })
    }
}

/// The newest good hint in a data directory, without making a file for it.
pub(crate) fn load_believed(
    disk: &dyn Disk,
    dir: &Path,
    store: StoreUuid,
) -> Result<Hint, StoreError> {
    let path = HintFile::path(dir);
    match disk.open(&path, Access::Read) {
        Ok(file) => HintFile::load(&*file, &path, store),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Hint::default()),
        Err(error) => Err(StoreError::io("open", &path, error)),
    }
}
