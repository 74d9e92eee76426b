//! The replica machine: one node's part in one log, at the place that its configuration gives it.
//!
//! Handlers change state; [`Replica::settle`] alone derives what is to be done. Durability comes
//! back as an event, so a driver has no ordering rule to remember but one: effects are performed
//! in the order in which they were returned.

mod children;
mod debt;
mod follower;
mod hard;
mod log;
mod primary;
mod recovery;
mod status;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

pub use self::children::ChildState;
pub use self::hard::HardState;
pub use self::log::{LogEnd, LogStart};
pub use self::primary::ProposeError;
pub use self::status::{ChildStatus, Fate, RoleStatus, Status};
pub use self::waiting::{Missing, Waiting};

use self::children::Child;
use self::debt::{Debt, Established};
use self::follower::Follower;
use self::log::LogView;
use self::primary::Primary;
use self::recovery::Recovery;
use crate::mutation::{Mutation, Planted};
use crate::{
    Batch, Config, EntryId, Envelope, Epoch, Incarnation, Lsn, Message, NodeId, ShardId, StoreUuid,
    Time,
};

/// Who this replica is in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// Its run.
    pub incarnation: Incarnation,
    /// Its data directory.
    pub store: StoreUuid,
}

/// Bounds on what a replica holds in memory and sends ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of entries that may wait for the floor before writes are refused as busy.
    /// Default 16 MiB: a second of 100-byte writes at 80 thousand a second.
    pub unstable_bytes: usize,
    /// Bytes sent ahead to one child and not acknowledged. Default 16 MiB: fills 1.25 GB/s at
    /// 13 ms round trip.
    pub window_bytes: usize,
    /// Bytes of recent entries kept in memory for children that are a little behind.
    /// Default 32 MiB: two windows.
    pub tail_bytes: usize,
    /// A batch is closed at this size. Default 1 MiB: large enough for one write to the disk,
    /// small enough to travel while the next gathers.
    pub batch_bytes: usize,
    /// Silence after which a parent repeats its positions, in milliseconds. Default 100.
    pub heartbeat_ms: u64,
    /// Time that a request to a peer may take before it is repeated, in milliseconds.
    /// Default 500: five heartbeats.
    pub retry_ms: u64,
    /// Bytes that may be unstable while a policy weaker than the floor is acknowledged: the most
    /// that a failover can lose of such writes. Default 8 MiB: half of `unstable_bytes`.
    pub guard_bytes: usize,
    /// Age of the oldest unstable entry up to which such a policy is acknowledged, in
    /// milliseconds. Default 5,000.
    pub guard_ms: u64,
    /// Longest time that a stable position waits for an entry to travel with, in milliseconds.
    /// Default 1.
    pub stable_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unstable_bytes: 16 << 20,
            window_bytes: 16 << 20,
            tail_bytes: 32 << 20,
            batch_bytes: 1 << 20,
            heartbeat_ms: 100,
            retry_ms: 500,
            guard_bytes: 8 << 20,
            guard_ms: 5_000,
            stable_ms: 1,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The process has just started. The first event of a replica's life.
    Start,
    /// Time passed, or what was proposed is to be appended and sent.
    Tick,
    /// A link to a peer is up.
    Connected(NodeId),
    /// A link to a peer is down; all that was under way on it may be lost.
    Disconnected(NodeId),
    /// A peer said something about this shard.
    Message {
        /// Who, by the transport's word and not the message's.
        from: NodeId,
        /// What.
        envelope: Envelope,
    },
    /// All entries up to this one, appended before it or with it, are on disk.
    Durable(EntryId),
    /// The hard state of this ticket is on disk.
    Persisted(u64),
    /// The log was cut, durably; this is its end now.
    Truncated(LogEnd),
    /// Entries that were asked for, in a batch that starts right behind the request's position;
    /// none when the log no longer holds them.
    Loaded {
        /// As asked.
        load: Load,
        /// What was read.
        batch: Option<Batch>,
    },
    /// The log's first entries were removed; this is the entry before its first now.
    Trimmed(EntryId),
    /// Whether entries within the log can't be read. Until they can again, the node does not
    /// count in a recovery.
    Unreadable(bool),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write the hard state; answer with [`Event::Persisted`].
    Persist {
        /// Names this write.
        ticket: u64,
        /// The bytes, from [`HardState::encode`].
        hard: Bytes,
    },
    /// Set aside and cut all entries behind this position; answer with [`Event::Truncated`].
    Truncate(Lsn),
    /// Append to the log; answer with [`Event::Durable`] after a sync.
    Append(Batch),
    /// Say this to a peer.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        envelope: Envelope,
    },
    /// Read from the log; answer with [`Event::Loaded`].
    Load(Load),
    /// These entries are stable: change the state by them. In log order, each once.
    Apply(Batch),
    /// This node serves as the primary from now on.
    Serve,
    /// This node is no longer the primary: forget what was not stable.
    Resign,
    /// Stop the node: going on could lose data.
    Halt(Halt),
}

