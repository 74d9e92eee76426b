//! What the reconfigurator does, told one step after another.

use antiphon_proto::{Config, Epoch, Incarnation, NodeId, Policy, ShardId, Time};

use super::{Desk, lsn, probed, promise, record, shard_event};
use crate::reconfigure::{
    Declined, NodeTrait, Order, Person, Planted, Promise, Reconfigurator, ReconfigureEffect,
    ReconfigureEvent, ReconfigureOptions, SealRefusal,
};
use crate::samples::id;
use crate::{Cause, Command, HistoryRow, Loss, Outcome, RegisterError, ShardRecord, Version};

const SHARD: ShardId = ShardId::new(7);
const ONE: NodeId = NodeId::new(1);
const TWO: NodeId = NodeId::new(2);
const THREE: NodeId = NodeId::new(3);

impl Desk {
    /// Leads, knows the record, and is linked to these nodes.
    fn at(record: &ShardRecord, links: &[NodeId]) -> Self {
        let machine = Reconfigurator::new(ReconfigureOptions::default());
        let mut desk = Self { machine, now: Time::from_ms(60_000) };
        desk.step(ReconfigureEvent::Lead(true));
        for node in links {
            desk.step(ReconfigureEvent::Link(*node, true));
        }
        assert_eq!(desk.step(shard_event(3, record)), []);
        if links.contains(&ONE) {
            // It looks once whether the primary is there.
            let looks = if record.auto_failover { probes(links) } else { vec![] };
            assert_eq!(desk.after(1_000), looks);
            links.iter().for_each(|node| assert_eq!(desk.says(*node, Some(20)), []));
        }
        desk
    }

    fn cut(&mut self, node: NodeId) -> Vec<ReconfigureEffect> {
        self.step(ReconfigureEvent::Link(node, false))
    }

    fn says(&mut self, node: NodeId, confirmed_ms: Option<u64>) -> Vec<ReconfigureEffect> {
        let said = probed(node.get(), confirmed_ms, id(4, 9));
        self.step(ReconfigureEvent::Probed(node, SHARD, said))
    }

    fn promises(&mut self, node: NodeId, epoch: u64, last: u64) -> Vec<ReconfigureEffect> {
        let promise = Box::new(promise(node.get(), id(4, last)));
        self.step(ReconfigureEvent::Promised(node, SHARD, Epoch::new(epoch), promise))
    }

    fn order(&mut self, order: Order) -> Vec<ReconfigureEffect> {
        let person = Person { who: "ann".to_owned(), why: "upgrade".to_owned() };
        self.step(ReconfigureEvent::Ordered(5, SHARD, order, person))
    }

    /// The register did what was asked: its answer, and the record.
    fn accepts(&mut self, effects: &[ReconfigureEffect], version: u64) -> Vec<ReconfigureEffect> {
        let (ticket, command) = swap(effects);
        let done = Ok(Outcome::Done(Version::new(version)));
        let mut effects = self.step(ReconfigureEvent::Swapped(SHARD, ticket, done));
        effects.extend(self.step(shard_event(version, written(&command))));
        effects
    }
}

#[track_caller]
fn swap(effects: &[ReconfigureEffect]) -> (u64, Command) {
    let [ReconfigureEffect::Swap(_, ticket, command)] = effects else { panic!("{effects:?}") };
    (*ticket, command.clone())
}

fn written(command: &Command) -> &ShardRecord {
    command.items[0].record.as_shard().expect("a shard's")
}

fn probes(nodes: &[NodeId]) -> Vec<ReconfigureEffect> {
    nodes.iter().map(|node| ReconfigureEffect::Probe(*node, SHARD)).collect()
}

fn seals(nodes: &[NodeId], epoch: u64, force: bool) -> Vec<ReconfigureEffect> {
    let seal = |to: &NodeId| ReconfigureEffect::Seal {
        to: *to,
        shard: SHARD,
        epoch: Epoch::new(epoch),
        force,
    };
    nodes.iter().map(seal).collect()
}

