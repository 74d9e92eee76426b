//! Every byte of a log flipped under a running store, and what mending makes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_proto::{Batch, Epoch, Lsn, ShardId};

use crate::testing::{
    Maker, OTHER, SHARD, dir, lsn, open, options, read_all, run, try_open, with_bug,
};
use crate::{
    Disk, LogReader, Mended, Mutation, Op, Options, SimDisk, Store, StoreError, Stretch, Survivors,
};

/// A log of several segments, of two runs, with a cut in it; and what it holds.
fn filled() -> (SimDisk, Vec<u8>) {
    let disk = SimDisk::new(1);
    let mut committer = open(disk.clone()).into_committer();
    let (mut maker, mut other) = (Maker::new(SHARD), Maker::new(OTHER));
    run(&mut committer, (0..12).flat_map(|_| [maker.op(3, 90), maker.op(1, 700), other.op(1, 60)]));
    run(&mut committer, [Op::Truncate { shard: SHARD, lsn: lsn(40), ticket: 0 }]);
    let mut maker = Maker::after(SHARD, committer.reader().bounds(SHARD).last);
    maker.epoch = Epoch::new(2);
    run(&mut committer, (0..8).map(|_| maker.op(2, 200)));
    committer.close().unwrap();
    let mut committer = open(disk.clone()).into_committer();
    run(&mut committer, (0..12).map(|_| maker.op(1, 1_500)));
    let all = read_all(&committer.reader(), SHARD);
    committer.close().unwrap();
    drop(open(disk.clone())); // every sealed segment has its index file
    (disk, all)
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let log = dir().join("log");
    let names = disk.list(&log).unwrap().into_iter().filter(|name| name.ends_with(".log"));
    names.map(|name| log.join(name)).collect()
}

/// The entries of a stretch, from a reader whose log is whole.
fn copy(whole: &LogReader, stretch: &Stretch) -> Batch {
    let mut bytes = Vec::new();
    let mut next = stretch.first;
    while next <= stretch.last {
        let batch = whole.read(stretch.shard, next, 1).unwrap().unwrap();
        bytes.extend_from_slice(batch.bytes());
        next = batch.last().lsn.next();
    }
    Batch::decode(stretch.shard, stretch.before, bytes.into()).unwrap()
}

