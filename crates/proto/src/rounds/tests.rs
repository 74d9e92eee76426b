//! Leases never outlive the promises that they rest on, whatever clocks and links do.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{Bug, Round, RoundAck, RoundEvent, RoundLimits, RoundMessage, Rounds};
use crate::{Epoch, Incarnation, NodeId, Rule, ShardId, Time, VoterSet};

const HOLDER: NodeId = NodeId::new(1);
const VOTER: NodeId = NodeId::new(2);
const SHARD: ShardId = ShardId::new(0);
const EPOCH: Epoch = Epoch::new(3);

fn rounds(now: Time) -> Rounds {
    Rounds::new(Incarnation::new(1), now, RoundLimits::default())
}

/// Both of two voters must confirm: the lease rests on the other one alone.
fn lease(rounds: &Rounds) -> Option<Time> {
    let both = Rule::Count { need: 2, of: VoterSet::first(2) };
    rounds.lease_until(&both, &[HOLDER, VOTER], HOLDER, (SHARD, EPOCH))
}

fn asked(said: &[(NodeId, RoundMessage)]) -> Option<Round> {
    said.iter().find_map(|(_, message)| match message {
        RoundMessage::Round(round) => Some(*round),
        RoundMessage::Ack(_) => None,
    })
}

fn answered(said: &[(NodeId, RoundMessage)]) -> Option<RoundAck> {
    said.iter().find_map(|(_, message)| match message {
        RoundMessage::Ack(ack) => Some(ack.clone()),
        RoundMessage::Round(_) => None,
    })
}

/// A clock that runs `rate` thousandths as fast as time, from an origin of its own.
#[derive(Debug, Clone, Copy)]
struct Clock {
    rate: u64,
    origin_ms: u64,
}

impl Clock {
    fn at(self, real_us: u64) -> Time {
        Time::from_nanos(self.origin_ms * 1_000_000 + real_us * self.rate)
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Pass {
        us: u64,
    },
    /// Delivers the oldest round, or loses it.
    Deliver {
        lose: bool,
    },
    /// Delivers the oldest answer, or loses it.
    Answer {
        lose: bool,
    },
    VoterRestarts,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u64..120_000).prop_map(|us| Step::Pass { us }),
        4 => prop::bool::weighted(0.1).prop_map(|lose| Step::Deliver { lose }),
        4 => prop::bool::weighted(0.1).prop_map(|lose| Step::Answer { lose }),
        1 => Just(Step::VoterRestarts),
    ];
    prop::collection::vec(step, 1..120)
}

struct World {
    real_us: u64,
    clocks: [Clock; 2],
    holder: Rounds,
    voter: Rounds,
    runs: u64,
    down: VecDeque<Round>,
    up: VecDeque<RoundAck>,
    bug: Option<Bug>,
}

impl World {
    fn new(clocks: [Clock; 2], bug: Option<Bug>) -> Self {
        let (mut holder, voter) = (rounds(clocks[0].at(0)), rounds(clocks[1].at(0)));
        holder.bug = bug;
        let mut world = Self {
            real_us: 0,
            clocks,
            holder,
            voter,
            runs: 1,
            down: VecDeque::new(),
            up: VecDeque::new(),
            bug,
        };
        world.voter.bug = bug;
        world.hold(RoundEvent::Connected(VOTER));
        world
    }

    fn hold(&mut self, event: RoundEvent) {
        let now = self.clocks[0].at(self.real_us);
        self.down.extend(asked(&self.holder.step(now, RoundEvent::Progress)));
        self.down.extend(asked(&self.holder.step(now, event)));
    }

