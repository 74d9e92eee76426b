//! A shard's sessions, for code on its thread.

use antiphon_proto::{
    EntryId, Executed, LoggedReply, ProposeError, SessionId, SessionInfo, SessionRefusal, Ticket,
};
use bytes::BytesMut;

use super::Local;
use crate::machine::Machine;

/// Where a session's write is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It was appended now.
    New(EntryId),
    /// It was appended before: this is the retry of it.
    Before(Executed),
}

/// Why a session's write was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnceError {
    /// The log takes nothing now.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The session does not take it.
    #[error(transparent)]
    Refused(#[from] SessionRefusal),
}

/// Why a session was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The log takes nothing now.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// There are as many as may be, and none has expired.
    #[error("there are too many sessions")]
    Full,
    /// A time to live of nothing, or over [`antiphon_proto::SESSION_TTL_MS_MAX`].
    #[error("a session is kept for at least 1 ms and at most 30 days")]
    Ttl,
}

impl<M: Machine> Local<M> {
    /// What is known of a session's write. To be asked at the primary before it is executed.
    ///
    /// # Errors
    /// When it must not be executed.
    pub fn admit(&self, ticket: Ticket) -> Result<Option<Executed>, SessionRefusal> {
        self.inner.owner.borrow().sessions.admit(ticket)
    }

    /// Appends a session's write whose payload `write` puts in place, unless it was appended
    /// before; `write` writes `bytes` bytes. `reply` is what a retry will be answered.
    ///
    /// # Errors
    /// When nothing was appended, and why.
    pub fn propose_once(
        &self,
        ticket: Ticket,
        reply: LoggedReply<'_>,
        bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<Placed, OnceError> {
        self.inner.owner.borrow_mut().propose_once((ticket, reply), bytes, write)
    }

    /// Appends the opening of a session, which [`SessionId::opened_by`] names after the entry.
    /// It may be used once the entry is stable.
    ///
    /// # Errors
    /// When nothing was appended, and why.
    pub fn open_session(&self, ttl_ms: u64) -> Result<EntryId, OpenError> {
        self.inner.owner.borrow_mut().open_session(ttl_ms)
    }

    /// Appends the closing of a session. From now on it takes no writes.
    ///
    /// # Errors
    /// When nothing was appended, and why.
    pub fn close_session(&self, session: SessionId) -> Result<EntryId, OnceError> {
        self.inner.owner.borrow_mut().close_session(session)
    }

    /// What is known here of an open session.
    #[must_use]
    pub fn session(&self, session: SessionId) -> Option<SessionInfo> {
        self.inner.owner.borrow().sessions.info(session)
    }
}
