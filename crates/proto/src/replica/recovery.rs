//! The start of a primary's life: seal a set of voters that is safe for the floor, copy what the
//! longest log among them holds, and go on in a new epoch.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::config::{history, kept};
use crate::mutation::Mutation;
use crate::replica::primary::Primary;
use crate::replica::{Effect, Halt, Replica, Role};
use crate::{Batch, Chain, Config, EntryId, Epoch, Lsn, Message, NodeId, Sealed, Time, VoterSet};

#[derive(Debug)]
pub(super) struct Recovery {
    epoch: Epoch,
    ticket: u64, // of our own promise
    replies: BTreeMap<NodeId, Sealed>,
    asked: BTreeMap<NodeId, Time>,
    fetch: Option<(NodeId, Time)>,
    pub(super) needs_snapshot: Option<Lsn>,
}

impl Recovery {
    /// A link changed: what was under way to the peer may be lost. Its promise is not.
    pub(super) fn forget(&mut self, peer: NodeId) {
        self.asked.remove(&peer);
        if self.fetch.is_some_and(|(node, _)| node == peer) {
            self.fetch = None;
        }
    }

    /// Whether a voter has answered for good. One that can't read its log may have mended it
    /// when it is asked again.
    fn is_answered(&self, node: NodeId) -> bool {
        self.replies.get(&node).is_some_and(|sealed| sealed.blank || !sealed.amnesiac)
    }

    /// A link is up. The peer may be another run by now, with another disk: it is asked anew.
    pub(super) fn came(&mut self, peer: NodeId) {
        self.forget(peer);
        self.replies.remove(&peer);
    }

    pub(super) const fn replies(&self) -> &BTreeMap<NodeId, Sealed> {
        &self.replies
    }

