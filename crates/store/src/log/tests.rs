//! The log through its store: what goes in comes out, whatever happens between.

use antiphon_proto::{EntryId, Epoch};

use crate::testing::{Maker, OTHER, SHARD, lsn, open, read_all, run};
use crate::{Completion, Op, SimDisk};

#[test]
fn entries_come_back_as_they_went_in() {
    let disk = SimDisk::new(1);
    let mut committer = open(disk.clone()).into_committer();
    let (mut one, mut two) = (Maker::new(SHARD), Maker::new(OTHER));
    let mut expected = [Vec::new(), Vec::new()];
    for size in 0..120 {
        for (maker, expected) in [&mut one, &mut two].into_iter().zip(&mut expected) {
            let batch = maker.batch(1 + size % 4, size * 3);
            expected.extend_from_slice(batch.bytes());
            let shard = maker.shard;
            run(&mut committer, [Op::Append { shard, batch, ticket: 0 }]);
        }
    }
    assert!(committer.stats().segments > 5, "the log rolled over");
    assert_eq!(read_all(&committer.reader(), SHARD), expected[0]);
    assert_eq!(read_all(&committer.reader(), OTHER), expected[1]);
    drop(committer);
    disk.crash(&crate::Survivors::default());
    let store = open(disk);
    assert_eq!(store.recovery().damage, vec![]);
    assert_eq!(store.recovery().torn, None);
    assert_eq!(store.reader().bounds(SHARD).last, one.position());
    assert_eq!(read_all(&store.reader(), SHARD), expected[0]);
    assert_eq!(read_all(&store.reader(), OTHER), expected[1]);
}

#[test]
fn a_reader_begins_anywhere() {
    let mut committer = open(SimDisk::new(1)).into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, (0..50).map(|size| maker.op(3, size * 5)));
    let reader = committer.reader();
    for from in 1..=150 {
        let batch = reader.read(SHARD, lsn(from), 1).unwrap().unwrap();
        assert_eq!(batch.first().lsn, lsn(from));
        assert_eq!(batch.frames().count(), 1, "one entry is the least");
        assert_eq!(reader.position(SHARD, lsn(from)).unwrap().chain, batch.chain());
    }
    assert_eq!(reader.read(SHARD, lsn(151), 100).unwrap(), None);
    assert_eq!(reader.read(OTHER, lsn(1), 100).unwrap(), None);
}

#[test]
fn a_batch_larger_than_a_segment_gets_a_segment_of_its_own() {
    let disk = SimDisk::new(1);
    let mut committer = open(disk.clone()).into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, [maker.op(1, 10), maker.op(1, 50_000), maker.op(2, 10)]);
    let before = read_all(&committer.reader(), SHARD);
    drop(committer);
    assert_eq!(read_all(&open(disk).reader(), SHARD), before);
}

#[test]
fn truncation_sets_aside_and_cuts() {
    let disk = SimDisk::new(1);
    let mut committer = open(disk.clone()).into_committer();
    let mut maker = Maker::new(SHARD);
    let mut other = Maker::new(OTHER);
    run(&mut committer, (0..20).flat_map(|_| [maker.op(2, 300), other.op(1, 100)]));
    let kept = committer.reader().position(SHARD, lsn(13)).unwrap();
    let cut = committer.reader().read(SHARD, lsn(14), 1 << 20).unwrap().unwrap();
    let done = run(&mut committer, [Op::Truncate { shard: SHARD, lsn: lsn(13), ticket: 9 }]);
    let [Completion::Truncated { end, aside: Some(path), .. }] = &done[..] else {
        panic!("{done:?}")
    };
    assert_eq!(*end, kept);
    let aside = super::load_diverged(&disk, path).unwrap();
    let entries = aside.entries.unwrap();
    assert_eq!((entries.first(), entries.last().lsn), (cut.first(), lsn(40)));

    let mut maker = Maker::after(SHARD, kept);
    maker.epoch = Epoch::new(5);
    run(&mut committer, (0..20).map(|_| maker.op(1, 200)));
    let expected = read_all(&committer.reader(), SHARD);
    let epochs = vec![(Epoch::new(1), lsn(1)), (Epoch::new(5), lsn(14))];
    assert_eq!(committer.reader().epochs(SHARD), epochs);
    drop(committer);
    let reader = open(disk).reader();
    assert_eq!(read_all(&reader, SHARD), expected);
    assert_eq!(reader.epochs(SHARD), epochs);
    assert_eq!(reader.entry_at(SHARD, lsn(13)), Some(EntryId::new(Epoch::new(1), lsn(13))));
    assert_eq!(reader.entry_at(SHARD, lsn(14)), Some(EntryId::new(Epoch::new(5), lsn(14))));
    assert_eq!(reader.entry_at(SHARD, lsn(34)), None);
    assert_eq!(reader.bounds(OTHER).last, other.position());
}

