//! Sending the log down the tree: each child has a named state and a window in bytes.

use std::collections::{BTreeMap, VecDeque};

use crate::mutation::Mutation;
use crate::replica::{LoadFor, Replica, Role};
use crate::{
    Ack, Append, Batch, Closed, Epoch, Incarnation, Lsn, Message, NodeId, Open, Positions,
    StoreUuid, Time,
};

/// Where a child stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// It has no stream open.
    Closed,
    /// It is sent entries from memory as they come.
    Streaming,
    /// It is behind what memory holds and is sent entries from the disk.
    Loading,
    /// It is behind what the log holds.
    NeedsSnapshot,
}

#[derive(Debug)]
enum Progress {
    Closed,
    Stream { next: Lsn },
    Load { next: Lsn }, // a read from the disk is under way
    Snapshot,
}

#[derive(Debug)]
pub(super) struct Child {
    progress: Progress,
    stream: u64,
    sent: VecDeque<(Lsn, usize)>, // ends and sizes of batches that are not acknowledged
    in_flight: usize,             // their bytes
    positions: Positions,
    below: Vec<(NodeId, Positions)>,
    incarnation: Incarnation,
    store: StoreUuid,
    told: Option<(Lsn, Time)>, // the stable position last sent, and when anything was
}

impl Child {
    fn open(open: &Open) -> Self {
        Self {
            progress: Progress::Stream { next: open.last.lsn.next() },
            stream: open.stream,
            sent: VecDeque::new(),
            in_flight: 0,
            positions: Positions {
                received: open.last.lsn,
                durable: open.durable,
                applied: open.applied,
            },
            below: Vec::new(),
            incarnation: open.incarnation,
            store: open.store,
            told: None,
        }
    }

    /// Forgets the stream. The positions stay as last heard.
    pub(super) fn close(&mut self, reason: Option<Closed>) {
        self.progress = match reason {
            Some(Closed::Trimmed(_)) => Progress::Snapshot,
            Some(Closed::Diverged | Closed::Behind) | None => Progress::Closed,
        };
        self.sent.clear();
        self.in_flight = 0;
        self.below.clear();
        self.told = None;
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.progress, Progress::Stream { .. } | Progress::Load { .. })
    }

    pub(super) const fn state(&self) -> ChildState {
        match self.progress {
            Progress::Closed => ChildState::Closed,
            Progress::Stream { .. } => ChildState::Streaming,
            Progress::Load { .. } => ChildState::Loading,
            Progress::Snapshot => ChildState::NeedsSnapshot,
        }
    }

    /// The end of what it was sent on its stream; of what it has, when it has no stream.
    pub(super) fn sent_to(&self) -> Lsn {
        match self.progress {
            Progress::Stream { next } | Progress::Load { next } => next.prev(),
            Progress::Closed | Progress::Snapshot => self.positions.received,
        }
    }

    pub(super) const fn positions(&self) -> Positions {
        self.positions
    }

    pub(super) fn below(&self) -> &[(NodeId, Positions)] {
        &self.below
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) const fn run(&self) -> (Incarnation, StoreUuid) {
        (self.incarnation, self.store)
    }

    fn sent(&mut self, batch: &Batch) {
        self.in_flight += batch.bytes().len();
        self.sent.push_back((batch.last().lsn, batch.bytes().len()));
    }

    fn acked(&mut self, ack: &Ack, is_voter: impl Fn(NodeId) -> bool) {
        let held = &mut self.positions;
        held.received = held.received.max(ack.own.received);
        held.durable = held.durable.max(ack.own.durable);
        held.applied = held.applied.max(ack.own.applied);
        // One that speaks of voters only leaves the others where they were last heard of.
        self.below.retain(|(node, _)| !ack.whole && !is_voter(*node));
        self.below.extend_from_slice(&ack.below);
        while self.sent.front().is_some_and(|(last, _)| *last <= held.durable) {
            self.in_flight -= self.sent.pop_front().map_or(0, |(_, bytes)| bytes);
        }
    }
}

