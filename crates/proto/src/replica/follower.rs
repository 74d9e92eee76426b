//! A follower: obeys configurations, keeps promises, appends what its parent sends, acknowledges.

use crate::mutation::Mutation;
use crate::replica::{Halt, Replica, Role};
use crate::{
    Ack, Append, Batch, Closed, Config, EntryId, Epoch, HISTORY_ROWS_MAX, Lsn, Message, NodeId,
    Open, Positions, Sealed, Time,
};

use super::{Effect, LoadFor};

#[derive(Debug)]
pub(super) struct Follower {
    stream: Option<Stream>,
    streams: u64,             // names handed out in this run
    promise: Option<Promise>, // a seal that is not answered yet
    acked: Positions,         // as told on the stream
    below: BelowNews,         // what children told and the parent does not know
    ack_received: bool,       // the primary wants to know of entries in memory
    asked: bool,              // a heartbeat asks for all positions
    whole_at: Option<Time>,   // when all positions were told
    head: Lsn,                // the end of the primary's log, as last heard
    pub(super) needs_snapshot: Option<Lsn>,
}

#[derive(Debug)]
struct Stream {
    id: u64,
    heard_at: Time, // or opened, if nothing was heard yet
    synced: bool,
    aimed: bool, // it told where the primary's log ends
}

/// Whose positions below this node have changed.
#[derive(Debug, Default)]
struct BelowNews {
    voters: bool,
    learners: bool,
}

#[derive(Debug)]
struct Promise {
    to: NodeId,
    epoch: Epoch,
    ticket: u64,
}

impl Follower {
    pub(super) fn new(streams: u64) -> Self {
        Self {
            stream: None,
            streams,
            promise: None,
            acked: Positions::default(),
            below: BelowNews::default(),
            ack_received: false,
            asked: false,
            whole_at: None,
            head: Lsn::ZERO,
            needs_snapshot: None,
        }
    }

    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    pub(super) fn is_synced(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.synced)
    }

    pub(super) fn heard(&self) -> Option<Time> {
        self.stream.as_ref().map(|stream| stream.heard_at)
    }

    pub(super) const fn head(&self) -> Lsn {
        self.head
    }

    pub(super) const fn wants_received(&self) -> bool {
        self.ack_received
    }

    pub(super) fn note_below(&mut self, voters: bool) {
        self.below.voters |= voters;
        self.below.learners |= !voters;
    }

    /// When to look again, if nothing happens.
    pub(super) fn deadline(&self, retry_ms: u64) -> Option<Time> {
        self.stream.as_ref().map(|stream| stream.heard_at.plus_ms(stream.patience_ms(retry_ms)))
    }
}

impl Stream {
    /// A synced stream has heartbeats and is given twice the time.
    const fn patience_ms(&self, retry_ms: u64) -> u64 {
        if self.synced { 2 * retry_ms } else { retry_ms }
    }
}

impl Replica {
    /// The follower's part, made out of whatever this replica was before.
    fn become_follower(&mut self) -> &mut Follower {
        if !matches!(self.role, Role::Follower(_)) {
            if matches!(self.role, Role::Primary(_)) {
                self.effects.push(Effect::Resign);
            }
            self.role = Role::Follower(Follower::new(self.streams));
            self.children.clear();
        }
        match &mut self.role {
            Role::Follower(follower) => follower,
            Role::Recovering(_) | Role::Primary(_) | Role::Halted => {
                unreachable!("the role was just set")
            }
        }
    }

    pub(super) fn on_seal(&mut self, from: NodeId, epoch: Epoch) {
        if self.config.place(from).is_none() {
            return;
        }
        let unused = epoch == self.promised && self.config.epoch < epoch;
        if epoch < self.promised || (epoch == self.promised && !unused) {
            let promised = self.promised;
            self.send_in(promised, from, Message::SealRefused);
            return;
        }
        self.promised = epoch;
        let ticket = self.persist();
        let follower = self.become_follower();
        follower.close();
        follower.promise = Some(Promise { to: from, epoch, ticket });
        self.children.clear();
    }

    pub(super) fn on_config(&mut self, config: &Config) {
        let newer = config.epoch > self.config.epoch && config.epoch >= self.promised;
        if !newer || config.shard != self.shard {
            return;
        }
        if config.primary == self.me.node {
            // An earlier run of this node was elected in it and may have appended entries that
            // this run does not have. Its identifiers must not be used again.
            self.recover(config.epoch.next());
            return;
        }
        let keep = self.kept_by(config);
        self.config = config.clone();
        self.promised = config.epoch;
        let follower = self.become_follower();
        follower.close();
        follower.promise = None;
        follower.head = Lsn::ZERO;
        follower.needs_snapshot = None;
        self.children.clear();
        self.truncate(keep);
        self.obeyed = self.persist();
    }

