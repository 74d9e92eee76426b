//! What every disk promises, checked on the simulated and the real one.

use std::io::{self, IoSlice};
use std::path::Path;

use super::{Access, Disk, Lock, RealDisk, SimDisk, read_exact_at, read_whole, write_one};
use crate::{Fault, Operation, Survivors};

/// Runs a check on both disks, in an empty directory.
fn on_both(check: impl Fn(&dyn Disk, &Path)) {
    let sim = SimDisk::new(1);
    sim.create_dir_all(Path::new("/data")).unwrap();
    check(&sim, Path::new("/data"));
    let temporary = tempfile::tempdir().unwrap();
    check(&RealDisk, temporary.path());
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: io::Result<T>, kind: io::ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}

#[test]
fn files_hold_what_is_written() {
    on_both(|disk, dir| {
        let file = disk.create(&dir.join("a")).unwrap();
        assert!(file.is_empty().unwrap());
        file.allocate(100).unwrap();
        write_one(&*file, b"hello", 10).unwrap();
        let mut parts =
            [IoSlice::new(b""), IoSlice::new(b" wor"), IoSlice::new(b""), IoSlice::new(b"ld")];
        file.write_at(&mut parts, 15).unwrap();
        file.sync_data().unwrap();
        let mut out = [9; 21];
        read_exact_at(&*file, &mut out, 0).unwrap();
        assert_eq!(&out, b"\0\0\0\0\0\0\0\0\0\0hello world");
        assert!(file.len().unwrap() >= 21, "space asked for may count");
        let again = disk.open(&dir.join("a"), Access::Read).unwrap();
        let mut out = [0; 5];
        assert_eq!(again.read_at(&mut out, 16).unwrap(), 5);
        assert_eq!(&out, b"world");
        assert!(write_one(&*again, b"x", 0).is_err(), "opened to read");
    });
}

#[test]
fn reads_end_with_the_file() {
    on_both(|disk, dir| {
        let file = disk.create(&dir.join("a")).unwrap();
        write_one(&*file, b"abc", 0).unwrap();
        let mut out = [0; 8];
        assert_eq!(file.read_at(&mut out, 1).unwrap(), 2);
        assert_eq!(file.read_at(&mut out, 3).unwrap(), 0);
        assert_eq!(file.read_at(&mut out, 300).unwrap(), 0);
        fails(read_exact_at(&*file, &mut out, 0), io::ErrorKind::UnexpectedEof);
        assert_eq!(read_whole(disk, &dir.join("a"), 3).unwrap(), b"abc");
        fails(read_whole(disk, &dir.join("a"), 2), io::ErrorKind::FileTooLarge);
    });
}

#[test]
fn many_parts_are_written_in_order() {
    on_both(|disk, dir| {
        let file = disk.create(&dir.join("a")).unwrap();
        let bytes: Vec<[u8; 3]> =
            (0..3_000_u16).map(|n| [n.to_le_bytes()[0], n.to_le_bytes()[1], 7]).collect();
        let mut parts: Vec<IoSlice<'_>> = bytes.iter().map(|part| IoSlice::new(part)).collect();
        file.write_at(&mut parts, 5).unwrap();
        assert_eq!(read_whole(disk, &dir.join("a"), 1 << 20).unwrap()[5..], bytes.concat());
    });
}

#[test]
fn names_come_and_go() {
    on_both(|disk, dir| {
        fails(disk.open(&dir.join("a"), Access::Write), io::ErrorKind::NotFound);
        let file = disk.create(&dir.join("a")).unwrap();
        write_one(&*file, b"1", 0).unwrap();
        fails(disk.create(&dir.join("a")), io::ErrorKind::AlreadyExists);
        write_one(&*disk.create(&dir.join("b")).unwrap(), b"2", 0).unwrap();
        assert_eq!(disk.list(dir).unwrap(), ["a", "b"]);
        disk.rename(&dir.join("a"), &dir.join("b")).unwrap();
        assert_eq!(disk.list(dir).unwrap(), ["b"]);
        assert_eq!(read_whole(disk, &dir.join("b"), 9).unwrap(), b"1");
        fails(disk.rename(&dir.join("a"), &dir.join("c")), io::ErrorKind::NotFound);
        disk.remove(&dir.join("b")).unwrap();
        fails(disk.remove(&dir.join("b")), io::ErrorKind::NotFound);
        disk.sync_dir(dir).unwrap();
        let mut out = [0; 1];
        assert_eq!(file.read_at(&mut out, 0).unwrap(), 1, "an open file outlives its name");
    });
}

