//! Fills a log to a size and opens it again: what an opening costs beyond reading the tail.
//!
//! Arguments: GiB of log (1), bytes of an entry's payload (1000). The directory is made under
//! `TMPDIR` and removed at the end.
#![expect(clippy::print_stdout, reason = "an example answers on stdout")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_proto::{BatchBuilder, Chain, EntryId, Epoch, Hlc, Kind, NodeId, ShardId, StoreUuid};
use antiphon_store::{Completion, Identity, Op, Options, RealDisk, Store};

const SHARD: ShardId = ShardId::new(0);
/// Openings with the files in the system's cache, and without.
const OPENINGS: usize = 3;
/// Bytes of a batch, as one sync makes them durable under load.
const BATCH_BYTES: usize = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1);
    let gib: u64 = numbers.next().map_or(Ok(1), |text| text.parse())?;
    let payload: usize = numbers.next().map_or(Ok(1_000), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let begun = Instant::now();
    let entries = fill(dir, gib << 30, payload)?;
    println!("{gib} GiB in {entries} entries written in {:.1} s", begun.elapsed().as_secs_f64());
    for _ in 0..OPENINGS {
        let (warm, tail) = open(dir, entries)?;
        println!("opened after a crash in {warm:?}; reading the last segment alone takes {tail:?}");
    }
    for _ in 0..OPENINGS {
        forget_cache(dir)?;
        let (cold, tail) = open(dir, entries)?;
        println!("with nothing in the cache in {cold:?}; the last segment alone {tail:?}");
    }
    Ok(())
}

fn opened(dir: &Path) -> Result<Store, antiphon_store::StoreError> {
    let identity = Identity { node: NodeId::new(1), cluster: 1, cluster_name: "size".to_owned() };
    Store::open(Arc::new(RealDisk), dir, identity, StoreUuid::new(1), &Options::default())
}

/// Writes until the log has that many bytes, and drops it as a crash would.
fn fill(dir: &Path, bytes: u64, payload: usize) -> Result<u64, Box<dyn std::error::Error>> {
    let mut committer = opened(dir)?.into_committer();
    let mut builder = BatchBuilder::new(SHARD, EntryId::ZERO, Chain::ZERO, Hlc::ZERO);
    let mut done = Vec::new();
    let mut written = 0;
    while written < bytes {
        while builder.len() < BATCH_BYTES {
            builder.push(Epoch::new(1), Kind::Data, 1, |out| out.resize(out.len() + payload, 7));
        }
        let batch = builder.take().ok_or("entries were pushed")?;
        written += u64::try_from(batch.bytes().len())?;
        committer.submit(Op::Append { shard: SHARD, batch, ticket: 0 });
        committer.run(&mut done);
        if let Some(Completion::Failed(error)) = done.pop() {
            return Err(error.to_string().into());
        }
        // As the writer's thread does between two groups.
        committer.rest(&mut done);
    }
    Ok(builder.last().lsn.get())
}

/// The time of an opening, and of reading the file that it must read in any case.
fn open(dir: &Path, entries: u64) -> Result<(Duration, Duration), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let store = opened(dir)?;
    let took = begun.elapsed();
    let last = store.reader().bounds(SHARD).last.id.lsn.get();
    if last != entries {
        return Err(format!("{last} entries of {entries} were found").into());
    }
    drop(store);
    let newest = files(dir)?.into_iter().rev().nth(1).ok_or("there are segments")?;
    let begun = Instant::now();
    let read = std::fs::read(newest)?;
    let alone = begun.elapsed();
    drop(read);
    Ok((took, alone))
}

/// The segments; the last one is prepared and not begun.
fn files(dir: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let listed = std::fs::read_dir(dir.join("log"))?;
    let mut files = listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|name| name == "log"));
    files.sort();
    Ok(files)
}

/// Lets the system's cache of the log's files go.
fn forget_cache(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    for entry in std::fs::read_dir(dir.join("log"))? {
        let file = std::fs::File::open(entry?.path())?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}