/// The first entry that can't be read, of any shard.
fn damaged(reader: &LogReader) -> Option<(ShardId, Lsn)> {
    for shard in [SHARD, OTHER] {
        let mut next = reader.bounds(shard).base.id.lsn.next();
        loop {
            match reader.read(shard, next, 1) {
                Ok(Some(batch)) => next = batch.last().lsn.next(),
                Ok(None) => break,
                Err(StoreError::Damaged(damage)) => {
                    let (_, first, _) = damage.entries.unwrap();
                    return Some((shard, first));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    None
}

/// Mends all there is to mend; whether it could.
fn mend_all(store: &Store, whole: &LogReader) -> Result<u32, &'static str> {
    let reader = store.reader();
    let mut mended = 0;
    while let Some((shard, at)) = damaged(&reader) {
        reader.distrust(shard, at).unwrap();
        let stretch = reader.stretch(shard, at).unwrap();
        match reader.mend(shard, &copy(whole, &stretch)).unwrap() {
            Mended::Whole => mended += 1,
            Mended::Gone => panic!("nobody cuts this log"),
            Mended::Unfit(why) => return Err(why),
        }
    }
    Ok(mended)
}

/// The log as another node's good disk has it.
fn good(disk: &SimDisk) -> LogReader {
    open(disk.fork()).reader()
}

#[test]
fn every_flip_under_a_running_store_is_mended_or_refused() {
    let (disk, all) = filled();
    let whole = good(&disk);
    let (mut mended, mut refused, mut harmless) = (0, 0, 0);
    for path in segments(&disk) {
        let bytes = disk.bytes(&path).unwrap();
        for offset in (0..bytes.len()).step_by(13) {
            let disk = disk.fork();
            let store = open(disk.clone());
            // Under a running store, which has read the index files and not the segments.
            disk.rot(&path, offset as u64, 0x10).unwrap();
            match mend_all(&store, &whole) {
                Ok(0) => harmless += 1,
                Ok(_) => {
                    mended += 1;
                    assert_eq!(disk.bytes(&path).unwrap(), bytes, "{} {offset}", path.display());
                    assert_eq!(read_all(&store.reader(), SHARD), all);
                    drop(store);
                    let store = open(disk);
                    assert_eq!(store.recovery().damage, vec![], "{} {offset}", path.display());
                    assert!(!store.recovery().amnesia);
                }
                Err(_) => {
                    refused += 1;
                    drop(store);
                    // What can't be mended in place is found by the next opening.
                    assert!(!open(disk).recovery().damage.is_empty(), "{offset}");
                }
            }
        }
    }
    println!("{mended} mended, {refused} left to the next opening, {harmless} without effect");
    assert!(mended > 1_000 && refused * 10 < mended && harmless > 100);
}

#[test]
fn a_crash_while_mending_leaves_it_whole_or_found() {
    let (disk, all) = filled();
    let whole = good(&disk);
    let path = segments(&disk).remove(0);
    let store = open(disk.clone());
    for offset in 1_000..1_080 {
        disk.rot(&path, offset, 0xff).unwrap();
    }
    disk.record();
    assert_eq!(mend_all(&store, &whole), Ok(1));
    let copies = disk.take_recording();
    assert!(copies.len() >= 3, "an index file goes, bytes are written, and synced");
    let mut found = 0;
    for copy in copies {
        let pieces = copy.pending();
        for keep in [vec![false; pieces], vec![true; pieces]] {
            let disk = copy.fork();
            let torn = keep.first().map(|_| 0);
            disk.crash(&Survivors { keep, torn, zeroed: None });
            let store = open(disk);
            let reader = store.reader();
            match damaged(&reader) {
                None => assert_eq!(read_all(&reader, SHARD), all),
                // With its index file gone the opening sees it.
                Some(_) if !store.recovery().damage.is_empty() => found += 1,
                // The index file's removal was not durable: as before the mending.
                Some(_) => assert_eq!(mend_all(&store, &whole), Ok(1)),
            }
        }
    }
    assert!(found > 0, "a crash between removal and writing is met");
}

#[test]
fn the_header_of_a_group_is_made_again() {
    let disk = SimDisk::new(1);
    let wide = Options { index_bytes: 64 << 10, ..options() };
    let open = |disk: &SimDisk| try_open(Arc::new(disk.clone()), &dir(), &wide).unwrap();
    let mut committer = open(&disk).into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, (0..12).map(|_| maker.op(2, 40)));
    committer.close().unwrap();
    let whole = open(&disk.fork()).reader();
    let path = segments(&disk).remove(0);
    let bytes = disk.bytes(&path).unwrap();
    // A header's sector, the first group's, and then those that the stretch leads through.
    for group in 1..11 {
        for byte in 0..64 {
            let disk = disk.fork();
            let store = open(&disk);
            disk.rot(&path, 512 * (1 + group) + byte, 0x20).unwrap();
            let (shard, at) = damaged(&store.reader()).unwrap();
            assert_eq!((shard, at), (SHARD, lsn(2 * group + 1)));
            assert_eq!(mend_all(&store, &whole), Ok(1), "group {group} byte {byte}");
            assert_eq!(disk.bytes(&path).unwrap(), bytes);
        }
    }
}

/// A copy with the same start and another history behind it.
fn other_history(stretch: &Stretch, whole: &LogReader) -> Batch {
    let before = whole.position(stretch.shard, stretch.first.prev()).unwrap();
    let mut maker = Maker::after(stretch.shard, before);
    let like = copy(whole, stretch);
    let sizes: Vec<usize> = like.frames().map(|frame| frame.payload.len()).collect();
    let mut bytes = Vec::new();
    maker.epoch = Epoch::new(9);
    for size in sizes {
        bytes.extend_from_slice(maker.batch(1, size).bytes());
    }
    Batch::decode(stretch.shard, stretch.before, bytes.into()).unwrap()
}

/// What becomes of such a copy, and whether it changed the log's files.
fn mended_with_another_history(options: &Options) -> (Mended, bool) {
    let (disk, _) = filled();
    let whole = good(&disk);
    let files = || segments(&disk).iter().map(|path| disk.bytes(path).unwrap()).collect::<Vec<_>>();
    let before = files();
    let store = try_open(Arc::new(disk.clone()), &dir(), options).unwrap();
    let reader = store.reader();
    let stretch = reader.stretch(SHARD, lsn(6)).unwrap();
    let mended = reader.mend(SHARD, &other_history(&stretch, &whole)).unwrap();
    (mended, files() != before)
}

#[test]
fn a_copy_of_another_history_is_refused_before_anything_is_written() {
    let (mended, changed) = mended_with_another_history(&options());
    assert_eq!(mended, Mended::Unfit("the copy is of another history"));
    assert!(!changed);
    // The planted bug shows that the comparison is what keeps the log.
    let (_, changed) = mended_with_another_history(&with_bug(Mutation::MendUnproven));
    assert!(changed);
}

#[test]
fn a_damaged_active_segment_gets_no_index_file_when_it_is_sealed() {
    let disk = SimDisk::new(1);
    let mut committer = open(disk.clone()).into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, (0..4).map(|_| maker.op(1, 320)));
    let path = segments(&disk).remove(0);
    disk.rot(&path, 512 * 2 + 200, 1).unwrap();
    let reader = committer.reader();
    let (shard, at) = damaged(&reader).unwrap();
    reader.distrust(shard, at).unwrap();
    run(&mut committer, (0..30).map(|_| maker.op(1, 320)));
    assert!(committer.stats().segments > 1);
    committer.close().unwrap();
    let index: &Path = &path.with_extension("idx");
    assert!(disk.bytes(index).is_err());
    assert!(open(disk).recovery().amnesia, "the opening reads it and finds the damage");
}