/// A read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// For whom.
    pub purpose: LoadFor,
    /// The last entry that is not wanted.
    pub after: Lsn,
    /// How many bytes to read at most; at least one entry is read all the same.
    pub bytes_max: usize,
}

/// Whom a read from the log is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFor {
    /// A child that is behind what memory holds.
    Child {
        /// The child.
        node: NodeId,
        /// Its stream.
        stream: u64,
    },
    /// The state machine of this node.
    Apply,
    /// A peer that recovers.
    Fetch {
        /// The peer.
        node: NodeId,
        /// As it asked.
        after: EntryId,
        /// The epoch of the recovery.
        epoch: Epoch,
    },
}

/// Why a replica must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// This log and that of a peer hold different entries where both claim the same history.
    #[error(
        "the log differs from that of node {peer} at {at}; keep both data directories and rebuild this one from a healthy node"
    )]
    Diverged {
        /// The peer.
        peer: NodeId,
        /// This log's end.
        at: EntryId,
    },
    /// A stable entry is not in the log.
    #[error("entry {0} is stable but not in the log")]
    Lost(Lsn),
}

/// One node's part in one log.
#[derive(Debug)]
pub struct Replica {
    me: Identity,
    shard: ShardId,
    limits: Limits,
    now: Time,
    config: Config,   // the newest that this node obeys
    promised: Epoch,  // config.epoch <= promised
    tickets: u64,     // hard states handed out
    persisted: u64,   // hard states on disk; persisted <= tickets
    obeyed: u64,      // ticket of the hard state that holds `config`
    truncating: bool, // a cut of the log is under way
    cut_again: bool,  // a newer configuration came meanwhile and may cut more
    log: LogView,
    debt: Debt,
    established: Established,
    stable: Lsn,    // can never be lost
    applied: Lsn,   // applied <= stable, applied <= log.durable
    applying: bool, // a read for the state machine is under way
    role: Role,
    streams: u64, // names of streams handed out, never one twice
    links: BTreeSet<NodeId>,
    children: BTreeMap<NodeId, Child>,
    effects: Vec<Effect>,
    planted: Planted,
}

#[derive(Debug)]
enum Role {
    Follower(Follower),
    Recovering(Recovery),
    Primary(Box<Primary>),
    Halted,
}

/// What a replica starts from: all of it was read from its disk.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The newest hard state; none in a new data directory, whose node may have forgotten
    /// anything.
    pub hard: Option<HardState>,
    /// The log.
    pub log: LogStart,
    /// The position that the state was restored to.
    pub applied: Lsn,
    /// The end that this node once acknowledged, by the superblock's hint.
    pub acknowledged: Lsn,
}

impl Replica {
    /// Builds a replica from durable state alone. `config` is what the operator wrote; a newer
    /// one in the hard state wins.
    ///
    /// # Panics
    /// When the state lies outside of the log, which a driver never restores.
    #[must_use]
    pub fn new(me: Identity, config: Config, recovered: Recovered, limits: Limits) -> Self {
        let debt = Debt::new(recovered.hard.as_ref(), recovered.acknowledged);
        let established = Established::new(recovered.hard.as_ref());
        let (config, promised) = match recovered.hard {
            Some(hard) => (hard.config, hard.promised),
            None => (config, Epoch::ZERO),
        };
        let log = LogView::new(recovered.log);
        assert!(log.base().lsn <= recovered.applied, "the log reaches back to the state");
        assert!(recovered.applied <= log.last().lsn, "the state is a prefix of the log");
        let promised = promised.max(config.epoch).max(log.last().epoch);
        Self {
            me,
            shard: config.shard,
            limits,
            now: Time::default(),
            config,
            promised,
            tickets: 0,
            persisted: 0,
            obeyed: 0,
            truncating: false,
            cut_again: false,
            debt,
            established,
            stable: recovered.applied,
            applied: recovered.applied,
            applying: false,
            log,
            streams: first_stream(&me),
            role: Role::Follower(Follower::new(first_stream(&me))),
            links: BTreeSet::new(),
            children: BTreeMap::new(),
            effects: Vec::new(),
            planted: Planted::default(),
        }
    }