#[test]
fn a_primary_that_is_silent_is_replaced() {
    let mut desk = Desk::at(&record(), &[ONE, TWO, THREE]);
    assert_eq!(desk.cut(ONE), probes(&[TWO, THREE]));
    assert_eq!(desk.says(TWO, Some(310)), []);
    assert_eq!(desk.says(THREE, Some(300)), seals(&[TWO, THREE], 5, false));
    assert_eq!(desk.promises(TWO, 5, 9), []);
    desk.now = desk.now.plus_ms(7);
    let effects = desk.promises(THREE, 5, 10);
    let (_, command) = swap(&effects);
    assert_eq!(command.items[0].expect, Version::new(3));
    let new = written(&command);
    assert_eq!((new.active.primary, new.active.epoch), (THREE, Epoch::new(5)));
    assert_eq!(new.active.parents, [(ONE, THREE), (TWO, THREE)].into());
    assert_eq!(new.active.cut(Epoch::new(4)), Some(lsn(10)));
    let run = new.appointed.expect("named");
    assert_eq!((run.node, run.incarnation, run.end), (THREE, Incarnation::new(2), id(4, 10)));
    let HistoryRow { cause, from, to, took_ms, loss, .. } = command.rows[0].clone();
    assert_eq!((cause, from, to), (Cause::Failover, Some(ONE), Some(THREE)));
    assert_eq!((took_ms, loss), (7, Loss::Nothing));
    assert_eq!(desk.accepts(&effects, 4), []);
    assert_eq!(desk.after(60_000), probes(&[TWO, THREE]), "has node 3 taken office?");
    let confirmed = |node: u64| crate::reconfigure::Probed {
        epoch: Epoch::new(5),
        ..probed(node, Some(20), id(5, 11))
    };
    desk.step(ReconfigureEvent::Probed(TWO, SHARD, confirmed(2)));
    desk.step(ReconfigureEvent::Probed(THREE, SHARD, confirmed(3)));
    assert_eq!(desk.after(60_000), [], "it has, and nothing is left to do");
}

#[test]
fn who_is_cut_off_itself_deposes_nobody() {
    let mut desk = Desk::at(&record(), &[ONE, TWO, THREE]);
    assert_eq!(desk.cut(ONE), probes(&[TWO, THREE]));
    assert_eq!(desk.says(TWO, Some(20)), []);
    assert_eq!(desk.says(THREE, Some(40)), [], "two of three hear it");
    assert_eq!(desk.after(999), [], "not at once again");
    assert_eq!(desk.after(1), probes(&[TWO, THREE]), "as long as it hears nothing of it");
    desk.says(TWO, Some(20));
    assert_eq!(desk.says(THREE, None), [], "one that does not is not enough");
    assert_eq!(desk.after(100), probes(&[TWO, THREE]));
    // A bug in its place.
    let mut hasty = Desk::at(&record(), &[ONE, TWO, THREE]);
    hasty.machine.plant(Planted::NoProbe);
    assert_eq!(hasty.cut(ONE), seals(&[TWO, THREE], 5, true));
}

#[test]
fn a_run_that_ended_for_certain_is_replaced_at_once() {
    let mut desk = Desk::at(&record(), &[TWO, THREE]);
    assert_eq!(desk.step(ReconfigureEvent::Exited(ONE, Incarnation::new(1))), [], "an older one");
    let ended = ReconfigureEvent::Exited(ONE, Incarnation::new(2));
    assert_eq!(desk.step(ended), seals(&[TWO, THREE], 5, true));
}

#[test]
fn after_a_failover_the_next_one_waits() {
    let mut desk = Desk::at(&record(), &[ONE, TWO, THREE]);
    desk.cut(ONE);
    desk.says(TWO, None);
    desk.says(THREE, None);
    desk.promises(TWO, 5, 10);
    let effects = desk.promises(THREE, 5, 9);
    desk.accepts(&effects, 4);
    desk.step(ReconfigureEvent::Link(ONE, true));
    assert_eq!(desk.cut(TWO), []);
    assert_eq!(desk.after(9_999), [], "the epoch is young");
    assert_eq!(desk.after(1), probes(&[ONE, THREE]));
    desk.says(ONE, None);
    desk.says(THREE, None);
    desk.promises(ONE, 6, 11);
    let effects = desk.promises(THREE, 6, 9);
    assert_eq!(written(&swap(&effects).1).active.primary, ONE);
    desk.accepts(&effects, 5);
    desk.step(ReconfigureEvent::Link(TWO, true));
    desk.cut(ONE);
    assert_eq!(desk.after(19_999), [], "and after a second one twice as long");
    assert_eq!(desk.after(1), probes(&[TWO, THREE]));
}