    /// How much of this log stays when its node joins an epoch.
    fn kept_by(&self, config: &Config) -> Lsn {
        let keep = config.keep(self.log.runs(), self.log.base());
        let last = self.log.last();
        let no_row = config.history.iter().all(|row| row.epoch != last.epoch);
        if self.planted.is(Mutation::NoCutAtJoin)
            || (self.planted.is(Mutation::KeepWithoutRow) && no_row)
        {
            return last.lsn;
        }
        if self.planted.is(Mutation::CutToApplied) {
            return keep.min(self.applied);
        }
        if self.planted.is(Mutation::CutOffByOne) && keep < last.lsn {
            return keep.next();
        }
        keep
    }

    pub(super) fn on_closed(&mut self, from: NodeId, stream: u64, reason: Closed) {
        if self.config.parent(self.me.node) != Some(from) {
            return;
        }
        let at = self.log.last();
        let Role::Follower(follower) = &mut self.role else { return };
        if follower.stream.as_ref().is_none_or(|open| open.id != stream) {
            return;
        }
        match reason {
            // Asked again after the retry time, since the stream stays unsynced.
            Closed::Behind => {}
            Closed::Trimmed(first) => follower.needs_snapshot = Some(first),
            Closed::Diverged => self.halt(Halt::Diverged { peer: from, at }),
        }
    }

    pub(super) fn on_append(&mut self, from: NodeId, epoch: Epoch, append: &Append) {
        let current = epoch == self.config.epoch && self.promised == epoch;
        let parent = self.config.parent(self.me.node) == Some(from);
        let (now, last, chain) = (self.now, self.log.last(), self.log.chain());
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(stream) = follower.stream.as_mut().filter(|open| open.id == append.stream) else {
            return;
        };
        if !current || !parent {
            return;
        }
        stream.heard_at = now;
        stream.synced = true;
        // A parent that has not heard the primary's end itself says 0.
        let aims = append.head > Lsn::ZERO && !stream.aimed;
        stream.aimed |= aims;
        // What the primary sends alone tells the hash of its whole log, which ends at `head`.
        let whole = append.frames.is_empty() && from == self.config.primary;
        if whole && append.head == last.lsn && append.before != chain {
            self.halt(Halt::Diverged { peer: from, at: last });
            return;
        }
        follower.ack_received = append.ack_received;
        follower.head = follower.head.max(append.head);
        let news = append.stable > self.stable;
        self.stable = self.stable.max(append.stable);
        follower.asked |= append.frames.is_empty() && !news;
        if aims {
            self.lower_debt(append.head);
        }
        if !append.frames.is_empty() {
            self.on_frames(from, epoch, append);
        }
    }

    /// Appends what continues the log.
    fn on_frames(&mut self, from: NodeId, epoch: Epoch, append: &Append) {
        let (shard, last, chain) = (self.shard, self.log.last(), self.log.chain());
        let batch = Batch::decode(shard, append.before, append.frames.clone()).ok();
        let next = batch.filter(|batch| {
            let epochs = last.epoch..=epoch;
            (batch.first().lsn == last.lsn.next() || self.planted.is(Mutation::IgnoreGap))
                && epochs.contains(&batch.first().epoch)
                && epochs.contains(&batch.last().epoch)
                && self.log.is_later(batch)
        });
        match next {
            Some(batch) if batch.before() == chain || self.planted.is(Mutation::IgnoreGap) => {
                self.append(batch);
            }
            // Both logs end at the same entry and are not the same: asking again won't help.
            Some(_) => self.halt(Halt::Diverged { peer: from, at: last }),
            // Entries are missing in between, or were damaged on the way: ask from our own end.
            None => {
                if let Role::Follower(follower) = &mut self.role {
                    follower.close();
                }
            }
        }
    }

    pub(super) fn settle_follower(&mut self) {
        self.settle_promise();
        self.settle_stream();
        self.settle_ack();
    }

