//! From promises to a new record: seal until it is safe, choose, and have the register decide.

use antiphon_proto::{Epoch, NodeId, ShardId, Time};

use super::{Phase, Sealing, Shard, Swapping, Work, ask};
use crate::reconfigure::choose::{Choice, choose, elected, is_safe, satisfies, voters};
use crate::reconfigure::{Context, Declined, Person, Plan, Planted, Promise, ReconfigureEffect};
use crate::{
    Appointment, Cause, Command, HistoryRow, Loss, Record, RecoveryReport, SealedVoter, ShardRecord,
};

impl Shard {
    pub(super) fn settle_sealing(&mut self, context: &mut Context<'_>) {
        let newest = self.record.newest_epoch();
        let (id, voters) = (self.id(), voters(&self.record));
        let Phase::Sealing(work, sealing) = &mut self.phase else { return };
        if sealing.epoch <= newest {
            // The record went on meanwhile: another was faster, or the members changed.
            self.overtaken(context);
            return;
        }
        // The record may have changed since they were given.
        sealing.promises.retain(|node, _| voters.contains(node));
        let (epoch, force) = (sealing.epoch, work.force);
        let missing = voters.iter().filter(|node| !sealing.promises.contains_key(node));
        ask(&mut sealing.asked, missing.copied(), context, |to| ReconfigureEffect::Seal {
            to,
            shard: id,
            epoch,
            force,
        });
        let unsafe_is_planted =
            context.planted == Planted::ElectUnsafe && !sealing.promises.is_empty();
        let safe = is_safe(&self.record.active, sealing.promises.keys()) || unsafe_is_planted;
        let since = *sealing.since.get_or_insert(context.now);
        let waited = context.now.ms_since(since) >= context.options.silence_ms;
        let here = voters.iter().filter(|node| context.world.links.contains(node));
        let all_here = here.clone().all(|node| sealing.promises.contains_key(node));
        // More than what is safe is worth a moment: the wished one, and enough for the floor.
        let wished = work.wish.is_none_or(|wish| sealing.promises.contains_key(&wish));
        let serves = satisfies(&self.record.active, sealing.promises.keys());
        let complete = all_here || waited || (wished && serves);
        let accepted = work.accept_loss.is_some() && (all_here || waited);
        if (safe && complete) || accepted {
            self.elect(context, safe);
        } else if !force && !sealing.stand.is_empty() {
            let could = voters.iter().filter(|node| !sealing.stand.contains(node));
            if !is_safe(&self.record.active, could) {
                self.call_off(context);
            }
        }
    }

    /// Enough voters stand by their primary after all. Those that promised take nothing from it
    /// any more, so it gets a new epoch, without having to give way.
    fn call_off(&mut self, context: &mut Context<'_>) {
        let Phase::Sealing(work, sealing) = &self.phase else { return };
        let (work, epoch) = (work.clone(), sealing.epoch);
        if sealing.promises.is_empty() {
            let effects = self.give_up(&Declined::TimedOut);
            context.effects.extend(effects);
            self.recheck = Some(context.now.plus_ms(context.options.recheck_ms));
            return;
        }
        let why = format!("node {} was heard of again", self.primary());
        let person = Person { why, ..work.person };
        let wish = Some(self.primary());
        let work = Work { force: true, wish, cause: Cause::Change, person, ..work };
        self.phase = Phase::Sealing(work, Sealing::new(epoch.next()));
        self.settle(context);
    }

    /// What is begun rests on a record that is no more.
    fn overtaken(&mut self, context: &mut Context<'_>) {
        let (Phase::Sealing(work, _) | Phase::Swapping(work, _)) = &self.phase else { return };
        if self.epoch_since.is_some_and(|since| since >= work.began) {
            // The epoch is younger than the suspicion, which was about another primary.
            let effects = self.give_up(&Declined::Overtaken);
            context.effects.extend(effects);
            self.settle(context);
            return;
        }
        let work = work.clone();
        let epoch = self.next_epoch(Epoch::ZERO);
        self.phase = Phase::Sealing(work, Sealing::new(epoch));
        self.settle(context);
    }

    fn elect(&mut self, context: &mut Context<'_>, safe: bool) {
        let Phase::Sealing(work, sealing) = &mut self.phase else { return };
        let traits = &context.world.traits;
        // By force it is the one that was planned, if it has what was planned.
        let wish = work.wish;
        let mut promises = sealing.promises.clone();
        if work.accept_loss.is_some()
            && let Some(wish) = wish.filter(|wish| promises.contains_key(wish))
        {
            promises.retain(|node, _| *node == wish);
        }
        let choice = choose(&self.record, &promises, traits, wish, context.planted);
        let Some(choice) = choice else { return };
        if let Some(from) = choice.copy_from {
            let (to, epoch, end) = (choice.node, sealing.epoch, choice.end);
            let waits = sealing.copying.is_some_and(|(copying, at)| {
                copying == choice && context.now.ms_since(at) < context.options.retry_ms
            });
            if !waits {
                let shard = self.record.active.shard;
                sealing.copying = Some((choice, context.now));
                let copy = ReconfigureEffect::Copy { to, from, shard, epoch, end };
                context.effects.push(copy);
                // It says how far it is when it is asked again.
                let again = ReconfigureEffect::Seal { to, shard, epoch, force: work.force };
                context.effects.push(again);
            }
            return;
        }
        self.swap(context, &choice, safe);
    }