    /// Plants a bug in this replica.
    #[cfg(feature = "mutations")]
    pub const fn plant(&mut self, bug: Mutation) {
        self.planted = Planted::bug(bug);
    }

    /// Takes one event at a time and returns what is to be done, in order.
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Effect> {
        self.now = self.now.max(now);
        if matches!(self.role, Role::Halted) {
            return Vec::new();
        }
        match event {
            Event::Start => self.on_start(),
            Event::Tick => self.close_batch(),
            Event::Connected(peer) => self.on_connected(peer),
            Event::Disconnected(peer) => self.on_disconnected(peer),
            Event::Message { from, envelope } => self.on_message(from, envelope),
            Event::Durable(id) => self.on_durable(id),
            Event::Persisted(ticket) => {
                assert!(ticket <= self.tickets, "a hard state that was never written");
                self.persisted = self.persisted.max(ticket);
            }
            Event::Truncated(end) => self.on_truncated(end),
            Event::Loaded { load, batch } => self.on_loaded(load, batch),
            Event::Trimmed(base) => self.log.trim(base),
            Event::Unreadable(unreadable) => self.log.set_unreadable(unreadable),
        }
        self.settle();
        std::mem::take(&mut self.effects)
    }

    /// Derives what follows from the state. Idempotent: with nothing new it says nothing.
    fn settle(&mut self) {
        if !matches!(self.role, Role::Halted) {
            self.settle_debt();
            self.settle_role();
            self.settle_children();
            self.settle_apply();
            self.settle_serve();
            self.log.evict(self.limits.tail_bytes);
        }
        if matches!(self.role, Role::Halted) {
            // Whatever was about to be said may rest on what is wrong.
            self.effects.retain(|effect| matches!(effect, Effect::Halt(_)));
        }
    }

    fn settle_role(&mut self) {
        match self.role {
            Role::Follower(_) => self.settle_follower(),
            Role::Recovering(_) => self.settle_recovery(),
            Role::Primary(_) => self.settle_primary(),
            Role::Halted => {}
        }
    }

    fn on_start(&mut self) {
        if self.config.primary == self.me.node {
            let reused = self.planted.is(Mutation::ReuseEpoch) && self.config.epoch < self.promised;
            let epoch = if reused { self.promised } else { self.promised.next() };
            self.recover(epoch);
        }
    }

    fn on_connected(&mut self, peer: NodeId) {
        self.links.insert(peer);
        match &mut self.role {
            Role::Primary(_) => self.tell_config(peer),
            Role::Recovering(recovery) => recovery.came(peer),
            Role::Follower(_) | Role::Halted => {}
        }
    }

    fn on_disconnected(&mut self, peer: NodeId) {
        self.links.remove(&peer);
        if let Some(child) = self.children.get_mut(&peer) {
            child.close(None);
        }
        match &mut self.role {
            Role::Follower(follower) if self.config.parent(self.me.node) == Some(peer) => {
                follower.close();
            }
            Role::Recovering(recovery) => recovery.forget(peer),
            Role::Follower(_) | Role::Primary(_) | Role::Halted => {}
        }
    }

    fn on_message(&mut self, from: NodeId, envelope: Envelope) {
        if envelope.shard != self.shard {
            return;
        }
        let epoch = envelope.epoch;
        match envelope.message {
            Message::Open(open) => self.on_open(from, epoch, open),
            Message::Closed { stream, reason } => self.on_closed(from, stream, reason),
            Message::Append(append) => self.on_append(from, epoch, &append),
            Message::Ack(ack) => self.on_ack(from, epoch, &ack),
            Message::Seal => self.on_seal(from, epoch),
            Message::Sealed(sealed) => self.on_sealed(from, epoch, sealed),
            Message::SealRefused => self.on_seal_refused(epoch),
            Message::Config(config) => self.on_config(&config),
            Message::Fetch { after } => self.on_fetch(from, epoch, after),
            Message::Fetched { after, before, frames } => {
                self.on_fetched(from, epoch, after, (before, frames));
            }
            // Calls belong to the program above; the driver keeps them.
            Message::Call { .. } | Message::Answer { .. } => {}
        }
    }

