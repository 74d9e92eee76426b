//! The reconfigurator: finds that a primary is gone, and has the register name another.
//!
//! A machine like the replica's: [`Reconfigurator::step`] takes what happened and returns what is
//! to be done; handlers change state and one function derives the effects. It runs on the node
//! that leads the register. Several of them do no harm, since only one compare-and-swap wins, but
//! they would disturb each other.
//!
//! For each shard: a suspicion is *probed*, so that a node that is cut off itself deposes nobody;
//! then voters are *sealed*, until those that are left cannot satisfy the floor; then the one with
//! the longest log is written into the register. Nothing has to be remembered before the last
//! step: to seal an epoch twice changes nothing, and whoever takes over begins anew.

mod choose;
mod operator;
mod shard;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use antiphon_proto::{EntryId, Epoch, Incarnation, Lsn, NodeId, Sealed, ShardId, StoreUuid, Time};

use crate::{Command, Outcome, RecoveryReport, RegisterError, ShardRecord, Version, WallMs};
use shard::Shard;

/// When the reconfigurator loses patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconfigureOptions {
    /// A voter that has not confirmed the primary for so long says that it is silent. The
    /// replicas' own lease time. Default 300 ms.
    pub silence_ms: u64,
    /// A probe or a seal without an answer is sent again after this. Default 100 ms.
    pub retry_ms: u64,
    /// A suspicion that the voters did not share is looked at again after this. Default 1 s.
    pub recheck_ms: u64,
    /// The longest that a planned switch may hold writes up. Default 5 s.
    pub drain_ms: u64,
    /// An epoch lives this long before it is failed over without an order; twice as long after
    /// each failover that followed soon on another, up to 32 times. Default 10 s.
    pub epoch_age_min_ms: u64,
    /// A chain with a floor of all goes on without its dead members, but never with fewer.
    /// Default 2.
    pub members_min: usize,
}

impl Default for ReconfigureOptions {
    fn default() -> Self {
        Self {
            silence_ms: 300,
            retry_ms: 100,
            recheck_ms: 1_000,
            drain_ms: 5_000,
            epoch_age_min_ms: 10_000,
            members_min: 2,
        }
    }
}

/// What decides between equal logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeTrait {
    /// Where it stands.
    pub region: String,
    /// It has a log and no state: it counts, and is never primary.
    pub witness: bool,
    /// How much slower than others it is; 0 is not at all.
    pub slow: u32,
}

/// What a voter says of a shard, without promising anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Of the configuration that it obeys.
    pub epoch: Epoch,
    /// Since it last confirmed the primary of that epoch, or, of the primary itself, since it last
    /// heard that enough others did; none: not in this run. Unit: milliseconds.
    pub confirmed_ms: Option<u64>,
    /// The greatest epoch that it promised.
    pub promised: Epoch,
    /// The end of its log, as far as it is durable.
    pub last: EntryId,
    /// The newest end of the primary's log that it heard of.
    pub head: Lsn,
    /// Its data directory.
    pub store: StoreUuid,
    /// Its log ends before what it acknowledged.
    pub amnesiac: bool,
}

/// What a voter says when it promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Its log and its identity.
    pub sealed: Sealed,
    /// The newest end of the old primary's log that it heard of.
    pub head: Lsn,
}

