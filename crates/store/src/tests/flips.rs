//! Every byte of every file flipped in turn: noticed, or without effect. Never a wrong read,
//! never a cut of what was acknowledged.

mod million;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, write_one};
use crate::testing::{Maker, OTHER, SHARD, dir, lsn, options, run, try_open};
use crate::{Op, Options, SimDisk, StoreError};

use super::model::{Driver, Model, Step};

/// Flips every `step`th byte only, to be quicker; 1 by default.
fn step() -> usize {
    match std::env::var("ANTIPHON_FLIP_STEP") {
        Ok(text) => text.parse().expect("ANTIPHON_FLIP_STEP is a number"),
        Err(_) => 1,
    }
}

/// A store with a bit of everything, left in good order or not, and what it holds.
fn full_store(closed: bool) -> (SimDisk, Model) {
    let small = Options { segment_bytes: 3 << 10, ..options() };
    let mut driver = Driver::new(SimDisk::new(1), small);
    driver.open();
    let round = |bytes| [Step::Append(SHARD, 2, bytes), Step::Append(OTHER, 1, bytes), Step::Run];
    let steps = [200, 100, 300, 250].into_iter().flat_map(round);
    driver.run(&steps.collect::<Vec<_>>());
    driver.run(&[Step::Truncate(SHARD, 5), Step::Run, Step::Epoch(SHARD, 2)]);
    driver.run(&[Step::Hard(SHARD, vec![9; 40]), Step::Hard(OTHER, vec![]), Step::Run]);
    driver.run(&[150, 60].into_iter().flat_map(round).collect::<Vec<_>>());
    driver.run(&[Step::Snapshot(SHARD, 700), Step::Rest]);
    if closed {
        driver.run(&[Step::Reopen]);
    }
    let model = driver.states.last().unwrap().clone();
    let disk = driver.disk.clone();
    drop(driver);
    (disk, model)
}

/// Flips each byte of a file and looks at the store; how many flips were noticed at once.
fn sweep(
    (disk, model): &(SimDisk, Model),
    path: &Path,
    options: &Options,
    mask: u8,
) -> Result<(u64, u64), String> {
    let length = disk.bytes(path).unwrap().len();
    let mut noticed = 0;
    let mut flips = 0;
    for offset in (0..length).step_by(step()) {
        let disk = disk.fork();
        disk.rot(path, offset as u64, mask).unwrap();
        flips += 1;
        let seen = look(&disk, model, path, options)
            .map_err(|why| format!("{} byte {offset}: {why}", path.display()))?;
        noticed += u64::from(seen == Seen::Opening);
    }
    Ok((flips, noticed))
}

/// When a flip was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Opening,
    Reading,
    Harmless,
}

/// When the flip was noticed; an error if it did harm.
fn look(disk: &SimDisk, model: &Model, path: &Path, options: &Options) -> Result<Seen, String> {
    let before = disk.bytes(path).unwrap();
    let store = match try_open(Arc::new(disk.clone()), &dir(), options) {
        Ok(store) => store,
        Err(StoreError::Damaged(_)) => return Ok(Seen::Opening),
        Err(error) => return Err(format!("another error than damage: {error}")),
    };
    let noticed = !store.recovery().damage.is_empty()
        || store.recovery().amnesia
        || !store.snapshots().broken().is_empty();
    let is_log = path.extension().is_some_and(|name| name == "log");
    if noticed && is_log && disk.bytes(path).unwrap() != before {
        return Err("damage was written over".to_owned());
    }
    let mut met = false;
    for (shard, expected) in &model.shards {
        let reader = store.reader();
        let end = reader.bounds(*shard).last;
        let expected_end = expected.end();
        if end != expected_end && !noticed {
            return Err(format!("shard {shard} ends at {} without notice", end.id));
        }
        let kept = expected.frames.iter().filter(|(at, _)| at.id.lsn >= expected.floor);
        for (position, frame) in kept {
            match reader.read(*shard, position.id.lsn, 1) {
                Ok(Some(batch)) if batch.bytes() == frame => {}
                Ok(Some(_)) => return Err(format!("a wrong read of {}", position.id)),
                Ok(None) if noticed => {}
                Err(StoreError::Damaged(_)) => met = true,
                Ok(None) => return Err(format!("{} is gone without notice", position.id)),
                Err(error) => return Err(format!("reading {}: {error}", position.id)),
            }
        }
    }
    if !noticed
        && model.hard.iter().any(|(of, state)| store.hard(*of) != Some(&state.clone().into()))
    {
        return Err("the hard state changed without notice".to_owned());
    }
    if !noticed
        && store.snapshots().latest(SHARD).map(|s| s.position) != model.snapshot.map(|s| s.1)
    {
        return Err("the snapshot is gone without notice".to_owned());
    }
    Ok(match (noticed, met) {
        (true, _) => Seen::Opening,
        (false, true) => Seen::Reading,
        (false, false) => Seen::Harmless,
    })
}

