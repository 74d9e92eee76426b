//! Where an order's way differs from a failover's: what a forced one costs, and the wait of a
//! planned one.

use std::collections::BTreeMap;

use antiphon_proto::NodeId;

use super::{Phase, Sealing, Shard};
use crate::reconfigure::choose::is_safe;
use crate::reconfigure::{Context, Declined, Plan, Probed, ReconfigureEffect};

impl Shard {
    /// Says what a forced failover costs, and begins it if that is accepted.
    pub(super) fn plan_forced(&mut self, context: &mut Context<'_>) {
        let Phase::Probing(work, probing) = &self.phase else { return };
        let fit = |node: &NodeId, said: &Probed| {
            let witness = context.world.traits.get(node).is_some_and(|is| is.witness);
            self.record.stores.get(node) == Some(&said.store) && !said.amnesiac && !witness
        };
        let reached: BTreeMap<_, _> =
            probing.said.iter().filter(|(node, said)| fit(node, said)).collect();
        let wished = reached.iter().filter(|(node, _)| work.wish.is_none_or(|it| it == ***node));
        let Some((to, best)) = wished.max_by_key(|(_, said)| said.last) else {
            let effects = self.give_up(&Declined::NobodyFit);
            context.effects.extend(effects);
            return;
        };
        let head = probing.said.values().map(|said| said.head.max(said.last.lsn)).max();
        let plan = Plan {
            to: **to,
            end: best.last,
            head: head.unwrap_or_default(),
            reached: reached.keys().map(|node| **node).collect(),
        };
        let promised = probing.said.values().map(|said| said.promised).max().unwrap_or_default();
        let longest = reached.values().map(|said| said.last).max().unwrap_or_default();
        let lossless = is_safe(&self.record.active, &plan.reached) && best.last == longest;
        if !lossless && work.accept_loss.is_none_or(|accepted| accepted < plan.lost()) {
            let effects = self.give_up(&Declined::NeedsConsent(plan));
            context.effects.extend(effects);
            return;
        }
        let mut work = work.clone();
        work.accept_loss = if lossless { None } else { work.accept_loss };
        let epoch = self.next_epoch(promised);
        self.phase = Phase::Sealing(work, Sealing::new(epoch));
        self.settle(context);
    }

    pub(super) fn settle_draining(&mut self, context: &mut Context<'_>) {
        let (id, epoch, primary) = (self.id(), self.record.active.epoch, self.primary());
        let linked = context.world.links.contains(&primary);
        let Phase::Draining(_, draining) = &mut self.phase else { return };
        if context.now >= draining.until || !linked {
            let effects = self.give_up(&Declined::TimedOut);
            context.effects.extend(effects);
        } else if !draining.asked {
            draining.asked = true;
            let target = draining.target;
            let within_ms = context.options.drain_ms;
            context.effects.push(ReconfigureEffect::Drain {
                to: primary,
                shard: id,
                epoch,
                target,
                within_ms,
            });
        }
    }
}
