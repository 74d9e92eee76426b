//! Hard state: for each shard some bytes that must be durable before they are obeyed.
//!
//! A shard's state is one file, replaced as a whole. There is one copy only: a damaged one is
//! an error, never an older one taken instead.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_proto::{ShardId, StoreUuid};
use bytes::{BufMut, Bytes};

use crate::disk::Disk;
use crate::envelope::{self, ENVELOPE_BYTES, RecordKind, Refused};
use crate::fields::Fields;
use crate::mutation::{Mutation, Planted};
use crate::replace::{self, Durability};
use crate::superblock::refusal;
use crate::{Damage, StoreError};

/// Most bytes of one shard's hard state.
pub const HARD_BYTES_MAX: usize = 1 << 20;

/// A shard, and the size of its state or what is wrong with it.
pub(crate) type Surveyed = (ShardId, Result<usize, Damage>);

/// The hard states of a data directory.
#[derive(Debug)]
pub(crate) struct HardStates {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: StoreUuid,
    planted: Planted,
}

impl HardStates {
    /// Reads all states there are.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        store: StoreUuid,
        planted: Planted,
    ) -> Result<(Self, BTreeMap<ShardId, Bytes>), StoreError> {
        disk.create_dir_all(dir).map_err(|e| StoreError::io("create", dir, e))?;
        replace::settle_names(&*disk, dir, planted)?;
        let this = Self { disk, dir: dir.to_path_buf(), store, planted };
        let names = this.disk.list(dir).map_err(|e| StoreError::io("list", dir, e))?;
        let mut states = BTreeMap::new();
        for shard in names.iter().filter_map(|name| shard_of(name)) {
            states.insert(shard, this.load(shard)?);
        }
        Ok((this, states))
    }

    /// The size of each state there is, or what is wrong with it; changes nothing.
    pub(crate) fn survey(
        disk: Arc<dyn Disk>,
        dir: &Path,
        store: StoreUuid,
    ) -> Result<Vec<Surveyed>, StoreError> {
        let names = match disk.list(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StoreError::io("list", dir, error)),
        };
        let this = Self { disk, dir: dir.to_path_buf(), store, planted: Planted::default() };
        let mut found = Vec::new();
        for shard in names.iter().filter_map(|name| shard_of(name)) {
            let state = match this.load(shard) {
                Ok(state) => Ok(state.len()),
                Err(StoreError::Damaged(damage)) => Err(*damage),
                Err(error) => return Err(error),
            };
            found.push((shard, state));
        }
        Ok(found)
    }

    fn path(&self, shard: ShardId) -> PathBuf {
        self.dir.join(format!("{:010}", shard.get()))
    }

    fn load(&self, shard: ShardId) -> Result<Bytes, StoreError> {
        let path = self.path(shard);
        let limit = u64::try_from(HARD_BYTES_MAX + ENVELOPE_BYTES + 4).expect("a small limit");
        let bytes = replace::read_if_there(&*self.disk, &path, limit)?.unwrap_or_default();
        let bad = |what| refusal(&path, Refused::Bad(what));
        let opened =
            envelope::open(RecordKind::HardState, &bytes).map_err(|why| refusal(&path, why))?;
        if opened.store != self.store {
            return Err(bad("it belongs to another store"));
        }
        let mut fields = Fields(opened.body);
        if fields.shard() != Some(shard) {
            return Err(bad("it belongs to another shard"));
        }
        Ok(Bytes::copy_from_slice(fields.0))
    }

    /// Replaces a shard's state; durable when it returns.
    pub(crate) fn save(&self, shard: ShardId, state: &[u8]) -> Result<(), StoreError> {
        if state.len() > HARD_BYTES_MAX {
            let (what, bytes, limit) = ("hard state", state.len(), HARD_BYTES_MAX);
            return Err(StoreError::TooLarge { what, bytes, limit });
        }
        let mut body = Vec::with_capacity(4 + state.len());
        body.put_u32_le(shard.get());
        body.put_slice(state);
        let bytes = envelope::seal(RecordKind::HardState, self.store, &body);
        let lazy = self.planted.is(Mutation::HardStateNotSynced);
        let durability = if lazy { Durability::Lazy } else { Durability::Synced };
        replace::replace(&*self.disk, &self.path(shard), &bytes, durability)
    }
}

/// The shard that a file name stands for; temporary files stand for none.
fn shard_of(name: &str) -> Option<ShardId> {
    let digits = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok()).flatten().map(ShardId::new)
}

#[cfg(test)]
mod tests;