/// All files of a data directory.
fn files(disk: &SimDisk) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for part in ["", "log", "hard", "snap"] {
        let dir = dir().join(part);
        files.extend(disk.list(&dir).unwrap().into_iter().map(|name| dir.join(name)));
    }
    files
}

/// Flips each byte of the log's segments.
pub(super) fn sweep_log(options: &Options, mask: u8) -> Result<u64, String> {
    let store = full_store(true);
    let mut flips = 0;
    for path in files(&store.0) {
        if path.extension().is_some_and(|name| name == "log") {
            flips += sweep(&store, &path, options, mask)?.0;
        }
    }
    Ok(flips)
}

#[track_caller]
fn sweep_all(closed: bool, mask: u8) {
    let store = full_store(closed);
    let options = Options { segment_bytes: 3 << 10, ..options() };
    let (mut all, mut at_once) = (0, 0);
    for path in files(&store.0) {
        let (flips, noticed) =
            sweep(&store, &path, &options, mask).unwrap_or_else(|e| panic!("{e}"));
        println!("{:40} {flips:6} flips, {noticed:6} noticed when opening", path.display());
        (all, at_once) = (all + flips, at_once + noticed);
    }
    assert!(at_once > 1_000 / step() as u64, "flips are noticed");
    println!("{all} flips, no wrong read, nothing cut");
}

#[test]
fn every_flip_after_closing_is_seen_or_harmless() {
    sweep_all(true, 1);
}

#[test]
fn every_flip_after_a_kill_is_seen_or_harmless() {
    sweep_all(false, 0x80);
}

#[test]
fn every_flip_of_cut_entries_is_seen() {
    let (disk, model) = full_store(true);
    let aside = &model.asides[0];
    for offset in 0..disk.bytes(&aside.path).unwrap().len() {
        let disk = disk.fork();
        disk.rot(&aside.path, offset as u64, 4).unwrap();
        let read = crate::inspect::diverged(&disk, &aside.path);
        assert!(matches!(read, Err(StoreError::Damaged(_))), "byte {offset}: {read:?}");
    }
}

#[test]
fn verification_sees_every_flip_of_a_live_group() {
    let disk = SimDisk::new(1);
    let small = Options { segment_bytes: 3 << 10, ..options() };
    let open = || try_open(Arc::new(disk.clone()), &dir(), &small).unwrap();
    let mut committer = open().into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, (0..3).map(|_| maker.op(1, 320)));
    committer.close().unwrap();
    let path = dir().join("log").join("0000000000000001.log");
    // One sector of header, then groups of exactly one sector each.
    for offset in 0..512 + 3 * 448 {
        let disk = disk.fork();
        disk.rot(&path, offset, 16).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let found = crate::inspect::verify(&disk, &dir(), |_| {}).unwrap();
        let group = (offset % 512) < 448 && offset >= 512;
        if group {
            assert!(!found.damage.is_empty(), "byte {offset}");
        }
    }
}

