//! The only way to files: a small trait, the real file system, and a simulated disk.

mod real;
mod sim;

use std::any::Any;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub use real::RealDisk;
pub use sim::{Counts, Fault, Operation, SimDisk, Survivors};

/// What a device may write in part, lose, or zero as one piece. Unit: bytes.
pub const SECTOR_BYTES: u64 = 512;

/// Whether a file is opened to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads only; needs no right to write.
    Read,
    /// Reads and writes.
    Write,
}

/// Held until dropped.
pub type LockGuard = Box<dyn Any + Send + Sync>;

/// What came of taking a lock.
pub enum Lock {
    /// It is ours until the guard is dropped.
    Held(LockGuard),
    /// Another owner has it.
    Busy {
        /// The owner's process, when it left its number.
        holder: Option<u32>,
    },
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(_) => f.write_str("Held"),
            Self::Busy { holder } => write!(f, "Busy({holder:?})"),
        }
    }
}

/// Files and directories. A name is durable only after `sync_dir`, bytes after `sync_data`.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a new, empty file to read and write.
    ///
    /// # Errors
    /// `AlreadyExists`, or what the system says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// `NotFound`, or what the system says.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name within its directory, replacing what had that name.
    ///
    /// # Errors
    /// `NotFound`, or what the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a file's name away. Who has it open can still read it.
    ///
    /// # Errors
    /// `NotFound`, or what the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Names of the files in a directory, sorted.
    ///
    /// # Errors
    /// `NotFound`, or what the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory and its parents. Durable when it returns.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the system says; never to be tried again.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock on a file, which is made if need be. Released at the latest
    /// when the process ends.
    ///
    /// # Errors
    /// What the system says; an owner elsewhere is no error.
    fn lock(&self, path: &Path) -> io::Result<Lock>;
}

/// An open file, addressed by offset, so that readers and the writer share it.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads at `offset`; returns how many bytes, fewer only at the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all parts, one behind the other, at `offset`.
    ///
    /// # Errors
    /// What the system says; how much was written is then unknown.
    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Bytes in the file.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|bytes| bytes == 0)
    }

    /// Asks for space for `bytes` in one piece, where the file system can; no promise.
    ///
    /// # Errors
    /// `StorageFull`, or what the system says.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the system says; never to be tried again, the data's fate is unknown.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes durable what the system's cache holds of the file and lets the cache go, so that
    /// what is read next is what the medium holds. After a sync that failed the two differ:
    /// the system then takes the data for written, and shows it until it is let go.
    ///
    /// # Errors
    /// What the system says; never to be tried again.
    fn settle(&self) -> io::Result<()>;
}

/// Fills `out` from `offset`; the file's end before that is an error.
pub(crate) fn read_exact_at(file: &dyn DiskFile, out: &mut [u8], offset: u64) -> io::Result<()> {
    if file.read_at(out, offset)? == out.len() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends too early"))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_whole(disk: &dyn Disk, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Read)?;
    let bytes = file.len()?;
    if bytes > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is over its limit"));
    }
    let length = usize::try_from(bytes).map_err(io::Error::other)?;
    let mut out = vec![0; length];
    read_exact_at(&*file, &mut out, 0)?;
    Ok(out)
}

/// Writes one piece.
pub(crate) fn write_one(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_at(&mut [IoSlice::new(bytes)], offset)
}

#[cfg(test)]
mod tests;
