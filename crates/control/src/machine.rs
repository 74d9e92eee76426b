//! The register's state: a pure function of the commands that were applied, in their order.
//!
//! No clock, no chance, no input or output. Every copy that applied the same commands has the
//! same [`Machine::digest`]; the replicated register and the one in memory are both this.

mod rules;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::{Command, HistoryRow, Item, Key, Outcome, Record, Version, Versioned};

pub use snapshot::SNAPSHOT_BYTES_MAX;

/// The rows of history that are kept; older ones go.
pub const HISTORY_KEPT: usize = 1_024;

/// The most nodes that a register ever knows, those that were removed among them.
pub const NODES_KEPT_MAX: usize = 1_024;

/// The most shards.
pub const SHARDS_MAX: usize = 16_384;

/// The changes that are kept for those who watch. Whoever is further behind reads all anew.
const CHANGES_KEPT: usize = 1_024;

/// Some records changed, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The register's version since. Changes are dense: the next one has the next version.
    pub version: Version,
    /// The records that were written, by key.
    pub records: Vec<(Key, Arc<Record>)>,
}

/// The changes asked for are no longer kept: read everything, and watch from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("changes after version {after} are no longer kept; read all records, then watch")]
pub struct Compacted {
    /// What was asked for.
    pub after: Version,
}

/// The state. Every copy of it is equal at equal versions.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    version: Version,
    records: BTreeMap<Key, Versioned>,
    history: VecDeque<Arc<HistoryRow>>, // numbers dense, at most HISTORY_KEPT
    rows: u64,                          // ever written; the last row's number
    nodes: usize,                       // records of nodes, at most NODES_KEPT_MAX
    shards: usize,                      // records of shards, at most SHARDS_MAX
    // For those who watch. Not part of the state: a copy that was loaded begins without.
    changes: VecDeque<Change>,
}

impl Machine {
    /// An empty register.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Executes a command: all of it or nothing.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        if let Err(refusal) = command.check() {
            return Outcome::Refused(refusal);
        }
        let differs = |item: &Item| {
            let key = item.record.key();
            let is = self.version_of(key);
            (is != item.expect).then_some((key, is))
        };
        let conflicts: Vec<_> = command.items.iter().filter_map(differs).collect();
        if !conflicts.is_empty() {
            return Outcome::Conflict(conflicts);
        }
        if let Err(refusal) = rules::check(self, command) {
            return Outcome::Refused(refusal);
        }
        Outcome::Done(self.write(command))
    }

    fn write(&mut self, command: &Command) -> Version {
        self.version = self.version.next();
        let mut written = Vec::with_capacity(command.items.len());
        for item in &command.items {
            let key = item.record.key();
            let record = Arc::new(item.record.clone());
            written.push((key, Arc::clone(&record)));
            self.put(key, Versioned { version: self.version, record });
        }
        written.sort_unstable_by_key(|(key, _)| *key);
        for row in &command.rows {
            self.push_row(row.clone());
        }
        if self.changes.len() == CHANGES_KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(Change { version: self.version, records: written });
        self.version
    }

    fn put(&mut self, key: Key, record: Versioned) {
        if self.records.insert(key, record).is_none() {
            match key {
                Key::Cluster => {}
                Key::Node(_) => self.nodes += 1,
                Key::Shard(_) => self.shards += 1,
            }
        }
        assert!(self.nodes <= NODES_KEPT_MAX && self.shards <= SHARDS_MAX, "rules hold the limits");
    }

    fn push_row(&mut self, row: HistoryRow) {
        self.rows += 1;
        if self.history.len() == HISTORY_KEPT {
            self.history.pop_front();
        }
        self.history.push_back(Arc::new(HistoryRow { number: self.rows, ..row }));
    }

    /// Changes so far.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// A record, if there is one.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Versioned> {
        self.records.get(&key)
    }

    /// The version of a record; 0 when there is none.
    #[must_use]
    pub fn version_of(&self, key: Key) -> Version {
        self.get(key).map_or(Version::ZERO, |record| record.version)
    }

    /// All records, by key.
    pub fn records(&self) -> impl Iterator<Item = (Key, &Versioned)> {
        self.records.iter().map(|(key, record)| (*key, record))
    }

    /// The newest rows of the history, the newest last.
    pub fn history(&self, rows_max: usize) -> impl Iterator<Item = &Arc<HistoryRow>> {
        self.history.iter().skip(self.history.len().saturating_sub(rows_max))
    }

    /// What changed after a version, in order, the first `changes_max` of it.
    ///
    /// # Errors
    /// [`Compacted`] when some of it is no longer kept.
    pub fn changes_after(
        &self,
        after: Version,
        changes_max: usize,
    ) -> Result<Vec<Change>, Compacted> {
        if after >= self.version {
            return Ok(Vec::new());
        }
        let next = |change: &Change| change.version == after.next();
        let start = self.changes.iter().position(next).ok_or(Compacted { after })?;
        Ok(self.changes.iter().skip(start).take(changes_max).cloned().collect())
    }
}

#[cfg(test)]
mod tests;
