//! Opening and closing the data directory.

use std::sync::Arc;

use antiphon_proto::{Cut, Epoch, HardState, Incarnation, LogStart, Lsn, ShardId, StoreUuid};
use antiphon_store::{Identity, LogReader, Options, RealDisk, Recovery, Store, Writer};
use tokio::sync::mpsc;
use tracing::warn;

use crate::config::NodeConfig;
use crate::disk::snapshots::{Shelf, Stored};
use crate::disk::{Disk, Done, completed, heal, log_end};
use crate::error::StartError;

/// Bytes that may wait for the log writer: what a full window and a window of catch-up hold.
const QUEUE_BYTES: usize = 256 << 20;

/// A data directory, opened for a run.
pub(crate) struct Opened {
    pub(crate) disk: Disk,
    pub(crate) identity: (Incarnation, StoreUuid),
    pub(crate) hard: Option<HardState>,
    pub(crate) log: LogStart,
    pub(crate) snapshot: Option<Stored>,
    pub(crate) acknowledged: Lsn,
}

impl Disk {
    pub(crate) fn open(
        config: &NodeConfig,
        done: mpsc::UnboundedSender<Done>,
    ) -> Result<Opened, StartError> {
        let shard = ShardId::default();
        let options = Options { segment_bytes: config.segment_bytes, ..Options::default() };
        let identity = Identity {
            node: config.node,
            cluster: cluster_number(&config.cluster),
            cluster_name: config.cluster.clone(),
        };
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| StartError::Thread(error.into()))?;
        let fresh = StoreUuid::new(u128::from_le_bytes(random));
        let store = Store::open(Arc::new(RealDisk), &config.data_dir, identity, fresh, &options)?;
        let identity = (store.superblock().incarnation, store.superblock().store);
        let hard = hard_state(&store, shard)?;
        report(store.recovery());
        let missing = missing(store.recovery(), shard);
        let shelf = Shelf::open(&store, shard);
        let snapshot = shelf.newest(shard)?;
        let reader = store.reader();
        let mut committer = store.into_committer();
        let mut acknowledged = Lsn::ZERO;
        if let Some(missing) = missing {
            let alone = config.members.len() < 2;
            let at = snapshot.as_ref().map(Stored::at);
            let promise = hard.clone().unwrap_or(HardState {
                promised: Epoch::ZERO,
                config: config.initial()?,
                owed: Lsn::MAX,
                established: false,
            });
            acknowledged = heal::set_aside(&mut committer, shard, (missing, at), promise, alone)?;
        }
        let bounds = reader.bounds(shard);
        let log = LogStart {
            base: bounds.base.id,
            end: log_end(bounds.last),
            runs: runs(&reader, shard, bounds.last.id.lsn),
        };
        let (theirs, read) = (done.clone(), reader.clone());
        let writer = Writer::start(committer, QUEUE_BYTES, move |completion| {
            if let Some(told) = completed(&read, completion) {
                // The shard's task is gone only when the node is.
                drop(theirs.send(told));
            }
        })?;
        let disk = Self {
            writer: Some(writer),
            reader,
            shelf,
            done,
            shard,
            appended_bytes: 0,
            appended_entries: 0,
            snapshot_at_bytes: 0,
            failed: false,
            ready: Vec::new(),
            ready_bytes: 0,
            sync_us: 0,
        };
        Ok(Opened { disk, identity, hard, log, snapshot, acknowledged })
    }
}

fn hard_state(store: &Store, shard: ShardId) -> Result<Option<HardState>, StartError> {
    let decoded = store.hard(shard).map(|bytes| HardState::decode(bytes)).transpose();
    decoded.map_err(|error| StartError::State { what: "the hard state", why: error.to_string() })
}

/// The entries that this node acknowledged and can't read any more: the first and the last.
fn missing(recovery: &Recovery, shard: ShardId) -> Option<(Lsn, Lsn)> {
    let of_shard = recovery.damage.iter().filter_map(|damage| damage.entries);
    let ranges = of_shard.filter(|(of, ..)| *of == shard).map(|(_, first, last)| (first, last));
    ranges.reduce(|(first, last), (other_first, other_last)| {
        (first.min(other_first), last.max(other_last))
    })
}

fn report(recovery: &Recovery) {
    if let Some(torn) = &recovery.torn {
        warn!(?torn, "cut a write that was not finished and never acknowledged");
    }
    for damage in &recovery.damage {
        warn!(%damage, "found damage in the log");
    }
}

/// Where each epoch of the log ends.
fn runs(reader: &LogReader, shard: ShardId, last: Lsn) -> Vec<Cut> {
    let starts = reader.epochs(shard);
    let ends = starts.iter().skip(1).map(|(_, first)| first.prev()).chain([last]);
    starts.iter().zip(ends).map(|((epoch, _), end)| Cut { epoch: *epoch, end }).collect()
}

/// The cluster's 128 bits, out of its name.
fn cluster_number(name: &str) -> u128 {
    xxhash_rust::xxh3::xxh3_128(name.as_bytes())
}