    /// Answers a seal once the promise is on disk, and all that the log holds with it.
    fn settle_promise(&mut self) {
        let flushed = self.log.durable() == self.log.last().lsn && !self.truncating;
        let unwritten = self.planted.is(Mutation::PromiseNotPersisted);
        let Role::Follower(follower) = &mut self.role else { return };
        let ready =
            |promise: &mut Promise| (promise.ticket <= self.persisted || unwritten) && flushed;
        let Some(promise) = follower.promise.take_if(ready) else { return };
        // Those before are in the configuration's cut table, as far back as anybody remembers.
        let older = self.log.runs().len().saturating_sub(HISTORY_ROWS_MAX);
        let sealed = Sealed {
            last: self.log.last(),
            base: self.log.base(),
            runs: self.log.runs().iter().skip(older).copied().collect(),
            incarnation: self.me.incarnation,
            store: self.me.store,
            amnesiac: !self.is_whole(),
            blank: self.is_blank(),
            config: self.config.clone(),
        };
        self.send_in(promise.epoch, promise.to, Message::Sealed(sealed));
    }

    /// Opens the stream from the parent, or opens it anew when it went silent.
    fn settle_stream(&mut self) {
        let hasty = self.planted.is(Mutation::JoinBeforePersist);
        let joined = (self.obeyed <= self.persisted || hasty) && !self.truncating;
        let parent = self.config.parent(self.me.node).filter(|node| self.links.contains(node));
        let (now, retry_ms) = (self.now, self.limits.retry_ms);
        let own = self.own_positions();
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(parent) = parent.filter(|_| joined && self.promised == self.config.epoch) else {
            return;
        };
        let waits = |stream: &Stream| now.ms_since(stream.heard_at) < stream.patience_ms(retry_ms);
        if follower.stream.as_ref().is_some_and(waits) {
            return;
        }
        follower.streams += 1;
        self.streams = follower.streams;
        follower.stream =
            Some(Stream { id: follower.streams, heard_at: now, synced: false, aimed: false });
        follower.acked = own;
        follower.below.voters = true;
        let open = Open {
            stream: follower.streams,
            last: self.log.last(),
            durable: own.durable,
            applied: own.applied,
            incarnation: self.me.incarnation,
            store: self.me.store,
        };
        self.send(parent, Message::Open(open));
    }

    fn settle_ack(&mut self) {
        let own = self.own_positions();
        let (now, heartbeat_ms) = (self.now, self.limits.heartbeat_ms);
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(stream) = follower.stream.as_ref().filter(|stream| stream.synced) else { return };
        let acked = follower.acked;
        let news = own.durable > acked.durable
            || (follower.asked && (own != acked || follower.below.learners))
            || (follower.ack_received && own.received > acked.received)
            || follower.below.voters;
        let late = follower.whole_at.is_none_or(|at| now.ms_since(at) >= heartbeat_ms);
        let whole = std::mem::take(&mut follower.asked) || late;
        if !news {
            return;
        }
        if whole {
            follower.whole_at = Some(now);
            follower.below.learners = false;
        }
        let id = stream.id;
        follower.acked = own;
        follower.below.voters = false;
        if let Some(parent) = self.config.parent(self.me.node) {
            let mut below = self.positions_below();
            below.retain(|(node, _)| whole || self.config.place(*node).is_some());
            self.send(parent, Message::Ack(Ack { stream: id, own, whole, below }));
        }
    }

    pub(super) fn own_positions(&self) -> Positions {
        let memory = match self.role {
            Role::Primary(_) => self.planted.is(Mutation::CountBeforeSync),
            Role::Follower(_) | Role::Recovering(_) | Role::Halted => {
                self.planted.is(Mutation::AckFromMemory)
            }
        };
        let received = self.log.last().lsn;
        if !self.may_tell_durable() {
            return Positions { received, durable: Lsn::ZERO, applied: Lsn::ZERO };
        }
        let durable = if memory { received } else { self.log.durable() };
        Positions { received, durable, applied: self.applied }
    }

    pub(super) fn on_fetch(&mut self, from: NodeId, epoch: Epoch, after: EntryId) {
        // Only a recovery that this node is sealed for may copy: its log stands still.
        if epoch != self.promised || self.config.place(from).is_none() {
            return;
        }
        if self.log.contains(after) {
            self.load(LoadFor::Fetch { node: from, after, epoch }, after.lsn);
        } else {
            self.on_fetch_loaded(from, epoch, after, None);
        }
    }

    pub(super) fn on_fetch_loaded(
        &mut self,
        to: NodeId,
        epoch: Epoch,
        after: EntryId,
        batch: Option<Batch>,
    ) {
        let (before, frames) = match batch {
            Some(batch) => (batch.before(), batch.bytes().clone()),
            None => (self.log.chain(), bytes::Bytes::new()),
        };
        self.send_in(epoch, to, Message::Fetched { after, before, frames });
    }
}