    fn swap(&mut self, context: &mut Context<'_>, choice: &Choice, safe: bool) {
        let exited = self.has_exited(context);
        let old = self.primary();
        let Phase::Sealing(work, sealing) = &self.phase else { return };
        let (epoch, promises) = (sealing.epoch, &sealing.promises);
        let Some(promise) = promises.get(&choice.node) else { return };
        let members_min = context.options.members_min;
        let Some(active) = elected(&self.record, epoch, choice, promises, members_min) else {
            return;
        };
        let head = promises.values().map(|it| it.head.max(it.sealed.last.lsn)).max();
        let lost = head.unwrap_or_default().since(choice.end.lsn);
        if !safe && work.accept_loss.is_none_or(|accepted| accepted < lost) {
            let plan = Plan {
                to: choice.node,
                end: choice.end,
                head: head.unwrap_or_default(),
                reached: promises.keys().copied().collect(),
            };
            let effects = self.give_up(&Declined::NeedsConsent(plan));
            context.effects.extend(effects);
            return;
        }
        let loss = match safe {
            true => Loss::Nothing,
            // A primary that nobody stopped may have gone on after it was last heard of.
            false if exited || promises.contains_key(&old) => Loss::AtMost(lost),
            false => Loss::Unknown,
        };
        let voter = |(node, promise): (&NodeId, &Promise)| SealedVoter {
            node: *node,
            incarnation: promise.sealed.incarnation,
            last: promise.sealed.last,
        };
        let report = RecoveryReport {
            epoch,
            from: old,
            to: choice.node,
            cause: work.cause,
            sealed: promises.iter().map(voter).collect(),
            cut: choice.end,
            loss,
            at: context.wall,
            took_ms: context.now.ms_since(work.began),
        };
        let incarnation = promise.sealed.incarnation;
        let run = Appointment { node: choice.node, incarnation, end: choice.end };
        let record = ShardRecord {
            active,
            pending: None,
            appointed: Some(run),
            last_recovery: Some(report.clone()),
            ..(*self.record).clone()
        };
        let row = row(&report, work, self.id());
        let command = Command::one(self.version, Record::Shard(Box::new(record)), Some(row));
        *context.tickets = context.tickets.wrapping_add(1);
        let ticket = *context.tickets;
        let base = self.version;
        let swapping = Swapping { epoch, ticket, report, command, base, retry: None, sent: false };
        self.phase = Phase::Swapping(work.clone(), swapping);
        self.settle(context);
    }

    pub(super) fn settle_swapping(&mut self, context: &mut Context<'_>) {
        let (id, active) = (self.id(), self.record.active.epoch);
        let mine = |report: &RecoveryReport| {
            self.record.last_recovery.as_ref() == Some(report) && active == report.epoch
        };
        let Phase::Swapping(work, swapping) = &mut self.phase else { return };
        if mine(&swapping.report) {
            if let Some(ask) = work.ask {
                let report = swapping.report.clone();
                let missed = work.wish.is_some_and(|wish| wish != report.to);
                let answer = if missed { Err(Declined::TimedOut) } else { Ok(report) };
                context.effects.push(ReconfigureEffect::Answer(ask, answer));
            }
            self.phase = Phase::Quiet;
        } else if self.version > swapping.base {
            self.overtaken(context);
        } else {
            let late = |at: Time| context.now.ms_since(at) >= context.options.retry_ms;
            if !swapping.sent || swapping.retry.is_some_and(late) {
                (swapping.sent, swapping.retry) = (true, None);
                let command = swapping.command.clone();
                context.effects.push(ReconfigureEffect::Swap(id, swapping.ticket, command));
            }
        }
    }
}

fn row(report: &RecoveryReport, work: &Work, shard: ShardId) -> HistoryRow {
    HistoryRow {
        number: 0,
        cause: report.cause,
        shard: Some(shard),
        who: work.person.who.clone(),
        why: work.person.why.clone(),
        from: Some(report.from),
        to: Some(report.to),
        position: report.cut,
        epoch: report.epoch,
        at: report.at,
        took_ms: report.took_ms,
        loss: report.loss,
    }
}
