//! The payloads of a session's entries.

use bytes::{Buf, BufMut, BytesMut};

use super::{REPLY_BYTES_MAX, SessionId, Ticket, opener};
use crate::Kind;

/// Sessions that one entry closes at most.
pub const CLOSED_AT_ONCE_MAX: usize = 256;

const OPEN_BYTES: usize = 8;
const SESSION_BYTES: usize = 16;
const WRITE_BYTES: usize = 28;
/// In the place of a reply's length.
const BY_MACHINE: u32 = u32::MAX;
const TOO_LONG: u32 = u32::MAX - 1;

/// An entry of a session's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEntry<'a> {
    /// Opens the session that is named after the entry.
    Open {
        /// How long it is kept without a write. Unit: milliseconds.
        ttl_ms: u64,
    },
    /// Closes sessions.
    Close {
        /// Why.
        why: Closing,
        /// Which.
        sessions: SessionList<'a>,
    },
    /// Executes a write.
    Write(SessionWrite<'a>),
}

/// Why sessions are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Closing {
    /// A client asked for it.
    Asked = 0,
    /// Nobody used them for their time.
    Expired = 1,
}

/// Sessions in an entry, one to [`CLOSED_AT_ONCE_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionList<'a>(&'a [u8]);

/// A write of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionWrite<'a> {
    /// Its name.
    pub ticket: Ticket,
    /// What was answered, for retries.
    pub reply: LoggedReply<'a>,
    /// What the state machine is told; as the payload of an entry without a session.
    pub payload: &'a [u8],
}

/// The reply that an entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedReply<'a> {
    /// This one, of at most [`REPLY_BYTES_MAX`] bytes.
    Kept(&'a [u8]),
    /// None: it was longer than that.
    TooLong,
    /// None: the state machine makes it, the same on every node.
    ByMachine,
}

/// Bytes that are no payload of a session's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session's entry can't be read: {0}")]
pub struct SessionEntryError(&'static str);

impl<'a> SessionEntry<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// When the kind is none of a session's or the bytes are not of that kind.
    pub fn decode(kind: Kind, payload: &'a [u8]) -> Result<Self, SessionEntryError> {
        match kind {
            Kind::SessionOpen => decode_open(payload),
            Kind::SessionClose => decode_close(payload),
            Kind::SessionData => SessionWrite::decode(payload).map(Self::Write),
            Kind::Data | Kind::EpochStart | Kind::Noop => {
                Err(SessionEntryError("it is of another kind"))
            }
        }
    }

    /// Writes a payload.
    ///
    /// # Panics
    /// When a reply is over its limit.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Open { ttl_ms } => out.put_u64_le(*ttl_ms),
            Self::Close { why, sessions } => {
                out.put_u8(*why as u8);
                out.put_slice(sessions.0);
            }
            Self::Write(write) => {
                SessionWrite::put_head(out, write.ticket, write.reply);
                out.put_slice(write.payload);
            }
        }
    }
}

fn decode_open(mut payload: &[u8]) -> Result<SessionEntry<'_>, SessionEntryError> {
    if payload.len() != OPEN_BYTES {
        return Err(SessionEntryError("an opening has 8 bytes"));
    }
    Ok(SessionEntry::Open { ttl_ms: payload.get_u64_le() })
}

fn decode_close(payload: &[u8]) -> Result<SessionEntry<'_>, SessionEntryError> {
    let (why, rest) = payload.split_first().ok_or(SessionEntryError("a closing is empty"))?;
    let why = match why {
        0 => Closing::Asked,
        1 => Closing::Expired,
        _ => return Err(SessionEntryError("a closing has a reason that is not known")),
    };
    let sessions = SessionList(rest);
    let count = rest.len() / SESSION_BYTES;
    let whole = rest.len() % SESSION_BYTES == 0 && (1..=CLOSED_AT_ONCE_MAX).contains(&count);
    if !whole || sessions.iter().any(|session| opener(session).is_none()) {
        return Err(SessionEntryError("a closing names no sessions"));
    }
    Ok(SessionEntry::Close { why, sessions })
}

impl<'a> SessionList<'a> {
    /// The sessions, in the entry's order.
    pub fn iter(&self) -> impl Iterator<Item = SessionId> + use<'a> {
        self.0.chunks_exact(SESSION_BYTES).map(|mut bytes| SessionId::new(bytes.get_u128_le()))
    }

    /// Writes the payload of a closing.
    ///
    /// # Panics
    /// When there are none or too many.
    pub fn encode(sessions: &[SessionId], why: Closing) -> BytesMut {
        let count = sessions.len();
        assert!((1..=CLOSED_AT_ONCE_MAX).contains(&count), "{count} sessions in one closing");
        let mut out = BytesMut::with_capacity(1 + count * SESSION_BYTES);
        out.put_u8(why as u8);
        for session in sessions {
            out.put_u128_le(session.get());
        }
        out
    }
}

impl<'a> SessionWrite<'a> {
    /// Reads the payload of a write.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn decode(payload: &'a [u8]) -> Result<Self, SessionEntryError> {
        let Some((mut head, rest)) = payload.split_at_checked(WRITE_BYTES) else {
            return Err(SessionEntryError("a write is cut"));
        };
        let session = SessionId::new(head.get_u128_le());
        let (seq, length) = (head.get_u64_le(), head.get_u32_le());
        if opener(session).is_none() || seq == 0 {
            return Err(SessionEntryError("a write has no name"));
        }
        let (reply, payload) = match length {
            BY_MACHINE => (LoggedReply::ByMachine, rest),
            TOO_LONG => (LoggedReply::TooLong, rest),
            length => {
                let length = usize::try_from(length).ok().filter(|n| *n <= REPLY_BYTES_MAX);
                let length = length.ok_or(SessionEntryError("a reply is over its limit"))?;
                let parts = rest.split_at_checked(length);
                let (reply, payload) = parts.ok_or(SessionEntryError("a reply is cut"))?;
                (LoggedReply::Kept(reply), payload)
            }
        };
        Ok(Self { ticket: Ticket { session, seq }, reply, payload })
    }

    /// Writes what stands before the state machine's own bytes.
    ///
    /// # Panics
    /// When the reply is over its limit.
    pub fn put_head(out: &mut BytesMut, ticket: Ticket, reply: LoggedReply<'_>) {
        out.put_u128_le(ticket.session.get());
        out.put_u64_le(ticket.seq);
        match reply {
            LoggedReply::ByMachine => out.put_u32_le(BY_MACHINE),
            LoggedReply::TooLong => out.put_u32_le(TOO_LONG),
            LoggedReply::Kept(bytes) => {
                assert!(bytes.len() <= REPLY_BYTES_MAX, "a kept reply is within its limit");
                out.put_u32_le(u32::try_from(bytes.len()).expect("the limit fits 32 bits"));
                out.put_slice(bytes);
            }
        }
    }

    /// Bytes that stand before the state machine's own.
    #[must_use]
    pub const fn head_bytes(reply: LoggedReply<'_>) -> usize {
        match reply {
            LoggedReply::Kept(bytes) => WRITE_BYTES + bytes.len(),
            LoggedReply::TooLong | LoggedReply::ByMachine => WRITE_BYTES,
        }
    }
}

impl<'a> LoggedReply<'a> {
    /// This reply, or that it is too long.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        if bytes.len() <= REPLY_BYTES_MAX { Self::Kept(bytes) } else { Self::TooLong }
    }
}
