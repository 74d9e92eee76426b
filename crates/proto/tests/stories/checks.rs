//! What must hold at every moment of every story and of every random schedule.

use std::collections::BTreeMap;

use antiphon_proto::{
    Batch, Chain, Config, EntryId, Epoch, HardState, Kind, Lsn, Replica, RoleStatus, VoterSet,
};

use super::disk::Disk;

/// What was seen so far, of all nodes together.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    written: BTreeMap<EntryId, Chain>, // the log up to each entry that was ever appended
    stable: BTreeMap<Lsn, EntryId>,    // what some primary called stable
    promised: BTreeMap<u64, Epoch>,
    starts: BTreeMap<Epoch, EntryId>,
    logs: BTreeMap<u64, Vec<EntryId>>, // each running replica's log, as it was told to write it
    /// A disk lost what it had synced: copies may be fewer than they were.
    pub(crate) damaged: bool,
}

impl Checks {
    pub(crate) fn on_restart(&mut self, node: u64, last: EntryId, log: Vec<EntryId>) {
        assert_eq!(log.last().copied().unwrap_or_default(), last, "the log of node {node}");
        self.logs.insert(node, log);
    }

    /// Equal entries have equal logs before them, and no identifier is used twice.
    pub(crate) fn on_append(&mut self, node: u64, batch: &Batch) {
        for frame in batch.frames() {
            let id = frame.header.id;
            let known = *self.written.entry(id).or_insert(frame.chain);
            assert!(known == frame.chain || self.damaged, "two entries {id}, one on node {node}");
            let log = self.logs.entry(node).or_default();
            if frame.header.kind == Kind::EpochStart && !self.starts.contains_key(&id.epoch) {
                self.starts.insert(id.epoch, id);
                // The first entry of an epoch is first written by its primary.
                let lost = self.stable.values().find(|entry| !log.contains(entry));
                assert!(lost.is_none() || self.damaged, "primary {node} of {id} lacks {lost:?}");
            }
            log.push(id);
        }
    }

    pub(crate) fn on_truncated(&mut self, node: u64, last: Lsn) {
        self.logs.entry(node).or_default().retain(|id| id.lsn <= last);
    }

    /// The promise on a disk never falls.
    pub(crate) fn on_hard(&mut self, node: u64, hard: &HardState) {
        let before = self.promised.insert(node, hard.promised).unwrap_or_default();
        assert!(before <= hard.promised || self.damaged, "node {node} forgot epoch {before}");
    }

    /// What a primary calls stable is on enough disks, with the first entry of its epoch.
    pub(crate) fn on_stable(
        &mut self,
        (node, config): (u64, &Config),
        (from, to): (Lsn, Lsn),
        disks: &BTreeMap<u64, &Disk>,
    ) {
        let log = self.logs.entry(node).or_default();
        let fresh = log.iter().filter(|id| id.lsn > from && id.lsn <= to);
        for id in fresh {
            let known = *self.stable.entry(id.lsn).or_insert(*id);
            assert_eq!(known, *id, "stable once as another entry, now on node {node}");
        }
        let start = self.starts.get(&config.epoch).expect("a primary starts its epoch");
        let last = log.iter().find(|id| id.lsn == to).expect("a stable entry is in the log");
        let holds = |disk: &Disk| disk.holds(*last) && disk.holds(*start);
        let holders =
            config.voters.iter().enumerate().filter(|(_, member)| {
                disks.get(&member.node.get()).is_some_and(|disk| holds(disk))
            });
        let holders = holders.fold(VoterSet::EMPTY, |set, (place, _)| set.with(place));
        let rule = config.rule(config.floor).expect("a checked configuration");
        assert!(rule.sat(holders) || self.damaged, "{last} is stable and only on {holders:?}");
    }

    /// What is applied was stable, and every node that joined the epoch has a prefix of its log.
    pub(crate) fn on_step(&self, replicas: &BTreeMap<u64, &Replica>) {
        for (node, replica) in replicas {
            let log = self.logs.get(node).map(Vec::as_slice).unwrap_or_default();
            let applied = log.iter().filter(|id| id.lsn <= replica.applied());
            for id in applied {
                let known = self.stable.get(&id.lsn);
                assert!(known.is_none_or(|known| known == id), "node {node} applied {id}");
            }
            assert!(replica.applied() <= replica.durable() || replica.durable() == Lsn::ZERO);
        }
        let status = |node: &u64| replicas.get(node).map(|replica| replica.status());
        for primary in replicas.keys() {
            let Some(head) = status(primary) else { continue };
            if !matches!(head.role, RoleStatus::Primary { .. }) {
                continue;
            }
            let whole = self.logs.get(primary).map(Vec::as_slice).unwrap_or_default();
            for node in replicas.keys() {
                let Some(other) = status(node) else { continue };
                let joined = matches!(other.role, RoleStatus::Follower { synced: true });
                if joined && other.config.epoch == head.config.epoch {
                    let log = self.logs.get(node).map(Vec::as_slice).unwrap_or_default();
                    assert!(whole.starts_with(log), "node {node} is no prefix of {primary}");
                }
            }
        }
    }
}
