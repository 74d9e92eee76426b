//! Rounds between nodes: who has confirmed whom lately. Leases and suspicion rest on nothing else.
//!
//! A node asks its peers by numbered rounds to confirm that they hear it. What a peer confirms
//! lets the asker hold a lease that counts from the *start* of the round. In return the peer
//! promises not to give it up before that lease is over, by its own clock. Rounds are kept for
//! each pair of nodes, not for each log: a thousand idle logs cost nothing here.

use std::collections::{BTreeMap, VecDeque};

use crate::{Epoch, Incarnation, NodeId, Rule, ShardId, Time};

/// The most logs that one answer names.
pub const FENCED_MAX: usize = 4096;
/// Rounds whose beginnings are remembered; an answer to an older one comes too late to be used.
const ROUNDS_KEPT: usize = 64;
/// Rates of two clocks may differ by this much, in thousandths: the only trust in clocks.
const DRIFT_PER_MILLE: u64 = 10;

/// How often nodes ask each other, and how long an answer is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundLimits {
    /// Time between two rounds, in milliseconds. Default 100.
    pub round_ms: u64,
    /// How long a lease lasts from the start of its round, in milliseconds. Default 300: three
    /// rounds, so that one lost packet costs nothing.
    pub lease_ms: u64,
    /// Age of the disk's last progress up to which a node begins rounds, in milliseconds.
    /// Default 300. It confirms those of others up to three times that: a primary whose disk
    /// stands still must fall first.
    pub disk_ms: u64,
}

impl Default for RoundLimits {
    fn default() -> Self {
        Self { round_ms: 100, lease_ms: 300, disk_ms: 300 }
    }
}

impl RoundLimits {
    /// How long the asker may use a confirmation, from the start of its round.
    #[must_use]
    pub const fn held_ms(&self) -> u64 {
        self.lease_ms * (1000 - DRIFT_PER_MILLE) / 1000
    }

    /// How long the confirming node stands by it, from its answer: longer than the asker uses
    /// it, whichever of the two clocks is the faster one.
    #[must_use]
    pub const fn granted_ms(&self) -> u64 {
        (self.lease_ms * (1000 + 2 * DRIFT_PER_MILLE)).div_ceil(1000)
    }

    /// Rounds that a peer may have seen before it hears that its answers arrive.
    const fn patience_rounds(&self) -> u64 {
        self.lease_ms.div_ceil(self.round_ms) + 1
    }
}

/// Asks a peer to confirm that it hears the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Grows; never used twice by a node, whatever its runs.
    pub number: u64,
    /// The newest of the sender's rounds that the receiver answered, as far as it came back;
    /// 0 for none. By it the receiver sees that it is heard, too.
    pub answered: u64,
}

/// Answers a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundAck {
    /// As asked.
    pub number: u64,
    /// Whether the sender stands by the asker. Not when its disk stands still, or when its
    /// answers do not come back.
    pub confirmed: bool,
    /// Logs for which the sender has promised an epoch above the one it knows the asker as the
    /// primary of: there the confirmation does not count. At most [`FENCED_MAX`].
    pub fenced: Vec<(ShardId, Epoch)>,
}

/// What happened to a node's rounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoundEvent {
    /// Time passed.
    Tick,
    /// A link to a peer is up.
    Connected(NodeId),
    /// A link to a peer is down.
    Disconnected(NodeId),
    /// A write to the disk, or a trial of it, was finished.
    Progress,
    /// A peer asked.
    Asked(NodeId, Round),
    /// A peer answered.
    Answered(NodeId, RoundAck),
}

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoundMessage {
    /// Ask.
    Round(Round),
    /// Answer.
    Ack(RoundAck),
}

/// One node's rounds with all its peers.
#[derive(Debug)]
pub struct Rounds {
    limits: RoundLimits,
    now: Time,
    number: u64,                  // of the newest round
    begun: VecDeque<(u64, Time)>, // newest last
    due: Time,                    // when the next round begins
    progress: Time,               // of the disk
    peers: BTreeMap<NodeId, Peer>,
    promised: BTreeMap<(NodeId, ShardId), Epoch>, // above the epoch in which the node was primary
    started: Time,
    #[cfg(test)]
    bug: Option<Bug>,
}

