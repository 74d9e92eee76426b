//! A data directory whose files were damaged in any way: it opens or is refused, an entry that is
//! read was written, and a log that opened goes on and opens again.
#![no_main]

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use antiphon_proto::{BatchBuilder, EntryId, Epoch, Kind, Lsn, NodeId, ShardId, StoreUuid};
use antiphon_store::{
    Access, Completion, Disk, Identity, Op, Options, Position, Prepare, SimDisk, Store, StoreError,
    inspect,
};
use bytes::{BufMut, Bytes};

const DIR: &str = "/data";
const SHARDS: [ShardId; 2] = [ShardId::new(0), ShardId::new(7)];

/// A disk as a run left it, its files, and everything that was ever written to its logs.
struct Golden {
    disk: SimDisk,
    files: Vec<PathBuf>,
    written: BTreeMap<(ShardId, EntryId), Bytes>,
}

static GOLDEN: LazyLock<[Golden; 2]> = LazyLock::new(|| [golden(false), golden(true)]);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, mut edits)) = input.split_first() else { return };
    let golden = &GOLDEN[usize::from(first % 2)];
    let disk = golden.disk.fork();
    while let Some((edit, rest)) = edits.split_first_chunk::<6>() {
        edits = damage(&disk, &golden.files, *edit, rest);
    }
    let found = open(&disk).map(|store| check(store, golden));
    let inspected: Arc<dyn Disk> = Arc::new(disk.clone());
    let _answer = inspect::open(&inspected, Path::new(DIR)).map(drop);
    if found.is_ok() {
        let again = open(&disk).expect("what opened once and went on opens again");
        check(again, golden);
    }
});

fn open(disk: &SimDisk) -> Result<Store, StoreError> {
    let identity = Identity { node: NodeId::new(3), cluster: 77, cluster_name: "fuzz".to_owned() };
    let options = Options {
        segment_bytes: 8 << 10,
        group_bytes_max: 4 << 10,
        index_bytes: 1 << 10,
        prepare: Prepare::Inline,
        ..Options::default()
    };
    Store::open(Arc::new(disk.clone()), Path::new(DIR), identity, StoreUuid::new(5), &options)
}

/// Writes entries of several sizes into two logs over several segments.
fn golden(close: bool) -> Golden {
    let disk = SimDisk::new(1);
    let mut written = BTreeMap::new();
    let mut committer = open(&disk).expect("an empty disk").into_committer();
    let mut ends = [Position::default(); 2];
    for round in 0..12_u64 {
        for (shard, end) in SHARDS.into_iter().zip(&mut ends) {
            let mut builder = BatchBuilder::new(shard, end.id, end.chain, end.hlc);
            for size in [7, 400, 0] {
                let fill = u8::try_from(round).expect("few rounds");
                builder.push(Epoch::new(1 + round / 5), Kind::Data, 1_000, |out| {
                    out.put_bytes(fill, size);
                });
            }
            let batch = builder.take().expect("three entries");
            written.extend(
                batch
                    .frames()
                    .map(|frame| ((shard, frame.header.id), Bytes::copy_from_slice(frame.bytes))),
            );
            *end = Position { id: batch.last(), chain: batch.chain(), hlc: batch.last_hlc() };
            committer.submit(Op::Append { shard, batch, ticket: round });
        }
        let state = Bytes::from(vec![7; 100]);
        committer.submit(Op::Hard { shard: SHARDS[0], state, ticket: round });
        let mut done = Vec::new();
        while !committer.is_idle() {
            committer.run(&mut done);
        }
        committer.rest(&mut done);
        assert!(!done.iter().any(|done| matches!(done, Completion::Failed(_))), "{done:?}");
    }
    if close {
        committer.close().expect("a healthy disk");
    } else {
        drop(committer);
    }
    let files = ["", "log", "hard", "snap"].iter().flat_map(|folder| {
        let folder = Path::new(DIR).join(folder);
        let names = disk.list(&folder).unwrap_or_default();
        names.into_iter().map(move |name| folder.join(name))
    });
    let files = files.filter(|path| disk.open(path, Access::Read).is_ok()).collect();
    Golden { disk, files, written }
}

/// One edit of one file: what, which file, where (2 bytes), how long or which other file, a mask.
fn damage<'a>(disk: &SimDisk, files: &[PathBuf], edit: [u8; 6], rest: &'a [u8]) -> &'a [u8] {
    let [what, file, low, high, length, mask] = edit;
    let path = &files[usize::from(file) % files.len()];
    let offset = u64::from(u16::from_le_bytes([low, high]));
    let (taken, left) = rest.split_at(rest.len().min(usize::from(length)));
    // An edit of a file that an earlier edit removed does nothing.
    let _done = match what % 4 {
        0 => disk.rot(path, offset, mask),
        1 => write(disk, path, taken, offset),
        2 => disk.remove(path),
        _ => {
            let other = &files[usize::from(length) % files.len()];
            disk.bytes(other).and_then(|bytes| write(disk, path, &bytes, 0))
        }
    };
    if what % 4 == 1 { left } else { rest }
}

fn write(disk: &SimDisk, path: &Path, bytes: &[u8], offset: u64) -> std::io::Result<()> {
    let file = disk.open(path, Access::Write)?;
    file.write_at(&mut [IoSlice::new(bytes)], offset)?;
    file.sync_data()
}

/// Reads all that can be read, appends one entry to each log, and ends the run.
fn check(store: Store, golden: &Golden) {
    let reader = store.reader();
    let own = |frame: &antiphon_proto::Frame<'_>| frame.payload == b"after";
    for shard in reader.shards() {
        let bounds = reader.bounds(shard);
        let mut from = bounds.base.id.lsn.next();
        // Damage ends the reading; it is reported and not passed over.
        while let Ok(Some(batch)) = reader.read(shard, from, 1 << 20) {
            assert_eq!(batch.first().lsn, from);
            for frame in batch.frames().filter(|frame| !own(frame)) {
                let known = golden.written.get(&(shard, frame.header.id));
                assert_eq!(known.map(Bytes::as_ref), Some(frame.bytes), "never written");
            }
            from = batch.last().lsn.next();
        }
        assert!(from <= bounds.last.id.lsn.next());
    }
    let mut committer = store.into_committer();
    for shard in SHARDS {
        let end = reader.bounds(shard).last;
        let mut builder = BatchBuilder::new(shard, end.id, end.chain, end.hlc);
        let epoch = Epoch::new(9).max(end.id.epoch);
        builder.push(epoch, Kind::Data, 2_000, |out| out.put_slice(b"after"));
        let batch = builder.take().expect("one entry");
        committer.submit(Op::Append { shard, batch, ticket: 1 });
    }
    let mut done = Vec::new();
    while !committer.is_idle() && !committer.is_dead() {
        committer.run(&mut done);
    }
    let appended = done.iter().filter(|done| matches!(done, Completion::Appended { .. })).count();
    assert_eq!(appended, SHARDS.len(), "a log that opened goes on: {done:?}");
    let last = SHARDS.map(|shard| reader.bounds(shard).last.id.lsn);
    assert!(last.iter().all(|lsn| *lsn > Lsn::ZERO));
}
