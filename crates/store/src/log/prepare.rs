//! Getting the next segment ready ahead of its use, so that rolling over does not wait.
//!
//! A segment is written through once with zeros, or takes over the file of a trimmed one: a
//! write into space that was written before costs the file system no bookkeeping.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::segment::{index_path, number_of, segment_path};
use crate::StoreError;
use crate::disk::{Access, Disk, DiskFile, write_one};
use crate::mutation::{Mutation, Planted};
use crate::replace::remove_if_there;

/// Trimmed files kept for another life.
const SPARES_MAX: usize = 2;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file that is ready to become a segment.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
}

/// Who gets segments ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prepare {
    /// A thread of its own.
    #[default]
    Thread,
    /// The caller, at once: for a simulator, which has no threads.
    Inline,
}

/// Makes and retires segment files.
#[derive(Debug)]
pub(crate) struct Workshop {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    spares: Vec<PathBuf>,
    planted: Planted,
}

impl Workshop {
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        planted: Planted,
    ) -> Result<Self, StoreError> {
        let names = disk.list(dir).map_err(|e| StoreError::io("list", dir, e))?;
        let spares = names
            .iter()
            .filter(|name| number_of(name, ".spare").is_some())
            .map(|name| dir.join(name))
            .collect();
        Ok(Self { disk, dir: dir.to_path_buf(), spares, planted })
    }

    /// Makes the file of a segment, from a spare one if there is one of the right size.
    pub(crate) fn make(&mut self, number: u64, bytes: u64) -> Result<Prepared, StoreError> {
        let path = segment_path(&self.dir, number);
        let file = match self.recycled(&path, bytes)? {
            Some(file) => file,
            None => self.written(&path, bytes)?,
        };
        if !self.planted.is(Mutation::SkipDirSync) {
            self.disk.sync_dir(&self.dir).map_err(|e| StoreError::sync(&self.dir, e))?;
        }
        Ok(Prepared { number, path, file, bytes })
    }

    fn recycled(
        &mut self,
        path: &Path,
        bytes: u64,
    ) -> Result<Option<Arc<dyn DiskFile>>, StoreError> {
        while let Some(spare) = self.spares.pop() {
            let failed = |e| StoreError::io("open", &spare, e);
            let file = self.disk.open(&spare, Access::Write).map_err(failed)?;
            if file.len().map_err(failed)? == bytes {
                self.disk.rename(&spare, path).map_err(|e| StoreError::io("rename", &spare, e))?;
                return Ok(Some(file));
            }
            remove_if_there(&*self.disk, &spare)?;
        }
        Ok(None)
    }

    fn written(&self, path: &Path, bytes: u64) -> Result<Arc<dyn DiskFile>, StoreError> {
        let temporary = self.dir.join("prepare.tmp");
        remove_if_there(&*self.disk, &temporary)?;
        let failed = |doing| {
            let temporary = &temporary;
            move |e: io::Error| StoreError::io(doing, temporary, e)
        };
        let file = self.disk.create(&temporary).map_err(failed("create"))?;
        file.allocate(bytes).map_err(failed("allocate"))?;
        let mut at = 0;
        while at < bytes {
            let piece = usize::try_from(bytes - at).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
            let zeros = ZEROS.get(..piece).unwrap_or_default();
            write_one(&*file, zeros, at).map_err(failed("write"))?;
            at += u64::try_from(piece).expect("a piece is small");
        }
        file.sync_data().map_err(|e| StoreError::sync(&temporary, e))?;
        self.disk.rename(&temporary, path).map_err(failed("rename"))?;
        Ok(file)
    }

    /// Takes a trimmed segment out of the log. Called in rising order, each made durable, so
    /// that a crash never leaves a hole in the row of segments.
    pub(crate) fn retire(&mut self, number: u64, reuse: bool) -> Result<(), StoreError> {
        let path = segment_path(&self.dir, number);
        remove_if_there(&*self.disk, &index_path(&self.dir, number))?;
        if reuse && self.spares.len() < SPARES_MAX {
            let spare = self.dir.join(format!("{number:016}.spare"));
            self.disk.rename(&path, &spare).map_err(|e| StoreError::io("rename", &path, e))?;
            self.spares.push(spare);
        } else {
            remove_if_there(&*self.disk, &path)?;
        }
        self.disk.sync_dir(&self.dir).map_err(|e| StoreError::sync(&self.dir, e))
    }
}

