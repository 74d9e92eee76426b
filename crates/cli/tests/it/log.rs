//! `antiphon log` on a data directory that is sound, and on one with a flipped byte.

use std::path::Path;
use std::sync::Arc;

use antiphon_proto::{BatchBuilder, Epoch, Kind, NodeId, ShardId, StoreUuid};
use antiphon_store::{Disk, Identity, Op, Options, Position, RealDisk, Store};

use crate::{antiphon, expect, text};

const ENTRIES: u64 = 20;
const SHARD: ShardId = ShardId::new(0);

/// Makes a data directory with [`ENTRIES`] entries of 100 bytes, closed cleanly.
fn data_dir(dir: &Path) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let identity = Identity { node: NodeId::new(3), cluster: 9, cluster_name: "shop".to_owned() };
    let options = Options { segment_bytes: 1 << 20, ..Options::default() };
    let store = Store::open(disk, dir, identity, StoreUuid::new(5), &options).expect("opened");
    let mut committer = store.into_committer();
    let start = Position::default();
    let mut builder = BatchBuilder::new(SHARD, start.id, start.chain, start.hlc);
    for _ in 0..ENTRIES {
        builder.push(Epoch::new(4), Kind::Data, 1_700_000_000_000, |out| {
            out.extend_from_slice(&[7; 100]);
        });
    }
    let batch = builder.take().expect("not empty");
    committer.submit(Op::Append { shard: SHARD, batch, ticket: 1 });
    let mut done = Vec::new();
    while !committer.is_idle() {
        committer.run(&mut done);
    }
    committer.close().expect("closed");
}

#[test]
fn a_sound_directory_is_shown_and_verified() {
    let dir = tempfile::tempdir().expect("a directory");
    data_dir(dir.path());
    let place = dir.path().display().to_string();
    let shown = expect(0, &["log", "inspect", &place, "--entries", "2", "--from", "19"]);
    for want in ["node 3 of cluster shop", "closed cleanly", "shard 0: entries 4/1 to 4/20"] {
        assert!(shown.contains(want), "{want}:\n{shown}");
    }
    let entries: Vec<&str> = shown.lines().filter(|line| line.contains(" data ")).collect();
    assert_eq!(entries.len(), 2, "{shown}");
    assert!(entries.iter().all(|line| line.contains("2023-11-14T22:13:20.000Z")), "{shown}");
    let verified = expect(0, &["log", "verify", &place, "-o", "json"]);
    let verified: serde_json::Value = serde_json::from_str(&verified).expect("JSON");
    assert_eq!(verified["schema"], "antiphon.log/1");
    assert_eq!(verified["verified"], true);
    assert_eq!(verified["damage"], serde_json::json!([]));
    assert_eq!(verified["shards"][0]["last"], "4/20");
}

#[test]
fn a_flipped_byte_ends_with_7() {
    let dir = tempfile::tempdir().expect("a directory");
    data_dir(dir.path());
    let segment = std::fs::read_dir(dir.path().join("log")).expect("it has a log");
    let segment = segment.map(|file| file.expect("listed").path()).find(|path| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(100).any(|part| part == [7; 100]))
    });
    let segment = segment.expect("one of the files holds the entries");
    let mut bytes = std::fs::read(&segment).expect("readable");
    let at = bytes.windows(100).position(|part| part == [7; 100]).expect("as found before");
    *bytes.get_mut(at + 50).expect("inside the payload") ^= 1;
    std::fs::write(&segment, bytes).expect("writable");
    let out = expect(7, &["log", "verify", &dir.path().display().to_string()]);
    assert!(out.contains("is damaged at byte"), "{out}");
}

#[test]
fn a_directory_of_something_else_is_refused_with_the_next_step() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = antiphon(&["log", "inspect", &dir.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(4));
    let error = text(&output.stderr);
    assert!(error.contains("error[X0304]: ") && error.contains("\n  Restore the"), "{error}");
}
