//! The grouping core: takes operations in order, groups appends, reports what is durable.
//!
//! Plain and synchronous. The writer thread drives it; so does a simulator, without threads.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use antiphon_proto::{Batch, Incarnation, Lsn, ShardId};
use bytes::Bytes;

use crate::hard::HardStates;
use crate::log::{Log, LogReader, LogStats};
use crate::store::Held;
use crate::{Position, StoreError};

/// Something to be made durable. Operations take effect in the order they are given.
#[derive(Debug, Clone)]
pub enum Op {
    /// Appends a batch that continues the shard's log.
    Append {
        /// The log.
        shard: ShardId,
        /// The entries.
        batch: Batch,
        /// Comes back with the completion.
        ticket: u64,
    },
    /// Replaces the shard's hard state.
    Hard {
        /// The shard.
        shard: ShardId,
        /// The state, opaque; at most [`crate::HARD_BYTES_MAX`].
        state: Bytes,
        /// Comes back with the completion.
        ticket: u64,
    },
    /// Sets the entries after `lsn` aside, then voids them.
    Truncate {
        /// The log.
        shard: ShardId,
        /// The last entry that stays.
        lsn: Lsn,
        /// Comes back with the completion.
        ticket: u64,
    },
    /// Voids all entries; the log goes on behind `position`, as after a snapshot.
    Restart {
        /// The log.
        shard: ShardId,
        /// The entry that the snapshot ends with.
        position: Position,
        /// Comes back with the completion.
        ticket: u64,
    },
    /// Lets go of entries before `lsn`, by whole segments.
    Trim {
        /// The log.
        shard: ShardId,
        /// The first entry that is wanted.
        lsn: Lsn,
        /// Comes back with the completion.
        ticket: u64,
    },
}

impl Op {
    /// Bytes that it occupies while it waits.
    pub(crate) fn bytes(&self) -> usize {
        let payload = match self {
            Self::Append { batch, .. } => batch.bytes().len(),
            Self::Hard { state, .. } => state.len(),
            Self::Truncate { .. } | Self::Restart { .. } | Self::Trim { .. } => 0,
        };
        payload + size_of::<Self>()
    }
}

/// What became of an operation.
#[derive(Debug, Clone)]
pub enum Completion {
    /// The batch, and all before it in its log, is durable.
    Appended {
        /// The log.
        shard: ShardId,
        /// The operation's.
        ticket: u64,
        /// The last entry of the batch.
        durable: Position,
    },
    /// The hard state is durable.
    HardSaved {
        /// The shard.
        shard: ShardId,
        /// The operation's.
        ticket: u64,
    },
    /// The log ends here now, durably.
    Truncated {
        /// The log.
        shard: ShardId,
        /// The operation's.
        ticket: u64,
        /// The last entry.
        end: Position,
        /// The file with the entries that were cut, if there were any.
        aside: Option<PathBuf>,
    },
    /// The log begins behind this entry now, durably.
    Restarted {
        /// The log.
        shard: ShardId,
        /// The operation's.
        ticket: u64,
        /// The entry before the next one.
        end: Position,
    },
    /// Entries were let go.
    Trimmed {
        /// The log.
        shard: ShardId,
        /// The operation's.
        ticket: u64,
        /// The first entry that stays.
        first: Lsn,
    },
    /// The store is dead. Comes once, as the last completion; what was not completed before
    /// may or may not be durable.
    Failed(Arc<StoreError>),
}

/// The writing side of a store.
#[derive(Debug)]
pub struct Committer {
    log: Log,
    hard: HardStates,
    held: Held,
    group_bytes_max: u64,
    waiting: VecDeque<Op>,
    /// Appends whose batches are gathered and not synced.
    gathered: Vec<Completion>,
    /// Whether something was written since the end was noted.
    dirty: bool,
    dead: bool,
}

impl Committer {
    pub(crate) fn new(log: Log, hard: HardStates, held: Held, group_bytes_max: u64) -> Self {
        Self {
            log,
            hard,
            held,
            group_bytes_max,
            waiting: VecDeque::new(),
            gathered: Vec::new(),
            dirty: false,
            dead: false,
        }
    }

