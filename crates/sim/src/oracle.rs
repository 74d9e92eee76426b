//! What must hold, checked against what every node was seen to do.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_proto::{
    Batch, Chain, Config, EntryId, Epoch, Lsn, NodeId, Policy, Rule, SessionId, Ticket, VoterSet,
};

/// The first rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its name in the protocol's list of invariants, or a word.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

impl Violation {
    pub(crate) const fn new(rule: &'static str, what: String) -> Self {
        Self { rule, what }
    }
}

pub(crate) type Verdict = Result<(), Violation>;

/// Fails with words when a condition does not hold.
macro_rules! ensure {
    ($condition:expr, $rule:expr, $($words:tt)*) => {
        if !$condition {
            return Err($crate::oracle::Violation::new($rule, format!($($words)*)));
        }
    };
}
pub(crate) use ensure;

/// An entry that some node appended.
#[derive(Debug, Clone, Copy)]
struct Seen {
    chain: Chain,
    before: EntryId,
    upto: u64, // bytes of the log up to and with it
}

/// An entry that some node applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Applied {
    id: EntryId,
    chain: Chain,
    digest: [u8; 16],
}

/// Everything that was ever seen.
#[derive(Debug)]
pub(crate) struct Oracle {
    config: Config,
    floor: Rule,
    entries: BTreeMap<EntryId, Seen>,
    started: BTreeMap<Epoch, EntryId>, // first entries, by the primary's own append
    applied: BTreeMap<Lsn, Applied>,
    received: BTreeMap<NodeId, BTreeMap<Epoch, Lsn>>, // furthest entry of each epoch ever held
    durable: BTreeMap<NodeId, BTreeMap<Epoch, Lsn>>,  // the same, on disk
    floor_acked: BTreeSet<EntryId>,
    weak_acked: BTreeSet<EntryId>,
    executed: BTreeMap<Ticket, EntryId>, // by stable entries
    sessions: BTreeMap<SessionId, (u64, u64)>, // time to live and last use, by stable entries
}

