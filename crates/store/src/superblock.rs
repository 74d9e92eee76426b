//! The superblock: whose directory this is, and which run of its node this is.

use std::path::{Path, PathBuf};

use antiphon_proto::{Incarnation, NodeId, StoreUuid};
use bytes::BufMut;

use crate::disk::Disk;
use crate::envelope::{self, FORMAT_VERSION, RecordKind, Refused};
use crate::fields::Fields;
use crate::replace::{self, Durability};
use crate::{Damage, StoreError};

/// Longest name of a cluster. Unit: bytes.
pub const CLUSTER_NAME_BYTES_MAX: usize = 255;
const FILE_BYTES_MAX: u64 = 64 << 10;
const NAME: &str = "superblock";

/// Who a data directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// The cluster's 128 bits.
    pub cluster: u128,
    /// The cluster's name, for people; at most [`CLUSTER_NAME_BYTES_MAX`] bytes.
    pub cluster_name: String,
}

/// What the superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Made with the directory.
    pub store: StoreUuid,
    /// Whose it is.
    pub identity: Identity,
    /// The run that opened it last.
    pub incarnation: Incarnation,
    /// Whether that run closed it in good order.
    pub clean: bool,
}

impl Superblock {
    /// Where it lies in a data directory.
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// Reads it; none when there is none.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = Self::path(dir);
        let Some(bytes) = replace::read_if_there(disk, &path, FILE_BYTES_MAX)? else {
            return Ok(None);
        };
        let opened = envelope::open(RecordKind::Superblock, &bytes)
            .map_err(|refused| refusal(&path, refused))?;
        match Self::decode(opened.store, opened.body) {
            Some(superblock) => Ok(Some(superblock)),
            None => Err(refusal(&path, Refused::Bad("its fields do not fit"))),
        }
    }

    /// Replaces it durably.
    pub(crate) fn save(&self, disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
        let bytes = envelope::seal(RecordKind::Superblock, self.store, &self.encode());
        replace::replace(disk, &Self::path(dir), &bytes, Durability::Synced)
    }

    fn encode(&self) -> Vec<u8> {
        let name = self.identity.cluster_name.as_bytes();
        assert!(
            name.len() <= CLUSTER_NAME_BYTES_MAX,
            "the name was checked when the store was made"
        );
        let mut out = Vec::with_capacity(40 + name.len());
        out.put_u64_le(self.identity.node.get());
        out.put_u64_le(self.incarnation.get());
        out.put_u128_le(self.identity.cluster);
        out.put_u16_le(u16::from(self.clean));
        out.put_u16_le(u16::try_from(name.len()).expect("the limit fits 16 bits"));
        out.put_slice(name);
        out
    }

    fn decode(store: StoreUuid, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let node = NodeId::new(fields.u64()?);
        let incarnation = Incarnation::new(fields.u64()?);
        let cluster = fields.u128()?;
        let clean = match fields.u16()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let length = usize::from(fields.u16()?);
        let name = std::str::from_utf8(fields.bytes(length)?).ok()?.to_owned();
        let identity = Identity { node, cluster, cluster_name: name };
        fields.end(Self { store, identity, incarnation, clean })
    }

    /// Refuses a directory of somebody else.
    pub(crate) fn check_owner(&self, dir: &Path, expected: &Identity) -> Result<(), StoreError> {
        let dir = dir.to_path_buf();
        if self.identity.cluster != expected.cluster {
            return Err(StoreError::OtherCluster {
                dir,
                found: self.identity.cluster_name.clone(),
                expected: expected.cluster_name.clone(),
            });
        }
        if self.identity.node != expected.node {
            return Err(StoreError::OtherNode {
                dir,
                found: self.identity.node,
                expected: expected.node,
            });
        }
        Ok(())
    }
}

/// The error for a record that was refused.
pub(crate) fn refusal(path: &Path, refused: Refused) -> StoreError {
    let path = path.to_path_buf();
    match refused {
        Refused::Newer(found) => StoreError::Newer { path, found, known: FORMAT_VERSION },
        Refused::Bad(what) => StoreError::damaged(Damage { path, offset: 0, entries: None, what }),
    }
}

#[cfg(test)]
mod tests;
