//! Every error there is, and that its text says what to do.

use std::sync::Arc;

use antiphon_proto::{NodeId, StoreUuid};
use bytes::Bytes;

use crate::disk::{Disk, write_one};
use crate::testing::{Maker, SHARD, UUID, dir, identity, lsn, open, options, run, try_open};
use crate::{
    CLUSTER_NAME_BYTES_MAX, Completion, Fault, HARD_BYTES_MAX, Identity, Op, Operation, Position,
    SNAPSHOT_META_BYTES_MAX, SimDisk, Store, StoreError,
};

/// Opens and expects an error whose text holds each of the pieces.
#[track_caller]
fn refuses(disk: &SimDisk, identity: Identity, pieces: &[&str]) -> StoreError {
    let opened = Store::open(Arc::new(disk.clone()), &dir(), identity, UUID, &options());
    let error = opened.expect_err("the store opened");
    says(&error, pieces);
    error
}

#[track_caller]
fn says(error: &StoreError, pieces: &[&str]) {
    let text = error.to_string();
    for piece in pieces {
        assert!(text.contains(piece), "{text:?} does not say {piece:?}");
    }
}

/// A disk with a store that holds ten entries, closed.
fn used() -> SimDisk {
    let disk = SimDisk::new(1);
    let mut committer = open(disk.clone()).into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, (0..10).map(|_| maker.op(1, 1_000)));
    committer.close().unwrap();
    disk
}

/// What stopped the store while doing an operation.
#[track_caller]
fn failure(disk: &SimDisk, op: impl FnOnce(Position) -> Op) -> StoreError {
    let store = open(disk.clone());
    let end = store.reader().bounds(SHARD).last;
    failure_of(store, op(end))
}

#[track_caller]
fn failure_of(store: Store, op: Op) -> StoreError {
    let mut committer = store.into_committer();
    let mut done = Vec::new();
    committer.submit(op.clone());
    committer.run(&mut done);
    let Some(Completion::Failed(error)) = done.pop() else { panic!("it did not fail") };
    assert!(committer.is_dead());
    committer.submit(op);
    committer.run(&mut done);
    assert!(done.is_empty(), "a dead store reports nothing more");
    let closed = committer.close();
    assert!(matches!(closed, Err(StoreError::Stopped)));
    Arc::into_inner(error).unwrap()
}

#[test]
fn in_use() {
    let disk = used();
    let store = open(disk.clone());
    let error = refuses(&disk, identity(), &["/data is in use", "stop that process"]);
    assert!(matches!(error, StoreError::InUse { holder: None, .. }));
    drop(store);
    open(disk);
}

#[test]
fn of_another_node_or_cluster() {
    let disk = used();
    let other = Identity { node: NodeId::new(4), ..identity() };
    let error = refuses(&disk, other, &["belongs to node 3, not to node 4", "its own directory"]);
    assert!(matches!(error, StoreError::OtherNode { .. }));
    let other = Identity { cluster: 1, cluster_name: "red".to_owned(), ..identity() };
    let error = refuses(&disk, other, &["belongs to cluster \"test\", not to \"red\""]);
    assert!(matches!(error, StoreError::OtherCluster { .. }));
}

#[test]
fn of_a_newer_version() {
    let disk = used();
    let path = dir().join("superblock");
    let mut bytes = disk.bytes(&path).unwrap();
    bytes[10] = 2;
    let crc = antiphon_proto::crc32c(&bytes[4..]).to_le_bytes();
    bytes[..4].copy_from_slice(&crc);
    disk.remove(&path).unwrap();
    write_one(&*disk.create(&path).unwrap(), &bytes, 0).unwrap();
    let error = refuses(&disk, identity(), &["format version 2", "reads up to 1", "newer version"]);
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }));
}

#[test]
fn without_a_superblock() {
    let disk = used();
    disk.remove(&dir().join("superblock")).unwrap();
    let error = refuses(&disk, identity(), &["no superblock", "restore", "start empty"]);
    assert!(matches!(error, StoreError::NoSuperblock { .. }));
}

#[test]
fn damaged() {
    for file in ["superblock", "hard/0000000000"] {
        let disk = used();
        let state = Bytes::from_static(b"promise");
        let mut committer = open(disk.clone()).into_committer();
        run(&mut committer, [Op::Hard { shard: SHARD, state, ticket: 0 }]);
        drop(committer);
        disk.rot(&dir().join(file), 40, 1).unwrap();
        let error =
            refuses(&disk, identity(), &[file, "damaged at byte 0", "from the other nodes"]);
        assert!(matches!(error, StoreError::Damaged(_)));
    }
}