impl Oracle {
    pub(crate) fn new(config: Config) -> Self {
        let floor = config.rule(config.floor).expect("a plan's configuration was checked");
        Self {
            config,
            floor,
            entries: BTreeMap::new(),
            started: BTreeMap::new(),
            applied: BTreeMap::new(),
            received: BTreeMap::new(),
            durable: BTreeMap::new(),
            floor_acked: BTreeSet::new(),
            weak_acked: BTreeSet::new(),
            executed: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// A node appends a batch behind `last`.
    pub(crate) fn appended(&mut self, node: NodeId, last: EntryId, batch: &Batch) -> Verdict {
        let mut before = last;
        for frame in batch.frames() {
            let id = frame.header.id;
            let bytes = u64::try_from(frame.bytes.len()).unwrap_or(u64::MAX);
            let upto = self.entries.get(&before).map_or(0, |seen| seen.upto) + bytes;
            let seen = Seen { chain: frame.chain, before, upto };
            let known = *self.entries.entry(id).or_insert(seen);
            ensure!(
                known.chain == frame.chain && known.before == before,
                "I3 log matching",
                "entry {id} of node {node} differs from the entry of that name seen before"
            );
            note(&mut self.received, node, id);
            before = id;
        }
        Ok(())
    }

    /// The primary appends the first entry of an epoch.
    pub(crate) fn epoch_starts(&mut self, node: NodeId, id: EntryId) -> Verdict {
        ensure!(
            self.started.insert(id.epoch, id).is_none(),
            "I17 epochs are used once",
            "node {node} starts epoch {} again",
            id.epoch
        );
        let log = self.log_to(id);
        let lost = |id: &&EntryId| log.get(&id.lsn) != Some(*id);
        if let Some(id) = self.floor_acked.iter().find(lost) {
            let what =
                format!("entry {id} was acknowledged at the floor and epoch {node} lacks it");
            return Err(Violation::new("I6 the floor is never lost", what));
        }
        let lost = self.applied.values().map(|applied| applied.id).find(|id| lost(&id));
        match lost {
            Some(lost) => {
                let what = format!("entry {lost} was stable and epoch {} lacks it", id.epoch);
                Err(Violation::new("I6 what is stable is never lost", what))
            }
            None => Ok(()),
        }
    }

    /// The log that ends with this entry.
    pub(crate) fn log_to(&self, end: EntryId) -> BTreeMap<Lsn, EntryId> {
        let mut log = BTreeMap::new();
        let mut at = end;
        while let Some(seen) = self.entries.get(&at) {
            log.insert(at.lsn, at);
            at = seen.before;
        }
        log
    }

    pub(crate) fn synced(&mut self, node: NodeId, batch: &Batch) {
        for frame in batch.frames() {
            note(&mut self.durable, node, frame.header.id);
        }
    }

    /// What a process found in its log when it began.
    pub(crate) fn found(&self, node: NodeId, end: EntryId, chain: Chain) -> Verdict {
        let known = self.entries.get(&end).map_or(Chain::ZERO, |seen| seen.chain);
        ensure!(
            known == chain,
            "a log holds only what was appended",
            "node {node} found a log that ends with {end}, chain {chain:?} and not {known:?}"
        );
        Ok(())
    }

    /// All that a process found on its disk may be acknowledged from now on.
    pub(crate) fn reopened(&mut self, node: NodeId, end: EntryId) {
        for id in self.log_to(end).into_values() {
            note(&mut self.durable, node, id);
            note(&mut self.received, node, id);
        }
    }

    /// A node applies a frame and its state has this digest then.
    pub(crate) fn applies(
        &mut self,
        node: NodeId,
        frame: &antiphon_proto::Frame<'_>,
        digest: [u8; 16],
    ) -> Verdict {
        let id = frame.header.id;
        let now = Applied { id, chain: frame.chain, digest };
        let Some(before) = self.applied.get(&id.lsn) else {
            self.applied.insert(id.lsn, now);
            return self.is_held(node, id);
        };
        ensure!(
            before.id == id && before.chain == frame.chain,
            "I9 stable entries are the same everywhere",
            "node {node} applies {id} where {} was applied",
            before.id
        );
        ensure!(
            before.digest == digest,
            "replicas are equal",
            "node {node} has another state after {id} than the node that applied it first"
        );
        Ok(())
    }

    /// An entry that is called stable is on disks that satisfy the floor.
    fn is_held(&self, node: NodeId, id: EntryId) -> Verdict {
        // An older entry counts together with the first of a later epoch: it is then before it.
        let enough = self.floor.sat(self.holders(&self.durable, id))
            || self.started.range(id.epoch.next()..).any(|(_, start)| {
                self.floor.sat(self.holders(&self.durable, *start))
                    && self.log_to(*start).get(&id.lsn) == Some(&id)
            });
        ensure!(
            enough,
            "I5 stable entries satisfy the floor",
            "node {node} applies {id}, which is on {:?} only",
            self.holders(&self.durable, id)
        );
        Ok(())
    }

    /// The primary calls entries stable: the first of its epoch is then on enough disks.
    pub(crate) fn epoch_is_held(&self, epoch: Epoch) -> Verdict {
        let start = self.started.get(&epoch);
        let held = start.is_some_and(|id| self.floor.sat(self.holders(&self.durable, *id)));
        ensure!(held, "I5 nothing is stable before its epoch", "epoch {epoch}");
        Ok(())
    }

    fn holders(&self, of: &BTreeMap<NodeId, BTreeMap<Epoch, Lsn>>, id: EntryId) -> VoterSet {
        let voters = self.config.voters.iter().enumerate();
        let holding = voters.filter(|(_, member)| {
            let furthest = of.get(&member.node).and_then(|epochs| epochs.get(&id.epoch));
            furthest.is_some_and(|lsn| *lsn >= id.lsn)
        });
        holding.fold(VoterSet::EMPTY, |set, (place, _)| set.with(place))
    }

    /// The primary acknowledges a write at a policy; `guarded` says how much may be lost.
    pub(crate) fn acked(&mut self, id: EntryId, policy: Policy, stable: Lsn) -> Verdict {
        let rule = self.config.rule(policy).expect("a client asks for what can be satisfied");
        let received = matches!(policy, Policy::Received(_));
        let of = if received { &self.received } else { &self.durable };
        let holders = self.holders(of, id);
        ensure!(
            rule.sat(holders),
            "I5 acknowledgements satisfy their policy",
            "{id} is acknowledged at {policy} and held by {holders:?} only"
        );
        if self.is_weak(policy) && id.lsn > stable {
            self.weak_acked.insert(id);
            return Ok(());
        }
        ensure!(
            id.lsn <= stable,
            "I5 acknowledgements at the floor are stable",
            "{id} is acknowledged at {policy}, stable is {stable}"
        );
        self.floor_acked.insert(id);
        Ok(())
    }

    /// Whether acknowledgements of this policy may come before an entry is stable.
    pub(crate) fn is_weak(&self, policy: Policy) -> bool {
        let rule = self.config.rule(policy).expect("a client asks for what can be satisfied");
        let received = matches!(policy, Policy::Received(_));
        received || !rule.implies(&self.floor, self.config.voter_set())
    }

    /// Bytes of the log from behind `stable` to `last`.
    pub(crate) fn bytes_between(&self, stable: Lsn, last: EntryId) -> u64 {
        let mut at = last;
        while at.lsn > stable {
            match self.entries.get(&at) {
                Some(seen) => at = seen.before,
                None => break,
            }
        }
        let upto = |id| self.entries.get(&id).map_or(0, |seen| seen.upto);
        upto(last) - upto(at)
    }

    /// What must hold of the log that is left at the end.
    pub(crate) fn ended(&self, log: &BTreeMap<Lsn, EntryId>, guard_bytes: u64) -> Verdict {
        for id in &self.floor_acked {
            ensure!(
                log.get(&id.lsn) == Some(id),
                "I6 the floor is never lost",
                "entry {id} was acknowledged at the floor and is not in the last log"
            );
        }
        let mut lost: BTreeMap<Epoch, u64> = BTreeMap::new();
        for id in self.weak_acked.iter().filter(|id| log.get(&id.lsn) != Some(*id)) {
            let before = self.entries.get(id).map_or(EntryId::ZERO, |seen| seen.before);
            *lost.entry(id.epoch).or_default() += self.bytes_between(before.lsn, *id);
        }
        for (epoch, bytes) in lost {
            ensure!(
                bytes <= guard_bytes,
                "I16 losses stay within the guard",
                "{bytes} acknowledged bytes of epoch {epoch} were lost, the guard is {guard_bytes}"
            );
        }
        Ok(())
    }

    /// A stable entry executes a numbered write.
    pub(crate) fn executes(&mut self, ticket: Ticket, id: EntryId) -> Verdict {
        let before = *self.executed.entry(ticket).or_insert(id);
        ensure!(
            before == id,
            "I13 each number executes at most once",
            "number {} of session {} is executed by {before} and by {id}",
            ticket.seq,
            ticket.session
        );
        Ok(())
    }

    /// A stable entry opens a session or writes in it. Whoever applies it later says the same.
    pub(crate) fn session_used(&mut self, session: SessionId, ttl_ms: Option<u64>, ms: u64) {
        let (ttl, used) = self.sessions.entry(session).or_default();
        *ttl = ttl_ms.unwrap_or(*ttl);
        *used = ms.max(*used);
    }

    /// A stable entry closes a session that nobody used for its time.
    pub(crate) fn session_expires(&self, session: SessionId, id: EntryId, ms: u64) -> Verdict {
        let known = self.sessions.get(&session).copied();
        let (ttl_ms, used) = known.unwrap_or((0, u64::MAX));
        ensure!(
            used.saturating_add(ttl_ms) <= ms,
            "sessions expire by the time of the log",
            "{id} at {ms} ms closes session {session} of {ttl_ms} ms, used at {used} ms"
        );
        Ok(())
    }

    /// A node starts with the state that it had at this entry.
    pub(crate) fn restored(&self, at: usize, id: EntryId, digest: [u8; 16]) -> Verdict {
        let same = self.applied.get(&id.lsn).is_some_and(|a| a.id == id && a.digest == digest);
        ensure!(same, "a snapshot restores the state", "n{} at {id}", at + 1);
        Ok(())
    }

    /// Whether this entry is what was applied at its place.
    pub(crate) fn is_applied(&self, lsn: Lsn, id: EntryId) -> bool {
        self.applied.get(&lsn).is_some_and(|applied| applied.id == id)
    }

    pub(crate) fn weak_losses(&self, log: &BTreeMap<Lsn, EntryId>) -> usize {
        self.weak_acked.iter().filter(|id| log.get(&id.lsn) != Some(*id)).count()
    }
}

fn note(of: &mut BTreeMap<NodeId, BTreeMap<Epoch, Lsn>>, node: NodeId, id: EntryId) {
    let furthest = of.entry(node).or_default().entry(id.epoch).or_default();
    *furthest = id.lsn.max(*furthest);
}

impl From<antiphon_proto::SessionFault> for Violation {
    fn from(fault: antiphon_proto::SessionFault) -> Self {
        Self::new("the log agrees with its sessions", fault.to_string())
    }
}