#[test]
fn nothing_begins_by_itself_where_it_is_switched_off() {
    let quiet = ShardRecord { auto_failover: false, ..record() };
    let mut desk = Desk::at(&quiet, &[ONE, TWO, THREE]);
    assert_eq!(desk.cut(ONE), []);
    assert_eq!(desk.after(60_000), []);
    let mut desk = Desk::at(&record(), &[ONE, TWO, THREE]);
    let until = desk.now.plus_ms(1_800_000);
    desk.step(ReconfigureEvent::Pause(Some(until)));
    assert_eq!(desk.cut(ONE), []);
    assert_eq!(desk.after(1_799_999), []);
    assert_eq!(desk.after(1), probes(&[TWO, THREE]), "a pause ends by itself");
    desk.step(ReconfigureEvent::Lead(false));
    assert_eq!(desk.says(TWO, None), [], "who does not lead does nothing");
    assert_eq!(desk.after(60_000), []);
}

#[test]
fn a_lost_primary_with_a_local_floor_is_not_replaced() {
    let config = Config { floor: Policy::Local, ..record().active };
    let mut desk = Desk::at(&ShardRecord { active: config, ..record() }, &[ONE, TWO, THREE]);
    assert_eq!(desk.cut(ONE), probes(&[TWO, THREE]));
    desk.says(TWO, None);
    assert_eq!(desk.says(THREE, None), [], "it alone has what it acknowledged");
}

#[test]
fn a_promise_to_another_epoch_makes_the_next_one_greater() {
    let mut desk = Desk::at(&record(), &[TWO, THREE]);
    desk.step(ReconfigureEvent::Suspect(SHARD));
    desk.says(TWO, None);
    desk.says(THREE, None);
    desk.promises(TWO, 5, 9);
    let refused = SealRefusal::Promised(Epoch::new(8));
    let refused = ReconfigureEvent::Refused(THREE, SHARD, Epoch::new(5), refused);
    assert_eq!(desk.step(refused), seals(&[TWO, THREE], 9, false), "all of them anew");
    assert_eq!(desk.promises(THREE, 5, 9), [], "a promise of the old epoch counts for nothing");
    desk.promises(TWO, 5, 9);
    assert_eq!(desk.after(99), [], "still");
    // A bug in its place.
    desk.machine.plant(Planted::KeepsPromises);
    desk.promises(THREE, 5, 9);
    assert_ne!(desk.promises(TWO, 5, 9), [], "elects with what was said before");
}

#[test]
fn a_later_epoch_is_longer_than_many_entries() {
    let mut desk = Desk::at(&record(), &[TWO, THREE]);
    desk.step(ReconfigureEvent::Exited(ONE, Incarnation::new(2)));
    desk.promises(TWO, 5, 9);
    let stale = Box::new(promise(3, id(3, 20)));
    let stale = ReconfigureEvent::Promised(THREE, SHARD, Epoch::new(5), stale);
    let effects = desk.step(stale.clone());
    assert_eq!(written(&swap(&effects).1).active.primary, TWO, "4/9 is after 3/20");
    // A bug in its place.
    let mut bug = Desk::at(&record(), &[TWO, THREE]);
    bug.machine.plant(Planted::LongestIgnoresEpoch);
    bug.step(ReconfigureEvent::Exited(ONE, Incarnation::new(2)));
    bug.promises(TWO, 5, 9);
    let effects = bug.step(stale);
    assert_eq!(written(&swap(&effects).1).active.primary, THREE);
}

#[test]
fn voters_that_stand_by_their_primary_after_all_get_it_back() {
    let mut desk = Desk::at(&record(), &[ONE, TWO, THREE]);
    desk.step(ReconfigureEvent::Suspect(SHARD));
    desk.says(TWO, None);
    desk.says(THREE, None);
    desk.promises(TWO, 5, 9);
    let stands = |node| ReconfigureEvent::Refused(node, SHARD, Epoch::new(5), SealRefusal::Stands);
    assert_eq!(desk.step(stands(THREE)), []);
    // Node 2 takes nothing of epoch 4 any more, so the primary needs another epoch.
    assert_eq!(desk.step(stands(ONE)), seals(&[ONE, TWO, THREE], 6, true));
    desk.promises(TWO, 6, 9);
    desk.promises(THREE, 6, 9);
    let effects = desk.promises(ONE, 6, 12);
    let (_, command) = swap(&effects);
    assert_eq!((written(&command).active.primary, command.rows[0].cause), (ONE, Cause::Change));
}

