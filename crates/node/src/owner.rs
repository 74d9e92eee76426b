//! The owner of a shard: the one place that steps the replica machine and performs its effects.
//!
//! Everything here runs on the shard's thread. Effects are performed in the order in which they
//! were returned; the log writer keeps that order on disk.

mod perform;
mod sessions;
mod snapshots;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use antiphon_net::{AnyTransport, PeerEvent, Peers};
use antiphon_proto::{
    EntryId, Envelope, Event, Hlc, Kind, LogEnd, Lsn, Message, NodeId, ProposeError, Replica,
    RoleStatus, Sessions, ShardId, Time, Waiting,
};
use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::calls::Calls;
use crate::clock::Clock;
use crate::disk::{Disk, Done};
use crate::error::Fatal;
use crate::gather::Gathered;
use crate::level::Level;
use crate::machine::Machine;
use crate::mending::Mending;
use crate::status::{Progress, ReplicationCounts, SnapshotStatus};
use crate::waiters::Waiters;

/// A handler of calls from other nodes, on the shard's thread.
pub(crate) type Handler = Rc<dyn Fn(NodeId, Bytes) -> LocalAnswer>;
/// What a handler promises: an answer, or none to refuse.
pub type LocalAnswer = std::pin::Pin<Box<dyn Future<Output = Option<Bytes>>>>;

/// A shard on its thread.
pub(crate) struct Owner<M> {
    pub(crate) replica: Replica,
    pub(crate) machine: M,
    pub(crate) sessions: Sessions,
    pub(crate) disk: Disk,
    pub(crate) peers: Peers,
    pub(crate) clock: Clock,
    pub(crate) waiters: Waiters,
    pub(crate) calls: Calls,
    pub(crate) handler: Option<Handler>,
    pub(crate) left: Vec<NodeId>, // nodes whose links broke, not told to the front yet
    pub(crate) on_left: Option<Rc<dyn Fn(NodeId)>>,
    pub(crate) transport: Arc<AnyTransport>,
    pub(crate) applied: LogEnd, // the entry that readers see, with its chain hash and time
    pub(crate) applied_entries: u64,
    pub(crate) counts: ReplicationCounts,
    pub(crate) snapshot: SnapshotStatus,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) fatal: Option<Fatal>,
    pub(crate) mending: Mending,
    pub(crate) links: BTreeMap<NodeId, bool>,
    pub(crate) level_at: BTreeMap<NodeId, Time>, // when each child was last seen level
    pub(crate) level_mark: Lsn,                  // what was stable at the last upkeep
    pub(crate) waiting: Option<Waiting>,         // as last logged
    pub(crate) snapshot_bytes: u64,
    pub(crate) snapshot_entries: u64,
    pub(crate) retain_bytes: u64,
    pub(crate) turn: Rc<Notify>, // wakes the owner's task: proposals or answers wait to be sent
    pub(crate) requests: Vec<(NodeId, u64, Bytes)>, // calls of others, not begun yet
}

impl<M: Machine> Owner<M> {
    /// One event into the machine, and everything that follows from it.
    pub(crate) fn step(&mut self, event: Event) {
        let effects = self.replica.step(self.clock.now(), event);
        for effect in effects {
            if self.fatal.is_none() {
                self.perform(effect);
            }
        }
        self.wake();
    }

    /// Wakes whoever waited for what has been reached.
    fn wake(&mut self) {
        let Self { waiters, replica, .. } = self;
        waiters.wake_levels(|level| match level {
            Level::Floor => replica.stable(),
            Level::At(policy) => replica.reached(policy),
        });
        waiters.applied.wake(self.replica.applied());
        let progress = Progress {
            stable: self.replica.stable(),
            applied: self.applied.last.lsn,
            serving: self.replica.is_serving(),
            epoch: self.replica.config().epoch,
        };
        self.progress.send_if_modified(|known| {
            let news = *known != progress;
            *known = progress;
            news
        });
    }

    /// Ends a turn: what the disk was asked for in it goes there. At a replica that has nothing
    /// else to do meanwhile, it is done at once, and what follows from it too.
    pub(crate) fn end_turn(&mut self) {
        let replica = !self.replica.is_primary();
        // One round of follow-ups is enough: acknowledgements ask nothing of the disk.
        for done in self.disk.flush(replica) {
            self.on_done(done);
        }
        drop(self.disk.flush(false));
    }

