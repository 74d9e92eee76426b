//! A model voter: a log, a promise, and what it says when it is sealed.

use antiphon_proto::{
    Config, Cut, EntryId, Epoch, Incarnation, Lsn, NodeId, Sealed, StoreUuid, Time,
};

use super::world::{SHARD, SILENCE_MS};
use crate::reconfigure::{Promise, ReconfigureEvent, SealRefusal};

#[derive(Clone)]
pub(super) struct Voter {
    pub(super) up: bool,
    pub(super) log: Vec<EntryId>,
    pub(super) obeyed: Config,
    pub(super) promised: Epoch,
    pub(super) incarnation: u64,
    pub(super) store: StoreUuid,
    pub(super) amnesiac: bool,
    pub(super) confirmed: Option<Time>,
    pub(super) head: Lsn,
    pub(super) office: Office,
}

/// Whether a voter appends in the epoch that it obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Office {
    No,
    Appends,
    Drained,
}

pub(super) trait Take {
    fn clone_from_slice_to(&mut self, from: &[EntryId], end: usize);
}

impl Take for Vec<EntryId> {
    fn clone_from_slice_to(&mut self, from: &[EntryId], end: usize) {
        let missing = from.get(self.len()..end).unwrap_or_default();
        self.extend_from_slice(missing);
    }
}

pub(super) fn runs(log: &[EntryId]) -> Vec<Cut> {
    let mut runs: Vec<Cut> = Vec::new();
    for entry in log {
        match runs.last_mut() {
            Some(run) if run.epoch == entry.epoch => run.end = entry.lsn,
            _ => runs.push(Cut { epoch: entry.epoch, end: entry.lsn }),
        }
    }
    runs
}

/// Follows a configuration: keeps of its log what the cut table keeps.
pub(super) fn join(voter: &mut Voter, config: &Config) {
    if voter.obeyed.epoch >= config.epoch {
        return;
    }
    let keep = config.keep(&runs(&voter.log), EntryId::ZERO);
    voter.log.truncate(usize::try_from(keep.get()).expect("small"));
    voter.obeyed = config.clone();
    voter.promised = voter.promised.max(config.epoch);
    voter.office = Office::No;
}

pub(super) fn seal(
    voter: &mut Voter,
    node: NodeId,
    now: Time,
    epoch: Epoch,
    force: bool,
) -> ReconfigureEvent {
    let refused = |why| ReconfigureEvent::Refused(node, SHARD, epoch, why);
    if voter.promised > epoch || voter.obeyed.epoch >= epoch {
        return refused(SealRefusal::Promised(voter.promised));
    }
    let stands = voter.confirmed.is_some_and(|at| now.ms_since(at) < SILENCE_MS);
    if voter.promised < epoch && stands && !force {
        return refused(SealRefusal::Stands);
    }
    voter.promised = epoch;
    voter.office = Office::No;
    let sealed = Sealed {
        last: voter.log.last().copied().unwrap_or_default(),
        base: EntryId::ZERO,
        runs: runs(&voter.log),
        incarnation: Incarnation::new(voter.incarnation),
        store: voter.store,
        amnesiac: voter.amnesiac,
        blank: false,
        config: voter.obeyed.clone(),
    };
    let promise = Box::new(Promise { sealed, head: voter.head });
    ReconfigureEvent::Promised(node, SHARD, epoch, promise)
}
