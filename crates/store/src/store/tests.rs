//! The store on the real file system.

use std::sync::Arc;

use crate::testing::{Maker, SHARD, lsn, options, read_all, run, try_open};
use crate::{Op, Options, Prepare, RealDisk};

#[test]
fn a_real_directory_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep").join("data");
    let options = Options { prepare: Prepare::Thread, ..options() };
    let open = || try_open(Arc::new(RealDisk), &path, &options).unwrap();
    let mut committer = open().into_committer();
    let mut maker = Maker::new(SHARD);
    for round in 1..=8 {
        run(&mut committer, (0..6).map(|_| maker.op(2, 700)));
        run(&mut committer, [Op::Trim { shard: SHARD, lsn: lsn(round * 12 - 9), ticket: 0 }]);
    }
    run(&mut committer, [Op::Truncate { shard: SHARD, lsn: lsn(93), ticket: 0 }]);
    let expected = read_all(&committer.reader(), SHARD);
    let bounds = committer.reader().bounds(SHARD);
    committer.close().unwrap();
    let store = open();
    assert!(store.superblock().clean);
    assert_eq!(store.recovery(), &crate::Recovery::default());
    assert_eq!(store.reader().bounds(SHARD), bounds);
    assert_eq!(read_all(&store.reader(), SHARD), expected);
}

#[test]
fn an_index_made_while_writing_equals_one_made_by_scanning() {
    use crate::disk::Disk;
    use crate::testing::{OTHER, dir, open};
    let disk = crate::SimDisk::new(1);
    let mut committer = open(disk.clone()).into_committer();
    let (mut one, mut two) = (Maker::new(SHARD), Maker::new(OTHER));
    for round in 0..40 {
        run(&mut committer, [one.op(2, 300), two.op(1, 200)]);
        if round % 9 == 8 {
            let end = committer.reader().bounds(SHARD).last.id.lsn.get();
            run(&mut committer, [Op::Truncate { shard: SHARD, lsn: lsn(end - 7), ticket: 0 }]);
            one = Maker::after(SHARD, committer.reader().bounds(SHARD).last);
            one.epoch = antiphon_proto::Epoch::new(round);
        }
    }
    let log = dir().join("log");
    let names = disk.list(&log).unwrap();
    let made: Vec<_> = names.iter().filter(|name| name.ends_with(".idx")).collect();
    assert!(made.len() > 3, "{names:?}");
    let bytes: Vec<_> = made.iter().map(|name| disk.bytes(&log.join(name)).unwrap()).collect();
    drop(committer);
    for name in &made {
        disk.remove(&log.join(name)).unwrap();
    }
    let store = open(disk.clone());
    assert_eq!(store.recovery().rescanned, made.len() as u64);
    assert_eq!(store.recovery().damage, vec![]);
    for (name, written) in made.iter().zip(bytes) {
        assert_eq!(disk.bytes(&log.join(name)).unwrap(), written, "{name}");
    }
}