    pub(crate) fn on_peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Connected { peer, generation } => {
                info!(%peer, generation, "connected");
                self.links.insert(peer, true);
                self.step(Event::Connected(peer));
            }
            PeerEvent::Disconnected { peer, generation, why } => {
                warn!(%peer, generation, %why, "disconnected");
                self.links.insert(peer, false);
                self.calls.disconnected(peer);
                self.left.push(peer);
                self.turn.notify_one();
                self.step(Event::Disconnected(peer));
            }
            PeerEvent::Received { peer, message, .. } => self.on_received(peer, &message),
        }
    }

    fn on_received(&mut self, from: NodeId, bytes: &Bytes) {
        let envelope = match Envelope::decode(bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                // What follows on this link can't be trusted to be whole: begin it anew.
                warn!(%from, %error, "refused a message");
                self.counts.unreadable += 1;
                self.peers.drop_link(from);
                return;
            }
        };
        if let Message::Closed { reason, .. } = &envelope.message {
            self.counts.ended(*reason);
        }
        match envelope.message {
            Message::Call { id, request } => {
                self.requests.push((from, id, request));
                self.turn.notify_one();
            }
            Message::Answer { id, answer } => self.calls.answer(from, id, answer),
            Message::Open(_)
            | Message::Closed { .. }
            | Message::Append(_)
            | Message::Ack(_)
            | Message::Seal
            | Message::Sealed(_)
            | Message::SealRefused
            | Message::Config(_)
            | Message::Fetch { .. }
            | Message::Fetched { .. } => self.step(Event::Message { from, envelope }),
        }
    }

    pub(crate) fn on_done(&mut self, done: Done) {
        match done {
            Done::Durable(id) => self.step(Event::Durable(id)),
            Done::Persisted(ticket) => self.step(Event::Persisted(ticket)),
            Done::Truncated(end) => self.step(Event::Truncated(end)),
            Done::Trimmed(base) => self.step(Event::Trimmed(base)),
            Done::Loaded { load, batch } => self.step(Event::Loaded { load, batch }),
            Done::Damaged { load, damage } => self.on_damaged(load, &damage),
            Done::Snapshot(outcome) => self.on_snapshot(outcome),
            Done::Failed(fatal) => self.fail(fatal),
        }
    }

    /// What gathers for the next batch.
    pub(crate) fn gathered(&self) -> Gathered {
        let closed = self.replica.last().lsn;
        let (proposed, bytes) = self.replica.gathered();
        Gathered { proposed, bytes, closed, awaited: self.waiters.awaits(closed) }
    }

    /// Appends one entry. `bytes` is what `write` will write.
    pub(crate) fn propose(
        &mut self,
        bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<EntryId, ProposeError> {
        let id = self.replica.propose(Kind::Data, Clock::wall_ms(), bytes, write)?;
        self.turn.notify_one();
        Ok(id)
    }

    /// The highest position that may be acknowledged at `level`.
    pub(crate) fn reached(&mut self, level: Level) -> Lsn {
        match level {
            Level::Floor => self.replica.stable(),
            Level::At(policy) => self.replica.reached(policy),
        }
    }

    /// The digest of the stable state and of the sessions.
    pub(crate) fn digest(&self) -> [u8; 16] {
        self.sessions.digest_with(self.machine.digest())
    }

    /// The time of the last entry that readers here see.
    pub(crate) const fn applied_hlc(&self) -> Hlc {
        self.applied.hlc
    }

    pub(crate) fn send(&mut self, to: NodeId, envelope: &Envelope) {
        if !self.peers_send(to, envelope) {
            // The link is gone or full: the machine hears of it as a disconnection, and what was
            // under way is asked for again on the next link.
            self.peers.drop_link(to);
        }
    }

    /// Asks for the shard's number once, for messages of the driver itself.
    pub(crate) const fn shard(&self) -> ShardId {
        self.replica.config().shard
    }

    /// Sends a call; false when it was not taken. A busy link is not given up for it.
    pub(crate) fn call_send(&mut self, to: NodeId, envelope: &Envelope) -> bool {
        self.peers_send(to, envelope)
    }

    /// When to step next, if nothing happens before.
    pub(crate) fn next_look(
        &self,
        idle: std::time::Duration,
        gathered: Option<Instant>,
    ) -> tokio::time::Instant {
        let latest = Instant::now() + idle;
        let wanted = self.replica.deadline().map(|at| self.clock.instant(at));
        wanted.into_iter().chain(gathered).fold(latest, Instant::min).into()
    }

    /// Now and then: what is not urgent.
    pub(crate) fn upkeep(&mut self) {
        self.snapshot_if_due();
        self.note_levels();
        self.expire_sessions();
        self.say_waiting();
    }

    /// Logs for whom this primary waits, once for each change.
    fn say_waiting(&mut self) {
        let waiting = self.replica.waiting();
        if waiting == self.waiting {
            return;
        }
        match &waiting {
            Some(waiting) => info!("{waiting}"),
            None => info!("enough voters were seen"),
        }
        self.waiting = waiting;
    }

    /// Notes which children have all that was stable a moment ago.
    fn note_levels(&mut self) {
        let (now, status) = (self.clock.now(), self.replica.status());
        for child in &status.children {
            let level = child.positions.durable >= self.level_mark;
            if level || !self.level_at.contains_key(&child.node) {
                self.level_at.insert(child.node, now);
            }
        }
        self.level_mark = status.stable;
    }

    pub(crate) fn fail(&mut self, why: Fatal) {
        if self.fatal.is_none() {
            tracing::error!(%why, "stopping");
            self.fatal = Some(why);
            self.waiters.wake_all();
            self.turn.notify_one();
        }
    }

    /// Whether nothing that was appended here still waits for its replicas.
    pub(crate) fn is_drained(&self) -> bool {
        if self.replica.gathered().0 > self.replica.last().lsn {
            return false;
        }
        let status = self.replica.status();
        match status.role {
            RoleStatus::Primary { .. } => status.stable == status.last.lsn,
            RoleStatus::Follower { .. } | RoleStatus::Recovering { .. } => {
                status.durable == status.last.lsn
            }
            RoleStatus::Halted => true,
        }
    }
}
