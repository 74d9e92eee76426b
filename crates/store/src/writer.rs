//! The thread that writes the log: everything that waited goes out with one write and one sync.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

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
}

#[derive(Debug, Default)]
struct Queue {
    ops: VecDeque<Op>,
    bytes: usize,
    stop: bool,
    /// The thread takes nothing more.
    ended: bool,
    stats: LogStats,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                let _ended = Ended(Arc::clone(&theirs));
                Worker { shared: theirs, committer, on_done, done: Vec::new() }.run()
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
        if !fits || queue.stop || queue.ended {
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
        self.shared.queue().stop = true;
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
        self.0.queue().ended = true;
    }
}

struct Worker<F> {
    shared: Arc<Shared>,
    committer: Committer,
    on_done: F,
    done: Vec<Completion>,
}

impl<F: FnMut(Completion)> Worker<F> {
    fn run(mut self) -> Result<(), StoreError> {
        while let Some(ops) = self.next() {
            for op in ops {
                self.committer.submit(op);
            }
            while !self.committer.is_idle() {
                self.committer.run(&mut self.done);
                // Who hears of a failure must not be able to submit any more.
                self.shared.queue().ended |= self.committer.is_dead();
                self.report();
            }
            if self.committer.is_dead() {
                return Err(StoreError::Stopped);
            }
            self.shared.queue().stats = self.committer.stats();
        }
        self.committer.close()
    }

    /// What was queued; waits for it. None when the thread is to stop.
    fn next(&mut self) -> Option<VecDeque<Op>> {
        let mut queue = self.shared.queue();
        let mut rested = false;
        while queue.ops.is_empty() {
            if queue.stop {
                return None;
            }
            if rested {
                queue = self.shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(queue);
            self.committer.rest(&mut self.done);
            self.shared.queue().ended |= self.committer.is_dead();
            self.report();
            rested = true;
            queue = self.shared.queue();
        }
        queue.bytes = 0;
        Some(std::mem::take(&mut queue.ops))
    }

    fn report(&mut self) {
        for completion in self.done.drain(..) {
            (self.on_done)(completion);
        }
    }
}

#[cfg(test)]
mod tests;
