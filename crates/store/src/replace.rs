//! Replacing a whole file so that a crash leaves the old or the new one, never a mixture.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, read_whole, write_one};
use crate::{Mutation, Planted, StoreError};

/// Whether the new file is durable when the call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// File and name are synced.
    Synced,
    /// Neither is: for what can be made again.
    Lazy,
}

/// Writes `bytes` under a temporary name, then gives it the real one.
pub(crate) fn replace(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), StoreError> {
    let temporary = temporary_name(path);
    remove_if_there(disk, &temporary)?;
    let file = disk.create(&temporary).map_err(|e| StoreError::io("create", &temporary, e))?;
    write_one(&*file, bytes, 0).map_err(|e| StoreError::io("write", &temporary, e))?;
    if durability == Durability::Synced {
        file.sync_data().map_err(|e| StoreError::sync(&temporary, e))?;
    }
    disk.rename(&temporary, path).map_err(|e| StoreError::io("rename", &temporary, e))?;
    if durability == Durability::Synced { sync_parent(disk, path) } else { Ok(()) }
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    let dir = path.parent().expect("a file of the store lies in a directory");
    disk.sync_dir(dir).map_err(|e| StoreError::sync(dir, e))
}

/// Makes the names in a directory durable before a run obeys what it finds there: a run that was
/// killed between a renaming and its sync left names that only the cache holds.
pub(crate) fn settle_names(
    disk: &dyn Disk,
    dir: &Path,
    planted: Planted,
) -> Result<(), StoreError> {
    if planted.is(Mutation::BelieveNames) {
        return Ok(());
    }
    disk.sync_dir(dir).map_err(|e| StoreError::sync(dir, e))
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads a whole file; none when there is no such file.
pub(crate) fn read_if_there(
    disk: &dyn Disk,
    path: &Path,
    limit: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    match read_whole(disk, path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path, error)),
    }
}

/// Where a file is written before it gets its name.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
