//! The register in one process, exact and without faults: for tests, and for the simulator, which
//! calls the methods that do not wait.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::machine::Change;
use crate::{
    Command, ConfigRegister, HistoryRow, Key, Machine, Outcome, RegisterError, RegisterWatch,
    Version, Versioned,
};

#[derive(Debug, Default)]
struct Shared {
    machine: Machine,
    waiting: Vec<Waker>, // of watches at the end; woken at the next change
}

/// A register in memory. Clones are the same register.
#[derive(Debug, Clone, Default)]
pub struct MemoryRegister {
    shared: Arc<Mutex<Shared>>,
}

impl MemoryRegister {
    /// An empty register.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Executes a command at once.
    pub fn apply(&self, command: &Command) -> Outcome {
        let mut shared = self.lock();
        let outcome = shared.machine.apply(command);
        if matches!(outcome, Outcome::Done(_)) {
            shared.waiting.drain(..).for_each(Waker::wake);
        }
        outcome
    }

    /// A record, if there is one.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<Versioned> {
        self.lock().machine.get(key).cloned()
    }

    /// A copy of the state.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.lock().machine.clone()
    }
}

impl ConfigRegister for MemoryRegister {
    type Watch = MemoryWatch;

    fn read(
        &self,
        keys: &[Key],
    ) -> impl Future<Output = Result<(Version, Vec<Option<Versioned>>), RegisterError>> + Send {
        let shared = self.lock();
        let found = keys.iter().map(|key| shared.machine.get(*key).cloned()).collect();
        std::future::ready(Ok((shared.machine.version(), found)))
    }

    fn read_all(
        &self,
    ) -> impl Future<Output = Result<(Version, Vec<(Key, Versioned)>), RegisterError>> + Send {
        let shared = self.lock();
        let all = shared.machine.records().map(|(key, record)| (key, record.clone())).collect();
        std::future::ready(Ok((shared.machine.version(), all)))
    }

    fn swap(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Outcome, RegisterError>> + Send {
        std::future::ready(Ok(self.apply(&command)))
    }

    fn history(
        &self,
        rows_max: usize,
    ) -> impl Future<Output = Result<Vec<Arc<HistoryRow>>, RegisterError>> + Send {
        let rows = self.lock().machine.history(rows_max).cloned().collect();
        std::future::ready(Ok(rows))
    }

    fn watch(&self, after: Version) -> Result<MemoryWatch, RegisterError> {
        self.lock().machine.changes_after(after, 0)?;
        Ok(MemoryWatch { register: self.clone(), after })
    }
}

/// Changes of a [`MemoryRegister`].
#[derive(Debug)]
pub struct MemoryWatch {
    register: MemoryRegister,
    after: Version,
}

impl MemoryWatch {
    /// The next change, if there is one already.
    ///
    /// # Errors
    /// As [`RegisterWatch::next`].
    pub fn try_next(&mut self) -> Result<Option<Change>, RegisterError> {
        let change = self.register.lock().machine.changes_after(self.after, 1)?.pop();
        if let Some(change) = &change {
            self.after = change.version;
        }
        Ok(change)
    }
}

impl RegisterWatch for MemoryWatch {
    fn next(&mut self) -> impl Future<Output = Result<Change, RegisterError>> + Send {
        poll_fn(|cx| {
            // Under one lock with the look, or a change between the two would wake nobody.
            let register = self.register.clone();
            let mut shared = register.lock();
            match shared.machine.changes_after(self.after, 1) {
                Err(compacted) => Poll::Ready(Err(compacted.into())),
                Ok(mut changes) => {
                    if let Some(change) = changes.pop() {
                        self.after = change.version;
                        return Poll::Ready(Ok(change));
                    }
                    shared.waiting.retain(|waker| !waker.will_wake(cx.waker()));
                    shared.waiting.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
