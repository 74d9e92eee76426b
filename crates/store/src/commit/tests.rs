//! Grouping and order.

use bytes::Bytes;

use crate::testing::{Maker, OTHER, SHARD, open};
use crate::{Completion, Op, SimDisk};

fn hard(ticket: u64) -> Op {
    Op::Hard { shard: SHARD, state: Bytes::from(vec![1; 9]), ticket }
}

#[test]
fn appends_between_other_operations_share_a_sync() {
    let disk = SimDisk::new(1);
    let mut committer = open(disk).into_committer();
    let (mut one, mut two) = (Maker::new(SHARD), Maker::new(OTHER));
    let ops = [one.op(1, 9), two.op(1, 9), one.op(2, 9), hard(70), two.op(1, 9), one.op(1, 9)];
    for op in ops {
        committer.submit(op);
    }
    let mut done = Vec::new();
    committer.run(&mut done);
    assert!(committer.is_idle());
    let tickets: Vec<u64> = done
        .iter()
        .map(|completion| match completion {
            Completion::Appended { ticket, durable, .. } => {
                assert_eq!(durable.id.lsn.get(), *ticket);
                *ticket
            }
            Completion::HardSaved { ticket, .. } => *ticket,
            Completion::Truncated { .. }
            | Completion::Restarted { .. }
            | Completion::Trimmed { .. }
            | Completion::Failed(_) => panic!("{completion:?}"),
        })
        .collect();
    assert_eq!(tickets, [1, 1, 3, 70, 2, 4], "in the order of submission");
    let stats = committer.stats();
    assert_eq!((stats.groups, stats.syncs, stats.batches), (2, 2, 5));
    assert_eq!(stats.sync_latency.buckets().map(|(_, count)| count).sum::<u64>(), 2);
}

#[test]
fn a_group_is_bounded() {
    let mut committer = open(SimDisk::new(1)).into_committer();
    let mut maker = Maker::new(SHARD);
    for _ in 0..12 {
        committer.submit(maker.op(1, 1_000));
    }
    let mut done = Vec::new();
    committer.run(&mut done);
    assert_eq!(done.len(), 4, "4 KiB are reached with the fourth batch");
    while !committer.is_idle() {
        committer.run(&mut done);
    }
    assert_eq!((done.len(), committer.stats().groups), (12, 3));
}
