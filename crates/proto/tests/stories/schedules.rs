//! Random small schedules of three replicas: whatever happens, the checks of every step hold,
//! and once all is healed the cluster takes writes again.

use antiphon_proto::{Config, Limits, Member, NodeId, Policy, RoleStatus, Shape, ShardId};
use proptest::prelude::*;

use super::cluster::Cluster;
use super::disk::Pace;
use super::script::heal;

#[derive(Debug, Clone)]
enum Act {
    Advance(usize),
    Settle,
    Propose(usize),
    Crash(u64, usize),
    Start(u64),
    Cut(u64, u64),
    Heal,
    Pace(u64, Pace),
    Sync(u64, usize),
    Wait(u64),
    Tick(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let node = 1_u64..=3;
    let pace = prop_oneof![Just(Pace::Instant), Just(Pace::LogHeld), Just(Pace::Held)];
    prop_oneof![
        6 => (1_usize..12).prop_map(Act::Advance),
        2 => Just(Act::Settle),
        6 => (1_usize..4).prop_map(Act::Propose),
        2 => (node.clone(), 0_usize..3).prop_map(|(id, keep)| Act::Crash(id, keep)),
        4 => node.clone().prop_map(Act::Start),
        2 => (node.clone(), node.clone()).prop_map(|(a, b)| Act::Cut(a, b)),
        2 => Just(Act::Heal),
        3 => (node.clone(), pace).prop_map(|(id, pace)| Act::Pace(id, pace)),
        3 => (node, 1_usize..4).prop_map(|(id, count)| Act::Sync(id, count)),
        2 => (1_u64..1_500).prop_map(Act::Wait),
        2 => (1_u64..1_500).prop_map(Act::Tick),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let small = prop_oneof![Just(1_usize), Just(150), Just(400), Just(1 << 20)];
    (small.clone(), small.clone(), small).prop_map(|(window_bytes, tail_bytes, batch_bytes)| {
        Limits { window_bytes, tail_bytes, batch_bytes, ..Limits::default() }
    })
}

fn perform(cluster: &mut Cluster, act: &Act) {
    match act {
        Act::Advance(count) => (0..*count).for_each(|_| {
            cluster.advance();
        }),
        Act::Settle => cluster.settle(),
        Act::Propose(count) => {
            let payloads: Vec<_> = ["a", "bb", "ccc"].into_iter().take(*count).collect();
            // A refusal is as good as a place: the checks look at what was appended.
            cluster.propose(1, &payloads).unwrap_or_default();
        }
        Act::Crash(id, keep) => cluster.crash(*id, *keep),
        Act::Start(id) => {
            cluster.start(*id);
            (1..=3).for_each(|other| cluster.connect(*id, other));
        }
        Act::Cut(a, b) => cluster.cut(*a, *b),
        Act::Heal => heal(cluster),
        Act::Pace(id, pace) => cluster.set_pace(*id, *pace),
        Act::Sync(id, count) => cluster.sync(*id, Some(*count)),
        Act::Wait(ms) => cluster.wait(*ms),
        Act::Tick(ms) => cluster.tick(*ms),
    }
}

/// After the last fault everything is reachable and each disk answers.
fn calm(cluster: &mut Cluster) {
    for id in 1..=3 {
        cluster.set_pace(id, Pace::Instant);
        cluster.start(id);
    }
    heal(cluster);
    cluster.tick(5_000);
    assert!(cluster.replica(1).is_some_and(|replica| replica.is_serving()), "{cluster:#?}");
    cluster.propose(1, &["last"]).expect("a calm cluster takes writes");
    cluster.tick(2_000);
    let last = cluster.replica(1).expect("it runs").last();
    for id in 1..=3 {
        let status = cluster.replica(id).expect("it runs").status();
        assert_eq!((status.last, status.applied), (last, last.lsn), "node {id} is level");
        assert_ne!(status.role, RoleStatus::Halted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_must_hold_holds_under_random_schedules(
        shape in prop_oneof![Just(Shape::Star), Just(Shape::Chain)],
        floor in prop_oneof![Just(Policy::Quorum), Just(Policy::Ack(2)), Just(Policy::All), Just(Policy::Local)],
        limits in limits(),
        acts in prop::collection::vec(act(), 0..80),
    ) {
        let member = |id| Member { node: NodeId::new(id), region: String::new() };
        let voters = (1..=3).map(member).collect();
        let config = Config::initial(ShardId::new(0), voters, shape, floor).expect("a cluster");
        let mut cluster = Cluster::new(config, limits);
        for act in &acts {
            perform(&mut cluster, act);
        }
        calm(&mut cluster);
    }
}