impl Replica {
    pub(super) fn on_open(&mut self, from: NodeId, epoch: Epoch, open: Open) {
        if epoch < self.config.epoch {
            self.tell_config(from);
            return;
        }
        if epoch > self.config.epoch && matches!(self.role, Role::Primary(_)) {
            // An epoch that this node does not remember, as after the loss of its disk.
            self.recover(epoch.next());
        }
        let own_child = self.config.parent(from) == Some(self.me.node);
        let refused = if epoch > self.config.epoch || !own_child || !self.may_send() {
            Some(Closed::Behind)
        } else if open.last.lsn < self.log.base().lsn {
            Some(Closed::Trimmed(self.log.base().lsn.next()))
        } else if self.holds(&open) {
            None
        } else {
            Some(Closed::Diverged)
        };
        let mut child = Child::open(&open);
        if let Some(reason) = refused {
            child.close(Some(reason));
            self.send(from, Message::Closed { stream: open.stream, reason });
        } else {
            self.note(from, child.positions);
        }
        if own_child {
            self.children.insert(from, child);
        }
    }

    /// Whether this node's log may be sent on: it is the epoch's primary or obeys it.
    fn may_send(&self) -> bool {
        match &self.role {
            Role::Primary(_) => true,
            Role::Follower(_) => {
                self.promised == self.config.epoch
                    && self.obeyed <= self.persisted
                    && !self.truncating
            }
            Role::Recovering(_) | Role::Halted => false,
        }
    }

    /// Whether the child's log is a prefix of ours. A parent that is not the primary may be
    /// behind its child and then waits until it is level.
    fn holds(&self, open: &Open) -> bool {
        let ahead = open.last.lsn > self.log.last().lsn;
        self.log.contains(open.last) || (ahead && !matches!(self.role, Role::Primary(_)))
    }

    pub(super) fn on_ack(&mut self, from: NodeId, epoch: Epoch, ack: &Ack) {
        // Nobody is ahead of the primary. Of another parent a child may well be ahead.
        let end = matches!(self.role, Role::Primary(_)).then_some(self.log.last().lsn);
        let possible = |positions: &Positions| end.is_none_or(|end| positions.received <= end);
        let genuine = |(node, positions): &(NodeId, Positions)| {
            possible(positions) && self.is_below(*node, from)
        };
        let sound = possible(&ack.own) && ack.below.iter().all(genuine);
        let Some(child) = self.children.get_mut(&from) else { return };
        if epoch != self.config.epoch || child.stream != ack.stream || !child.is_open() {
            return;
        }
        if !sound {
            // It claims what it can't have. Its stream ends, and it may open another.
            child.close(None);
            self.send(from, Message::Closed { stream: ack.stream, reason: Closed::Behind });
            return;
        }
        child.acked(ack, |node| self.config.place(node).is_some());
        let own = child.positions;
        self.note(from, own);
        for (node, positions) in &ack.below {
            self.note(*node, *positions);
        }
        // Nobody above waits for a learner: where it stands is told now and then.
        let mut told = ack.below.iter().map(|(node, _)| *node).chain([from]);
        let voters = told.any(|node| self.config.place(node).is_some());
        if let Role::Follower(follower) = &mut self.role {
            follower.note_below(voters);
        }
    }

