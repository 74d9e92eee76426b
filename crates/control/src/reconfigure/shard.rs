//! One shard: from a suspicion to a new primary in the register.

mod elect;
mod orders;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use antiphon_proto::{Epoch, NodeId, ShardId, Time};

use super::choose::{Choice, Promises, counts, is_safe};
use super::{Context, Declined, Person, Planted, Probed, Promise, ReconfigureEffect, SealRefusal};
use crate::{Cause, Command, Outcome, RecoveryReport, RegisterError, ShardRecord, Version};

/// Failovers that are remembered, to wait longer after each.
const RECENT_MAX: usize = 6;

/// A failover this much later than the last one is no consequence of it, in units of the least
/// age of an epoch.
const CALM_AGES: u64 = 64;

/// A shard's state.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) record: Arc<ShardRecord>,
    version: Version,
    epoch_since: Option<Time>, // when the active epoch was seen to begin; none: long ago
    failovers: VecDeque<Time>, // the last ones, at most RECENT_MAX
    suspected: bool,
    recheck: Option<Time>, // a suspicion that was not shared is looked at again then
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    Quiet,
    Probing(Work, Probing),
    Draining(Work, Draining),
    Sealing(Work, Sealing),
    Swapping(Work, Swapping),
}

impl Phase {
    pub(super) fn probing(work: Work) -> Self {
        Self::Probing(work, Probing::default())
    }
}

/// What is being done, for whom.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) cause: Cause,
    pub(super) began: Time,
    pub(super) person: Person,
    pub(super) ask: Option<u64>, // the order to answer
    pub(super) wish: Option<NodeId>,
    pub(super) accept_loss: Option<u64>,
    pub(super) force: bool, // voters promise even if they stand by their primary
}

#[derive(Debug, Default)]
pub(super) struct Probing {
    asked: BTreeMap<NodeId, Time>,
    said: BTreeMap<NodeId, Probed>,
}

#[derive(Debug)]
pub(super) struct Draining {
    pub(super) target: NodeId,
    pub(super) until: Time,
    pub(super) asked: bool,
}

#[derive(Debug)]
pub(super) struct Sealing {
    epoch: Epoch,
    since: Option<Time>,
    asked: BTreeMap<NodeId, Time>,
    promises: Promises,
    stand: BTreeSet<NodeId>, // by their primary
    copying: Option<(Choice, Time)>,
}

#[derive(Debug)]
pub(super) struct Swapping {
    epoch: Epoch,
    ticket: u64,
    report: RecoveryReport,
    command: Command,
    base: Version,       // the record's that it replaces
    retry: Option<Time>, // the register did not answer
    sent: bool,
}

impl Sealing {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            since: None,
            asked: BTreeMap::new(),
            promises: Promises::new(),
            stand: BTreeSet::new(),
            copying: None,
        }
    }
}

impl Shard {
    /// One that is looked at once, at `recheck`: nobody may have been there to suspect its primary.
    pub(super) fn new(version: Version, record: Arc<ShardRecord>, recheck: Time) -> Self {
        Self {
            record,
            version,
            epoch_since: None,
            failovers: VecDeque::new(),
            suspected: false,
            recheck: Some(recheck),
            phase: Phase::Quiet,
        }
    }

    pub(super) fn primary(&self) -> NodeId {
        self.record.active.primary
    }

    pub(super) fn id(&self) -> ShardId {
        self.record.active.shard
    }

    /// When it is to be looked at again, if nothing happens before.
    pub(super) fn deadline(&self, now: Time, retry_ms: u64) -> Option<Time> {
        let busy = self.suspected || !matches!(self.phase, Phase::Quiet);
        if busy { Some(now.plus_ms(retry_ms)) } else { self.recheck }
    }

    pub(super) fn suspect(&mut self) {
        self.suspected = true;
    }

    /// An epoch over all that anybody could have been promised, as far as that is known.
    pub(super) fn next_epoch(&self, promised: Epoch) -> Epoch {
        self.record.newest_epoch().max(promised).next()
    }

    pub(super) fn on_record(
        &mut self,
        (now, recheck_ms): (Time, u64),
        version: Version,
        record: Arc<ShardRecord>,
    ) {
        if version <= self.version {
            return;
        }
        if record.active.epoch > self.record.active.epoch {
            self.epoch_since = Some(now);
            self.suspected = false;
            self.recheck = Some(now.plus_ms(recheck_ms)); // whether it took office
        }
        (self.version, self.record) = (version, record);
    }

