//! The register's state as the consensus library drives it: in memory, rebuilt from the last
//! snapshot and the log behind it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::storage::LogStore;
use super::types::{LogId, SnapshotMeta, StoredMembership, Types, failed};
use crate::{Machine, Outcome, Version};

/// What was applied so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    pub(crate) machine: Machine,
    last: Option<LogId>,
    membership: StoredMembership,
}

/// The state, shared with those who read it. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct State {
    applied: Arc<Mutex<Applied>>,
    log: LogStore,
    changed: watch::Sender<Version>,
}

type StateSnapshot = openraft::alias::SnapshotOf<Types, Bytes>;

impl State {
    pub(crate) fn new(log: LogStore) -> Self {
        Self { applied: Arc::default(), log, changed: watch::Sender::new(Version::ZERO) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of every change of the state, maybe of several at once.
    pub(crate) fn changes(&self) -> watch::Receiver<Version> {
        self.changed.subscribe()
    }
}

impl Applied {
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() }
    }
}

impl RaftStateMachine<Types> for State {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let (outcome, version) = {
                let mut applied = self.lock();
                applied.last = Some(entry.log_id);
                let outcome = match entry.payload {
                    EntryPayload::Normal(command) => applied.machine.apply(&command),
                    EntryPayload::Blank => Outcome::Done(applied.machine.version()),
                    EntryPayload::Membership(membership) => {
                        applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                        Outcome::Done(applied.machine.version())
                    }
                };
                (outcome, applied.machine.version())
            };
            self.changed.send_replace(version);
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { applied: self.lock().clone(), log: self.log.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, state: Bytes) -> io::Result<()> {
        let machine =
            Machine::decode(&state).map_err(|error| failed("install a snapshot", error))?;
        // At a start it is the one from the file.
        let kept = self.log.snapshot().is_some_and(|(kept, bytes)| kept == *meta && bytes == state);
        if !kept {
            self.log.save_snapshot(meta, state).await?;
        }
        let version = machine.version();
        let membership = meta.last_membership.clone();
        *self.lock() = Applied { machine, last: meta.last_log_id, membership };
        self.changed.send_replace(version);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<StateSnapshot>> {
        Ok(self.log.snapshot().map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// The state at one moment, to be written.
#[derive(Debug)]
pub(crate) struct Builder {
    applied: Applied,
    log: LogStore,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<StateSnapshot> {
        let (meta, snapshot) = (self.applied.meta(), Bytes::from(self.applied.machine.encode()));
        self.log.save_snapshot(&meta, snapshot.clone()).await?;
        Ok(Snapshot { meta, snapshot })
    }
}
