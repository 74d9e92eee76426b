//! What sessions need of the shard they stand before: its engine, its log, its place.
//!
//! The node implements this for its own handle. Tests implement it in one process, so that a
//! session can be driven without disks and links.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use antiphon::{OnceError, OpenError};
use antiphon_kv::Engine;
use antiphon_proto::{
    EntryId, Epoch, Executed, Hlc, LoggedReply, Lsn, NodeId, SessionId, SessionInfo,
    SessionRefusal, ShardId, Ticket, Token,
};
use bytes::{Bytes, BytesMut};

pub use crate::status::Status;
pub use antiphon::Level;

/// A shard, on its owner thread. A clone is another handle to the same shard.
pub trait Shard: Clone + 'static {
    /// Runs `f` on the engine. Calls do not nest.
    fn with<R>(&self, f: impl FnOnce(&mut Engine) -> R) -> R;

    /// Where the shard stands now.
    fn view(&self) -> View;

    /// Whether enough members are there for `level` to be reached soon.
    fn meets(&self, level: Level) -> bool;

    /// Appends one entry whose payload `write` puts in place; it writes `bytes` bytes.
    ///
    /// # Errors
    /// When nothing was appended, and why.
    fn propose(
        &self,
        bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<EntryId, ProposeError>;

    /// What is known of a session's write. Asked at the primary before it is executed.
    ///
    /// # Errors
    /// When it must not be executed.
    fn admit(&self, ticket: Ticket) -> Result<Option<Executed>, SessionRefusal>;

    /// As [`Self::propose`], for a session's write that was admitted in this turn, with what a
    /// retry of it will be answered.
    ///
    /// # Errors
    /// When nothing was appended, and why.
    fn propose_once(
        &self,
        once: (Ticket, LoggedReply<'_>),
        bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<EntryId, ProposeError>;

    /// Appends the opening of a session, which is named after the entry.
    ///
    /// # Errors
    /// When nothing was appended, and why.
    fn open_session(&self, ttl_ms: u64) -> Result<EntryId, OpenError>;

    /// Appends the closing of a session.
    ///
    /// # Errors
    /// When nothing was appended, and why.
    fn close_session(&self, session: SessionId) -> Result<EntryId, OnceError>;

    /// What is known of an open session.
    fn session(&self, session: SessionId) -> Option<SessionInfo>;

    /// Ready when `entry` is held as `level` asks; else wakes `cx` when it may be.
    fn poll_reached(
        &self,
        cx: &mut Context<'_>,
        entry: EntryId,
        level: Level,
    ) -> Poll<Result<(), Lost>>;

    /// Ready when the entry at `lsn` is applied here; else wakes `cx` when it may be.
    fn poll_applied(&self, cx: &mut Context<'_>, lsn: Lsn) -> Poll<()>;

    /// What became of a write.
    fn fate(&self, token: Token) -> Fate;

    /// Asks another node and waits for its answer.
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Bytes, CallError>> + 'static;

    /// Members besides the primary that hold `entry` now.
    fn counts(&self, entry: EntryId) -> Counts;

    /// Everything that pages and operators ask about.
    fn status(&self) -> Status;

    /// Begins a snapshot now; false when one is being written already.
    fn snapshot(&self) -> bool;

    /// Begins to stop the node.
    fn shutdown(&self);
}

/// A shard's place and positions at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Whether writes are made here.
    pub role: Role,
    /// This node.
    pub me: NodeId,
    /// The log.
    pub shard: ShardId,
    /// The configuration obeyed.
    pub epoch: Epoch,
    /// End of the log here.
    pub last: Lsn,
    /// End of what is synced here.
    pub durable: Lsn,
    /// End of what can never be lost.
    pub stable: Lsn,
    /// End of what readers here see.
    pub applied: Lsn,
    /// The time that a write made now would carry. Unit: milliseconds since 1970.
    pub now_ms: u64,
    /// The time of the last applied entry.
    pub applied_hlc: Hlc,
}

/// A node's place in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Writes are made here, once it serves.
    Primary {
        /// Whether the first entry of its epoch is stable and it holds its lease.
        serving: bool,
    },
    /// Writes are made elsewhere.
    Replica {
        /// The primary, as far as it is known.
        primary: Option<NodeId>,
    },
}

/// Members besides the primary that hold an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// In memory or better. Unit: members.
    pub received: usize,
    /// On disk. Unit: members.
    pub durable: usize,
}

/// Why nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node is primary: forward, or tell the client.
    #[error("not the primary of this log")]
    NotPrimary {
        /// The primary, as far as it is known.
        primary: Option<NodeId>,
    },
    /// Too much is in flight: back off.
    #[error("too many writes in flight")]
    Busy,
    /// The payload is over the limit of an entry: never.
    #[error("entry over the limit")]
    TooLarge,
    /// Too few members are there for the floor: try later.
    #[error("too few members for the floor")]
    NoReplicas,
}

/// The node lost the primary's place before the level was reached. Ask for the entry's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no longer the primary that appended the entry")]
pub struct Lost;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Not decided yet.
    Pending,
    /// In the log of every later primary.
    Stable,
    /// In no later primary's log; final.
    Lost,
    /// Older than the retained history, or of another log.
    Unknown,
}

impl Fate {
    /// The word that `XFATE` answers with.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Stable => "stable",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a call to another node has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was not sent: nothing happened.
    #[error("the node is not connected")]
    NotSent,
    /// It was sent; whether it happened is not known.
    #[error("no answer from the node")]
    NoAnswer,
    /// The node has nothing that answers.
    #[error("the node refused the call")]
    Refused,
}
