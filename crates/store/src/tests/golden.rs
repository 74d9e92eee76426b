//! The formats, pinned: the bytes that `docs/format.md` shows were written once and must be read
//! for ever.

use std::path::Path;

use antiphon_proto::Incarnation;
use bytes::Bytes;

use crate::disk::Disk;
use crate::envelope::{RecordKind, open};
use crate::log::golden;
use crate::testing::{Maker, SHARD, UUID, dir, identity, open as open_store, run};
use crate::{Op, SimDisk, Superblock};

const PAGE: &str = include_str!("../../../../docs/format.md");

/// The bytes must be those of the page's block with this name.
#[track_caller]
fn check(name: &str, found: &[u8]) {
    let (_, block) = PAGE.split_once(&format!("```hex {name}\n")).expect("a block of this name");
    let (block, _) = block.split_once("```").expect("the block ends");
    let expected = block.lines().filter_map(|line| line.split('|').next());
    let expected: String = expected.flat_map(str::split_whitespace).collect();
    let hex: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected, "{name}");
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
    check("superblock", &disk.bytes(&dir.join("superblock")).unwrap());
}

#[test]
fn hard_state() {
    let disk = SimDisk::new(1);
    let mut committer = open_store(disk.clone()).into_committer();
    let state = Bytes::from_static(b"state");
    run(&mut committer, [Op::Hard { shard: SHARD, state, ticket: 0 }]);
    let bytes = disk.bytes(&dir().join("hard").join("0000000000")).unwrap();
    check("hard state file", &bytes);
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
    check("segment header", &bytes[..60]);
    check("first group", &bytes[512..512 + 64 + 68]);
    check("group with a cut", &bytes[512 * 3..512 * 3 + 128]);
    let starts = golden::header_with_a_shard(UUID);
    check("segment header with a shard", &starts);
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
    check("snapshot", &disk.bytes(&info.path).unwrap());
}
