//! A disk of the stories: what was synced, and what still waits for it.

use std::collections::VecDeque;

use antiphon_proto::{
    Batch, Chain, Cut, EntryId, Event, Frame, HardState, Hlc, LogEnd, LogStart, Lsn, Recovered,
    ShardId, encode,
};
use bytes::{Bytes, BytesMut};

/// What a replica asked of its disk and was not told about yet.
#[derive(Debug)]
pub(crate) enum Op {
    Persist { ticket: u64, hard: Bytes },
    Append(Batch),
    Truncate(Lsn),
}

#[derive(Debug, Clone)]
struct Stored {
    id: EntryId,
    hlc: Hlc,
    before: Chain,
    chain: Chain,
    bytes: Bytes,
}

/// When the disk answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As soon as there is no message to deliver.
    Instant,
    /// Promises and configurations at once, the log when told.
    LogHeld,
    /// When told.
    Held,
}

/// One node's data directory, with the write queue of the process that has it open.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) store: u128,
    pub(crate) incarnation: u64,
    pub(crate) hint: Lsn, // the end that was acknowledged, as the superblock knows it
    pub(crate) pace: Pace,
    hard: Option<Bytes>,
    base: LogEnd,
    trimmed: Vec<EntryId>, // up to the base
    frames: Vec<Stored>,
    queue: VecDeque<Op>,
}

impl Disk {
    pub(crate) fn new(store: u128) -> Self {
        Self {
            store,
            incarnation: 0,
            hint: Lsn::ZERO,
            pace: Pace::Instant,
            hard: None,
            base: LogEnd::EMPTY,
            trimmed: Vec::new(),
            frames: Vec::new(),
            queue: VecDeque::new(),
        }
    }

    pub(crate) fn submit(&mut self, op: Op) {
        self.queue.push_back(op);
    }

    /// The power goes: of what was not synced, the first `keep` requests are there all the same.
    pub(crate) fn crash(&mut self, keep: usize) {
        self.queue.truncate(keep);
        self.complete(self.queue.len());
    }

    /// Whether something would be completed now without being told.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready() > 0
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn ready(&self) -> usize {
        match self.pace {
            Pace::Instant => self.queue.len(),
            Pace::LogHeld => {
                self.queue.iter().take_while(|op| matches!(op, Op::Persist { .. })).count()
            }
            Pace::Held => 0,
        }
    }

    /// Completes what the pace allows.
    pub(crate) fn run(&mut self) -> Vec<Event> {
        self.complete(self.ready())
    }

    /// Completes the oldest `count` requests: one sync for all appends in a row.
    pub(crate) fn complete(&mut self, count: usize) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        for op in self.queue.drain(..count.min(self.queue.len())).collect::<Vec<_>>() {
            match op {
                Op::Persist { ticket, hard } => {
                    self.hard = Some(hard);
                    events.push(Event::Persisted(ticket));
                }
                Op::Append(batch) => {
                    self.append(&batch);
                    if matches!(events.last(), Some(Event::Durable(_))) {
                        events.pop();
                    }
                    events.push(Event::Durable(batch.last()));
                }
                Op::Truncate(keep) => {
                    assert!(keep <= self.end().last.lsn, "a cut lies within the log");
                    self.cut(keep);
                    events.push(Event::Truncated(self.end()));
                }
            }
        }
        events
    }

    fn append(&mut self, batch: &Batch) {
        assert_eq!(batch.first().lsn, self.end().last.lsn.next(), "a disk's log has no gap");
        assert_eq!(batch.before(), self.end().chain, "a disk's log is one chain");
        let mut before = batch.before();
        for frame in batch.frames() {
            let bytes = Bytes::copy_from_slice(frame.bytes);
            let (id, hlc, chain) = (frame.header.id, frame.header.hlc, frame.chain);
            self.frames.push(Stored { id, hlc, before, chain, bytes });
            before = chain;
        }
    }

    /// Forgets all entries behind `keep`.
    pub(crate) fn cut(&mut self, keep: Lsn) {
        self.frames.retain(|stored| stored.id.lsn <= keep);
        self.hint = self.hint.min(keep);
    }

    /// Forgets the last entries, but not that they were acknowledged.
    pub(crate) fn lose(&mut self, count: usize) {
        self.frames.truncate(self.frames.len().saturating_sub(count));
    }

    /// Removes the first entries; returns the last of those.
    pub(crate) fn trim(&mut self, to: Lsn) -> EntryId {
        if let Some(stored) = self.frames.iter().find(|stored| stored.id.lsn == to) {
            self.base = LogEnd { last: stored.id, chain: stored.chain, hlc: stored.hlc };
            let ids = self.frames.iter().map(|stored| stored.id);
            self.trimmed.extend(ids.filter(|id| id.lsn <= to));
            self.frames.retain(|stored| stored.id.lsn > to);
        }
        self.base.last
    }

    /// Writes another content into the last entry, with checksums that fit.
    pub(crate) fn forge(&mut self, payload: &str) {
        let Some(stored) = self.frames.pop() else { return };
        let header = Frame::decode(&stored.bytes).expect("a stored frame").header;
        let mut out = BytesMut::new();
        let write = |out: &mut BytesMut| out.extend_from_slice(payload.as_bytes());
        let chain = encode(&mut out, header, stored.before, write);
        self.frames.push(Stored { chain, bytes: out.freeze(), ..stored });
    }

    pub(crate) fn end(&self) -> LogEnd {
        let last = self.frames.last();
        last.map_or(self.base, |stored| LogEnd {
            last: stored.id,
            chain: stored.chain,
            hlc: stored.hlc,
        })
    }

    /// Every entry that the log ever kept and did not cut.
    pub(crate) fn ids(&self) -> Vec<EntryId> {
        let kept = self.frames.iter().map(|stored| stored.id);
        self.trimmed.iter().copied().chain(kept).collect()
    }

    pub(crate) fn holds(&self, id: EntryId) -> bool {
        self.ids().contains(&id)
    }

    pub(crate) fn hard(&self) -> Option<HardState> {
        self.hard.as_ref().map(|bytes| HardState::decode(bytes).expect("a hard state we wrote"))
    }

    /// What a restarted process finds.
    pub(crate) fn recovered(&self) -> Recovered {
        let mut runs: Vec<Cut> = Vec::new();
        for stored in &self.frames {
            match runs.last_mut() {
                Some(run) if run.epoch == stored.id.epoch => run.end = stored.id.lsn,
                _ => runs.push(Cut { epoch: stored.id.epoch, end: stored.id.lsn }),
            }
        }
        Recovered {
            hard: self.hard(),
            log: LogStart { base: self.base.last, end: self.end(), runs },
            applied: self.base.last.lsn,
            acknowledged: self.hint,
        }
    }

    pub(crate) fn read(&self, shard: ShardId, after: Lsn, bytes_max: usize) -> Option<Batch> {
        if after < self.base.last.lsn {
            return None;
        }
        let mut bytes = BytesMut::new();
        let wanted: Vec<_> = self.frames.iter().filter(|stored| stored.id.lsn > after).collect();
        for stored in &wanted {
            if !bytes.is_empty() && bytes.len() + stored.bytes.len() > bytes_max {
                break;
            }
            bytes.extend_from_slice(&stored.bytes);
        }
        let before = wanted.first()?.before;
        Some(Batch::decode(shard, before, bytes.freeze()).expect("stored frames are whole"))
    }
}
