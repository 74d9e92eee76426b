//! A disk in memory that forgets, tears, rots and fails, as its plan says.
//!
//! Bytes written stay pending, sector by sector, until the file is synced; names stay pending
//! until their directory is synced. At a crash any subset of what is pending survives.

mod state;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, Disk, DiskFile, Lock};
use state::State;
pub use state::{Counts, Fault, Operation};

/// Which pending pieces survive a crash, by their number in the order they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survivors {
    /// `true` survives; pieces past the end of the list are lost.
    pub keep: Vec<bool>,
    /// This piece, if it is a sector, survives in its first half only.
    pub torn: Option<usize>,
    /// This piece, if it is a sector, is left as zeros.
    pub zeroed: Option<usize>,
}

/// A deterministic disk in memory. Clones are handles to the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
    power: u64,
    access: Access,
}

/// Gives a lock back when dropped.
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    power: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().unlock(&self.path, self.power);
    }
}

impl SimDisk {
    /// An empty disk. The seed decides what survives [`Self::crash_at_random`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from(State::new(seed))
    }

    fn from(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked under the lock has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of this disk, pending pieces and all, that lives its own life from here.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::from(self.state().fork())
    }

    /// Pieces (sectors and names) that a crash now could lose.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().pending()
    }

    /// Only the process ends: its locks and planned faults are gone, the cache stays.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// Power fails: what survives is durable, all open files and locks are gone.
    pub fn crash(&self, survivors: &Survivors) {
        self.state().crash(survivors);
    }

    /// Power fails and the seed decides what survives.
    pub fn crash_at_random(&self) {
        self.state().crash_at_random();
    }

    /// Makes the `nth` operation of its kind from now (1 is the next) fail.
    pub fn fail(&self, operation: Operation, nth: u64, fault: Fault) {
        self.state().plan(operation, nth, fault);
    }

    /// Limits the bytes of all files together; none is no limit.
    pub fn limit_bytes(&self, limit: Option<u64>) {
        self.state().limit = limit;
    }

    /// Makes every change fail, as on a file system mounted read-only.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Flips the bits of `mask` in one byte, on the medium and in the cache alike.
    ///
    /// # Errors
    /// `NotFound`, or `UnexpectedEof` when the file is shorter.
    pub fn rot(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        self.state().rot(path, offset, mask)
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// From now on keeps a copy of the disk after every change.
    pub fn record(&self) {
        self.state().history = Some(Vec::new());
    }

    /// Copies kept since [`Self::record`].
    #[must_use]
    pub fn recorded(&self) -> usize {
        self.state().history.as_ref().map_or(0, Vec::len)
    }

    /// Takes the copies and ends the recording.
    #[must_use]
    pub fn take_recording(&self) -> Vec<Self> {
        self.state().history.take().unwrap_or_default().into_iter().map(Self::from).collect()
    }

    /// All bytes of a file as a reader sees them now.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        let id = state.find(path)?;
        state.cached(id).map(|bytes| bytes.to_vec())
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let id = state.create(path)?;
        let power = state.power;
        Ok(Arc::new(SimFile { disk: self.clone(), id, power, access: Access::Write }))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        let id = state.find(path)?;
        if access == Access::Write && state.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(Arc::new(SimFile { disk: self.clone(), id, power: state.power, access }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.state().list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.state().create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state().sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let mut state = self.state();
        if !state.lock(path)? {
            return Ok(Lock::Busy { holder: None });
        }
        let guard = SimLock { disk: self.clone(), path: path.to_path_buf(), power: state.power };
        Ok(Lock::Held(Box::new(guard)))
    }
}

impl SimFile {
    /// The disk, unless power failed since this file was opened.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.power == self.power { Ok(state) } else { Err(io::Error::other("power failed")) }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.state()?.read(self.id, out, offset)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        if self.access == Access::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.state()?.write(self.id, &bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.state()?;
        state.cached(self.id).map(|bytes| state::length(bytes.len()))
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.state()?.allocate(self.id, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.state()?.sync(self.id)
    }

    fn settle(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.sync(self.id)?;
        state.forget_cache(self.id)
    }
}
