//! What a simulated disk holds: durable bytes, what readers see, and what is pending between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Survivors;

const SECTOR: usize = 512;

/// Kinds of operation that can be made to fail, and that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Making a file's bytes durable.
    Sync,
    /// Making a directory's names durable.
    SyncDir,
    /// Making, renaming or removing a name.
    Name,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device failed. A failed sync loses the dirty bytes, and the next one succeeds.
    Device,
    /// No space; a write may have happened in its first half.
    Full,
}

/// How many operations there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
    /// Names made, changed or removed.
    pub names: u64,
}

#[derive(Debug, Clone)]
struct Inode {
    durable: Arc<Vec<u8>>,
    cached: Arc<Vec<u8>>,
}

/// Something that a crash may lose.
#[derive(Debug, Clone)]
enum Piece {
    Sector { file: u64, at: usize, bytes: Arc<[u8]> },
    Link { path: PathBuf, file: u64 },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, file: u64 },
}

#[derive(Debug)]
pub(super) struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    dirs: BTreeSet<PathBuf>,
    pieces: Vec<Piece>,
    locks: BTreeSet<PathBuf>,
    faults: Vec<(Operation, u64, Fault)>,
    seed: u64,
    last_id: u64,
    pub(super) power: u64,
    pub(super) limit: Option<u64>,
    pub(super) read_only: bool,
    pub(super) counts: Counts,
    pub(super) history: Option<Vec<Self>>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            dirs: BTreeSet::new(),
            pieces: Vec::new(),
            locks: BTreeSet::new(),
            faults: Vec::new(),
            seed,
            last_id: 0,
            power: 0,
            limit: None,
            read_only: false,
            counts: Counts::default(),
            history: None,
        }
    }

    pub(super) fn fork(&self) -> Self {
        Self {
            inodes: self.inodes.clone(),
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            dirs: self.dirs.clone(),
            pieces: self.pieces.clone(),
            locks: self.locks.clone(),
            faults: self.faults.clone(),
            history: None,
            ..Self::new(self.seed)
        }
        .with_rest(self)
    }

    fn with_rest(mut self, other: &Self) -> Self {
        (self.last_id, self.power, self.limit) = (other.last_id, other.power, other.limit);
        (self.read_only, self.counts) = (other.read_only, other.counts);
        self
    }

    /// Keeps a copy after a change, when recording.
    fn changed(&mut self) {
        if self.history.is_some() {
            let copy = self.fork();
            if let Some(history) = &mut self.history {
                history.push(copy);
            }
        }
    }

    pub(super) fn plan(&mut self, operation: Operation, nth: u64, fault: Fault) {
        let at = self.count(operation).checked_add(nth).expect("a plan for this run");
        self.faults.push((operation, at, fault));
    }

    fn count(&mut self, operation: Operation) -> &mut u64 {
        match operation {
            Operation::Read => &mut self.counts.reads,
            Operation::Write => &mut self.counts.writes,
            Operation::Sync => &mut self.counts.syncs,
            Operation::SyncDir => &mut self.counts.dir_syncs,
            Operation::Name => &mut self.counts.names,
        }
    }

    /// Counts an operation and says how it is to fail, if it is.
    fn begin(&mut self, operation: Operation) -> io::Result<Option<Fault>> {
        let count = self.count(operation);
        *count += 1;
        let now = *count;
        if operation != Operation::Read && self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let planned = self.faults.iter().find(|(what, at, _)| *what == operation && *at == now);
        Ok(planned.map(|(_, _, fault)| *fault))
    }

    fn begin_or_fail(&mut self, operation: Operation) -> io::Result<()> {
        self.begin(operation)?.map_or(Ok(()), |fault| Err(error_of(fault)))
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn inode(&mut self, id: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| io::Error::other("no such inode"))
    }

    pub(super) fn cached(&self, id: u64) -> io::Result<&[u8]> {
        let inode = self.inodes.get(&id).ok_or_else(|| io::Error::other("no such inode"))?;
        Ok(&inode.cached)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.begin_or_fail(Operation::Name)?;
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|dir| self.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.last_id += 1;
        let id = self.last_id;
        self.inodes.insert(id, Inode { durable: Arc::default(), cached: Arc::default() });
        self.names.insert(path.to_path_buf(), id);
        self.pieces.push(Piece::Link { path: path.to_path_buf(), file: id });
        self.changed();
        Ok(id)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin_or_fail(Operation::Name)?;
        assert_eq!(from.parent(), to.parent(), "a name changes within its directory");
        let file = self.find(from)?;
        self.names.remove(from);
        self.names.insert(to.to_path_buf(), file);
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        self.pieces.push(Piece::Rename { from, to, file });
        self.changed();
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.begin_or_fail(Operation::Name)?;
        self.find(path)?;
        self.names.remove(path);
        self.pieces.push(Piece::Unlink { path: path.to_path_buf() });
        self.changed();
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if !self.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    pub(super) fn create_dir_all(&mut self, dir: &Path) -> io::Result<()> {
        if self.dirs.contains(dir) {
            return Ok(());
        }
        self.begin_or_fail(Operation::Name)?;
        self.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let fault = self.begin(Operation::SyncDir)?;
        let (mine, rest) =
            std::mem::take(&mut self.pieces).into_iter().partition(|piece| piece.is_in(dir));
        self.pieces = rest;
        if let Some(fault) = fault {
            return Err(error_of(fault));
        }
        let mine: Vec<Piece> = mine;
        for piece in mine {
            piece.apply_name(&mut self.durable_names);
        }
        self.changed();
        Ok(())
    }

    /// Whether the lock was free and is now taken.
    pub(super) fn lock(&mut self, path: &Path) -> io::Result<bool> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(self.locks.insert(path.to_path_buf()))
    }

    pub(super) fn unlock(&mut self, path: &Path, power: u64) {
        if power == self.power {
            self.locks.remove(path);
        }
    }

    pub(super) fn read(&mut self, id: u64, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.begin_or_fail(Operation::Read)?;
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let there = self.cached(id)?.get(from..).unwrap_or_default();
        let bytes = there.len().min(out.len());
        for (to, from) in out.iter_mut().zip(there) {
            *to = *from;
        }
        Ok(bytes)
    }

    pub(super) fn write(&mut self, id: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fault = self.begin(Operation::Write)?;
        let whole = match fault {
            None if self.fits(id, bytes.len(), offset)? => bytes.len(),
            None | Some(Fault::Full) => bytes.len() / 2,
            Some(Fault::Device) => 0,
        };
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        self.put(id, bytes.get(..whole).unwrap_or_default(), from)?;
        self.changed();
        match fault {
            None if whole == bytes.len() => Ok(()),
            None => Err(io::ErrorKind::StorageFull.into()),
            Some(fault) => Err(error_of(fault)),
        }
    }

    fn fits(&self, id: u64, bytes: usize, offset: u64) -> io::Result<bool> {
        let Some(limit) = self.limit else { return Ok(true) };
        let used: u64 = self.names.values().filter_map(|id| self.cached(*id).ok()).map(size).sum();
        let grown = (offset + length(bytes)).saturating_sub(size(self.cached(id)?));
        Ok(used + grown <= limit)
    }

    /// Changes what readers see, and notes each touched sector as pending.
    fn put(&mut self, id: u64, bytes: &[u8], from: usize) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = from + bytes.len();
        let inode = self.inode(id)?;
        let cached = Arc::make_mut(&mut inode.cached);
        if cached.len() < end {
            cached.resize(end, 0);
        }
        cached.get_mut(from..end).unwrap_or_default().copy_from_slice(bytes);
        let cached = Arc::clone(&inode.cached);
        for at in (from / SECTOR * SECTOR..end).step_by(SECTOR) {
            let sector = cached.get(at..cached.len().min(at + SECTOR)).unwrap_or_default();
            self.pieces.push(Piece::Sector { file: id, at, bytes: sector.into() });
        }
        Ok(())
    }

    pub(super) fn allocate(&mut self, id: u64, bytes: u64) -> io::Result<()> {
        if self.fits(id, usize::try_from(bytes).map_err(io::Error::other)?, 0)? {
            return Ok(());
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    pub(super) fn sync(&mut self, id: u64) -> io::Result<()> {
        let fault = self.begin(Operation::Sync)?;
        let (mine, rest) = std::mem::take(&mut self.pieces)
            .into_iter()
            .partition(|piece| matches!(piece, Piece::Sector { file, .. } if *file == id));
        self.pieces = rest;
        if let Some(fault) = fault {
            return Err(error_of(fault));
        }
        let mine: Vec<Piece> = mine;
        for piece in mine {
            self.land(&piece, Landing::Whole);
        }
        self.changed();
        Ok(())
    }

    /// What is read from now on is what the medium holds.
    pub(super) fn forget_cache(&mut self, id: u64) -> io::Result<()> {
        let inode = self.inode(id)?;
        inode.cached = Arc::clone(&inode.durable);
        Ok(())
    }

    pub(super) fn rot(&mut self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let id = self.find(path)?;
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let inode = self.inode(id)?;
        let mut hit = false;
        for bytes in [&mut inode.durable, &mut inode.cached] {
            if let Some(byte) = Arc::make_mut(bytes).get_mut(at) {
                *byte ^= mask;
                hit = true;
            }
        }
        if hit { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    pub(super) fn pending(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn kill(&mut self) {
        self.locks.clear();
        self.faults.clear();
    }

    pub(super) fn crash_at_random(&mut self) {
        let keep = (0..self.pieces.len()).map(|_| self.random() & 1 == 1).collect::<Vec<_>>();
        let some = |number: u64, pieces: usize| usize::try_from(number).ok()?.checked_rem(pieces);
        let (torn, zeroed) = (self.random(), self.random());
        let torn = some(torn >> 33, self.pieces.len()).filter(|_| torn & 1 == 1);
        let zeroed = some(zeroed >> 33, self.pieces.len()).filter(|_| zeroed & 7 == 1);
        self.crash(&Survivors { keep, torn, zeroed });
    }

    /// One draw of a splitmix sequence.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn crash(&mut self, survivors: &Survivors) {
        for (number, piece) in std::mem::take(&mut self.pieces).into_iter().enumerate() {
            let kept = survivors.keep.get(number).copied().unwrap_or(false);
            match &piece {
                Piece::Sector { .. } if survivors.torn == Some(number) => {
                    self.land(&piece, Landing::FirstHalf);
                }
                Piece::Sector { .. } if survivors.zeroed == Some(number) => {
                    self.land(&piece, Landing::Zeros);
                }
                Piece::Sector { .. } if kept => self.land(&piece, Landing::Whole),
                Piece::Link { .. } | Piece::Unlink { .. } | Piece::Rename { .. } if kept => {
                    piece.apply_name(&mut self.durable_names);
                }
                Piece::Sector { .. }
                | Piece::Link { .. }
                | Piece::Unlink { .. }
                | Piece::Rename { .. } => {}
            }
        }
        self.names = self.durable_names.clone();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|id, _| named.contains(id));
        for inode in self.inodes.values_mut() {
            inode.cached = Arc::clone(&inode.durable);
        }
        self.locks.clear();
        self.faults.clear();
        self.power += 1;
    }

    /// Brings a sector to the medium.
    fn land(&mut self, piece: &Piece, how: Landing) {
        let Piece::Sector { file, at, bytes } = piece else { return };
        let Some(inode) = self.inodes.get_mut(file) else { return };
        let durable = Arc::make_mut(&mut inode.durable);
        if durable.len() < at + bytes.len() {
            durable.resize(at + bytes.len(), 0);
        }
        let half = bytes.len() / 2;
        let place = durable.get_mut(*at..at + bytes.len()).unwrap_or_default();
        for (number, (to, from)) in place.iter_mut().zip(bytes.iter()).enumerate() {
            match how {
                Landing::Whole => *to = *from,
                Landing::FirstHalf if number < half => *to = *from,
                Landing::FirstHalf => {}
                Landing::Zeros => *to = 0,
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Landing {
    Whole,
    FirstHalf,
    Zeros,
}

impl Piece {
    fn is_in(&self, dir: &Path) -> bool {
        match self {
            Self::Sector { .. } => false,
            Self::Link { path, .. } | Self::Unlink { path } | Self::Rename { to: path, .. } => {
                path.parent() == Some(dir)
            }
        }
    }

    /// Changes the durable names. A rename carries its file: the name can outlive its making.
    fn apply_name(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Sector { .. } => {}
            Self::Link { path, file } => {
                names.insert(path, file);
            }
            Self::Unlink { path } => {
                names.remove(&path);
            }
            Self::Rename { from, to, file } => {
                if names.get(&from) == Some(&file) {
                    names.remove(&from);
                }
                names.insert(to, file);
            }
        }
    }
}

fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::Device => io::Error::other("input/output error"),
        Fault::Full => io::ErrorKind::StorageFull.into(),
    }
}

fn size(bytes: &[u8]) -> u64 {
    length(bytes.len())
}

pub(super) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length in memory fits 64 bits")
}