#[test]
fn a_command_without_an_answer_is_sent_again_and_done_once() {
    let mut desk = Desk::at(&record(), &[TWO, THREE]);
    desk.step(ReconfigureEvent::Exited(ONE, Incarnation::new(2)));
    desk.promises(TWO, 5, 9);
    let effects = desk.promises(THREE, 5, 9);
    let (ticket, command) = swap(&effects);
    let unknown = Err(RegisterError::Unknown);
    assert_eq!(desk.step(ReconfigureEvent::Swapped(SHARD, ticket, unknown)), []);
    let again = desk.after(100);
    assert_eq!(swap(&again), (ticket, command.clone()), "the very same");
    // It had been done the first time.
    let conflict = Ok(Outcome::Conflict(vec![(crate::Key::Shard(SHARD), Version::new(4))]));
    assert_eq!(desk.step(ReconfigureEvent::Swapped(SHARD, ticket, conflict)), []);
    assert_eq!(desk.step(shard_event(4, written(&command))), []);
    assert_eq!(desk.after(60_000), probes(&[TWO, THREE]), "no other command");
}

#[test]
fn an_activation_that_slips_in_is_taken_into_account() {
    let pending = Config { epoch: Epoch::new(5), floor: Policy::All, ..record().active };
    let before = ShardRecord { pending: Some(pending.clone()), ..record() };
    let mut desk = Desk::at(&before, &[TWO, THREE]);
    desk.step(ReconfigureEvent::Exited(ONE, Incarnation::new(2)));
    desk.promises(TWO, 6, 9);
    let effects = desk.promises(THREE, 6, 9);
    let (ticket, _) = swap(&effects);
    let conflict = Ok(Outcome::Conflict(vec![(crate::Key::Shard(SHARD), Version::new(4))]));
    desk.step(ReconfigureEvent::Swapped(SHARD, ticket, conflict));
    // The same primary is in a new epoch: whoever suspected it looks again.
    let after = ShardRecord { active: pending, pending: None, ..before };
    let effects = desk.step(shard_event(4, &after));
    assert_eq!(effects, seals(&[TWO, THREE], 6, true), "its run has ended all the same");
    desk.promises(TWO, 6, 9);
    let effects = desk.promises(THREE, 6, 9);
    let new = written(&swap(&effects).1).clone();
    assert_eq!((new.active.floor, new.active.voters.len()), (Policy::All, 2), "without node 1");
}

#[test]
fn a_witness_is_never_primary() {
    let mut desk = Desk::at(&record(), &[TWO, THREE]);
    let witness = NodeTrait { witness: true, ..NodeTrait::default() };
    desk.step(ReconfigureEvent::Node(THREE, witness));
    desk.step(ReconfigureEvent::Exited(ONE, Incarnation::new(2)));
    desk.promises(TWO, 5, 9);
    let copy = ReconfigureEffect::Copy {
        to: TWO,
        from: THREE,
        shard: SHARD,
        epoch: Epoch::new(5),
        end: id(4, 11),
    };
    let effects = desk.promises(THREE, 5, 11);
    assert_eq!(effects[0], copy, "node 2 first has what the witness holds");
    let effects = desk.promises(TWO, 5, 11);
    assert_eq!(written(&swap(&effects).1).active.primary, TWO);
}

#[test]
fn a_switch_loses_nothing_and_names_the_target() {
    let mut desk = Desk::at(&record(), &[ONE, TWO, THREE]);
    let drain = ReconfigureEffect::Drain {
        to: ONE,
        shard: SHARD,
        epoch: Epoch::new(4),
        target: THREE,
        within_ms: 5_000,
    };
    assert_eq!(desk.order(Order::Switchover { to: Some(THREE) }), [drain]);
    assert_eq!(
        desk.order(Order::Switchover { to: None }),
        [ReconfigureEffect::Answer(5, Err(Declined::Busy))]
    );
    let drained = ReconfigureEvent::Drained(ONE, SHARD, Epoch::new(4));
    assert_eq!(desk.step(drained), seals(&[ONE, TWO, THREE], 5, true));
    desk.promises(ONE, 5, 12);
    assert_eq!(desk.promises(TWO, 5, 12), [], "safe, but the target has not said how far it is");
    let effects = desk.promises(THREE, 5, 12);
    let (_, command) = swap(&effects);
    assert_eq!(command.rows[0].cause, Cause::Switchover);
    assert_eq!((command.rows[0].who.as_str(), command.rows[0].loss), ("ann", Loss::Nothing));
    let answer = desk.accepts(&effects, 4);
    let [ReconfigureEffect::Answer(5, Ok(report))] = &answer[..] else { panic!("{answer:?}") };
    assert_eq!((report.from, report.to), (ONE, THREE));
}