/// Why a voter does not promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealRefusal {
    /// It has promised this epoch or a greater one.
    Promised(Epoch),
    /// It confirmed the primary within the time of silence.
    Stands,
}

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Another primary, without loss. None: whoever is fit.
    Switchover {
        /// Who.
        to: Option<NodeId>,
    },
    /// Another primary, whatever it costs, up to so many entries. Without a number nothing is
    /// done but to say what it would cost.
    Failover {
        /// Who. None: whoever has most.
        to: Option<NodeId>,
        /// Entries that may be lost.
        accept_loss: Option<u64>,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReconfigureEvent {
    /// Time has passed.
    Tick,
    /// Whether this node leads the register. Nothing is done while it does not.
    Lead(bool),
    /// A shard's record, as it is now.
    Shard {
        /// Its version.
        version: Version,
        /// What it is.
        record: Arc<ShardRecord>,
    },
    /// Until when no failover begins by itself; none: it may.
    Pause(Option<Time>),
    /// What a node is like.
    Node(NodeId, NodeTrait),
    /// Whether there is a link to a node.
    Link(NodeId, bool),
    /// Somebody finds a shard's primary silent.
    Suspect(ShardId),
    /// This run of a node has ended for certain: whoever watched the process says so, or a later
    /// run of the same node.
    Exited(NodeId, Incarnation),
    /// An answer to a probe.
    Probed(NodeId, ShardId, Probed),
    /// An answer to a seal.
    Promised(NodeId, ShardId, Epoch, Box<Promise>),
    /// Another one.
    Refused(NodeId, ShardId, Epoch, SealRefusal),
    /// The primary has stopped writes and the target holds them all, durably.
    Drained(NodeId, ShardId, Epoch),
    /// What came of a command.
    Swapped(ShardId, u64, Result<Outcome, RegisterError>),
    /// An operator wants something. `u64` names the order in the answer.
    Ordered(u64, ShardId, Order, Person),
}

/// Who wants something, and why. For the history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReconfigureEffect {
    /// Ask a voter what it knows.
    Probe(NodeId, ShardId),
    /// Ask a voter to promise an epoch; with `force` even if it stands by its primary.
    Seal {
        /// Whom.
        to: NodeId,
        /// Which log.
        shard: ShardId,
        /// The epoch.
        epoch: Epoch,
        /// Whatever it thinks of its primary.
        force: bool,
    },
    /// Have a node copy what another holds, and seal it again then.
    Copy {
        /// Who lacks it.
        to: NodeId,
        /// Who has it.
        from: NodeId,
        /// Which log.
        shard: ShardId,
        /// Within this epoch.
        epoch: Epoch,
        /// Up to here.
        end: EntryId,
    },
    /// Have the primary stop writes until the target holds all of them, or the time is over.
    Drain {
        /// The primary.
        to: NodeId,
        /// Which log.
        shard: ShardId,
        /// Its epoch.
        epoch: Epoch,
        /// Who must hold them.
        target: NodeId,
        /// Unit: milliseconds.
        within_ms: u64,
    },
    /// The switch is off: the primary may go on.
    Resume(NodeId, ShardId, Epoch),
    /// Tell the register. `u64` names the command in the answer.
    Swap(ShardId, u64, Command),
    /// What came of an order.
    Answer(u64, Result<RecoveryReport, Declined>),
}

/// What a forced failover would cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Who would be primary.
    pub to: NodeId,
    /// Where its log ends.
    pub end: EntryId,
    /// The newest entry of the old primary that anybody here heard of.
    pub head: Lsn,
    /// Who was asked and answered.
    pub reached: BTreeSet<NodeId>,
}

impl Plan {
    /// Entries between the two.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.head.since(self.end.lsn)
    }
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// Another node leads the register.
    #[error("this node does not lead the register; ask the one that does")]
    NotLeading,
    /// No such shard.
    #[error("the register knows no such shard")]
    UnknownShard,
    /// Its primary is being changed already.
    #[error("the shard's primary is being changed already; ask again")]
    Busy,
    /// Not a voter, a witness, or without the data directory that counts.
    #[error("node {0} can't be primary of this shard")]
    Unfit(NodeId),
    /// It is primary already.
    #[error("node {0} is primary already")]
    IsPrimary(NodeId),
    /// Nobody that could be primary is reached.
    #[error("no node that could be primary is reached")]
    NobodyFit,
    /// The old primary went on.
    #[error("the target did not get level in time; the primary goes on")]
    TimedOut,
    /// Entries would be lost.
    #[error(
        "node {} has everything up to {}; the old primary's log went up to {} when it was last \
         heard of. To go ahead accept the loss of {}",
        .0.to, .0.end.lsn, .0.head, .0.lost()
    )]
    NeedsConsent(Plan),
    /// The record was changed by somebody else.
    #[error("the shard was changed by somebody else meanwhile")]
    Overtaken,
}

/// Bugs that tests plant to show that they find them. A product has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Planted {
    /// None.
    #[default]
    Nothing,
    /// Elects with fewer promises than are safe.
    ElectUnsafe,
    /// Chooses any log.
    AnyLogWins,
    /// Compares logs by their length alone.
    LongestIgnoresEpoch,
    /// Counts a voter with another data directory.
    AnyStoreCounts,
    /// Counts a voter that lost what it acknowledged.
    AmnesiacCounts,
    /// Seals without asking first, and by force.
    NoProbe,
    /// Counts promises of another epoch.
    KeepsPromises,
}

/// The machine. See the module's own words.
#[derive(Debug)]
pub struct Reconfigurator {
    options: ReconfigureOptions,
    planted: Planted,
    leads: bool,
    paused: Option<Time>,
    shards: BTreeMap<ShardId, Shard>,
    world: World,
    tickets: u64,
}

/// What holds for all shards.
#[derive(Debug, Default)]
struct World {
    traits: BTreeMap<NodeId, NodeTrait>,
    links: BTreeSet<NodeId>,
    exited: BTreeMap<NodeId, Incarnation>, // the newest run of each that has ended
}

