//! A hundred replicas below one primary: all get the log, and the primary sends it no oftener.

use antiphon_proto::{Config, Limits, Member, NodeId, Policy, Shape, ShardId};

use super::cluster::Cluster;

const ENTRIES: u64 = 50;
const ENTRY_BYTES: usize = 1_000;
const FAN_OUT: usize = 8;

fn cluster(learners: u64) -> Cluster {
    let voters = (1..=3).map(|id| Member { node: NodeId::new(id), region: String::new() });
    let config = Config::initial(ShardId::new(0), voters.collect(), Shape::Star, Policy::Quorum);
    let learners: Vec<_> = (4..4 + learners).map(|id| (NodeId::new(id), None)).collect();
    let config = config.and_then(|config| config.with_learners(&learners, FAN_OUT));
    Cluster::new(config.expect("a tree"), Limits::default())
}

/// Starts all, writes, and returns what the primary sent for it.
fn run(learners: u64) -> usize {
    let mut cluster = cluster(learners);
    for id in cluster.ids() {
        cluster.start(id);
    }
    super::script::heal(&mut cluster);
    cluster.settle();
    cluster.tick(1_000);
    cluster.take_sent_bytes(1);
    let payload = "x".repeat(ENTRY_BYTES);
    for _entry in 0..ENTRIES {
        cluster.propose(1, &[&payload]).expect("the primary serves");
        cluster.settle();
    }
    let sent = cluster.take_sent_bytes(1);
    cluster.tick(1_000);
    let primary = cluster.replica(1).expect("it runs").status();
    assert_eq!(primary.stable, primary.last.lsn);
    assert!(primary.stable.get() > ENTRIES);
    for id in cluster.ids() {
        let status = cluster.replica(id).expect("it runs").status();
        assert_eq!(status.last, primary.last, "the log of node {id}");
        assert_eq!((status.durable, status.applied), (primary.durable, primary.applied));
    }
    assert!(primary.below.iter().all(|(_, at)| at.durable == primary.durable));
    let seen = primary.below.len();
    assert_eq!(u64::try_from(seen), Ok(learners + 2), "the primary knows where each node stands");
    sent
}

#[test]
fn a_hundred_replicas_cost_the_primary_what_two_do() {
    let (few, many) = (run(0), run(98));
    assert!(few >= 2 * 50 * ENTRY_BYTES, "{few} bytes for two replicas");
    assert_eq!(few, many, "bytes sent by the primary for two replicas and for a hundred");
}