    /// The run that this is.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.held.superblock.incarnation
    }

    /// A handle for reading the log.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.log.reader()
    }

    /// What the log did so far.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.log.stats()
    }

    /// Whether a failure has stopped the store.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        self.dead
    }

    /// Queues an operation for the next [`Self::run`].
    pub fn submit(&mut self, op: Op) {
        self.waiting.push_back(op);
    }

    /// Does one group's worth of what is queued, and reports what is durable. Call again
    /// while [`Self::is_idle`] is false. After a failure it reports nothing more.
    pub fn run(&mut self, done: &mut Vec<Completion>) {
        if self.dead {
            self.waiting.clear();
            return;
        }
        if let Err(error) = self.try_run(done) {
            self.dead = true;
            self.gathered.clear();
            self.waiting.clear();
            done.push(Completion::Failed(Arc::new(error)));
        }
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    fn try_run(&mut self, done: &mut Vec<Completion>) -> Result<(), StoreError> {
        while let Some(op) = self.waiting.pop_front() {
            if let Op::Append { shard, batch, ticket } = op {
                self.gather(shard, batch, ticket)?;
                if self.log.pending_bytes() >= self.group_bytes_max {
                    break;
                }
                continue;
            }
            // Another kind of operation comes after all appends before it, and before all
            // that follow: an append reported durable implies the hard state before it.
            self.sync(done)?;
            let completion = self.perform(op)?;
            self.dirty = true;
            done.push(completion);
        }
        self.sync(done)
    }

    fn gather(&mut self, shard: ShardId, batch: Batch, ticket: u64) -> Result<(), StoreError> {
        let durable = Position { id: batch.last(), chain: batch.chain(), hlc: batch.last_hlc() };
        self.log.append(shard, batch)?;
        self.gathered.push(Completion::Appended { shard, ticket, durable });
        Ok(())
    }

    fn sync(&mut self, done: &mut Vec<Completion>) -> Result<(), StoreError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.log.sync()?;
        self.dirty = true;
        done.append(&mut self.gathered);
        Ok(())
    }

    fn perform(&mut self, op: Op) -> Result<Completion, StoreError> {
        match op {
            Op::Append { .. } => unreachable!("appends are gathered"),
            Op::Hard { shard, state, ticket } => {
                self.hard.save(shard, &state)?;
                Ok(Completion::HardSaved { shard, ticket })
            }
            Op::Truncate { shard, lsn, ticket } => {
                let (end, aside) = self.log.truncate_after(shard, lsn)?;
                Ok(Completion::Truncated { shard, ticket, end, aside })
            }
            Op::Restart { shard, position, ticket } => {
                self.log.restart(shard, position)?;
                Ok(Completion::Restarted { shard, ticket, end: position })
            }
            Op::Trim { shard, lsn, ticket } => {
                let first = self.log.trim_before(shard, lsn)?;
                Ok(Completion::Trimmed { shard, ticket, first })
            }
        }
    }

    /// Notes how far the log is durable, if that changed. To be called when there is nothing
    /// else to do: it waits for no disk.
    pub fn rest(&mut self, done: &mut Vec<Completion>) {
        if self.dead || !self.dirty {
            return;
        }
        self.dirty = false;
        if let Err(error) = self.log.note_end() {
            self.dead = true;
            done.push(Completion::Failed(Arc::new(error)));
        }
    }

    /// Ends the run in good order: the next opening knows the exact end of the log.
    ///
    /// # Errors
    /// Any; the directory is then as after a crash.
    pub fn close(mut self) -> Result<(), StoreError> {
        if self.dead {
            return Err(StoreError::Stopped);
        }
        assert!(self.waiting.is_empty(), "what was submitted is run before closing");
        self.log.close()?;
        let mut superblock = self.held.superblock.clone();
        superblock.clean = true;
        superblock.save(&*self.held.disk, &self.held.dir)?;
        drop(self.held.lock);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