    pub(super) fn deadline(&self, retry_ms: u64) -> Option<Time> {
        let asked = self.asked.iter().filter(|(node, _)| !self.is_answered(**node));
        let times = asked.map(|(_, at)| *at).chain(self.fetch.map(|(_, at)| at));
        times.min().map(|at| at.plus_ms(retry_ms))
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Replica {
    /// Begins a life as primary in `epoch` or later: never in one that was used before.
    pub(super) fn recover(&mut self, epoch: Epoch) {
        if matches!(self.role, Role::Primary(_)) {
            self.effects.push(Effect::Resign);
        }
        self.promised = self.promised.max(epoch);
        let ticket = self.persist();
        self.children.clear();
        self.role = Role::Recovering(Recovery {
            epoch: self.promised,
            ticket,
            replies: BTreeMap::new(),
            asked: BTreeMap::new(),
            fetch: None,
            needs_snapshot: None,
        });
    }

    pub(super) fn on_seal_refused(&mut self, promised: Epoch) {
        let epoch = match &self.role {
            Role::Recovering(recovery) => recovery.epoch,
            // A late refusal: the voter would never join this epoch.
            Role::Primary(_) => self.config.epoch.next(),
            Role::Follower(_) | Role::Halted => return,
        };
        if promised >= epoch {
            self.recover(self.epoch_behind(promised));
        }
    }

    pub(super) fn on_sealed(&mut self, from: NodeId, epoch: Epoch, sealed: Sealed) {
        let known = self.config.place(from).is_some()
            && sealed.config.shard == self.shard
            && sealed.config.epoch < epoch
            && sealed.last.epoch < epoch;
        if let Role::Recovering(recovery) = &mut self.role
            && known
            && recovery.epoch == epoch
        {
            recovery.replies.insert(from, sealed);
        }
    }

    pub(super) fn settle_recovery(&mut self) {
        // Nothing of this epoch leaves the node before its own promise is on disk: a run that
        // forgot the epoch could use it again.
        if !self.may_ask() {
            return;
        }
        self.ask_voters();
        let Role::Recovering(recovery) = &self.role else { return };
        let newest = self.newest_config(recovery);
        if self.may_be_used(recovery.epoch, newest.epoch) {
            self.recover(self.epoch_behind(newest.epoch));
            return;
        }
        let counted = self.counted(recovery);
        let sealed_enough = self.is_sealed_enough(recovery)
            || (self.planted.is(Mutation::ElectUnsafe) && !counted.is_empty());
        // Of equal logs, one that still reaches back to the end of this one.
        let end = self.log.last().lsn;
        let any = self.planted.is(Mutation::CopyFromAny);
        let by_count = self.planted.is(Mutation::LongestIgnoresEpoch);
        let best = counted.into_iter().max_by_key(|(node, sealed)| {
            let order = if any { EntryId::ZERO } else { sealed.last };
            let length = if by_count { sealed.last.lsn } else { Lsn::ZERO };
            (length, order, sealed.base.lsn <= end, std::cmp::Reverse(**node))
        });
        match best.map(|(node, sealed)| (*node, sealed.clone())) {
            _ if !sealed_enough => self.stop_fetching(),
            Some((node, sealed))
                if sealed.last > self.log.last() && !self.planted.is(Mutation::KeepOwnLog) =>
            {
                self.copy_from(node, &sealed);
            }
            Some(_) | None => self.elect(&newest),
        }
    }

    /// Whether nothing can have been acknowledged yet, so that nobody can have forgotten it: every
    /// voter's disk is new, or this primary was elected among such ones and has not served since.
    fn is_forgiving(&self, recovery: &Recovery) -> bool {
        let blank = |node| recovery.replies.get(&node).is_some_and(|sealed| sealed.blank);
        if self.is_new() { self.is_first_start(blank) } else { !self.established.is_known() }
    }

    /// The promises that count: of nodes that hold what they acknowledged. One that has more
    /// than this node and can't be reached is left out, as if it had never answered: if the
    /// others are enough, waiting for it gains nothing.
    fn counted<'a>(&self, recovery: &'a Recovery) -> BTreeMap<&'a NodeId, &'a Sealed> {
        let forgiving = self.is_forgiving(recovery);
        let replies = recovery.replies.iter().filter(|(_, sealed)| self.counts(sealed, forgiving));
        let last = self.log.last();
        replies.filter(|(node, sealed)| sealed.last <= last || self.links.contains(node)).collect()
    }

    fn stop_fetching(&mut self) {
        if let Role::Recovering(recovery) = &mut self.role {
            recovery.fetch = None;
        }
    }

    pub(super) fn may_ask(&self) -> bool {
        let hasty = self.planted.is(Mutation::AskBeforePromise);
        let promised = |recovery: &Recovery| recovery.ticket <= self.persisted || hasty;
        matches!(&self.role, Role::Recovering(recovery) if promised(recovery)) && !self.truncating
    }

    fn ask_voters(&mut self) {
        let (now, me, retry_ms) = (self.now, self.me.node, self.limits.retry_ms);
        let Role::Recovering(recovery) = &mut self.role else { return };
        let epoch = recovery.epoch;
        let once = self.planted.is(Mutation::AskOnce);
        let voters = self.config.voters.iter().map(|member| member.node);
        let ask: Vec<_> = voters
            .filter(|node| *node != me && self.links.contains(node))
            .filter(|node| !recovery.is_answered(*node))
            .filter(|node| {
                recovery.asked.get(node).is_none_or(|at| now.ms_since(*at) >= retry_ms && !once)
            })
            .collect();
        for node in ask {
            recovery.asked.insert(node, now);
            let message = Message::Seal;
            let envelope = crate::Envelope { shard: self.shard, epoch, message };
            self.effects.push(Effect::Send { to: node, envelope });
        }
    }

    fn newest_config(&self, recovery: &Recovery) -> Config {
        let told = recovery.replies.values().map(|sealed| &sealed.config);
        let newest = told.max_by_key(|config| config.epoch);
        newest.filter(|config| config.epoch > self.config.epoch).unwrap_or(&self.config).clone()
    }

    /// Whether those left unsealed could not satisfy the floor by themselves.
    pub(super) fn is_sealed_enough(&self, recovery: &Recovery) -> bool {
        let (config, counted) = (self.newest_config(recovery), self.counted(recovery));
        let own = self.is_whole() || self.is_forgiving(recovery);
        let nodes = counted.keys().map(|node| **node).chain(own.then_some(self.me.node));
        let sealed =
            nodes.filter_map(|node| config.place(node)).fold(VoterSet::EMPTY, VoterSet::with);
        let floor = config.rule(config.floor).expect("a checked configuration has its floor");
        floor.safe(config.voter_set(), sealed)
    }

    /// Copies from the longest log what ours lacks, after cutting what that log does not hold.
    fn copy_from(&mut self, node: NodeId, sealed: &Sealed) {
        let rows = history(&sealed.config.history, &sealed.runs, sealed.base);
        let keep = kept(&rows, self.log.runs(), self.log.base());
        if keep < self.log.last().lsn {
            self.truncate(keep);
            return;
        }
        let (now, retry_ms) = (self.now, self.limits.retry_ms);
        let after = self.log.last();
        // The disk sets the pace: what it does not have yet is held in memory.
        let written = self.log.durable() == after.lsn;
        let Role::Recovering(recovery) = &mut self.role else { return };
        recovery.needs_snapshot = (after.lsn < sealed.base.lsn).then_some(sealed.base.lsn.next());
        if recovery.needs_snapshot.is_some() {
            recovery.fetch = None;
            return;
        }
        let waits = recovery.fetch.is_some_and(|(_, at)| now.ms_since(at) < retry_ms);
        if written && !waits {
            recovery.fetch = Some((node, now));
            let epoch = recovery.epoch;
            self.send_in(epoch, node, Message::Fetch { after });
        }
    }

    pub(super) fn on_fetched(
        &mut self,
        from: NodeId,
        epoch: Epoch,
        after: EntryId,
        (before, frames): (Chain, Bytes),
    ) {
        let (shard, last, chain) = (self.shard, self.log.last(), self.log.chain());
        let Role::Recovering(recovery) = &mut self.role else { return };
        let asked = recovery.fetch.is_some_and(|(node, _)| node == from);
        if epoch != recovery.epoch || !asked || after != last || self.truncating {
            return;
        }
        if frames.is_empty() {
            // Its log begins later by now. Its next promise will say so.
            recovery.fetch = None;
            recovery.replies.remove(&from);
            recovery.asked.insert(from, self.now);
            return;
        }
        if before != chain {
            // Its promise told of the same history up to `after`, and its bytes do not.
            self.halt(Halt::Diverged { peer: from, at: last });
            return;
        }
        let batch = Batch::decode(shard, chain, frames).ok();
        // A damaged answer is asked for again when its time is over.
        if let Some(batch) = batch.filter(|batch| {
            batch.first().lsn == last.lsn.next()
                && batch.first().epoch >= last.epoch
                && batch.last().epoch < epoch
                && self.log.is_later(batch)
        }) {
            recovery.fetch = None;
            self.append(batch);
        }
    }

    /// Takes the epoch: from here on this node appends.
    fn elect(&mut self, newest: &Config) {
        let Role::Recovering(recovery) = &self.role else { return };
        let epoch = recovery.epoch;
        let first = self.is_forgiving(recovery);
        let proven = self.is_proven(first);
        self.owe_own_log();
        self.config = newest.elected(epoch, self.me.node, self.log.runs(), self.log.base());
        if self.planted.is(Mutation::ForgetHistory) {
            self.config.history.clear();
        }
        assert_eq!(self.promised, epoch, "nobody else was promised anything since");
        self.obeyed = self.persist();
        if proven {
            self.establish_with(self.obeyed);
        }
        // Voters that know of a first epoch are no longer blank. If this node forgot it, nobody
        // could tell the epoch from one that had served: it is on disk before they hear of it.
        let waits = !self.established.is_known();
        let builder = self.log.builder(self.shard);
        let primary = Primary::new(&self.config, builder, self.limits, waits);
        self.role = Role::Primary(Box::new(primary));
        self.start_epoch();
        self.tell_all();
    }
}