enum Job {
    Make { number: u64, bytes: u64 },
    Retire { number: u64, reuse: bool },
}

/// Has segments made ahead, by a thread or in place.
#[derive(Debug)]
pub(crate) enum Preparer {
    Inline { workshop: Box<Workshop>, ready: Option<Prepared> },
    Thread(Helper),
}

#[derive(Debug)]
pub(crate) struct Helper {
    jobs: Option<Sender<Job>>,
    made: Receiver<Result<Prepared, StoreError>>,
    thread: Option<JoinHandle<()>>,
    ready: Option<Prepared>,
    /// Asked for and not received yet.
    awaited: Option<u64>,
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The thread ends when its jobs do.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the helper was reported as a lost answer already.
            drop(thread.join());
        }
    }
}

impl Preparer {
    pub(crate) fn start(workshop: Workshop, how: Prepare) -> Result<Self, StoreError> {
        match how {
            Prepare::Inline => Ok(Self::Inline { workshop: Box::new(workshop), ready: None }),
            Prepare::Thread => Helper::start(workshop).map(Self::Thread),
        }
    }

    /// Takes a file that was found ready when the log was opened.
    pub(crate) fn adopt(&mut self, prepared: Prepared) {
        match self {
            Self::Inline { ready, .. } => *ready = Some(prepared),
            Self::Thread(helper) => helper.ready = Some(prepared),
        }
    }

    /// Asks for a segment ahead of its use.
    pub(crate) fn request(&mut self, number: u64, bytes: u64) -> Result<(), StoreError> {
        match self {
            Self::Inline { workshop, ready } => {
                if ready.as_ref().is_none_or(|ready| ready.number != number) {
                    *ready = Some(workshop.make(number, bytes)?);
                }
                Ok(())
            }
            Self::Thread(helper) => helper.request(number, bytes),
        }
    }

    /// The segment's file, of at least `bytes`: the one that is ready, or one made now.
    pub(crate) fn take(&mut self, number: u64, bytes: u64) -> Result<Prepared, StoreError> {
        loop {
            let ready = match self {
                Self::Inline { ready, .. } => ready.take(),
                Self::Thread(helper) => helper.take_ready()?,
            };
            if let Some(ready) = ready.filter(|r| r.number == number && r.bytes >= bytes) {
                return Ok(ready);
            }
            self.request(number, bytes)?;
        }
    }

    /// Takes a trimmed segment out of the log.
    pub(crate) fn retire(&mut self, number: u64, reuse: bool) -> Result<(), StoreError> {
        match self {
            Self::Inline { workshop, .. } => workshop.retire(number, reuse),
            Self::Thread(helper) => helper.send(Job::Retire { number, reuse }),
        }
    }
}

impl Helper {
    fn start(mut workshop: Workshop) -> Result<Self, StoreError> {
        let (jobs, todo) = channel();
        let (answers, made) = channel();
        let dir = workshop.dir.clone();
        let work = move || {
            for job in todo {
                let answer = match job {
                    Job::Make { number, bytes } => workshop.make(number, bytes),
                    Job::Retire { number, reuse } => match workshop.retire(number, reuse) {
                        Ok(()) => continue,
                        Err(error) => Err(error),
                    },
                };
                if answers.send(answer).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("log-prepare".to_owned())
            .spawn(work)
            .map_err(|e| StoreError::io("start a thread for", &dir, e))?;
        let (jobs, thread) = (Some(jobs), Some(thread));
        Ok(Self { jobs, made, thread, ready: None, awaited: None })
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::Stopped)?;
        jobs.send(job).map_err(|_ended| StoreError::Stopped)
    }

    fn request(&mut self, number: u64, bytes: u64) -> Result<(), StoreError> {
        let there = self.ready.as_ref().is_some_and(|ready| ready.number == number);
        if there || self.awaited == Some(number) {
            return Ok(());
        }
        self.awaited = Some(number);
        self.send(Job::Make { number, bytes })
    }

    /// What is ready, or will be: waits for a segment that was asked for.
    fn take_ready(&mut self) -> Result<Option<Prepared>, StoreError> {
        if self.ready.is_none() && self.awaited.take().is_some() {
            self.ready = Some(self.made.recv().map_err(|_ended| StoreError::Stopped)??);
        }
        Ok(self.ready.take())
    }
}