#[test]
fn a_switch_that_takes_too_long_is_off() {
    let mut desk = Desk::at(&record(), &[ONE, TWO, THREE]);
    desk.order(Order::Switchover { to: Some(TWO) });
    let off = [
        ReconfigureEffect::Resume(ONE, SHARD, Epoch::new(4)),
        ReconfigureEffect::Answer(5, Err(Declined::TimedOut)),
    ];
    assert_eq!(desk.after(4_999), []);
    assert_eq!(desk.after(1), off);
    let declined = |why| [ReconfigureEffect::Answer(5, Err(why))];
    let to = |node| Order::Switchover { to: Some(node) };
    assert_eq!(desk.order(to(ONE)), declined(Declined::IsPrimary(ONE)));
    desk.cut(THREE);
    assert_eq!(desk.order(to(THREE)), declined(Declined::Unfit(THREE)));
    assert_eq!(desk.order(to(NodeId::new(9))), declined(Declined::Unfit(NodeId::new(9))));
}

#[test]
fn a_forced_failover_says_first_what_it_costs() {
    let quiet = ShardRecord { auto_failover: false, ..record() };
    let mut desk = Desk::at(&quiet, &[THREE]);
    let force = |accept_loss| Order::Failover { to: None, accept_loss };
    assert_eq!(desk.order(force(None)), probes(&[THREE]));
    let said = crate::reconfigure::Probed { head: lsn(26), ..probed(3, None, id(4, 9)) };
    let effects = desk.step(ReconfigureEvent::Probed(THREE, SHARD, said.clone()));
    let [ReconfigureEffect::Answer(5, Err(Declined::NeedsConsent(plan)))] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!((plan.to, plan.lost()), (THREE, 17));
    assert!(Declined::NeedsConsent(plan.clone()).to_string().contains("accept the loss of 17"));
    // Less than that is no consent.
    desk.order(force(Some(16)));
    let effects = desk.step(ReconfigureEvent::Probed(THREE, SHARD, said.clone()));
    assert!(matches!(&effects[..], [ReconfigureEffect::Answer(5, Err(_))]), "{effects:?}");
    desk.order(force(Some(17)));
    let effects = desk.step(ReconfigureEvent::Probed(THREE, SHARD, said));
    assert_eq!(effects, seals(&[THREE], 5, true));
    let promise = Box::new(Promise { head: lsn(26), ..promise(3, id(4, 9)) });
    let effects = desk.step(ReconfigureEvent::Promised(THREE, SHARD, Epoch::new(5), promise));
    let (_, command) = swap(&effects);
    // Nobody stopped the old primary, so nobody knows what else it acknowledged.
    assert_eq!(command.rows[0].loss, Loss::Unknown);
    assert_eq!(command.rows[0].cause, Cause::Forced);
    let answer = desk.accepts(&effects, 4);
    assert!(matches!(&answer[..], [ReconfigureEffect::Answer(5, Ok(_))]), "{answer:?}");
}

#[test]
fn a_forced_failover_that_loses_nothing_needs_no_consent() {
    let quiet = ShardRecord { auto_failover: false, ..record() };
    let mut desk = Desk::at(&quiet, &[TWO, THREE]);
    desk.order(Order::Failover { to: None, accept_loss: None });
    desk.says(TWO, None);
    assert_eq!(desk.says(THREE, None), seals(&[TWO, THREE], 5, true));
    desk.promises(TWO, 5, 9);
    let effects = desk.promises(THREE, 5, 9);
    assert_eq!(swap(&effects).1.rows[0].loss, Loss::Nothing);
}

#[test]
fn of_equal_logs_the_nearer_and_the_faster_wins() {
    let mut desk = Desk::at(&record(), &[TWO, THREE]);
    let is = |region: &str, slow| NodeTrait { region: region.to_owned(), slow, witness: false };
    desk.step(ReconfigureEvent::Node(ONE, is("eu", 0)));
    desk.step(ReconfigureEvent::Node(TWO, is("us", 0)));
    desk.step(ReconfigureEvent::Node(THREE, is("eu", 9)));
    desk.step(ReconfigureEvent::Exited(ONE, Incarnation::new(2)));
    desk.promises(TWO, 5, 9);
    let effects = desk.promises(THREE, 5, 9);
    assert_eq!(written(&swap(&effects).1).active.primary, THREE, "the region first");
}
