//! What a store must hold after a sequence of steps, and a driver that runs the steps.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use antiphon_proto::{Batch, Epoch, Lsn, ShardId};
use bytes::Bytes;

use crate::testing::{Maker, dir, try_open};
use crate::{Committer, Completion, LogReader, Op, Options, Position, SimDisk, Snapshots, Store};

/// One step of a script. Each is one operation, or one change of the run.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Appends a batch of so many entries of so many bytes.
    Append(ShardId, usize, usize),
    /// From here on the shard appends in this epoch.
    Epoch(ShardId, u64),
    Hard(ShardId, Vec<u8>),
    Truncate(ShardId, u64),
    Restart(ShardId, Position),
    Trim(ShardId, u64),
    /// Runs what was queued by the steps before.
    Run,
    /// Idle: the acknowledged end is noted.
    Rest,
    Snapshot(ShardId, usize),
    /// Closes in good order and opens again.
    Reopen,
    /// Drops the store without closing it, and opens again.
    Abandon,
}

/// What a shard's log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ShardModel {
    pub(super) base: Position,
    /// Frames behind the base, in order.
    pub(super) frames: Vec<(Position, Bytes)>,
    /// Entries before this one may be gone.
    pub(super) floor: Lsn,
}

impl ShardModel {
    pub(super) fn end(&self) -> Position {
        self.frames.last().map_or(self.base, |(position, _)| *position)
    }
}

/// Entries that a truncation cut: file and frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aside {
    pub(super) path: PathBuf,
    pub(super) frames: Vec<u8>,
}

/// What a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) shards: BTreeMap<ShardId, ShardModel>,
    pub(super) hard: BTreeMap<ShardId, Vec<u8>>,
    pub(super) asides: Vec<Aside>,
    pub(super) snapshot: Option<(ShardId, Position, usize)>,
}

impl Model {
    fn append(&mut self, shard: ShardId, batch: &Batch) {
        let shard = self.shards.entry(shard).or_default();
        for frame in batch.frames() {
            let position =
                Position { id: frame.header.id, chain: frame.chain, hlc: frame.header.hlc };
            shard.frames.push((position, Bytes::copy_from_slice(frame.bytes)));
        }
    }

    fn truncate(&mut self, id: ShardId, lsn: Lsn) {
        let shard = self.shards.entry(id).or_default();
        let end = shard.end().id;
        if lsn >= end.lsn {
            return;
        }
        let keep = shard.frames.partition_point(|(at, _)| at.id.lsn <= lsn);
        let cut = shard.frames.split_off(keep);
        let name = format!("{}-{}-{}.frames", end.epoch, lsn.next(), end.lsn);
        let path = dir().join("diverged").join(format!("{:010}", id.get())).join(name);
        let frames = cut.into_iter().flat_map(|(_, bytes)| bytes).collect();
        self.asides.push(Aside { path, frames });
    }

    pub(super) fn end(&self, shard: ShardId) -> Position {
        self.shards.get(&shard).map_or(Position::default(), ShardModel::end)
    }

    /// Whether a store holds this; the reason when not.
    pub(super) fn compare(&self, store: &Store) -> Result<(), String> {
        let reader = store.reader();
        for shard in reader.shards() {
            if !self.shards.contains_key(&shard) && reader.bounds(shard).last.id.lsn > Lsn::ZERO {
                return Err(format!("shard {shard} was never written"));
            }
        }
        for (id, shard) in &self.shards {
            compare_shard(&reader, *id, shard)?;
        }
        let hard: BTreeMap<ShardId, Vec<u8>> = store
            .hard_shards()
            .map(|shard| (shard, store.hard(shard).map(|b| b.to_vec()).unwrap_or_default()))
            .collect();
        if hard != self.hard {
            return Err(format!("hard state is {hard:?}, not {:?}", self.hard));
        }
        self.compare_snapshot(&store.snapshots())
    }

    fn compare_snapshot(&self, snapshots: &Snapshots) -> Result<(), String> {
        let there = snapshots.list().last().cloned();
        let there =
            there.map(|info| (info.shard, info.position, usize::try_from(info.bytes).unwrap()));
        if there != self.snapshot {
            return Err(format!("the snapshot is {there:?}, not {:?}", self.snapshot));
        }
        Ok(())
    }
}

fn compare_shard(reader: &LogReader, id: ShardId, shard: &ShardModel) -> Result<(), String> {
    let bounds = reader.bounds(id);
    if bounds.last != shard.end() {
        return Err(format!("shard {id} ends at {:?}, not {:?}", bounds.last, shard.end()));
    }
    let first = bounds.base.id.lsn.next();
    let gone = first > shard.base.id.lsn.next();
    if gone && first > shard.floor.max(Lsn::new(1)) {
        return Err(format!("shard {id} begins at {first}, {} was wanted", shard.floor));
    }
    let skip = shard.frames.partition_point(|(at, _)| at.id.lsn < first);
    let expected: Vec<u8> =
        shard.frames[skip..].iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    let mut found = Vec::new();
    let mut next = first;
    loop {
        match reader.read(id, next, 1 << 20) {
            Ok(Some(batch)) => {
                found.extend_from_slice(batch.bytes());
                next = batch.last().lsn.next();
            }
            Ok(None) => break,
            Err(error) => return Err(format!("shard {id} at {next}: {error}")),
        }
    }
    if found == expected { Ok(()) } else { Err(format!("shard {id} has other entries")) }
}

