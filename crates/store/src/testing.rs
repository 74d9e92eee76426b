//! What the tests share: a store on a simulated or real disk, and entries to put into it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_proto::{
    Batch, BatchBuilder, Chain, EntryId, Epoch, Hlc, Kind, Lsn, NodeId, ShardId, StoreUuid,
};

use crate::disk::Disk;
use crate::{
    Committer, Completion, Identity, LogReader, Mutation, Op, Options, Planted, Position, Prepare,
    Store, StoreError,
};

pub(crate) const SHARD: ShardId = ShardId::new(0);
pub(crate) const OTHER: ShardId = ShardId::new(7);
pub(crate) const UUID: StoreUuid = StoreUuid::new(0x1234_5678_9abc_def0_0fed_cba9_8765_4321);

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/data")
}

pub(crate) fn identity() -> Identity {
    Identity { node: NodeId::new(3), cluster: 77, cluster_name: "test".to_owned() }
}

/// Small segments, no threads.
pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 8 << 10,
        group_bytes_max: 4 << 10,
        index_bytes: 1 << 10,
        prepare: Prepare::Inline,
        ..Options::default()
    }
}

pub(crate) fn with_bug(bug: Mutation) -> Options {
    Options { planted: Planted::bug(bug), ..options() }
}

pub(crate) fn try_open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: &Options,
) -> Result<Store, StoreError> {
    Store::open(disk, dir, identity(), UUID, options)
}

#[track_caller]
pub(crate) fn open(disk: impl Disk + 'static) -> Store {
    try_open(Arc::new(disk), &dir(), &options()).unwrap()
}

/// Makes batches that continue a log.
pub(crate) struct Maker {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    builder: BatchBuilder,
}

impl Maker {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self::after(shard, Position::default())
    }

    pub(crate) fn after(shard: ShardId, end: Position) -> Self {
        let epoch = Epoch::new(end.id.epoch.get().max(1));
        Self { shard, epoch, builder: BatchBuilder::new(shard, end.id, end.chain, end.hlc) }
    }

    /// A batch of so many entries with payloads of so many bytes, which tell the entry's number.
    pub(crate) fn batch(&mut self, entries: usize, bytes: usize) -> Batch {
        for _ in 0..entries {
            let lsn = self.builder.last().lsn.next().get();
            let fill = u8::try_from((lsn * 31 + self.epoch.get()) % 251).unwrap();
            let ms = 1_000 + lsn;
            self.builder
                .push(self.epoch, Kind::Data, ms, |out| out.resize(out.len() + bytes, fill));
        }
        self.builder.take().unwrap()
    }

    pub(crate) fn position(&self) -> Position {
        Position { id: self.builder.last(), chain: self.builder.chain(), hlc: self.builder.hlc() }
    }

    pub(crate) fn op(&mut self, entries: usize, bytes: usize) -> Op {
        let shard = self.shard;
        let batch = self.batch(entries, bytes);
        let ticket = batch.last().lsn.get();
        Op::Append { shard, batch, ticket }
    }
}

/// Runs operations one by one, each a group of its own; fails on the first failure.
#[track_caller]
pub(crate) fn run(committer: &mut Committer, ops: impl IntoIterator<Item = Op>) -> Vec<Completion> {
    let mut done = Vec::new();
    for op in ops {
        committer.submit(op);
        committer.run(&mut done);
    }
    if let Some(Completion::Failed(error)) = done.last() {
        panic!("the store failed: {error}");
    }
    done
}

/// All entries of a shard, as one run of bytes.
#[track_caller]
pub(crate) fn read_all(reader: &LogReader, shard: ShardId) -> Vec<u8> {
    let mut next = reader.bounds(shard).base.id.lsn.next();
    let mut all = Vec::new();
    while let Some(batch) = reader.read(shard, next, 700).unwrap() {
        assert_eq!(batch.first().lsn, next);
        all.extend_from_slice(batch.bytes());
        next = batch.last().lsn.next();
    }
    assert_eq!(next, reader.bounds(shard).last.id.lsn.next());
    all
}

pub(crate) fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw)
}

pub(crate) fn position(epoch: u64, lsn: u64) -> Position {
    Position {
        id: EntryId::new(Epoch::new(epoch), Lsn::new(lsn)),
        chain: Chain::new(u128::from(lsn) << 64 | 5),
        hlc: Hlc::from_ms(lsn),
    }
}
