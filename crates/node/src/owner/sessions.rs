//! Client sessions at the shard: admitted and appended by the primary, expired by its entries.

use antiphon_proto::{
    CLOSED_AT_ONCE_MAX, Closing, EntryId, Kind, LoggedReply, ProposeError, SESSION_TTL_MS_MAX,
    SessionEntry, SessionId, SessionList, SessionRefusal, SessionWrite, Ticket,
};
use bytes::{Bytes, BytesMut};
use tracing::{debug, info};

use crate::clock::Clock;
use crate::local::{OnceError, OpenError, Placed};
use crate::machine::Machine;
use crate::owner::Owner;

impl<M: Machine> Owner<M> {
    /// Appends a session's write, unless it was appended before.
    pub(crate) fn propose_once(
        &mut self,
        (ticket, reply): (Ticket, LoggedReply<'_>),
        bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<Placed, OnceError> {
        // Only the primary knows what is under way; what it refuses otherwise, it says below.
        if self.replica.is_serving()
            && let Some(executed) = self.sessions.admit(ticket)?
        {
            return Ok(Placed::Before(executed));
        }
        let whole = SessionWrite::head_bytes(reply) + bytes;
        let at = self.replica.propose(Kind::SessionData, Clock::wall_ms(), whole, |out| {
            SessionWrite::put_head(out, ticket, reply);
            write(out);
        })?;
        let kept = match reply {
            LoggedReply::Kept(reply) => Some(Bytes::copy_from_slice(reply)),
            LoggedReply::TooLong | LoggedReply::ByMachine => None,
        };
        self.sessions.wrote(ticket, at, kept);
        self.turn.notify_one();
        Ok(Placed::New(at))
    }

    /// Appends the opening of a session. When there is no room, expired ones go first.
    pub(crate) fn open_session(&mut self, ttl_ms: u64) -> Result<EntryId, OpenError> {
        if !(1..=SESSION_TTL_MS_MAX).contains(&ttl_ms) {
            return Err(OpenError::Ttl);
        }
        if self.replica.is_serving() && !self.sessions.has_room() {
            self.expire_sessions();
            if !self.sessions.has_room() {
                return Err(OpenError::Full);
            }
        }
        let mut payload = BytesMut::new();
        SessionEntry::Open { ttl_ms }.encode(&mut payload);
        let at = self.append_small(Kind::SessionOpen, &payload)?;
        self.sessions.opened(at);
        Ok(at)
    }

    /// Appends the closing of a session.
    pub(crate) fn close_session(&mut self, session: SessionId) -> Result<EntryId, OnceError> {
        if self.replica.is_serving() && !self.sessions.is_open(session) {
            return Err(OnceError::Refused(SessionRefusal::Unknown));
        }
        Ok(self.append_closing(&[session], Closing::Asked)?)
    }

    fn append_closing(
        &mut self,
        sessions: &[SessionId],
        why: Closing,
    ) -> Result<EntryId, ProposeError> {
        let payload = SessionList::encode(sessions, why);
        let at = self.append_small(Kind::SessionClose, &payload)?;
        self.sessions.closed(sessions);
        Ok(at)
    }

    fn append_small(&mut self, kind: Kind, payload: &[u8]) -> Result<EntryId, ProposeError> {
        let put = |out: &mut BytesMut| out.extend_from_slice(payload);
        let at = self.replica.propose(kind, Clock::wall_ms(), payload.len(), put)?;
        self.turn.notify_one();
        Ok(at)
    }

    /// Closes sessions whose time is over. The entry carries a time that is not earlier than the
    /// one they are judged by, so the log itself shows that they had expired.
    pub(crate) fn expire_sessions(&mut self) {
        if !self.replica.is_serving() {
            return;
        }
        let expired = self.sessions.expired(Clock::wall_ms(), CLOSED_AT_ONCE_MAX);
        if expired.is_empty() {
            return;
        }
        match self.append_closing(&expired, Closing::Expired) {
            Ok(at) => info!(sessions = expired.len(), %at, "closed expired sessions"),
            // They are found again at the next look.
            Err(error) => debug!(%error, "failed to close expired sessions"),
        }
    }
}