/// What a shard's handlers see besides their own state.
struct Context<'a> {
    now: Time,
    wall: WallMs,
    options: &'a ReconfigureOptions,
    planted: Planted,
    world: &'a World,
    may_begin: bool,
    tickets: &'a mut u64,
    effects: Vec<ReconfigureEffect>,
}

impl Reconfigurator {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(options: ReconfigureOptions) -> Self {
        Self {
            options,
            planted: Planted::Nothing,
            leads: false,
            paused: None,
            shards: BTreeMap::new(),
            world: World::default(),
            tickets: 0,
        }
    }

    /// Plants a bug, for a test that must find it.
    #[cfg(test)]
    fn plant(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// Takes one event; returns what is to be done, in this order. `wall` is for the history.
    pub fn step(
        &mut self,
        now: Time,
        wall: WallMs,
        event: ReconfigureEvent,
    ) -> Vec<ReconfigureEffect> {
        let mut effects = self.handle(now, event);
        effects.extend(self.settle(now, wall));
        effects
    }

    /// When to come back at the latest, with a [`ReconfigureEvent::Tick`].
    #[must_use]
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let shards = self.shards.values().filter(|_| self.leads);
        shards.filter_map(|shard| shard.deadline(now, self.options.retry_ms)).min()
    }

    fn handle(&mut self, now: Time, event: ReconfigureEvent) -> Vec<ReconfigureEffect> {
        match event {
            ReconfigureEvent::Tick => {}
            ReconfigureEvent::Lead(leads) => return self.on_lead(leads),
            ReconfigureEvent::Shard { version, record } => {
                let shard = record.active.shard;
                let recheck_ms = self.options.recheck_ms;
                if let Some(known) = self.shards.get_mut(&shard) {
                    known.on_record((now, recheck_ms), version, record);
                } else {
                    let new = Shard::new(version, record, now.plus_ms(recheck_ms));
                    self.shards.insert(shard, new);
                }
            }
            ReconfigureEvent::Pause(until) => self.paused = until,
            ReconfigureEvent::Node(node, is) => drop(self.world.traits.insert(node, is)),
            ReconfigureEvent::Link(node, up) => self.on_link(node, up),
            ReconfigureEvent::Suspect(shard) => self.on(shard, Shard::suspect),
            ReconfigureEvent::Exited(node, run) => {
                let newest = self.world.exited.entry(node).or_default();
                *newest = run.max(*newest);
            }
            ReconfigureEvent::Probed(from, shard, said) => {
                self.on(shard, |shard| shard.on_probed(now, from, said));
            }
            ReconfigureEvent::Promised(from, shard, epoch, promise) => {
                let planted = self.planted;
                self.on(shard, |shard| shard.on_promised(from, epoch, *promise, planted));
            }
            ReconfigureEvent::Refused(from, shard, epoch, why) => {
                self.on(shard, |shard| shard.on_refused(from, epoch, why));
            }
            ReconfigureEvent::Drained(from, shard, epoch) => {
                self.on(shard, |shard| shard.on_drained(now, from, epoch));
            }
            ReconfigureEvent::Swapped(shard, ticket, result) => {
                self.on(shard, |shard| shard.on_swapped(now, ticket, &result));
            }
            ReconfigureEvent::Ordered(ask, shard, order, person) => {
                return self.on_order(now, (ask, shard), &order, person);
            }
        }
        Vec::new()
    }

    fn on(&mut self, shard: ShardId, then: impl FnOnce(&mut Shard)) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            then(shard);
        }
    }

    /// Whoever leads next begins anew, so nothing has to be handed over.
    fn on_lead(&mut self, leads: bool) -> Vec<ReconfigureEffect> {
        let ends = self.leads && !leads;
        self.leads = leads;
        let shards = self.shards.values_mut().filter(|_| ends);
        shards.flat_map(|shard| shard.give_up(&Declined::NotLeading)).collect()
    }

    fn on_link(&mut self, node: NodeId, up: bool) {
        if up {
            self.world.links.insert(node);
        } else if self.world.links.remove(&node) {
            for shard in self.shards.values_mut().filter(|shard| shard.primary() == node) {
                shard.suspect();
            }
        }
    }

    fn settle(&mut self, now: Time, wall: WallMs) -> Vec<ReconfigureEffect> {
        if !self.leads {
            return Vec::new();
        }
        let mut context = Context {
            now,
            wall,
            options: &self.options,
            planted: self.planted,
            world: &self.world,
            may_begin: self.paused.is_none_or(|until| now >= until),
            tickets: &mut self.tickets,
            effects: Vec::new(),
        };
        for shard in self.shards.values_mut() {
            shard.settle(&mut context);
        }
        context.effects
    }
}

#[cfg(test)]
mod tests;
