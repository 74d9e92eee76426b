//! Looking into a directory, live and dead.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::Disk;
use crate::testing::{Maker, OTHER, SHARD, dir, lsn, open, run};
use crate::{Op, SimDisk, StoreError, inspect};

#[test]
fn a_live_directory_is_read_without_a_change() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let missing = inspect::open(&shared, &dir());
    assert!(matches!(missing, Err(StoreError::NoSuperblock { .. })));
    let mut committer = open(disk.clone()).into_committer();
    let (mut one, mut two) = (Maker::new(SHARD), Maker::new(OTHER));
    run(&mut committer, (0..20).flat_map(|_| [one.op(2, 500), two.op(1, 90)]));
    let state = Bytes::from_static(b"promise");
    run(&mut committer, [Op::Hard { shard: OTHER, state, ticket: 0 }]);
    let before = disk.counts();
    let found = inspect::open(&shared, &dir()).unwrap();
    assert_eq!(found.superblock.incarnation.get(), 1);
    assert_eq!(found.segments.len() as u64, committer.stats().segments);
    assert_eq!(found.hard, [(OTHER, Some(7))]);
    assert_eq!(found.damage, vec![]);
    assert_eq!(found.reader().bounds(SHARD), committer.reader().bounds(SHARD));
    let mut seen = Vec::new();
    let mut visit = |lsn: u64| {
        seen.push(lsn);
        if lsn == 33 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    found.entries(SHARD, lsn(30), |frame| visit(frame.header.id.lsn.get())).unwrap();
    assert_eq!(seen, [30, 31, 32, 33]);
    let mut progress = Vec::new();
    let verified = inspect::verify(&shared, &dir(), |at| progress.push(at)).unwrap();
    assert_eq!(verified.damage, vec![]);
    assert_eq!(progress.len(), found.segments.len());
    assert!(progress.iter().all(|at| at.bytes <= at.of));
    assert_eq!(progress.last().map(|at| at.bytes), progress.last().map(|at| at.of));
    let after = disk.counts();
    assert_eq!(
        (before.writes, before.syncs, before.names),
        (after.writes, after.syncs, after.names)
    );
    run(&mut committer, [one.op(1, 1)]);
}

#[test]
fn verification_names_every_damaged_file() {
    let disk = SimDisk::new(1);
    let mut committer = open(disk.clone()).into_committer();
    let mut one = Maker::new(SHARD);
    run(&mut committer, (0..20).map(|_| one.op(2, 500)));
    let state = Bytes::from_static(b"promise");
    run(&mut committer, [Op::Hard { shard: SHARD, state, ticket: 0 }]);
    let hard = dir().join("hard").join("0000000000");
    let segment = dir().join("log").join("0000000000000002.log");
    disk.rot(&hard, 33, 1).unwrap();
    disk.rot(&segment, 1_000, 1).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let found = inspect::verify(&shared, &dir(), |_| {}).unwrap();
    assert_eq!(found.hard, [(SHARD, None)]);
    for path in [&hard, &segment] {
        assert!(found.damage.iter().any(|damage| damage.path == *path), "{:?}", found.damage);
    }
    // The quick look trusts the index of a sealed segment; reading finds it.
    let quick = inspect::open(&shared, &dir()).unwrap();
    assert!(quick.damage.iter().all(|damage| damage.path == hard));
    let read = quick.entries(SHARD, lsn(1), |_| ControlFlow::Continue(()));
    assert!(matches!(read, Err(StoreError::Damaged(_))));
}
