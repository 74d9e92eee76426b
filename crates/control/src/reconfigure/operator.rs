//! What operators order: a planned switch, which loses nothing, and a forced one, which says first
//! what it may lose.

use antiphon_proto::{NodeId, ShardId, Time};

use super::shard::{Draining, Phase, Shard, Work};
use super::{Declined, Order, Person, Reconfigurator, ReconfigureEffect, World};
use crate::Cause;

impl Reconfigurator {
    pub(super) fn on_order(
        &mut self,
        now: Time,
        (ask, shard): (u64, ShardId),
        order: &Order,
        person: Person,
    ) -> Vec<ReconfigureEffect> {
        let begun = match self.shards.get_mut(&shard) {
            _ if !self.leads => Err(Declined::NotLeading),
            None => Err(Declined::UnknownShard),
            Some(shard) => {
                let work = Work {
                    cause: Cause::Switchover,
                    began: now,
                    person,
                    ask: Some(ask),
                    wish: None,
                    accept_loss: None,
                    force: true,
                };
                let drain_ms = self.options.drain_ms;
                match *order {
                    Order::Switchover { to } => shard.switch(&self.world, to, drain_ms, work),
                    Order::Failover { to, accept_loss } => {
                        let work = Work { cause: Cause::Forced, wish: to, accept_loss, ..work };
                        shard.force(&self.world, work)
                    }
                }
            }
        };
        let declined = begun.err().map(|why| ReconfigureEffect::Answer(ask, Err(why)));
        declined.into_iter().collect()
    }
}

impl Shard {
    /// Whether a node could be primary, as far as the record and the links tell.
    fn fit(&self, world: &World, node: NodeId) -> Result<(), Declined> {
        let votes = self.record.active.place(node).is_some();
        let witness = world.traits.get(&node).is_some_and(|is| is.witness);
        if node == self.primary() {
            return Err(Declined::IsPrimary(node));
        }
        if !votes || witness || !world.links.contains(&node) {
            return Err(Declined::Unfit(node));
        }
        Ok(())
    }

    fn switch(
        &mut self,
        world: &World,
        to: Option<NodeId>,
        drain_ms: u64,
        work: Work,
    ) -> Result<(), Declined> {
        // Whoever only looks whether the primary is there may as well stop.
        let looks = |work: &Work| work.ask.is_none();
        let idle = match &self.phase {
            Phase::Quiet => true,
            Phase::Probing(work, _) => looks(work),
            Phase::Draining(..) | Phase::Sealing(..) | Phase::Swapping(..) => false,
        };
        if !idle {
            return Err(Declined::Busy);
        }
        let voters = self.record.active.voters.iter().map(|member| member.node);
        let fit = voters.filter(|node| self.fit(world, *node).is_ok());
        let slow = |node: &NodeId| world.traits.get(node).map_or(0, |is| is.slow);
        let target = match to {
            Some(to) => self.fit(world, to).map(|()| to)?,
            None => fit.min_by_key(slow).ok_or(Declined::NobodyFit)?,
        };
        let until = work.began.plus_ms(drain_ms);
        let work = Work { wish: Some(target), ..work };
        self.phase = Phase::Draining(work, Draining { target, until, asked: false });
        Ok(())
    }

    /// Takes over from a failover that waits for voters that do not come.
    fn force(&mut self, world: &World, work: Work) -> Result<(), Declined> {
        let ordered = match &self.phase {
            Phase::Quiet => false,
            Phase::Draining(..) | Phase::Swapping(..) => true,
            Phase::Probing(work, _) | Phase::Sealing(work, _) => work.ask.is_some(),
        };
        if ordered {
            return Err(Declined::Busy);
        }
        if let Some(to) = work.wish {
            self.fit(world, to)?;
        }
        self.phase = Phase::probing(work);
        Ok(())
    }
}
