//! How much of what a disk can sync the log makes use of: 64 writers that each wait for their own
//! entry, beside the same writes and syncs on a bare file, in turns, in one run.
//!
//! Run with `TMPDIR` on the disk to measure. Arguments: seconds of each turn (2), turns (5).
#![expect(clippy::print_stdout, reason = "a benchmark answers on stdout")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::Thread;
use std::time::{Duration, Instant};

use antiphon_proto::{BatchBuilder, Chain, EntryId, Epoch, Hlc, Kind, NodeId, ShardId, StoreUuid};
use antiphon_store::{Completion, Identity, Op, Options, RealDisk, Store, Writer};

const SHARD: ShardId = ShardId::new(0);
const PAYLOAD: [u8; 100] = [7; 100];
const WRITERS: usize = 64;
const FILE_BYTES: u64 = 64 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo passes `--bench` to every benchmark.
    let mut numbers = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    let seconds = numbers.next().map_or(Ok(2), |text| text.parse())?;
    let turns = numbers.next().map_or(Ok(5), |text| text.parse())?;
    let turn = Duration::from_secs(seconds);
    println!("{WRITERS} writers of entries of 100 bytes, {turns} turns of {seconds} s, medians");
    compare("threads, each parked until its entry is durable", turns, |log| threads(log, turn))?;
    compare("one thread, a message for each durable entry", turns, |log| one_thread(log, turn))
}

/// Alternates between the log and the bare disk, which syncs groups of the same size.
fn compare(
    name: &str,
    turns: usize,
    run: impl Fn(&Log) -> (u64, Duration),
) -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let log = Log::open(dir.path())?;
    let bare = Bare::new(&dir.path().join("bare"))?;
    let (mut ratios, mut rates, mut groups_of) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..turns {
        let before = log.writer.stats();
        let (entries, took) = run(&log);
        let after = log.writer.stats();
        let groups = (after.groups - before.groups).max(1);
        let group_bytes = (after.bytes - before.bytes) / groups;
        let entries_per_group = ratio(entries, groups);
        let rate = per_second(entries, took);
        let possible = bare.syncs_per_second(group_bytes, took)? * entries_per_group;
        ratios.push(rate / possible);
        rates.push(rate);
        groups_of.push(entries_per_group);
    }
    let (ratio, rate, of) = (median(ratios), median(rates), median(groups_of));
    println!("{name}: {rate:.0} entries/s, {of:.1} in a group, {ratio:.2} of what the disk syncs");
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "figures to be looked at")]
fn ratio(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
}

#[expect(clippy::cast_precision_loss, reason = "figures to be looked at")]
fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// A prewritten file, written and synced with nothing around it.
struct Bare(File);

impl Bare {
    fn new(path: &Path) -> std::io::Result<Self> {
        let file = File::create_new(path)?;
        let zeros = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Self(file))
    }

    fn syncs_per_second(&self, bytes: u64, time: Duration) -> std::io::Result<f64> {
        let piece = vec![7; usize::try_from(bytes).map_err(std::io::Error::other)?];
        let (begun, mut at, mut syncs) = (Instant::now(), 0, 0);
        while begun.elapsed() < time {
            self.0.write_all_at(&piece, at)?;
            self.0.sync_data()?;
            syncs += 1;
            at += bytes;
            if at + bytes > FILE_BYTES {
                at = 0;
            }
        }
        Ok(per_second(syncs, begun.elapsed()))
    }
}

/// Who is told when an entry is durable: its ticket is the writer's number.
#[derive(Default)]
struct Told {
    /// By a message, when there is somebody for all; else by waking the writer alone.
    messages: Mutex<Option<Sender<u64>>>,
    threads: Mutex<Vec<Waiting>>,
}

#[derive(Clone)]
struct Waiting {
    durable: Arc<AtomicBool>,
    thread: Thread,
}

impl Told {
    fn tell(&self, ticket: u64) {
        if let Some(messages) = lock(&self.messages).as_ref() {
            return messages.send(ticket).expect("all are waited for");
        }
        let writer = usize::try_from(ticket).expect("a writer's number");
        let waiting = lock(&self.threads).get(writer).cloned().expect("it told us its thread");
        waiting.durable.store(true, Ordering::Release);
        waiting.thread.unpark();
    }
}

struct Log {
    writer: Writer,
    builder: Mutex<BatchBuilder>,
    told: Arc<Told>,
}

impl Log {
    fn open(dir: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let cluster_name = "bench".to_owned();
        let identity = Identity { node: NodeId::new(1), cluster: 1, cluster_name };
        let (dir, fresh) = (dir.join("log"), StoreUuid::new(1));
        let store = Store::open(Arc::new(RealDisk), &dir, identity, fresh, &Options::default())?;
        let told = Arc::new(Told::default());
        let tell = Arc::clone(&told);
        let writer = Writer::start(store.into_committer(), 64 << 20, move |completion| {
            let Completion::Appended { ticket, .. } = completion else { panic!("{completion:?}") };
            tell.tell(ticket);
        })?;
        let builder = BatchBuilder::new(SHARD, EntryId::ZERO, Chain::ZERO, Hlc::ZERO);
        Ok(Self { writer, builder: Mutex::new(builder), told })
    }

    /// Appends one entry for a writer.
    fn append(&self, ticket: u64) {
        let mut builder = lock(&self.builder);
        builder.push(Epoch::new(1), Kind::Data, 1, |out| out.extend_from_slice(&PAYLOAD));
        let batch = builder.take().expect("an entry was pushed");
        // Under the lock, so that entries come in their order.
        self.writer.submit(Op::Append { shard: SHARD, batch, ticket }).expect("there is room");
        drop(builder);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().expect("no panic under the lock")
}

/// 64 threads; each appends an entry, sleeps until it is woken for that one, and again.
fn threads(log: &Log, time: Duration) -> (u64, Duration) {
    *lock(&log.told.messages) = None;
    let (entries, begun) = (AtomicU64::new(0), Instant::now());
    let (all_here, here) = (std::sync::Barrier::new(WRITERS), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let durable = Arc::new(AtomicBool::new(false));
                let mut row = lock(&here);
                let ticket = u64::try_from(row.len()).expect("a few");
                row.push(Waiting { durable: Arc::clone(&durable), thread: std::thread::current() });
                lock(&log.told.threads).clone_from(&row);
                drop(row);
                all_here.wait();
                while begun.elapsed() < time {
                    log.append(ticket);
                    while !durable.swap(false, Ordering::Acquire) {
                        std::thread::park();
                    }
                    entries.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (entries.into_inner(), begun.elapsed())
}

/// The same 64 as a node has them: one thread keeps them all, and hears of each by a message.
fn one_thread(log: &Log, time: Duration) -> (u64, Duration) {
    let (messages, heard) = channel();
    *lock(&log.told.messages) = Some(messages);
    let writers = u64::try_from(WRITERS).expect("a few");
    let (mut entries, begun) = (0, Instant::now());
    (0..writers).for_each(|writer| log.append(writer));
    let mut waiting = writers;
    while waiting > 0 {
        let writer = heard.recv().expect("the log tells of each");
        entries += 1;
        if begun.elapsed() < time {
            log.append(writer);
        } else {
            waiting -= 1;
        }
    }
    (entries, begun.elapsed())
}
