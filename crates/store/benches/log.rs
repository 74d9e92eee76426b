//! Speed of the log on a real disk: one append at a time, and many in flight. What many writers
//! get of the disk is in `writers.rs`.
//!
//! Run with `TMPDIR` on the disk to measure. Compare only figures of one run.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use antiphon_proto::{BatchBuilder, Chain, EntryId, Epoch, Hlc, Kind, NodeId, ShardId, StoreUuid};
use antiphon_store::{Committer, Completion, Identity, Op, Options, RealDisk, Store, Writer};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SHARD: ShardId = ShardId::new(0);
const PAYLOAD: [u8; 100] = [7; 100];

fn committer(dir: &Path) -> Committer {
    let identity = Identity { node: NodeId::new(1), cluster: 1, cluster_name: "bench".to_owned() };
    let fresh = StoreUuid::new(1);
    let store = Store::open(Arc::new(RealDisk), dir, identity, fresh, &Options::default());
    store.expect("a fresh directory opens").into_committer()
}

fn builder() -> BatchBuilder {
    BatchBuilder::new(SHARD, EntryId::ZERO, Chain::ZERO, Hlc::ZERO)
}

fn append(builder: &mut BatchBuilder, entries: u64, ticket: u64) -> Op {
    for _ in 0..entries {
        builder.push(Epoch::new(1), Kind::Data, 1, |out| out.extend_from_slice(&PAYLOAD));
    }
    let batch = builder.take().expect("entries were pushed");
    Op::Append { shard: SHARD, batch, ticket }
}

/// One entry, one write, one sync, in the calling thread.
fn alone(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut committer = committer(dir.path());
    let mut builder = builder();
    let mut done = Vec::new();
    c.benchmark_group("append").throughput(Throughput::Elements(1)).bench_function("alone", |b| {
        b.iter(|| {
            committer.submit(append(&mut builder, 1, 0));
            committer.run(&mut done);
            assert!(matches!(done.pop(), Some(Completion::Appended { .. })));
        });
    });
}

/// What a completion wakes.
#[derive(Default)]
struct Progress {
    durable: Mutex<u64>,
    moved: Condvar,
}

impl Progress {
    fn reach(&self, entries: u64) {
        let mut durable = self.durable.lock().expect("no panic under the lock");
        while *durable < entries {
            durable = self.moved.wait(durable).expect("no panic under the lock");
        }
    }
}

fn writer(dir: &Path, progress: &Arc<Progress>) -> Writer {
    let progress = Arc::clone(progress);
    let report = move |completion| {
        let Completion::Appended { durable, .. } = completion else { panic!("{completion:?}") };
        *progress.durable.lock().expect("no panic under the lock") = durable.id.lsn.get();
        progress.moved.notify_all();
    };
    Writer::start(committer(dir), 64 << 20, report).expect("a thread starts")
}

/// Batches of 50 entries with at most 1,000 entries in flight.
fn in_flight(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let progress = Arc::new(Progress::default());
    let writer = writer(dir.path(), &progress);
    let mut builder = builder();
    let mut sent = 0_u64;
    c.benchmark_group("append").throughput(Throughput::Elements(50)).bench_function(
        "1000 in flight",
        |b| {
            b.iter(|| {
                writer.submit(append(&mut builder, 50, 0)).expect("the queue has room");
                sent += 50;
                progress.reach(sent.saturating_sub(1_000));
            });
        },
    );
}

criterion_group!(benches, alone, in_flight);
criterion_main!(benches);
