//! Snapshots: whole or not there.

use std::io::{Read, Write};

use bytes::Bytes;

use crate::testing::{OTHER, SHARD, dir, open, position};
use crate::{Position, SimDisk, SnapshotInfo, Snapshots, Survivors};
use std::sync::Arc;

/// A body that is longer than two chunks.
fn body(bytes: usize) -> Vec<u8> {
    (0..=252).cycle().take(bytes).collect()
}

fn take(snapshots: &Arc<Snapshots>, at: Position, bytes: usize) -> SnapshotInfo {
    let mut writer = snapshots.begin(SHARD, at, Bytes::from_static(b"config")).unwrap();
    for piece in body(bytes).chunks(1_000) {
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap()
}

fn read(snapshots: &Snapshots, info: &SnapshotInfo) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    snapshots.read(info).map_err(std::io::Error::other)?.read_to_end(&mut out)?;
    Ok(out)
}

#[test]
fn the_body_comes_back() {
    let disk = SimDisk::new(1);
    let store = open(disk.clone());
    for bytes in [0, 1, 999, 256 << 10, (600 << 10) + 7] {
        let info = take(&store.snapshots(), position(2, 100 + bytes as u64), bytes);
        assert_eq!(info.bytes, bytes as u64);
        assert_eq!(read(&store.snapshots(), &info).unwrap(), body(bytes));
        assert_eq!(store.snapshots().latest(SHARD), Some(info));
    }
    assert_eq!(store.snapshots().latest(OTHER), None);
    let latest = store.snapshots().latest(SHARD).unwrap();
    drop(store);
    disk.crash(&Survivors::default());
    let store = open(disk);
    assert_eq!(store.snapshots().latest(SHARD).unwrap(), latest);
    assert_eq!(latest.meta, &b"config"[..]);
    assert_eq!(latest.position, position(2, 100 + (600 << 10) + 7));
}

#[test]
fn old_ones_are_removed() {
    let disk = SimDisk::new(1);
    let store = open(disk.clone());
    for lsn in [10, 30, 20, 40] {
        take(&store.snapshots(), position(1, lsn), 50);
    }
    let kept: Vec<u64> =
        store.snapshots().list().iter().map(|info| info.position.id.lsn.get()).collect();
    assert_eq!(kept, [30, 40]);
    let before = store.snapshots().list();
    drop(store);
    assert_eq!(open(disk).snapshots().list(), before);
}

#[test]
fn an_unfinished_one_never_was() {
    let disk = SimDisk::new(1);
    let store = open(disk.clone());
    let snapshots = store.snapshots();
    let mut writer = snapshots.begin(SHARD, position(1, 9), Bytes::new()).unwrap();
    writer.write_all(&body(300 << 10)).unwrap();
    drop(writer);
    assert_eq!(snapshots.latest(SHARD), None);
    drop((store, snapshots));
    let store = open(disk);
    assert_eq!((store.snapshots().list(), store.snapshots().broken()), (vec![], vec![]));
    take(&store.snapshots(), position(1, 9), 10);
}

#[test]
fn a_broken_one_is_reported_and_the_older_taken() {
    let disk = SimDisk::new(1);
    let store = open(disk.clone());
    let older = take(&store.snapshots(), position(1, 10), 500);
    let newer = take(&store.snapshots(), position(1, 20), 500);
    let whole = disk.bytes(&newer.path).unwrap();
    for offset in 0..whole.len() as u64 {
        disk.rot(&newer.path, offset, 2).unwrap();
        let read = read(&store.snapshots(), &newer);
        assert!(read.is_err(), "byte {offset} was read over");
        disk.rot(&newer.path, offset, 2).unwrap();
    }
    disk.rot(&newer.path, 200, 2).unwrap();
    drop(store);
    let store = open(disk.clone());
    assert_eq!(store.snapshots().latest(SHARD), Some(older));
    let broken = store.snapshots().broken();
    assert_eq!((broken.len(), &broken[0].path), (1, &newer.path));
    assert!(disk.bytes(&newer.path).is_ok(), "it is left for people to look at");
    assert!(newer.path.starts_with(dir().join("snap")));
}