/// Runs steps on a simulated disk and keeps what the store must hold after each.
pub(super) struct Driver {
    pub(super) disk: SimDisk,
    pub(super) options: Options,
    committer: Option<Committer>,
    snapshots: Option<Arc<Snapshots>>,
    makers: BTreeMap<ShardId, Maker>,
    /// What the store holds after each operation that was submitted; the first is at the start.
    pub(super) states: Vec<Model>,
    /// Recorded changes when an operation was submitted, by its number.
    pub(super) submitted: Vec<usize>,
    /// Recorded changes when an operation was reported done, by its number.
    pub(super) done: Vec<usize>,
    pub(super) failed: bool,
}

impl Driver {
    pub(super) fn new(disk: SimDisk, options: Options) -> Self {
        let states = vec![Model::default()];
        let (submitted, done) = (Vec::new(), Vec::new());
        Self {
            disk,
            options,
            committer: None,
            snapshots: None,
            makers: BTreeMap::new(),
            states,
            submitted,
            done,
            failed: false,
        }
    }

    pub(super) fn open(&mut self) {
        let store = try_open(Arc::new(self.disk.clone()), &dir(), &self.options).unwrap();
        self.snapshots = Some(store.snapshots());
        self.committer = Some(store.into_committer());
    }

    /// Forgets what was recorded: the last state is the first of what follows.
    pub(super) fn forget(&mut self) {
        self.states.drain(..self.states.len() - 1);
        self.submitted.clear();
        self.done.clear();
    }

    pub(super) fn run(&mut self, steps: &[Step]) {
        for step in steps {
            if !self.failed {
                self.step(step);
            }
        }
    }

    fn now(&self) -> &Model {
        self.states.last().unwrap()
    }

    fn maker(&mut self, shard: ShardId) -> &mut Maker {
        let end = self.now().end(shard);
        self.makers.entry(shard).or_insert_with(|| Maker::after(shard, end))
    }

    fn submit(&mut self, op: Op, next: Model) {
        self.states.push(next);
        self.submitted.push(self.disk.recorded());
        self.committer.as_mut().unwrap().submit(op);
    }

    fn step(&mut self, step: &Step) {
        let mut next = self.now().clone();
        match step {
            Step::Append(shard, entries, bytes) => {
                let batch = self.maker(*shard).batch(*entries, *bytes);
                next.append(*shard, &batch);
                self.submit(Op::Append { shard: *shard, batch, ticket: 0 }, next);
            }
            Step::Epoch(shard, epoch) => self.maker(*shard).epoch = Epoch::new(*epoch),
            Step::Hard(shard, state) => {
                next.hard.insert(*shard, state.clone());
                let state = Bytes::from(state.clone());
                self.submit(Op::Hard { shard: *shard, state, ticket: 0 }, next);
            }
            Step::Truncate(shard, lsn) => {
                next.truncate(*shard, Lsn::new(*lsn));
                self.makers.insert(*shard, Maker::after(*shard, next.end(*shard)));
                let lsn = Lsn::new(*lsn);
                self.submit(Op::Truncate { shard: *shard, lsn, ticket: 0 }, next);
            }
            Step::Restart(shard, position) => {
                let fresh = ShardModel { base: *position, ..ShardModel::default() };
                next.shards.insert(*shard, fresh);
                self.makers.insert(*shard, Maker::after(*shard, *position));
                self.submit(Op::Restart { shard: *shard, position: *position, ticket: 0 }, next);
            }
            Step::Trim(shard, lsn) => {
                let floor = &mut next.shards.entry(*shard).or_default().floor;
                *floor = (*floor).max(Lsn::new(*lsn));
                self.submit(Op::Trim { shard: *shard, lsn: Lsn::new(*lsn), ticket: 0 }, next);
            }
            Step::Run => self.run_queued(),
            Step::Rest => self.committer.as_mut().unwrap().rest(&mut Vec::new()),
            Step::Snapshot(shard, bytes) => self.snapshot(*shard, *bytes, next),
            Step::Reopen => {
                self.committer.take().unwrap().close().unwrap();
                self.open();
            }
            Step::Abandon => {
                self.committer = None;
                self.open();
            }
        }
    }

    fn run_queued(&mut self) {
        let committer = self.committer.as_mut().unwrap();
        let mut completions = Vec::new();
        while !committer.is_idle() {
            committer.run(&mut completions);
        }
        for completion in completions {
            if matches!(completion, Completion::Failed(_)) {
                self.failed = true;
                return;
            }
            self.done.push(self.disk.recorded());
        }
    }

    fn snapshot(&mut self, shard: ShardId, bytes: usize, mut next: Model) {
        let position = next.end(shard);
        // The newest is the one of the greatest entry, not the one that was taken last.
        if next.snapshot.is_none_or(|(_, newest, _)| newest.id <= position.id) {
            next.snapshot = Some((shard, position, bytes));
        }
        self.states.push(next);
        self.submitted.push(self.disk.recorded());
        let snapshots = self.snapshots.as_ref().unwrap();
        let mut writer = snapshots.begin(shard, position, Bytes::from_static(b"meta")).unwrap();
        writer.write_all(&vec![5; bytes]).unwrap();
        writer.finish().unwrap();
        self.done.push(self.disk.recorded());
    }
}
