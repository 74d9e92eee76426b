//! What others may know of a replica: its status, its deadlines, the fate of a write.

use crate::mutation::Mutation;
use crate::replica::{ChildState, Replica, Role, Waiting};
use crate::{
    Config, EntryId, Epoch, Hlc, Incarnation, Lsn, NodeId, Positions, StoreUuid, Time, Token,
};

/// A replica at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub role: RoleStatus,
    /// The configuration that it obeys.
    pub config: Config,
    /// Nothing below this is accepted.
    pub promised: Epoch,
    /// The entry before the log's first.
    pub base: EntryId,
    /// The log's end.
    pub last: EntryId,
    /// The time of that entry.
    pub hlc: Hlc,
    /// How much of the log is on disk here.
    pub durable: Lsn,
    /// What can never be lost.
    pub stable: Lsn,
    /// What readers here see.
    pub applied: Lsn,
    /// The end of the primary's log, as far as this node knows.
    pub head: Lsn,
    /// When a follower last heard from its parent on the stream that is open, or opened it.
    pub heard: Option<Time>,
    /// The log lacks what this node acknowledged once, or can't be read; it does not count in a
    /// recovery.
    pub amnesiac: bool,
    /// For whom a primary waits before it begins; none at other nodes.
    pub waiting: Option<Waiting>,
    /// Bytes of entries that wait for the floor.
    pub unstable_bytes: usize,
    /// Those that receive from this node.
    pub children: Vec<ChildStatus>,
    /// How far each node below this one is, as its parents told last, by its number.
    pub below: Vec<(NodeId, Positions)>,
}

/// What a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleStatus {
    /// It receives.
    Follower {
        /// Whether its parent sends to it.
        synced: bool,
    },
    /// It begins a life as primary and asks the voters.
    Recovering {
        /// In this epoch.
        epoch: Epoch,
        /// It lacks entries that the others no longer have in their logs.
        needs_snapshot: bool,
    },
    /// It appends.
    Primary {
        /// Whether writes are accepted.
        serving: bool,
    },
    /// It has stopped.
    Halted,
}

/// A child as its parent sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildStatus {
    /// Who.
    pub node: NodeId,
    /// Where it stands.
    pub state: ChildState,
    /// The end of what it was sent.
    pub sent: Lsn,
    /// How far it is.
    pub positions: Positions,
    /// Bytes that were sent and are not acknowledged.
    pub in_flight_bytes: usize,
    /// Its run.
    pub incarnation: Incarnation,
    /// Its data directory.
    pub store: StoreUuid,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Not decided yet.
    Pending,
    /// It can never be lost.
    Stable,
    /// It never happened, for good.
    Lost,
    /// The token is of another log, of the future, or older than what is remembered.
    Unknown,
}

impl Replica {
    /// Who this replica is in this run.
    #[must_use]
    pub const fn identity(&self) -> super::Identity {
        self.me
    }

    /// The configuration that it obeys.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The log's end.
    #[must_use]
    pub const fn last(&self) -> EntryId {
        self.log.last()
    }

    /// How much of the log is on disk here.
    #[must_use]
    pub const fn durable(&self) -> Lsn {
        self.log.durable()
    }

    /// What can never be lost.
    #[must_use]
    pub const fn stable(&self) -> Lsn {
        self.stable
    }

    /// What readers here see.
    #[must_use]
    pub const fn applied(&self) -> Lsn {
        self.applied
    }

    /// Whether this node accepts writes.
    #[must_use]
    pub const fn is_serving(&self) -> bool {
        matches!(&self.role, Role::Primary(primary) if primary.is_serving())
    }

    /// Whether this node is the primary or will be.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        matches!(self.role, Role::Primary(_) | Role::Recovering(_))
    }

    /// Everything, at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let (role, head, unstable_bytes) = match &self.role {
            Role::Follower(follower) => {
                (RoleStatus::Follower { synced: follower.is_synced() }, follower.head(), 0)
            }
            Role::Recovering(recovery) => {
                let needs_snapshot = recovery.needs_snapshot.is_some();
                let epoch = recovery.epoch();
                (RoleStatus::Recovering { epoch, needs_snapshot }, Lsn::ZERO, 0)
            }
            Role::Primary(primary) => {
                let serving = primary.is_serving();
                (RoleStatus::Primary { serving }, Lsn::ZERO, primary.unstable_bytes())
            }
            Role::Halted => (RoleStatus::Halted, Lsn::ZERO, 0),
        };
        Status {
            role,
            config: self.config.clone(),
            promised: self.promised,
            base: self.log.base(),
            last: self.log.last(),
            hlc: self.log.hlc(),
            durable: self.log.durable(),
            stable: self.stable,
            applied: self.applied,
            head: head.max(self.log.last().lsn),
            heard: match &self.role {
                Role::Follower(follower) => follower.heard(),
                Role::Recovering(_) | Role::Primary(_) | Role::Halted => None,
            },
            amnesiac: !self.is_whole(),
            waiting: self.waiting(),
            unstable_bytes,
            children: self.children_status(),
            below: self.positions_below(),
        }
    }

    fn children_status(&self) -> Vec<ChildStatus> {
        let children = self.children().iter().map(|(node, child)| {
            let (incarnation, store) = child.run();
            ChildStatus {
                node: *node,
                state: child.state(),
                sent: child.sent_to(),
                positions: child.positions(),
                in_flight_bytes: child.in_flight(),
                incarnation,
                store,
            }
        });
        children.collect()
    }

    /// When to step with [`super::Event::Tick`] at the latest, if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let role = match &self.role {
            Role::Follower(follower) => follower.deadline(self.limits.retry_ms),
            // Until its promise is on disk and its log is cut, it asks nobody.
            Role::Recovering(_) if !self.may_ask() => None,
            Role::Recovering(recovery) => recovery.deadline(self.limits.retry_ms),
            Role::Primary(_) => self.stable_deadline(),
            Role::Halted => return None,
        };
        role.into_iter().chain(self.children_deadline()).min()
    }

    /// What became of the write that a token names.
    #[must_use]
    pub fn fate(&self, token: Token) -> Fate {
        let EntryId { epoch, lsn } = token.entry;
        if token.shard != self.shard || epoch > self.config.epoch || lsn == Lsn::ZERO {
            return Fate::Unknown;
        }
        // Until this epoch's own first entry is stable, a recovery could still choose another
        // log, in either direction.
        let settled = self.epoch_is_stable() || self.planted.is(Mutation::FateTooEarly);
        if epoch == self.config.epoch {
            return match (settled && lsn <= self.stable, lsn <= self.log.last().lsn) {
                (true, _) => Fate::Stable,
                (false, true) => Fate::Pending,
                (false, false) if self.is_serving() => Fate::Unknown,
                (false, false) => Fate::Pending,
            };
        }
        match self.config.cut(epoch) {
            Some(_) if !settled => Fate::Pending,
            Some(end) if lsn <= end => Fate::Stable,
            Some(_) => Fate::Lost,
            // An epoch without a row won nothing, unless its row was dropped for its age.
            None if self.config.history.first().is_some_and(|row| epoch < row.epoch) => {
                Fate::Unknown
            }
            None if !settled => Fate::Pending,
            None => Fate::Lost,
        }
    }

    fn epoch_is_stable(&self) -> bool {
        let before = self.config.history.last().map_or(Lsn::ZERO, |row| row.end);
        self.config.epoch > Epoch::ZERO && self.stable > before
    }
}
