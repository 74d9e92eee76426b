//! What comes of a write and of a read. A write has happened, has not, or is not known.

use std::time::Duration;

use antiphon_proto::{Lsn, NodeId, Policy, SESSION_WINDOW, Ticket, Token};

use crate::level::Level;

/// How far a write must have travelled before the caller hears "yes".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Commit {
    /// On the primary's disk. May be lost in a failover.
    Local,
    /// In the memory of this many voters, the primary among them. May be lost in a failover.
    Received(u8),
    /// On the disks of this many voters, the primary among them.
    Replicas(u8),
    /// On a majority's disks.
    Majority,
    /// On every voter's disk.
    All,
    /// What the shard's floor asks: survives every automatic failover.
    #[default]
    Floor,
}

impl Commit {
    pub(crate) const fn level(self) -> Level {
        match self {
            Self::Local => Level::At(Policy::Local),
            Self::Received(count) => Level::At(Policy::Received(count)),
            Self::Replicas(count) => Level::At(Policy::Ack(count)),
            Self::Majority => Level::At(Policy::Quorum),
            Self::All => Level::At(Policy::All),
            Self::Floor => Level::Floor,
        }
    }

    pub(crate) const fn to_bytes(self) -> [u8; 2] {
        self.level().to_bytes()
    }

    pub(crate) const fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        match Level::from_bytes(bytes) {
            Some(Level::At(Policy::Local)) => Some(Self::Local),
            Some(Level::At(Policy::Received(count))) => Some(Self::Received(count)),
            Some(Level::At(Policy::Ack(count))) => Some(Self::Replicas(count)),
            Some(Level::At(Policy::Quorum)) => Some(Self::Majority),
            Some(Level::At(Policy::All)) => Some(Self::All),
            Some(Level::Floor) => Some(Self::Floor),
            // The library has no word for these.
            Some(Level::At(Policy::Region(_) | Policy::Prefix(_))) | None => None,
        }
    }
}

/// How a write is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propose {
    /// What to wait for. Default: the floor.
    pub commit: Commit,
    /// How long. Default 5 s. After that the outcome is unknown, not failed.
    pub timeout: Duration,
    /// Names the write, so that it executes once however often it is sent: a retry with the same
    /// ticket gets the first one's reply. None by default.
    pub ticket: Option<Ticket>,
}

impl Default for Propose {
    fn default() -> Self {
        Self { commit: Commit::Floor, timeout: Duration::from_secs(5), ticket: None }
    }
}

/// A write that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt<R> {
    /// What the state machine answered. None below the floor: only stable commands are applied,
    /// and this one is not stable yet. None, too, for the retry of a session's write whose reply
    /// is not kept (any more): it happened once.
    pub reply: Option<R>,
    /// Names the write: for reading it back anywhere, and for asking its fate. For a retry whose
    /// reply is not kept, a later write of the same session.
    pub token: Token,
    /// What was reached: what was asked for.
    pub reached: Commit,
}

/// A write that was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeFailure {
    /// Certain: it did not happen and will not.
    #[error("the write did not happen: {0}")]
    Rejected(Reason),
    /// Not known. Ask `fate(token)`. A retry may execute it twice, unless it has a ticket.
    #[error("whether the write happened is not known yet")]
    Unknown {
        /// The write, if its place in the log is known.
        token: Option<Token>,
    },
}

/// Why a write did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nobody who appends could be reached.
    #[error("the primary can't be reached")]
    NotPrimary {
        /// Who should be, as far as it is known.
        primary: Option<NodeId>,
    },
    /// Too few voters are linked for what was asked.
    #[error("too few replicas are there for what was asked")]
    TooFewReplicas,
    /// Too many writes are in flight: try again later.
    #[error("too many writes are in flight, try again later")]
    Busy,
    /// Over the limit of an entry.
    #[error("the command is over the limit of {} bytes", antiphon_proto::PAYLOAD_BYTES_MAX)]
    TooLarge,
    /// The session was never opened, was closed, or has expired. What was tried in it before may
    /// have happened.
    #[error("the session is not open, or has expired")]
    NoSession,
    /// The ticket's number is too far below the session's highest: nobody knows any more whether
    /// it was used.
    #[error(
        "the number is over {SESSION_WINDOW} below the session's highest; the lowest is {floor}"
    )]
    TooOld {
        /// The lowest number that may still be used.
        floor: u64,
    },
    /// There are as many sessions as may be, and none has expired.
    #[error("there are too many sessions")]
    TooManySessions,
    /// The session's time to live is 0 or over 30 days.
    #[error("a session is kept for at least 1 ms and at most 30 days")]
    Ttl,
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// How new an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// After every write that was acknowledged before the call began.
    Linearizable,
    /// At least as new as this write: read your writes, never backwards.
    AtLeast(Token),
    /// Whatever this node has.
    Local,
}

/// An answer, and how new it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed<A> {
    /// The answer.
    pub answer: A,
    /// The position that it was given at.
    pub applied: Lsn,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The write that the caller saw does not exist: a failover lost it.
    #[error("the write that the token names was lost")]
    Lost,
    /// It did not come in time.
    #[error("this node did not become new enough in time")]
    Timeout,
    /// The primary can't be asked.
    #[error("the primary can't be reached")]
    NoPrimary,
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}
