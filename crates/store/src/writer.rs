//! The thread that writes the log: everything that waited goes out with one write and one sync.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::StoreError;
use crate::commit::{Committer, Completion, Op};
use crate::log::LogStats;

/// The queue has no room for the operation, which comes back.
#[derive(Debug)]
pub struct Full(pub Box<Op>);

/// A committer on a thread of its own. Operations go in by [`Self::submit`]; completions come
/// out through the callback, in order, on that thread.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    bytes_max: usize,
    /// None once it was closed. Locked while something is written, by the thread or by a caller.
    committer: Mutex<Option<Committer>>,
}

#[derive(Debug, Default)]
struct Queue {
    ops: VecDeque<Op>,
    bytes: usize,
    phase: Phase,
    /// The thread has operations that it took from here and did not finish.
    busy: bool,
    /// Something was written by a caller since the log's end was noted.
    unnoted: bool,
    stats: LogStats,
}

/// How long operations are still taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Phase {
    #[default]
    Open,
    /// What is queued is done, and nothing more is taken.
    Stopping,
    /// The thread is gone, or the store is dead.
    Ended,
}

/// The log's end is noted this long after the last write, or this often under load: a note
/// costs a write and no sync.
const NOTE_AFTER: Duration = Duration::from_millis(200);

impl Queue {
    /// A dead store takes nothing more.
    fn end_if(&mut self, dead: bool) {
        if dead {
            self.phase = Phase::Ended;
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committer(&self) -> MutexGuard<'_, Option<Committer>> {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Starts the thread. At most `queue_bytes_max` wait at a time, besides what is being
    /// written. `on_done` must not block for long: the disk waits for it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        committer: Committer,
        queue_bytes_max: usize,
        on_done: impl FnMut(Completion) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            filled: Condvar::new(),
            bytes_max: queue_bytes_max,
            committer: Mutex::new(Some(committer)),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                let _ended = Ended(Arc::clone(&theirs));
                Worker { shared: theirs, on_done, done: Vec::new() }.run()
            })
            .map_err(|e| StoreError::io("start a thread for", "the log".as_ref(), e))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Hands an operation over. Never waits.
    ///
    /// # Errors
    /// [`Full`] when the queue is, or when the store has stopped; an operation that is larger
    /// than the whole queue is taken when the queue is empty.
    pub fn submit(&self, op: Op) -> Result<(), Full> {
        let bytes = op.bytes();
        let mut queue = self.shared.queue();
        let fits = queue.bytes == 0 || queue.bytes + bytes <= self.shared.bytes_max;
        if !fits || queue.phase != Phase::Open {
            return Err(Full(Box::new(op)));
        }
        queue.bytes += bytes;
        let was_empty = queue.ops.is_empty();
        queue.ops.push_back(op);
        drop(queue);
        if was_empty {
            self.shared.filled.notify_one();
        }
        Ok(())
    }

    /// Does operations at once, on the caller's thread, if nothing else is queued or under way;
    /// otherwise nothing is done and `ops` stays as it is. What is done comes back in `done` and
    /// not through the callback.
    ///
    /// On a fast disk this saves two changes of threads. Only the thread that submits may call
    /// it: the order of operations is theirs.
    #[must_use]
    pub fn run_here(&self, ops: &mut Vec<Op>, done: &mut Vec<Completion>) -> bool {
        let mut queue = self.shared.queue();
        if !queue.ops.is_empty() || queue.busy || queue.phase != Phase::Open {
            return false;
        }
        let wake = !std::mem::replace(&mut queue.unnoted, true);
        drop(queue);
        let mut slot = self.shared.committer();
        let Some(committer) = slot.as_mut() else { return false };
        for op in ops.drain(..) {
            committer.submit(op);
        }
        while !committer.is_idle() {
            committer.run(done);
        }
        let (dead, stats) = (committer.is_dead(), committer.stats());
        drop(slot);
        let mut queue = self.shared.queue();
        queue.end_if(dead);
        queue.stats = stats;
        drop(queue);
        if wake {
            // The thread begins to count the time until the end is to be noted.
            self.shared.filled.notify_one();
        }
        true
    }

    /// Bytes that wait in the queue.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.queue().bytes
    }

    /// What the log did, as of the last time the thread had nothing to do or wrote a group.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.shared.queue().stats.clone()
    }

    /// Lets the thread finish what was submitted, and closes the store in good order.
    ///
    /// # Errors
    /// What stopped the store, or its closing.
    pub fn stop(mut self) -> Result<(), StoreError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), StoreError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let mut queue = self.shared.queue();
        queue.phase = queue.phase.max(Phase::Stopping);
        drop(queue);
        self.shared.filled.notify_one();
        match thread.join() {
            Ok(closed) => closed,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // A failure was reported to the callback already.
        drop(self.join());
    }
}

/// Says that the thread takes nothing more, however it ends.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.queue().phase = Phase::Ended;
    }
}

struct Worker<F> {
    shared: Arc<Shared>,
    on_done: F,
    done: Vec<Completion>,
}

impl<F: FnMut(Completion)> Worker<F> {
    fn run(mut self) -> Result<(), StoreError> {
        let mut noted = Instant::now();
        while let Some(ops) = self.next() {
            if !self.work(ops) {
                return Err(StoreError::Stopped);
            }
            if noted.elapsed() >= NOTE_AFTER {
                self.note();
                noted = Instant::now();
            }
        }
        let committer = self.shared.committer().take();
        committer.map_or(Err(StoreError::Stopped), Committer::close)
    }

    /// Does what was taken from the queue; false when the store has died of it.
    fn work(&mut self, ops: VecDeque<Op>) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut slot = shared.committer();
        let Some(committer) = slot.as_mut() else { return false };
        for op in ops {
            committer.submit(op);
        }
        while !committer.is_idle() {
            committer.run(&mut self.done);
            // Who hears of a failure must not be able to submit any more.
            self.shared.queue().end_if(committer.is_dead());
            self.report();
        }
        let mut queue = self.shared.queue();
        queue.stats = committer.stats();
        queue.busy = false;
        queue.unnoted = true;
        !committer.is_dead()
    }

    /// What was queued; waits for it. None when the thread is to stop.
    fn next(&mut self) -> Option<VecDeque<Op>> {
        let shared = Arc::clone(&self.shared);
        let mut queue = shared.queue();
        while queue.ops.is_empty() {
            if queue.phase != Phase::Open {
                return None;
            }
            if !queue.unnoted {
                queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = shared.filled.wait_timeout(queue, NOTE_AFTER);
            let (held, elapsed) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = held;
            if elapsed.timed_out() && queue.ops.is_empty() {
                drop(queue);
                self.note();
                queue = shared.queue();
            }
        }
        queue.bytes = 0;
        queue.busy = true;
        Some(std::mem::take(&mut queue.ops))
    }

    /// Notes the log's end.
    fn note(&mut self) {
        self.shared.queue().unnoted = false;
        let mut slot = self.shared.committer();
        let dead = slot.as_mut().is_some_and(|committer| {
            committer.rest(&mut self.done);
            committer.is_dead()
        });
        drop(slot);
        self.shared.queue().end_if(dead);
        self.report();
    }

    fn report(&mut self) {
        for completion in self.done.drain(..) {
            (self.on_done)(completion);
        }
    }
}

#[cfg(test)]
mod tests;