#[test]
fn damage_is_reported_and_the_rest_can_be_read() {
    let disk = SimDisk::new(1);
    let mut committer =
        try_open(Arc::new(disk.clone()), &dir(), &options()).unwrap().into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, (0..6).map(|_| maker.op(1, 320)));
    drop(committer);
    // The third group begins behind the header's sector and two groups of a sector each.
    let path = dir().join("log").join("0000000000000001.log");
    disk.rot(&path, 512 * 3 + 200, 1).unwrap();
    let store = try_open(Arc::new(disk.clone()), &dir(), &options()).unwrap();
    let damage = &store.recovery().damage;
    assert_eq!(damage[0].path, path);
    assert_eq!(damage[0].offset, 512 * 3);
    // The one behind the hole proves itself by nothing, so it counts as missing too.
    assert!(damage.iter().any(|d| d.entries == Some((SHARD, lsn(3), lsn(4)))), "{damage:?}");
    assert!(store.recovery().amnesia, "acknowledged entries are missing");
    let reader = store.reader();
    assert_eq!(reader.read(SHARD, lsn(1), 9999).unwrap().unwrap().last().lsn, lsn(2));
    assert!(matches!(reader.read(SHARD, lsn(3), 1), Err(StoreError::Damaged(_))));
    assert_eq!(reader.read(SHARD, lsn(5), 9999).unwrap().unwrap().last(), maker.position().id);
    // The caller may decide to cut before the hole and to fetch the rest again.
    let mut committer = store.into_committer();
    run(&mut committer, [Op::Truncate { shard: SHARD, lsn: lsn(2), ticket: 0 }]);
    let end = committer.reader().bounds(SHARD).last;
    let mut again = Maker::after(SHARD, end);
    run(&mut committer, [again.op(4, 100)]);
    assert_eq!(committer.reader().bounds(SHARD).last, again.position());
    drop(committer);
    let store = try_open(Arc::new(disk), &dir(), &options()).unwrap();
    assert!(!store.recovery().damage.is_empty(), "the place is still bad");
    assert!(store.recovery().damage.iter().all(|damage| damage.entries.is_none()));
    assert!(!store.recovery().amnesia, "all entries are there again");
    assert_eq!(crate::testing::read_all(&store.reader(), SHARD).len(), 2 * 384 + 4 * 164);
}

#[test]
fn a_lost_end_is_amnesia_and_is_not_written_over() {
    let disk = SimDisk::new(1);
    let open = || try_open(Arc::new(disk.clone()), &dir(), &options()).unwrap();
    let mut committer = open().into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, (0..6).map(|_| maker.op(1, 320)));
    committer.close().unwrap();
    let path = dir().join("log").join("0000000000000001.log");
    disk.rot(&path, 512 * 6 + 9, 1).unwrap();
    let store = open();
    assert!(store.recovery().amnesia);
    let lost = Some((SHARD, lsn(6), lsn(6)));
    assert!(store.recovery().damage.iter().any(|d| d.entries == lost));
    let end = store.reader().bounds(SHARD).last;
    assert_eq!(end.id.lsn, lsn(5));
    // A peer sends the entry again: it goes to a new segment, the damage stays as it is.
    let damaged = disk.bytes(&path).unwrap();
    let mut committer = store.into_committer();
    run(&mut committer, [Maker::after(SHARD, end).op(1, 320)]);
    assert_eq!(disk.bytes(&path).unwrap(), damaged);
    assert_eq!(committer.stats().segments, 2);
}

#[test]
fn a_log_cut_at_any_byte_keeps_its_longest_whole_part() {
    let disk = SimDisk::new(1);
    let open = |disk: &SimDisk| try_open(Arc::new(disk.clone()), &dir(), &options()).unwrap();
    let mut committer = open(&disk).into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, (0..6).map(|_| maker.op(2, 250)));
    let expected = crate::testing::read_all(&committer.reader(), SHARD);
    drop(committer);
    let path = dir().join("log").join("0000000000000001.log");
    let whole = disk.bytes(&path).unwrap();
    // A header's sector, then groups of two sectors each: 692 bytes and padding.
    let (group, frame) = (64 + 2 * (64 + 250), 64 + 250);
    for length in (0..whole.len()).step_by(step()) {
        let disk = disk.fork();
        disk.remove(&path).unwrap();
        write_one(&*disk.create(&path).unwrap(), &whole[..length], 0).unwrap();
        let store = open(&disk);
        let groups = (0..6).filter(|at| 512 + at * 1024 + group <= length).count();
        let end = store.reader().bounds(SHARD).last.id.lsn;
        assert_eq!(end.get(), groups as u64 * 2, "cut at {length}");
        assert_eq!(store.recovery().damage, vec![], "nothing was acknowledged by a note");
        if groups > 0 {
            let kept = crate::testing::read_all(&store.reader(), SHARD);
            assert_eq!(kept, expected[..groups * 2 * frame], "cut at {length}");
        }
        let mut after = Maker::after(SHARD, store.reader().bounds(SHARD).last);
        let mut committer = store.into_committer();
        run(&mut committer, [after.op(1, 100)]);
        drop(committer);
        assert_eq!(open(&disk).reader().bounds(SHARD).last, after.position(), "cut at {length}");
    }
}