#[test]
fn of_another_store() {
    let disk = used();
    let other = SimDisk::new(2);
    let fresh = StoreUuid::new(5);
    drop(Store::open(Arc::new(other.clone()), &dir(), identity(), fresh, &options()).unwrap());
    let path = dir().join("hard").join("0000000000");
    let state = Bytes::from_static(b"promise");
    let mut committer = open(other.clone()).into_committer();
    run(&mut committer, [Op::Hard { shard: SHARD, state, ticket: 0 }]);
    let bytes = other.bytes(&path).unwrap();
    write_one(&*disk.create(&path).unwrap(), &bytes, 0).unwrap();
    refuses(&disk, identity(), &["another store"]);
}

#[test]
fn read_only() {
    let disk = used();
    disk.set_read_only(true);
    let error = refuses(&disk, identity(), &["cannot be written", "mount it writable"]);
    assert!(matches!(error, StoreError::ReadOnly { .. }));
}

#[test]
fn full() {
    let disk = used();
    disk.limit_bytes(Some(20 << 10));
    let error = refuses(&disk, identity(), &["no space left", "free space"]);
    assert!(matches!(error, StoreError::Full { .. }));
    let disk = used();
    disk.fail(Operation::Write, 3, Fault::Full);
    let error = failure(&disk, |end| Maker::after(SHARD, end).op(2, 900));
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
}

#[test]
fn a_failed_sync_stops_the_store_and_is_not_tried_again() {
    let disk = used();
    let store = open(disk.clone());
    let end = store.reader().bounds(SHARD).last;
    disk.fail(Operation::Sync, 1, Fault::Device);
    let error = failure_of(store, Maker::after(SHARD, end).op(1, 10));
    says(&error, &["failed to make", "durable", "check the device"]);
    assert!(matches!(error, StoreError::Sync { .. }));
    let syncs = disk.counts().syncs;
    disk.crash(&crate::Survivors::default());
    assert_eq!(open(disk.clone()).reader().bounds(SHARD).last, end);
    assert!(disk.counts().syncs > syncs, "only another run syncs again");
}

#[test]
fn a_failed_write_stops_the_store() {
    let disk = used();
    let store = open(disk.clone());
    let end = store.reader().bounds(SHARD).last;
    disk.fail(Operation::Write, 1, Fault::Device);
    let error = failure_of(store, Maker::after(SHARD, end).op(1, 10));
    says(&error, &["failed to write /data/log/", "check the device"]);
    assert!(matches!(error, StoreError::Io { .. }));
}

#[test]
fn a_failed_read_is_an_error_and_no_damage() {
    let disk = used();
    let store = open(disk.clone());
    disk.fail(Operation::Read, 1, Fault::Device);
    let error = store.reader().read(SHARD, lsn(3), 10).unwrap_err();
    assert!(matches!(error, StoreError::Io { doing: "read", .. }));
    assert!(store.reader().read(SHARD, lsn(3), 10).unwrap().is_some(), "the next one succeeds");
}

#[test]
fn a_failed_dir_sync_stops_the_store() {
    let disk = used();
    let store = open(disk.clone());
    disk.fail(Operation::SyncDir, 1, Fault::Device);
    let state = Bytes::from_static(b"promise");
    let error = failure_of(store, Op::Hard { shard: SHARD, state, ticket: 0 });
    assert!(matches!(error, StoreError::Sync { .. }));
}

#[test]
fn trimmed() {
    let disk = used();
    let mut committer = open(disk).into_committer();
    run(&mut committer, [Op::Trim { shard: SHARD, lsn: lsn(9), ticket: 0 }]);
    let error = committer.reader().read(SHARD, lsn(1), 10).unwrap_err();
    says(&error, &["entry 1 of shard 0 was trimmed", "load a snapshot"]);
    assert!(matches!(error, StoreError::Trimmed { .. }));
}