/// What a test leaves out or bends, to show that it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    LeaseFromAnswer,
    LeaseIgnoresFence,
    ConfirmDeaf,
    RoundsWithoutDisk,
    RestartForgets,
    NoDriftMargin,
}

#[derive(Debug, Default)]
struct Peer {
    linked: bool,
    // As an asker:
    answered: u64,           // newest round of ours that it answered
    confirmed: Option<Time>, // start of the newest round of ours that it confirmed
    fenced: BTreeMap<ShardId, Epoch>,
    // As the asked:
    first: u64,          // its first round on this link
    asked: u64,          // its newest round
    heard: Option<Time>, // when we confirmed it last
    deaf: bool,          // our answers do not come back to it
}

impl Rounds {
    /// Starts with no peer.
    #[must_use]
    pub fn new(incarnation: Incarnation, now: Time, limits: RoundLimits) -> Self {
        assert!(limits.round_ms > 0, "rounds take time");
        assert!(limits.lease_ms >= 2 * limits.round_ms, "a lease outlives a lost round");
        Self {
            limits,
            now,
            // Named by run and count, so that an answer to an earlier run's round is not ours.
            number: incarnation.get().wrapping_shl(32),
            begun: VecDeque::new(),
            due: now,
            progress: now,
            peers: BTreeMap::new(),
            promised: BTreeMap::new(),
            started: now,
            #[cfg(test)]
            bug: None,
        }
    }

    /// Takes one event; returns what is to be said to whom.
    pub fn step(&mut self, now: Time, event: RoundEvent) -> Vec<(NodeId, RoundMessage)> {
        self.now = self.now.max(now);
        let mut said = Vec::new();
        match event {
            RoundEvent::Tick => {}
            RoundEvent::Connected(node) => self.on_connected(node),
            RoundEvent::Disconnected(node) => self.on_disconnected(node),
            RoundEvent::Progress => self.progress = self.now,
            RoundEvent::Asked(from, round) => {
                if let Some(ack) = self.on_asked(from, round) {
                    said.push((from, RoundMessage::Ack(ack)));
                }
            }
            RoundEvent::Answered(from, ack) => self.on_answered(from, &ack),
        }
        self.begin(&mut said);
        said
    }

    fn on_connected(&mut self, node: NodeId) {
        let peer = self.peers.entry(node).or_default();
        peer.linked = true;
        peer.first = 0;
        peer.deaf = false;
        // A peer that has just come should not wait for a lease.
        self.due = self.now;
    }