    fn vote(&mut self, event: RoundEvent) {
        let now = self.clocks[1].at(self.real_us);
        self.voter.step(now, RoundEvent::Progress);
        self.up.extend(answered(&self.voter.step(now, event)));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Pass { us } => {
                self.real_us += us;
                self.hold(RoundEvent::Tick);
            }
            Step::Deliver { lose } => {
                if let Some(round) = self.down.pop_front().filter(|_| !lose) {
                    self.vote(RoundEvent::Asked(HOLDER, round));
                }
            }
            Step::Answer { lose } => {
                if let Some(ack) = self.up.pop_front().filter(|_| !lose) {
                    self.hold(RoundEvent::Answered(VOTER, ack));
                }
            }
            Step::VoterRestarts => {
                self.runs += 1;
                let now = self.clocks[1].at(self.real_us);
                let incarnation = Incarnation::new(self.runs);
                self.voter = Rounds::new(incarnation, now, RoundLimits::default());
                self.voter.bug = self.bug;
            }
        }
    }

    /// The holder would answer a read, and the voter would follow another.
    fn is_torn(&self) -> bool {
        let (holder, voter) = (self.clocks[0].at(self.real_us), self.clocks[1].at(self.real_us));
        let holds = lease(&self.holder).is_some_and(|until| holder < until);
        holds && !self.voter.stands_by(HOLDER, voter)
    }
}

fn clock() -> impl Strategy<Value = Clock> {
    (prop_oneof![Just(990_u64), Just(1_010), 990_u64..=1_010], 1_u64..100_000)
        .prop_map(|(rate, origin_ms)| Clock { rate, origin_ms })
}