    /// Whether `node` receives through `via`.
    fn is_below(&self, node: NodeId, via: NodeId) -> bool {
        let mut at = node;
        for _step in 0..self.config.parents.len() {
            match self.config.parent(at) {
                Some(parent) if parent == via => return true,
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    }

    /// How far each node below this one is, each once whatever a child told.
    pub(super) fn positions_below(&self) -> Vec<(NodeId, Positions)> {
        if self.children.is_empty() {
            return Vec::new();
        }
        let open = self.children.iter().filter(|(_, child)| child.is_open());
        let told = open.flat_map(|(node, child)| {
            child.below.iter().copied().chain(std::iter::once((*node, child.positions)))
        });
        told.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    pub(super) fn on_child_loaded(
        &mut self,
        node: NodeId,
        stream: u64,
        after: Lsn,
        batch: Option<Batch>,
    ) {
        let Some(mut child) = self.children.remove(&node) else { return };
        let waits = matches!(child.progress, Progress::Load { next } if next.prev() == after);
        if child.stream == stream && waits {
            if let Some(batch) = batch {
                assert_eq!(batch.first().lsn, after.next(), "a read starts where it was asked to");
                child.progress = Progress::Stream { next: batch.last().lsn.next() };
                self.send_batch(node, &mut child, &batch);
            } else {
                let reason = Closed::Trimmed(self.log.base().lsn.next());
                child.close(Some(reason));
                self.send(node, Message::Closed { stream, reason });
            }
        }
        self.children.insert(node, child);
    }

    pub(super) fn settle_children(&mut self) {
        if self.children.is_empty() {
            self.stable_is_told();
        }
        if self.children.is_empty() || !self.may_send() {
            return;
        }
        // Taken out for the loop, so that sending may borrow the rest of the machine.
        let mut children = std::mem::take(&mut self.children);
        for (node, child) in &mut children {
            self.stream_to(*node, child);
            self.tell(*node, child);
        }
        let told = |child: &Child| {
            !child.is_open() || child.told.is_some_and(|(stable, _)| stable >= self.stable)
        };
        if children.values().all(told) {
            self.stable_is_told();
        }
        self.children = children;
    }

    /// Sends entries while the window has room.
    fn stream_to(&mut self, node: NodeId, child: &mut Child) {
        while let Progress::Stream { next } = child.progress {
            if next > self.log.last().lsn || child.in_flight >= self.limits.window_bytes {
                return;
            }
            if let Some(batch) = self.log.after(next.prev()) {
                child.progress = Progress::Stream { next: batch.last().lsn.next() };
                self.send_batch(node, child, &batch);
            } else {
                child.progress = Progress::Load { next };
                self.load(LoadFor::Child { node, stream: child.stream }, next.prev());
            }
        }
    }

    fn send_batch(&mut self, node: NodeId, child: &mut Child, batch: &Batch) {
        child.sent(batch);
        let frames = batch.bytes().clone();
        self.send_append(node, child, (batch.before(), frames));
    }

    /// Repeats the positions when nothing else told them in time.
    fn tell(&mut self, node: NodeId, child: &mut Child) {
        if !child.is_open() {
            return;
        }
        let owed = self.stable_deadline().is_some_and(|at| at <= self.now);
        let due = child.told.is_none_or(|(stable, at)| {
            let silent = self.now.ms_since(at) >= self.limits.heartbeat_ms;
            // A follower passes on at once what it learnt: its parent has waited already.
            let news = stable < self.stable;
            let quiet = self.planted.is(Mutation::StableNotRepeated);
            (silent && !quiet)
                || (news && !quiet && (owed || matches!(self.role, Role::Follower(_))))
        });
        if due {
            self.send_append(node, child, (self.log.chain(), bytes::Bytes::new()));
        }
    }

    fn send_append(
        &mut self,
        node: NodeId,
        child: &mut Child,
        (before, frames): (crate::Chain, bytes::Bytes),
    ) {
        child.told = Some((self.stable, self.now));
        let (head, ack_received) = match &self.role {
            Role::Primary(primary) => (self.log.last().lsn, primary.wants_received()),
            // 0 until its own parent told it: what it holds itself may be less than what one of
            // its children had acknowledged.
            Role::Follower(follower) if self.planted.is(Mutation::HeadGuessed) => {
                (follower.head().max(self.log.last().lsn), follower.wants_received())
            }
            Role::Follower(follower) => (follower.head(), follower.wants_received()),
            Role::Recovering(_) | Role::Halted => (Lsn::ZERO, false),
        };
        let append = Append {
            stream: child.stream,
            before,
            stable: self.stable,
            head,
            ack_received,
            frames,
        };
        self.send(node, Message::Append(append));
    }

    /// When the next child must hear from this node.
    pub(super) fn children_deadline(&self) -> Option<Time> {
        let open = self.children.values().filter(|child| child.is_open());
        let told = open.map(|child| child.told.map_or(self.now, |(_, at)| at));
        told.min().map(|at| at.plus_ms(self.limits.heartbeat_ms))
    }

    pub(super) fn children(&self) -> &BTreeMap<NodeId, Child> {
        &self.children
    }
}
