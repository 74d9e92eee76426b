//! A node's files: the real store over a simulated disk, with what the simulator knows of it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_kv::Engine;
use antiphon_proto::{
    Batch, Cut, EntryId, Epoch, HardState, Incarnation, LogEnd, LogStart, Lsn, NodeId, Sessions,
    StoreUuid,
};
use antiphon_store::{
    Committer, Completion, Identity, LogReader, Op, Options, Position, Prepare, SimDisk, Snapshots,
    Store, StoreError,
};

use bytes::Bytes;

use crate::plan::{Plan, SHARD};

/// An open data directory, with what waits to be written to it.
#[derive(Debug)]
pub(crate) struct Storage {
    committer: Committer,
    reader: LogReader,
    snapshots: Arc<Snapshots>,
    pub(crate) queue: VecDeque<Op>,
    pub(crate) busy: Vec<Op>, // what the disk works on now
}

/// What was found at the start of a process.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) store: StoreUuid,
    pub(crate) incarnation: Incarnation,
    pub(crate) hard: Option<HardState>,
    pub(crate) log: LogStart,
    pub(crate) amnesia: bool,
    pub(crate) torn: bool,
    pub(crate) created: bool,
}

/// Why a directory can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the log is damaged: {0}")]
    Damaged(String),
    #[error("the hard state is damaged: {0}")]
    Hard(#[from] antiphon_proto::WireError),
}

/// Why a snapshot can't be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Body(#[from] std::io::Error),
}

/// Where the data directory lies on the simulated disk.
pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/data")
}

fn options(plan: &Plan) -> Options {
    Options {
        segment_bytes: plan.disk.segment_bytes,
        group_bytes_max: plan.disk.group_bytes as u64,
        index_bytes: 1 << 10,
        prepare: Prepare::Inline,
        planted: crate::mutation::storage(plan),
        ..Options::default()
    }
}

impl Storage {
    /// Opens the directory for a new run of the node.
    pub(crate) fn open(
        disk: &SimDisk,
        node: NodeId,
        fresh: StoreUuid,
        plan: &Plan,
    ) -> Result<(Self, Found), OpenError> {
        let identity = Identity { node, cluster: 1, cluster_name: "sim".to_owned() };
        let disk = Arc::new(disk.clone());
        let store = Store::open(disk, Path::new(&dir()), identity, fresh, &options(plan))?;
        if let Some(damage) = store.recovery().damage.first() {
            return Err(OpenError::Damaged(format!("{damage:?}")));
        }
        let hard = store.hard(SHARD).map(|bytes| HardState::decode(bytes)).transpose()?;
        let reader = store.reader();
        let found = Found {
            store: store.superblock().store,
            incarnation: store.superblock().incarnation,
            hard,
            log: start(&reader),
            amnesia: store.recovery().amnesia,
            torn: store.recovery().torn.is_some(),
            created: store.is_created(),
        };
        let snapshots = store.snapshots();
        let committer = store.into_committer();
        Ok((Self { committer, reader, snapshots, queue: VecDeque::new(), busy: Vec::new() }, found))
    }

    /// Takes what the disk does next: consecutive appends together, anything else alone.
    pub(crate) fn begin(&mut self, group_bytes: usize) -> bool {
        let mut bytes = 0;
        while let Some(op) = self.queue.front() {
            let Op::Append { batch, .. } = op else {
                if self.busy.is_empty() {
                    self.busy.extend(self.queue.pop_front());
                }
                break;
            };
            if bytes >= group_bytes {
                break;
            }
            bytes += batch.bytes().len();
            self.busy.extend(self.queue.pop_front());
        }
        !self.busy.is_empty()
    }

    /// Does what the disk works on.
    pub(crate) fn finish(&mut self) -> (Vec<Op>, Vec<Completion>) {
        let ops = std::mem::take(&mut self.busy);
        for op in &ops {
            self.committer.submit(op.clone());
        }
        let mut done = Vec::new();
        while !self.committer.is_idle() {
            self.committer.run(&mut done);
        }
        (ops, done)
    }

    /// Notes how far the log is durable.
    pub(crate) fn note_end(&mut self) -> Vec<Completion> {
        let mut done = Vec::new();
        if self.busy.is_empty() {
            self.committer.rest(&mut done);
        }
        done
    }

    pub(crate) fn read(&self, after: Lsn, bytes_max: usize) -> Result<Option<Batch>, StoreError> {
        self.reader.read(SHARD, after.next(), bytes_max)
    }

    /// Writes a snapshot of the state at an applied entry.
    pub(crate) fn save(
        &self,
        at: Lsn,
        (engine, sessions): (&Engine, &Sessions),
    ) -> Result<(), SnapshotError> {
        let position = self.reader.position(SHARD, at)?;
        let mut writer = self.snapshots.begin(SHARD, position, Bytes::new())?;
        sessions.cut().write(&mut writer)?;
        engine.cut().write(&mut writer)?;
        writer.finish()?;
        Ok(())
    }

    /// The state of the newest snapshot, if there is one, and the last entry in it.
    pub(crate) fn restore(
        &self,
        (engine, sessions): (&mut Engine, &mut Sessions),
    ) -> Result<EntryId, SnapshotError> {
        let Some(info) = self.snapshots.latest(SHARD) else { return Ok(EntryId::ZERO) };
        let mut body = self.snapshots.read(&info)?;
        sessions.restore(&mut body)?;
        engine.restore(&mut body)?;
        Ok(info.position.id)
    }

    /// The last entry of the oldest snapshot that is kept.
    pub(crate) fn oldest_snapshot(&self) -> Lsn {
        self.snapshots.list().first().map_or(Lsn::ZERO, |info| info.position.id.lsn)
    }

    /// The entry before the log's first.
    pub(crate) fn base(&self) -> EntryId {
        self.reader.bounds(SHARD).base.id
    }
}

fn start(reader: &LogReader) -> LogStart {
    let bounds = reader.bounds(SHARD);
    let epochs = reader.epochs(SHARD);
    let ends = epochs.iter().skip(1).map(|(_, first)| first.prev());
    let ends = ends.chain([bounds.last.id.lsn]);
    let runs = epochs.iter().zip(ends).map(|((epoch, _), end)| Cut { epoch: *epoch, end });
    LogStart { base: bounds.base.id, end: log_end(bounds.last), runs: runs.collect() }
}

/// The machine's word for a position.
pub(crate) const fn log_end(position: Position) -> LogEnd {
    LogEnd { last: position.id, chain: position.chain, hlc: position.hlc }
}

impl Truth {
    /// Whether the node counts, for all that is on its disk: it owes nothing that its log lacks.
    pub(crate) fn is_whole(&self) -> bool {
        self.owed.is_some_and(|owed| owed <= self.end.lsn)
    }
}

/// What the simulator knows to be on a node's disk, from what the store reported.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) end: EntryId,      // the log reaches at least here
    pub(crate) promised: Epoch,   // the hard state is at least this
    pub(crate) owed: Option<Lsn>, // by the hard state, if there is one
    pub(crate) cut: Option<Lsn>,  // a cut to here was under way when the process ended
}