    pub(super) fn on_probed(&mut self, _now: Time, from: NodeId, said: Probed) {
        let known = self.record.active.place(from).is_some();
        if let Phase::Probing(_, probing) = &mut self.phase
            && known
        {
            probing.said.insert(from, said);
        }
    }

    pub(super) fn on_promised(
        &mut self,
        from: NodeId,
        epoch: Epoch,
        promise: Promise,
        planted: Planted,
    ) {
        if let Phase::Sealing(_, sealing) = &mut self.phase
            && (sealing.epoch == epoch || planted == Planted::KeepsPromises)
            && counts(&self.record, from, &promise, sealing.epoch, planted)
        {
            sealing.stand.remove(&from);
            sealing.promises.insert(from, promise);
        }
    }

    pub(super) fn on_refused(&mut self, from: NodeId, epoch: Epoch, why: SealRefusal) {
        let Phase::Sealing(_, sealing) = &mut self.phase else { return };
        match why {
            SealRefusal::Promised(promised) if promised >= sealing.epoch => {
                // Promises are for one epoch: those of the last one are void.
                *sealing = Sealing::new(promised.next());
            }
            SealRefusal::Stands if epoch == sealing.epoch => {
                sealing.stand.insert(from);
            }
            SealRefusal::Promised(_) | SealRefusal::Stands => {}
        }
    }

    pub(super) fn on_drained(&mut self, _now: Time, from: NodeId, epoch: Epoch) {
        let (primary, active) = (self.primary(), self.record.active.epoch);
        let next = self.next_epoch(Epoch::ZERO);
        if let Phase::Draining(work, _) = &self.phase
            && from == primary
            && epoch == active
        {
            self.phase = Phase::Sealing(work.clone(), Sealing::new(next));
        }
    }

    pub(super) fn on_swapped(
        &mut self,
        now: Time,
        ticket: u64,
        result: &Result<Outcome, RegisterError>,
    ) {
        let Phase::Swapping(work, swapping) = &mut self.phase else { return };
        if swapping.ticket != ticket {
            return;
        }
        match result {
            // The record comes by the watch; `settle` answers when it is here.
            Ok(Outcome::Done(_)) => {
                self.failovers.push_back(now);
                if self.failovers.len() > RECENT_MAX {
                    self.failovers.pop_front();
                }
            }
            // Somebody was faster, or the answer to an earlier attempt was lost. The record tells
            // which, and is on its way here.
            Ok(Outcome::Conflict(_)) => {}
            Ok(Outcome::Refused(_)) => {
                let epoch = swapping.epoch.next();
                self.phase = Phase::Sealing(work.clone(), Sealing::new(epoch));
            }
            // It may have been done: the same command again does it at most once.
            Err(_) => swapping.retry = Some(now),
        }
    }

    /// Ends what is being done; an order hears why.
    pub(super) fn give_up(&mut self, why: &Declined) -> Vec<ReconfigureEffect> {
        let mut effects = Vec::new();
        let (id, epoch, primary) = (self.id(), self.record.active.epoch, self.primary());
        let work = match std::mem::replace(&mut self.phase, Phase::Quiet) {
            Phase::Quiet => None,
            Phase::Draining(work, draining) => {
                if draining.asked {
                    effects.push(ReconfigureEffect::Resume(primary, id, epoch));
                }
                Some(work)
            }
            Phase::Probing(work, _) | Phase::Sealing(work, _) | Phase::Swapping(work, _) => {
                Some(work)
            }
        };
        if let Some(ask) = work.and_then(|work| work.ask) {
            effects.push(ReconfigureEffect::Answer(ask, Err(why.clone())));
        }
        effects
    }

