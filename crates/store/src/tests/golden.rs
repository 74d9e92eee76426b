//! The formats, pinned: these bytes were written once and must be read for ever.

use std::path::Path;

use antiphon_proto::Incarnation;
use bytes::Bytes;

use crate::disk::Disk;
use crate::envelope::{RecordKind, open};
use crate::log::golden;
use crate::testing::{Maker, SHARD, UUID, dir, identity, open as open_store, run};
use crate::{Op, SimDisk, Superblock};

#[track_caller]
fn check(what: &str, found: &[u8], expected: &str) {
    let hex: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected: String = expected.split_whitespace().collect();
    assert_eq!(hex, expected, "{what}");
}

#[test]
fn superblock() {
    let disk = SimDisk::new(1);
    let dir = Path::new("/data");
    disk.create_dir_all(dir).unwrap();
    let incarnation = Incarnation::new(2);
    Superblock { store: UUID, identity: identity(), incarnation, clean: true }
        .save(&disk, dir)
        .unwrap();
    check(
        "superblock",
        &disk.bytes(&dir.join("superblock")).unwrap(),
        "
         5ea94a56414e5449010001002800000021436587a9cbed0ff0debc9a78563412
         030000000000000002000000000000004d000000000000000000000000000000
         0100040074657374",
    );
}

#[test]
fn hard_state() {
    let disk = SimDisk::new(1);
    let mut committer = open_store(disk.clone()).into_committer();
    let state = Bytes::from_static(b"state");
    run(&mut committer, [Op::Hard { shard: SHARD, state, ticket: 0 }]);
    let bytes = disk.bytes(&dir().join("hard").join("0000000000")).unwrap();
    check(
        "hard state",
        &bytes,
        "
         033ed786414e5449020001000900000021436587a9cbed0ff0debc9a78563412
         000000007374617465",
    );
    assert!(open(RecordKind::HardState, &bytes).is_ok());
}

#[test]
fn segment() {
    let disk = SimDisk::new(1);
    let mut committer = open_store(disk.clone()).into_committer();
    let mut maker = Maker::new(SHARD);
    run(&mut committer, [maker.op(1, 4), maker.op(1, 4)]);
    run(
        &mut committer,
        [Op::Truncate { shard: SHARD, lsn: antiphon_proto::Lsn::new(1), ticket: 0 }],
    );
    let bytes = disk.bytes(&dir().join("log").join("0000000000000001.log")).unwrap();
    check(
        "segment header",
        &bytes[..60],
        "
         97d4f0a6414e5449030001001c00000021436587a9cbed0ff0debc9a78563412
         01000000000000000100000000000000010000000000000000000000",
    );
    check(
        "first group",
        &bytes[512..512 + 64 + 68],
        "
         69ac8e4741470100440000000000000001000000000000000100000000000000
         010000000000000021436587a9cbed0ff0debc9a7856341279bd9de3e4ccef9a
         30deaf2241460101040000000000000001000000000000000100000000000000
         0000e903000000000000000000000000a8efa8b13ac686842251afc41ed78758
         20202020",
    );
    check(
        "group with a cut",
        &bytes[512 * 3..512 * 3 + 128],
        "
         706313ca41470100400000000000000001000000000000000300000000000000
         010000000000000021436587a9cbed0ff0debc9a785634126e7cb6e733547586
         eec16c9941430101000000000000000001000000000000000100000000000000
         0000e903000000000000000000000000a8efa8b13ac686842251afc41ed78758",
    );
    let starts = golden::header_with_a_shard(UUID);
    check(
        "segment header with a shard",
        &starts,
        "
         b8175a9f414e5449030001004800000021436587a9cbed0ff0debc9a78563412
         0200000000000000090000000000000005000000000000000100000000000000
         0300000000000000040000000000000000000400000000000500000000000000
         0400000000000000",
    );
}

#[test]
fn snapshot() {
    use std::io::Write;
    let disk = SimDisk::new(1);
    let store = open_store(disk.clone());
    let at = crate::testing::position(3, 4);
    let mut writer = store.snapshots().begin(SHARD, at, Bytes::from_static(b"meta")).unwrap();
    writer.write_all(b"body").unwrap();
    let info = writer.finish().unwrap();
    check(
        "snapshot",
        &disk.bytes(&info.path).unwrap(),
        "
         5afb0218414e5449060001003000000021436587a9cbed0ff0debc9a78563412
         0000000003000000000000000400000000000000000004000000000005000000
         0000000004000000000000006d65746196b42cea040000000000000000000000
         626f64797ac85c62000000000100000000000000e737744d414e544907000100
         2000000021436587a9cbed0ff0debc9a78563412010000000000000004000000
         00000000106ec7ea97c4f1cb4af7a6ffccef7a17",
    );
}