    fn on_durable(&mut self, id: EntryId) {
        // A completion of a suffix that was cut since names an entry that is no longer here.
        if self.log.contains(id) {
            self.log.set_durable(id.lsn);
            self.note_own_progress();
        }
    }

    fn on_truncated(&mut self, end: LogEnd) {
        assert!(self.truncating, "a cut that nobody asked for");
        self.truncating = false;
        let amnesiac = self.is_amnesiac();
        self.log.truncate(end);
        if !amnesiac {
            // What a configuration cut was never owed to anybody.
            self.debt.lower(end.last.lsn);
        }
        if std::mem::take(&mut self.cut_again) && matches!(self.role, Role::Follower(_)) {
            self.truncate(self.config.keep(self.log.runs(), self.log.base()));
        }
    }

    fn on_loaded(&mut self, load: Load, batch: Option<Batch>) {
        match load.purpose {
            LoadFor::Child { node, stream } => {
                self.on_child_loaded(node, stream, load.after, batch);
            }
            LoadFor::Apply => {
                self.applying = false;
                match batch {
                    Some(batch) => self.apply(&batch),
                    None => self.halt(Halt::Lost(load.after.next())),
                }
            }
            LoadFor::Fetch { node, after, epoch } => {
                self.on_fetch_loaded(node, epoch, after, batch);
            }
        }
    }

    /// Applies what is stable and durable, from memory or, after a restart, from the disk.
    fn settle_apply(&mut self) {
        while !self.applying {
            let to = self.stable.min(self.on_disk());
            if self.applied >= to {
                return;
            }
            if let Some(batch) = self.log.after(self.applied) {
                self.apply(&batch);
            } else {
                self.applying = true;
                self.load(LoadFor::Apply, self.applied);
            }
        }
    }

    /// How far entries may be applied for all that this node's disk holds.
    fn on_disk(&self) -> Lsn {
        let beyond = self.planted.is(Mutation::ApplyBeyondDurable);
        if beyond { self.log.last().lsn } else { self.log.durable() }
    }

    fn apply(&mut self, batch: &Batch) {
        let to = self.stable.min(self.on_disk());
        let Some(batch) = batch.after(self.applied).and_then(|batch| batch.up_to(to)) else {
            return;
        };
        assert_eq!(batch.first().lsn, self.applied.next(), "entries are applied in order");
        self.applied = batch.last().lsn;
        self.effects.push(Effect::Apply(batch));
    }

    fn load(&mut self, purpose: LoadFor, after: Lsn) {
        let bytes_max = self.limits.batch_bytes;
        self.effects.push(Effect::Load(Load { purpose, after, bytes_max }));
    }

    fn append(&mut self, batch: Batch) {
        self.log.push(batch.clone());
        self.effects.push(Effect::Append(batch));
    }

    fn send(&mut self, to: NodeId, message: Message) {
        let epoch = self.config.epoch;
        self.send_in(epoch, to, message);
    }

    fn send_in(&mut self, epoch: Epoch, to: NodeId, message: Message) {
        let envelope = Envelope { shard: self.shard, epoch, message };
        self.effects.push(Effect::Send { to, envelope });
    }

    /// Cuts the log behind `keep`, if anything is there.
    fn truncate(&mut self, keep: Lsn) {
        let at = self.log.last();
        if keep < self.applied {
            self.halt(Halt::Diverged { peer: self.config.primary, at });
        } else if self.truncating {
            // One cut at a time: what this one would cut may be gone when the other is done.
            self.cut_again = true;
        } else if keep < at.lsn {
            self.truncating = true;
            self.effects.push(Effect::Truncate(keep));
        }
    }

    fn halt(&mut self, why: Halt) {
        self.role = Role::Halted;
        self.effects.push(Effect::Halt(why));
    }
}

/// Streams are named by directory, run and count, so that no two of a node's lives share a name:
/// with a new disk a node counts its runs from 1 again.
fn first_stream(me: &Identity) -> u64 {
    // Mixed, so that directories with names close by do not meet in their runs.
    let mixed = xxh3_64(&me.store.get().to_le_bytes());
    mixed.wrapping_add(me.incarnation.get()).wrapping_shl(24)
}