#[test]
fn trimming_lets_go_of_whole_segments_and_uses_them_again() {
    let disk = SimDisk::new(1);
    let mut committer = open(disk.clone()).into_committer();
    let mut maker = Maker::new(SHARD);
    for round in 1..=12 {
        run(&mut committer, (0..10).map(|_| maker.op(1, 900)));
        let trim = Op::Trim { shard: SHARD, lsn: lsn(round * 10 - 4), ticket: 0 };
        let done = run(&mut committer, [trim]);
        let [Completion::Trimmed { first, .. }] = done[..] else { panic!("{done:?}") };
        assert!(first <= lsn(round * 10 - 4) && first.get() + 16 > round * 10, "{first}");
        assert_eq!(committer.reader().bounds(SHARD).first.unwrap().lsn, first);
    }
    assert!(committer.stats().segments < 5);
    let refused = committer.reader().read(SHARD, lsn(1), 10);
    assert!(matches!(refused, Err(crate::StoreError::Trimmed { .. })), "{refused:?}");
    let expected = read_all(&committer.reader(), SHARD);
    let bounds = committer.reader().bounds(SHARD);
    drop(committer);
    let store = open(disk);
    assert_eq!(store.recovery().damage, vec![]);
    assert_eq!(store.reader().bounds(SHARD), bounds);
    assert_eq!(read_all(&store.reader(), SHARD), expected);
}

#[test]
fn a_log_begins_anew_behind_a_snapshot() {
    let disk = SimDisk::new(1);
    let mut committer = open(disk.clone()).into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, (0..10).map(|_| maker.op(1, 100)));
    let position = crate::testing::position(4, 1_000);
    run(&mut committer, [Op::Restart { shard: SHARD, position, ticket: 0 }]);
    let mut maker = Maker::after(SHARD, position);
    run(&mut committer, (0..30).map(|_| maker.op(1, 500)));
    let expected = read_all(&committer.reader(), SHARD);
    drop(committer);
    let reader = open(disk).reader();
    assert_eq!(reader.bounds(SHARD).base, position);
    assert_eq!(reader.bounds(SHARD).last, maker.position());
    assert_eq!(read_all(&reader, SHARD), expected);
}

#[test]
fn readers_go_on_while_the_writer_rolls_and_trims() {
    let dir = tempfile::tempdir().unwrap();
    let store = crate::testing::try_open(
        std::sync::Arc::new(crate::RealDisk),
        dir.path(),
        &crate::testing::options(),
    );
    let mut committer = store.unwrap().into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, [maker.op(1, 100)]);
    let reader = committer.reader();
    let follow = move || {
        let (mut next, mut read) = (lsn(1), 0_u64);
        while next <= lsn(3_000) {
            match reader.read(SHARD, next, 3_000) {
                Ok(Some(batch)) => {
                    assert_eq!(batch.first().lsn, next);
                    read += batch.frames().count() as u64;
                    next = batch.last().lsn.next();
                }
                Ok(None) => std::thread::yield_now(),
                Err(crate::StoreError::Trimmed { first, .. }) => next = first,
                Err(error) => panic!("{error}"),
            }
        }
        read
    };
    let followers = [std::thread::spawn(follow.clone()), std::thread::spawn(follow)];
    for round in 1..=300 {
        run(&mut committer, [maker.op(10, 100)]);
        if round % 10 == 0 {
            let trim = lsn(round * 10 - 40);
            run(&mut committer, [Op::Trim { shard: SHARD, lsn: trim, ticket: 0 }]);
        }
    }
    for follower in followers {
        assert!(follower.join().unwrap() > 0);
    }
}