fn torn(clocks: [Clock; 2], steps: &[Step], bug: Option<Bug>) -> bool {
    let mut world = World::new(clocks, bug);
    steps.iter().any(|step| {
        world.take(*step);
        world.is_torn()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_lease_ends_before_its_voters_turn_away(
        first in clock(),
        second in clock(),
        steps in steps(),
    ) {
        prop_assert!(!torn([first, second], &steps, None));
    }
}

#[track_caller]
fn is_missed(bug: Bug, steps: &[Step]) {
    // The holder's clock is the slow one, so its lease lasts longest.
    let clocks = [Clock { rate: 990, origin_ms: 5 }, Clock { rate: 1_010, origin_ms: 7 }];
    assert!(!torn(clocks, steps, None), "the rule holds");
    assert!(torn(clocks, steps, Some(bug)), "without {bug:?} being seen the test sees nothing");
}

const ROUND: [Step; 2] = [Step::Deliver { lose: false }, Step::Answer { lose: false }];

fn pass(ms: u64) -> Step {
    Step::Pass { us: ms * 1_000 }
}

#[test]
fn a_lease_from_the_answer_lasts_too_long() {
    let steps = [ROUND[0], pass(200), ROUND[1], pass(110), pass(100)];
    is_missed(Bug::LeaseFromAnswer, &steps);
}

#[test]
fn a_restart_does_not_end_a_promise() {
    is_missed(Bug::RestartForgets, &[ROUND[0], ROUND[1], Step::VoterRestarts]);
}

#[test]
fn clocks_that_drift_need_a_margin() {
    is_missed(Bug::NoDriftMargin, &[ROUND[0], ROUND[1], pass(296)]);
}

#[test]
fn a_fenced_log_has_no_lease() {
    let check = |bug| {
        let mut world = World::new([Clock { rate: 1_000, origin_ms: 1 }; 2], bug);
        world.voter.fence(HOLDER, SHARD, Some(EPOCH.next()));
        ROUND.into_iter().for_each(|step| world.take(step));
        lease(&world.holder)
    };
    assert_eq!(check(None), None);
    assert!(check(Some(Bug::LeaseIgnoresFence)).is_some(), "the fence alone ends it");
}

#[test]
fn a_fence_is_for_one_log_and_can_be_taken_back() {
    let mut world = World::new([Clock { rate: 1_000, origin_ms: 1 }; 2], None);
    world.voter.fence(HOLDER, ShardId::new(1), Some(EPOCH.next()));
    ROUND.into_iter().for_each(|step| world.take(step));
    assert!(lease(&world.holder).is_some(), "another log is fenced");
    world.voter.fence(HOLDER, SHARD, Some(EPOCH.next()));
    world.voter.fence(HOLDER, SHARD, None);
    world.take(pass(100));
    ROUND.into_iter().for_each(|step| world.take(step));
    assert!(lease(&world.holder).is_some(), "nothing is fenced any more");
}

/// Rounds arrive, answers don't: after a few rounds nobody stands by such a primary.
fn stands_by_the_deaf(bug: Option<Bug>) -> bool {
    let mut world = World::new([Clock { rate: 1_000, origin_ms: 1 }; 2], bug);
    for _ in 0..20 {
        world.take(Step::Deliver { lose: false });
        world.take(Step::Answer { lose: true });
        world.take(pass(100));
    }
    let now = world.clocks[1].at(world.real_us);
    assert!(world.voter.is_deaf(HOLDER));
    world.voter.stands_by(HOLDER, now)
}

#[test]
fn a_primary_that_hears_nothing_is_given_up() {
    assert!(!stands_by_the_deaf(None));
    assert!(stands_by_the_deaf(Some(Bug::ConfirmDeaf)));
}

#[test]
fn one_that_hears_again_is_confirmed_again() {
    let mut world = World::new([Clock { rate: 1_000, origin_ms: 1 }; 2], None);
    for lose in [true; 20].into_iter().chain([false; 3]) {
        world.take(Step::Deliver { lose: false });
        world.take(Step::Answer { lose });
        world.take(pass(100));
    }
    assert!(!world.voter.is_deaf(HOLDER));
    let now = world.clocks[0].at(world.real_us);
    assert!(lease(&world.holder).is_some_and(|until| now < until));
}

/// Whether a node whose disk stands still goes on asking.
fn asks_without_a_disk(bug: Option<Bug>) -> bool {
    let mut rounds = rounds(Time::from_ms(1));
    rounds.bug = bug;
    rounds.step(Time::from_ms(1), RoundEvent::Connected(VOTER));
    asked(&rounds.step(Time::from_ms(2_000), RoundEvent::Tick)).is_some()
}

#[test]
fn a_disk_that_stands_still_ends_the_rounds() {
    assert!(!asks_without_a_disk(None));
    assert!(asks_without_a_disk(Some(Bug::RoundsWithoutDisk)));
}

#[test]
fn a_voter_whose_disk_stands_still_does_not_confirm() {
    let mut voter = rounds(Time::from_ms(1));
    let round = |number| RoundEvent::Asked(HOLDER, Round { number, answered: number - 1 });
    let ack = answered(&voter.step(Time::from_ms(901), round(5))).expect("it is answered");
    assert!(ack.confirmed, "three times the deadline");
    let ack = answered(&voter.step(Time::from_ms(902), round(6))).expect("it is answered");
    assert!(!ack.confirmed);
}

#[test]
fn late_and_repeated_messages_change_nothing() {
    let mut world = World::new([Clock { rate: 1_000, origin_ms: 1 }; 2], None);
    let old = world.down.front().copied().expect("a link begins with a round");
    world.take(ROUND[0]);
    let first = world.up.front().cloned().expect("it was answered");
    world.take(ROUND[1]);
    let before = lease(&world.holder);
    world.take(pass(50));
    world.hold(RoundEvent::Answered(VOTER, first.clone()));
    world.hold(RoundEvent::Answered(VOTER, RoundAck { number: 77, ..first }));
    assert_eq!(lease(&world.holder), before);
    world.vote(RoundEvent::Asked(HOLDER, old));
    assert!(world.up.is_empty(), "an old round has its answer already");
}

#[test]
fn an_answer_to_another_run_is_no_answer() {
    let now = Time::from_ms(1);
    let mut earlier = Rounds::new(Incarnation::new(1), now, RoundLimits::default());
    let round = asked(&earlier.step(now, RoundEvent::Connected(VOTER))).expect("it begins");
    let mut later = Rounds::new(Incarnation::new(2), now, RoundLimits::default());
    later.step(now, RoundEvent::Connected(VOTER));
    let ack = RoundAck { number: round.number, confirmed: true, fenced: Vec::new() };
    later.step(now, RoundEvent::Answered(VOTER, ack));
    assert_eq!(lease(&later), None);
}

#[test]
fn a_node_alone_says_nothing_and_holds_its_own_lease() {
    let mut alone = rounds(Time::from_ms(1));
    assert!(alone.step(Time::from_ms(500), RoundEvent::Tick).is_empty());
    let own = Rule::Count { need: 1, of: VoterSet::first(1) };
    assert!(alone.lease_until(&own, &[HOLDER], HOLDER, (SHARD, EPOCH)).is_some());
}