    pub(super) fn settle(&mut self, context: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Quiet => self.settle_quiet(context),
            Phase::Probing(..) => self.settle_probing(context),
            Phase::Draining(..) => self.settle_draining(context),
            Phase::Sealing(..) => self.settle_sealing(context),
            Phase::Swapping(..) => self.settle_swapping(context),
        }
    }

    /// Whether the run that may append has ended for certain.
    fn has_exited(&self, context: &Context<'_>) -> bool {
        self.record.appointed.is_some_and(|run| {
            context.world.exited.get(&run.node).is_some_and(|exited| *exited >= run.incarnation)
        })
    }

    /// How long the epoch must have lived before it is failed over: longer after each failover
    /// that followed soon on another. One for which there is proof may follow at once, once.
    fn hold_ms(&self, context: &Context<'_>) -> u64 {
        let age = context.options.epoch_age_min_ms;
        let soon = |at: &&Time| context.now.ms_since(**at) < age.saturating_mul(CALM_AGES);
        let recent = self.failovers.iter().filter(soon).count();
        let recent = u32::try_from(recent).unwrap_or(u32::MAX).min(5);
        match recent {
            0 | 1 if self.has_exited(context) => 0,
            _ => age.saturating_mul(1 << recent.saturating_sub(1)),
        }
    }

    fn settle_quiet(&mut self, context: &mut Context<'_>) {
        if self.recheck.is_some_and(|at| context.now >= at) {
            self.recheck = None;
            self.suspected = true;
        }
        self.suspected |= self.has_exited(context);
        let old = self
            .epoch_since
            .is_none_or(|since| context.now.ms_since(since) >= self.hold_ms(context));
        if !(self.suspected && self.record.auto_failover && context.may_begin && old) {
            return;
        }
        self.suspected = false;
        let person = Person {
            who: "the register".to_owned(),
            why: format!("node {} is silent", self.primary()),
        };
        let work = Work {
            cause: Cause::Failover,
            began: context.now,
            person,
            ask: None,
            wish: None,
            accept_loss: None,
            force: self.has_exited(context) || context.planted == Planted::NoProbe,
        };
        if work.force {
            let epoch = self.next_epoch(Epoch::ZERO);
            self.phase = Phase::Sealing(work, Sealing::new(epoch));
        } else {
            self.phase = Phase::Probing(work, Probing::default());
        }
        self.settle(context);
    }

    fn settle_probing(&mut self, context: &mut Context<'_>) {
        let exited = self.has_exited(context);
        let (id, config) = (self.id(), self.record.active.clone());
        let next = self.next_epoch(Epoch::ZERO);
        let Phase::Probing(work, probing) = &mut self.phase else { return };
        if exited && work.ask.is_none() {
            let work = Work { force: true, ..work.clone() };
            self.phase = Phase::Sealing(work, Sealing::new(next));
            self.settle(context);
            return;
        }
        let asked = context.now.ms_since(work.began);
        let members: Vec<_> = config.voters.iter().map(|member| member.node).collect();
        ask(&mut probing.asked, members.iter().copied(), context, |to| {
            ReconfigureEffect::Probe(to, id)
        });
        if work.cause == Cause::Forced {
            let all = members.iter().filter(|node| context.world.links.contains(node));
            let answered = all.clone().all(|node| probing.said.contains_key(node));
            if answered || asked >= context.options.silence_ms {
                self.plan_forced(context);
            }
            return;
        }
        // Of an epoch that this node does not know yet, nothing is concluded.
        let silent_ms = context.options.silence_ms;
        let is_silent = |said: &Probed| {
            said.epoch <= config.epoch && said.confirmed_ms.is_none_or(|ms| ms >= silent_ms)
        };
        let (silent, stand): (Vec<_>, Vec<_>) =
            probing.said.iter().partition(|(_, said)| is_silent(said));
        let silent: BTreeSet<_> = silent.into_iter().map(|(node, _)| node).collect();
        let promised = probing.said.values().map(|said| said.promised).max().unwrap_or_default();
        let could = members.iter().filter(|node| !stand.iter().any(|(other, _)| other == node));
        if is_safe(&config, silent) {
            let (work, epoch) = (work.clone(), self.next_epoch(promised));
            self.phase = Phase::Sealing(work, Sealing::new(epoch));
            self.settle(context);
        } else if !is_safe(&config, could) {
            // Enough of them heard the primary: whoever suspected it is cut off itself.
            self.phase = Phase::Quiet;
            let lost = !context.world.links.contains(&config.primary);
            self.recheck = lost.then(|| context.now.plus_ms(context.options.recheck_ms));
        }
    }
}

/// Asks those that are linked and were not asked lately.
fn ask(
    asked: &mut BTreeMap<NodeId, Time>,
    nodes: impl Iterator<Item = NodeId>,
    context: &mut Context<'_>,
    effect: impl Fn(NodeId) -> ReconfigureEffect,
) {
    for node in nodes.filter(|node| context.world.links.contains(node)) {
        let lately = |at: &Time| context.now.ms_since(*at) < context.options.retry_ms;
        if !asked.get(&node).is_some_and(lately) {
            asked.insert(node, context.now);
            context.effects.push(effect(node));
        }
    }
}