    /// What was confirmed stays so: a cut link does not end a promise.
    fn on_disconnected(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.linked = false;
        }
    }

    fn on_asked(&mut self, from: NodeId, round: Round) -> Option<RoundAck> {
        let working = self.now.ms_since(self.progress) <= 3 * self.limits.disk_ms;
        let (now, patience) = (self.now, self.limits.patience_rounds());
        let granting_deaf = self.has(Bug::ConfirmDeaf);
        let peer = self.peers.entry(from).or_default();
        if round.number <= peer.asked {
            return None; // late or twice
        }
        peer.asked = round.number;
        if peer.first == 0 {
            peer.first = round.number;
        }
        // It sends, but our answers don't arrive there: it can't hold a lease, and whoever keeps
        // it in office by confirming keeps everybody waiting.
        let heard_from = round.answered.max(peer.first.saturating_sub(1));
        peer.deaf = round.number.saturating_sub(heard_from) > patience;
        let confirmed = working && (!peer.deaf || granting_deaf);
        if confirmed {
            peer.heard = Some(now);
        }
        let fenced = self.promised.iter().filter(|((node, _), _)| *node == from);
        let fenced = fenced.map(|((_, shard), epoch)| (*shard, *epoch)).collect();
        Some(RoundAck { number: round.number, confirmed, fenced })
    }

    fn on_answered(&mut self, from: NodeId, ack: &RoundAck) {
        let begun = self.begun.iter().find(|(number, _)| *number == ack.number);
        let start = begun.map(|(_, start)| *start);
        let late = self.has(Bug::LeaseFromAnswer);
        let now = self.now;
        let (Some(peer), Some(start)) = (self.peers.get_mut(&from), start) else { return };
        if ack.number <= peer.answered {
            return;
        }
        peer.answered = ack.number;
        peer.fenced = ack.fenced.iter().copied().collect();
        if ack.confirmed {
            peer.confirmed = Some(if late { now } else { start });
        }
    }

    /// Begins a round when it is time and the disk works: a node whose disk stands still would
    /// keep a lease under which nothing commits.
    fn begin(&mut self, said: &mut Vec<(NodeId, RoundMessage)>) {
        let working = self.now.ms_since(self.progress) <= self.limits.disk_ms
            || self.has(Bug::RoundsWithoutDisk);
        if self.now < self.due || !working || self.peers.values().all(|peer| !peer.linked) {
            return;
        }
        self.due = self.now.plus_ms(self.limits.round_ms);
        self.number += 1;
        if self.begun.len() == ROUNDS_KEPT {
            self.begun.pop_front();
        }
        self.begun.push_back((self.number, self.now));
        for (node, peer) in self.peers.iter().filter(|(_, peer)| peer.linked) {
            let round = Round { number: self.number, answered: peer.answered };
            said.push((*node, RoundMessage::Round(round)));
        }
    }

    /// This node has promised `epoch` of a log whose primary was `primary` in an earlier one:
    /// from now on answers to that node say so. `None` takes it back, when a newer configuration
    /// is obeyed.
    ///
    /// # Panics
    /// When more than [`FENCED_MAX`] logs are fenced from one node, which a driver never does.
    pub fn fence(&mut self, primary: NodeId, shard: ShardId, epoch: Option<Epoch>) {
        match epoch {
            Some(epoch) => {
                self.promised.insert((primary, shard), epoch);
            }
            None => {
                self.promised.remove(&(primary, shard));
            }
        }
        let of = self.promised.keys().filter(|(node, _)| *node == primary).count();
        assert!(of <= FENCED_MAX, "an answer has room for every log");
    }

    /// When the next round begins.
    #[must_use]
    pub const fn deadline(&self) -> Time {
        self.due
    }

    #[cfg(test)]
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the same call in tests and outside of them")]
    const fn has(&self, _bug: Bug) -> bool {
        false
    }

    /// Until when `me`, the primary of `shard` in `epoch`, holds a lease by `rule`; the places
    /// of the rule are those of `voters`. A voter confirms itself at any time.
    #[must_use]
    pub fn lease_until(
        &self,
        rule: &Rule,
        voters: &[NodeId],
        me: NodeId,
        (shard, epoch): (ShardId, Epoch),
    ) -> Option<Time> {
        let start = rule.mark(&|place| match voters.get(place) {
            Some(node) if *node == me => self.now,
            Some(node) => self.confirmed(*node, shard, epoch).unwrap_or_default(),
            None => Time::default(),
        });
        (start > Time::default()).then(|| start.plus_ms(self.limits.held_ms()))
    }

    /// The start of the newest round that `peer` confirmed for this log and epoch.
    fn confirmed(&self, peer: NodeId, shard: ShardId, epoch: Epoch) -> Option<Time> {
        let peer = self.peers.get(&peer)?;
        let fenced = peer.fenced.get(&shard).is_some_and(|promised| *promised > epoch);
        peer.confirmed.filter(|_| !fenced || self.has(Bug::LeaseIgnoresFence))
    }

    /// Whether this node still stands by `peer`, so that it must not give it up unasked.
    #[must_use]
    pub fn stands_by(&self, peer: NodeId, now: Time) -> bool {
        let margin = !self.has(Bug::NoDriftMargin);
        let granted = if margin { self.limits.granted_ms() } else { self.limits.held_ms() };
        self.age_ms(peer, now) < granted
    }

    /// Milliseconds since this node last confirmed a round of `peer`, or could have: an earlier
    /// run may have done so in its last moment, and this one does not remember.
    #[must_use]
    pub fn age_ms(&self, peer: NodeId, now: Time) -> u64 {
        match self.peers.get(&peer).and_then(|peer| peer.heard) {
            Some(heard) => now.ms_since(heard),
            None if self.has(Bug::RestartForgets) => u64::MAX,
            None => now.ms_since(self.started),
        }
    }

    /// Whether `peer` sends rounds and does not hear the answers.
    #[must_use]
    pub fn is_deaf(&self, peer: NodeId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.deaf)
    }
}

#[cfg(test)]
mod tests;