#[test]
fn too_large() {
    let disk = used();
    let long = Identity { cluster_name: "x".repeat(CLUSTER_NAME_BYTES_MAX + 1), ..identity() };
    refuses(&disk, long, &["cluster name of 256 bytes is over the limit of 255"]);
    let state = Bytes::from(vec![0; HARD_BYTES_MAX + 1]);
    let error = failure(&disk, |_| Op::Hard { shard: SHARD, state, ticket: 0 });
    says(&error, &["hard state"]);
    let snapshots = open(disk).snapshots();
    let meta = Bytes::from(vec![0; SNAPSHOT_META_BYTES_MAX + 1]);
    let error = snapshots.begin(SHARD, Position::default(), meta).unwrap_err();
    says(&error, &["snapshot meta"]);
}

#[test]
fn the_incarnation_never_repeats() {
    let disk = SimDisk::new(1);
    for run in 1..=5 {
        let store = open(disk.clone());
        assert_eq!(store.superblock().incarnation.get(), run);
        assert_eq!(store.is_created(), run == 1);
        assert_eq!(store.superblock().clean, run == 1 || run % 2 == 1);
        if run % 2 == 0 {
            store.into_committer().close().unwrap();
        } else {
            drop(store);
            disk.crash(&crate::Survivors::default());
        }
    }
    let store = try_open(Arc::new(disk), &dir(), &options()).unwrap();
    assert_eq!(store.superblock().store, UUID);
}

#[test]
fn a_superblock_from_an_older_copy() {
    let disk = used();
    let path = dir().join("superblock");
    let old = disk.bytes(&path).unwrap();
    let mut committer = open(disk.clone()).into_committer();
    let end = committer.reader().bounds(SHARD).last;
    run(&mut committer, [Maker::after(SHARD, end).op(1, 10)]);
    drop(committer);
    disk.remove(&path).unwrap();
    write_one(&*disk.create(&path).unwrap(), &old, 0).unwrap();
    for _ in 0..3 {
        refuses(&disk, identity(), &["superblock", "older than the log"]);
    }
}

/// The group whose sync failed is read back from the cache by the next run. Whether that run
/// makes it durable before it builds on it.
fn survives_a_failed_sync_and_a_later_crash(options: &crate::Options) -> bool {
    let disk = SimDisk::new(3);
    let open = || try_open(Arc::new(disk.clone()), &dir(), options);
    let mut committer = open().unwrap().into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, [maker.op(1, 100)]);
    disk.fail(Operation::Sync, 1, Fault::Device);
    committer.submit(maker.op(1, 100));
    let mut done = Vec::new();
    while !committer.is_idle() && !matches!(done.last(), Some(Completion::Failed(_))) {
        committer.run(&mut done);
    }
    drop(committer);
    let store = open().unwrap();
    let believed = store.reader().bounds(SHARD).last;
    let mut committer = store.into_committer();
    run(&mut committer, [Maker::after(SHARD, believed).op(1, 100)]);
    drop(committer);
    disk.crash(&crate::Survivors::default());
    let Ok(store) = open() else { return false };
    store.recovery().damage.is_empty()
        && store.reader().bounds(SHARD).last.id.lsn == believed.id.lsn.next()
}

/// A run that was killed had made a group durable and not noted it; the next one opens and
/// writes nothing; then the group rots. Whether that is seen.
fn a_seen_end_that_rots_is_missed(options: &crate::Options) -> bool {
    let disk = SimDisk::new(3);
    let open = || try_open(Arc::new(disk.clone()), &dir(), options).unwrap();
    let mut committer = open().into_committer();
    run(&mut committer, [Maker::new(SHARD).op(1, 100)]);
    drop(committer);
    assert_eq!(open().reader().bounds(SHARD).last.id.lsn, lsn(1));
    disk.crash(&crate::Survivors::default());
    disk.rot(&dir().join("log").join("0000000000000001.log"), 512 + 64 + 70, 1).unwrap();
    let store = open();
    assert!(store.reader().bounds(SHARD).last.id.lsn < lsn(1), "it can't be read");
    store.recovery().amnesia
}

#[test]
fn what_an_opening_found_is_not_taken_for_torn_later() {
    assert!(a_seen_end_that_rots_is_missed(&options()));
    let careless = crate::testing::with_bug(crate::Mutation::NoNoteAtOpen);
    assert!(!a_seen_end_that_rots_is_missed(&careless), "the test sees the bug");
}

#[test]
fn the_last_group_is_made_durable_before_a_run_builds_on_it() {
    assert!(survives_a_failed_sync_and_a_later_crash(&options()));
    let careless = crate::testing::with_bug(crate::Mutation::BelieveCache);
    assert!(!survives_a_failed_sync_and_a_later_crash(&careless), "the test sees the bug");
}