#[test]
fn directories_are_made_with_their_parents() {
    on_both(|disk, dir| {
        let deep = dir.join("x").join("y");
        fails(disk.list(&deep), io::ErrorKind::NotFound);
        fails(disk.create(&deep.join("a")), io::ErrorKind::NotFound);
        disk.create_dir_all(&deep).unwrap();
        disk.create_dir_all(&deep).unwrap();
        disk.create(&deep.join("a")).unwrap();
        assert_eq!(disk.list(&deep).unwrap(), ["a"]);
        assert_eq!(disk.list(&dir.join("x")).unwrap(), Vec::<String>::new(), "files only");
    });
}

#[test]
fn a_lock_has_one_owner() {
    on_both(|disk, dir| {
        let path = dir.join("lock");
        let Lock::Held(guard) = disk.lock(&path).unwrap() else { panic!("the lock is free") };
        assert!(matches!(disk.lock(&path).unwrap(), Lock::Busy { .. }));
        drop(guard);
        assert!(matches!(disk.lock(&path).unwrap(), Lock::Held(_)));
    });
}

/// A file `a` of two durable sectors of ones, over which both were written with twos.
fn half_written() -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new("/")).unwrap();
    let file = disk.create(Path::new("/a")).unwrap();
    write_one(&*file, &[1; 1024], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    write_one(&*file, &[2; 1024], 0).unwrap();
    disk
}

#[track_caller]
fn after_crash(survivors: &Survivors, first: &[u8], second: &[u8]) {
    let disk = half_written();
    assert_eq!(disk.pending(), 2);
    disk.crash(survivors);
    assert_eq!(disk.bytes(Path::new("/a")).unwrap(), [first, second].concat());
}

#[test]
fn any_sector_may_survive_a_crash() {
    let kept = |keep: [bool; 2]| Survivors { keep: keep.to_vec(), torn: None, zeroed: None };
    after_crash(&Survivors::default(), &[1; 512], &[1; 512]);
    after_crash(&kept([true, false]), &[2; 512], &[1; 512]);
    after_crash(&kept([false, true]), &[1; 512], &[2; 512]);
    after_crash(&kept([true, true]), &[2; 512], &[2; 512]);
    let torn = Survivors { torn: Some(1), ..kept([true, true]) };
    after_crash(&torn, &[2; 512], &[[2; 256], [1; 256]].concat());
    let zeroed = Survivors { zeroed: Some(0), ..kept([true, true]) };
    after_crash(&zeroed, &[0; 512], &[2; 512]);
}

#[test]
fn a_name_that_was_not_synced_may_be_lost() {
    let disk = half_written();
    disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
    disk.create(Path::new("/c")).unwrap();
    let lost = disk.fork();
    lost.crash(&Survivors::default());
    assert_eq!(lost.list(Path::new("/")).unwrap(), ["a"]);
    disk.sync_dir(Path::new("/")).unwrap();
    disk.crash(&Survivors::default());
    assert_eq!(disk.list(Path::new("/")).unwrap(), ["b", "c"]);
}

#[test]
fn a_failed_sync_loses_the_bytes_and_the_next_one_lies() {
    let disk = half_written();
    disk.fail(Operation::Sync, 1, Fault::Device);
    let file = disk.open(Path::new("/a"), Access::Write).unwrap();
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(disk.bytes(Path::new("/a")).unwrap(), [2; 1024], "the cache still shows them");
    disk.crash(&Survivors::default());
    assert_eq!(disk.bytes(Path::new("/a")).unwrap(), [1; 1024]);
    assert!(file.len().is_err(), "a crash closes all files");
}

#[test]
fn faults_come_as_planned() {
    let disk = half_written();
    let file = disk.open(Path::new("/a"), Access::Write).unwrap();
    let mut out = [0; 1];
    disk.fail(Operation::Read, 2, Fault::Device);
    assert!(file.read_at(&mut out, 0).is_ok());
    assert!(file.read_at(&mut out, 0).is_err());
    assert!(file.read_at(&mut out, 0).is_ok());
    disk.limit_bytes(Some(1024));
    fails(write_one(&*file, &[0; 9], 1020), io::ErrorKind::StorageFull);
    fails(file.allocate(2048), io::ErrorKind::StorageFull);
    disk.set_read_only(true);
    fails(write_one(&*file, b"x", 0), io::ErrorKind::ReadOnlyFilesystem);
    fails(disk.open(Path::new("/a"), Access::Write), io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(disk.counts().reads, 3);
}

#[test]
fn a_seed_decides_what_survives() {
    let survived = |seed| {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("/")).unwrap();
        let file = disk.create(Path::new("/a")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        write_one(&*file, &[2; 64 * 512], 0).unwrap();
        disk.crash_at_random();
        disk.bytes(Path::new("/a")).unwrap()
    };
    assert_eq!(survived(1), survived(1));
    assert_ne!(survived(1), survived(2));
}
