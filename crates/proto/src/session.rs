//! Client sessions: each write of a session is executed at most once, whoever is primary.
//!
//! The table is replicated state: it changes by stable entries alone, is part of snapshots, and
//! is equal on all nodes. What the primary appended and is not stable yet lies in an overlay,
//! which goes when the node is no longer primary. Whoever drives the log asks
//! [`Sessions::admit`] before a write, tells [`Sessions::wrote`] when it was appended, and hands
//! every entry of a session's kind to [`Sessions::apply`] when it is stable.

mod entry;
mod overlay;
mod snapshot;
mod table;
mod window;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

pub use self::entry::{
    CLOSED_AT_ONCE_MAX, Closing, LoggedReply, SessionEntry, SessionEntryError, SessionList,
    SessionWrite,
};
pub use self::snapshot::{
    SESSIONS_VERSION, SessionsCut, SessionsError, snapshot_has_sessions, snapshot_meta,
};

use self::overlay::Overlay;
use self::table::{Session, Table};
use crate::mutation::{Mutation, Planted};
use crate::{EntryId, Epoch, Frame, Hlc, Kind, Lsn};

/// Sequence numbers that a session remembers: the highest one and so many below it.
pub const SESSION_WINDOW: u64 = 256;
/// The longest reply that is kept for a retry. Of a longer one only the place is known.
pub const REPLY_BYTES_MAX: usize = 4 << 10;
/// Bytes of replies that one session keeps, each counted with 64 more for its place.
pub const SESSION_REPLIES_BYTES_MAX: usize = 64 << 10;
/// The same for all sessions together.
pub const ALL_REPLIES_BYTES_MAX: usize = 64 << 20;
/// Sessions at a time, unless somebody says otherwise: some 20 MiB without replies.
pub const SESSIONS_MAX: usize = 100_000;
/// The longest time that a session is kept without a write: 30 days.
pub const SESSION_TTL_MS_MAX: u64 = 30 * 24 * 3_600_000;

const _: () = assert!(
    SESSION_REPLIES_BYTES_MAX >= REPLY_BYTES_MAX + 64
        && ALL_REPLIES_BYTES_MAX >= SESSION_REPLIES_BYTES_MAX,
    "the newest reply always fits"
);

/// Names a session for ever: it is the identity of the entry that opened it.
///
/// Text form: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// Wraps a raw number, as read from a message.
    #[must_use]
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The raw number.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// The session that this entry opens. No entry's identity is used twice, so no session's is.
    #[must_use]
    pub fn opened_by(entry: EntryId) -> Self {
        Self((u128::from(entry.epoch.get()) << 64) | u128::from(entry.lsn.get()))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A text that names no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session: expected 32 hexadecimal digits")]
pub struct SessionIdError;

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let raw = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        raw.map(Self).ok_or(SessionIdError)
    }
}

/// Names a write before it is made, so that a retry is known as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The session.
    pub session: SessionId,
    /// The write's number in it, from 1. Numbers may come out of order and with gaps, within
    /// [`SESSION_WINDOW`].
    pub seq: u64,
}

/// Why a write of a session is not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefusal {
    /// It was never opened, was closed, or has expired.
    #[error("the session is not open, or has expired")]
    Unknown,
    /// The number is behind the session's window: nobody knows any more whether it was used.
    #[error("the number is below {floor}, where the session's window begins")]
    TooOld {
        /// The lowest number that may still be used.
        floor: u64,
    },
}

/// A write that was executed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its entry; when that is no longer known, a later one of the same session.
    pub at: EntryId,
    /// Whether it is stable. Else its entry must be waited for like that of any write.
    pub stable: bool,
    /// What was answered, if that is known and kept.
    pub reply: Option<Bytes>,
}

/// What is known of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionInfo {
    /// How long it is kept without a write. Unit: milliseconds.
    pub ttl_ms: u64,
    /// The highest number used; 0 for none.
    pub top: u64,
    /// The lowest number that may still be used.
    pub floor: u64,
    /// Its last entry.
    pub last: EntryId,
    /// When that was appended.
    pub used: Hlc,
    /// Replies that are kept.
    pub replies: usize,
}

/// A stable entry that contradicts the table. Going on would execute something twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionFault {
    /// The payload can't be read.
    #[error(transparent)]
    Payload(#[from] SessionEntryError),
    /// The entry writes in a session that does not take it.
    #[error("number {seq} of session {session} is in the log and was not to be: {why}")]
    NotAdmitted {
        /// The session.
        session: SessionId,
        /// The number.
        seq: u64,
        /// Why not.
        why: &'static str,
    },
}

/// The sessions of a log: the stable table, and at the primary what is not stable yet.
#[derive(Debug)]
pub struct Sessions {
    table: Table,
    overlay: Overlay,
    sessions_max: usize,
    planted: Planted,
}

impl Sessions {
    /// No sessions yet, and never more than `sessions_max` by this node's own decision.
    #[must_use]
    pub fn new(sessions_max: usize) -> Self {
        Self {
            table: Table::default(),
            overlay: Overlay::default(),
            sessions_max,
            planted: Planted::default(),
        }
    }

    /// Plants a bug in this table.
    #[cfg(feature = "mutations")]
    pub const fn plant(&mut self, bug: Mutation) {
        self.planted = Planted::bug(bug);
    }

    /// Sessions that are open, those that are about to be among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len() + self.overlay.opening() - self.overlay.closing()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether another session may be opened.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.len() < self.sessions_max
    }

    /// Bytes of the replies that are kept, with their places.
    #[must_use]
    pub const fn replies_bytes(&self) -> usize {
        self.table.bytes()
    }

    /// What to do with a write: nothing is known of it and it may be executed, or it was.
    ///
    /// # Errors
    /// When it must not be executed.
    pub fn admit(&self, ticket: Ticket) -> Result<Option<Executed>, SessionRefusal> {
        let Ticket { session, seq } = ticket;
        if !self.is_open(session) {
            return Err(SessionRefusal::Unknown);
        }
        let blind = self.planted.is(Mutation::SessionIgnoresOverlay);
        if let Some(executed) = self.overlay.find(ticket).filter(|_| !blind) {
            return Ok(Some(executed));
        }
        let stable = self.table.get(session);
        if let Some(executed) = stable.and_then(|stable| stable.find(seq)) {
            return Ok(Some(executed));
        }
        let floor = self.floor(session, stable);
        let late = if self.planted.is(Mutation::SessionWindowOffByOne) {
            seq.saturating_add(1) < floor
        } else {
            seq < floor
        };
        if late { Err(SessionRefusal::TooOld { floor }) } else { Ok(None) }
    }

    fn floor(&self, session: SessionId, stable: Option<&Session>) -> u64 {
        let top = stable.map_or(0, Session::top).max(self.overlay.top(session));
        window::floor(top)
    }

    /// Whether writes of the session are taken.
    #[must_use]
    pub fn is_open(&self, session: SessionId) -> bool {
        !self.overlay.closes(session)
            && (self.overlay.opens(session) || self.table.get(session).is_some())
    }

    /// What is known of an open session.
    #[must_use]
    pub fn info(&self, session: SessionId) -> Option<SessionInfo> {
        if !self.is_open(session) {
            return None;
        }
        let stable = self.table.get(session)?;
        let top = stable.top().max(self.overlay.top(session));
        Some(SessionInfo { top, floor: window::floor(top), ..stable.info() })
    }

    /// The entry at `at` was appended here and will open a session.
    pub fn opened(&mut self, at: EntryId) -> SessionId {
        let session = SessionId::opened_by(at);
        self.overlay.open(session);
        session
    }

    /// The entry at `at` was appended here and is the ticket's write. `reply` is what was
    /// answered, unless that is known only when the entry is applied, or too long to be kept.
    ///
    /// # Panics
    /// When the write was not admitted.
    pub fn wrote(&mut self, ticket: Ticket, at: EntryId, reply: Option<Bytes>) {
        assert!(self.is_open(ticket.session), "a write is appended for an open session only");
        self.overlay.write(ticket, at, reply);
    }

    /// An entry was appended here that will close these sessions.
    pub fn closed(&mut self, sessions: &[SessionId]) {
        for session in sessions {
            let there = self.table.get(*session).is_some();
            self.overlay.close(*session, there);
        }
    }

    /// Sessions that nobody used for their time, the longest expired first, and none with a
    /// write under way. `now_ms` must not be later than what an entry appended now would carry.
    #[must_use]
    pub fn expired(&self, now_ms: u64, most: usize) -> Vec<SessionId> {
        let due = self.table.due(now_ms).filter(|session| !self.overlay.touches(*session));
        due.take(most.min(CLOSED_AT_ONCE_MAX)).collect()
    }

    /// This node is no longer primary: what was not stable never happened.
    pub fn forget_speculation(&mut self) {
        if !self.planted.is(Mutation::SessionKeepsOverlay) {
            self.overlay = Overlay::default();
        }
    }

    /// Whether anything of it is not stable: at a primary alone.
    #[must_use]
    pub fn is_speculative(&self) -> bool {
        !self.overlay.is_empty()
    }

    /// Brings a stable entry of a session's kind into the table. For a write, `execute` gets the
    /// entry as the state machine knows it, and whether the machine makes the reply.
    ///
    /// # Errors
    /// When the entry can't be understood or contradicts the table, and what `execute` says: the
    /// node must stop then.
    pub fn apply<E: From<SessionFault>>(
        &mut self,
        frame: &Frame<'_>,
        execute: impl FnOnce(&Frame<'_>, bool) -> Result<Option<Bytes>, E>,
    ) -> Result<(), E> {
        let (id, hlc) = (frame.header.id, frame.header.hlc);
        match SessionEntry::decode(frame.header.kind, frame.payload).map_err(SessionFault::from)? {
            SessionEntry::Open { ttl_ms } => {
                let session = SessionId::opened_by(id);
                self.table.open(session, ttl_ms, (id, hlc));
                self.overlay.is_open(session);
            }
            SessionEntry::Close { sessions, .. } => {
                for session in sessions.iter() {
                    self.table.close(session);
                    self.overlay.is_closed(session);
                }
            }
            SessionEntry::Write(write) => {
                self.check(write.ticket)?;
                let header = crate::Header { kind: Kind::Data, ..frame.header };
                let inner = Frame { header, payload: write.payload, ..*frame };
                let made = execute(&inner, write.reply == LoggedReply::ByMachine)?;
                let reply = match write.reply {
                    LoggedReply::Kept(bytes) => Some(Bytes::copy_from_slice(bytes)),
                    LoggedReply::TooLong => None,
                    LoggedReply::ByMachine => made.filter(|bytes| bytes.len() <= REPLY_BYTES_MAX),
                };
                self.table.write(write.ticket, (id, hlc), reply);
                self.overlay.is_written(write.ticket);
            }
        }
        Ok(())
    }

    /// The primary admits a write against all that is before it in the log, so this can't fail
    /// unless the log is not what a primary appended.
    fn check(&self, ticket: Ticket) -> Result<(), SessionFault> {
        let Ticket { session, seq } = ticket;
        let fault = |why| SessionFault::NotAdmitted { session, seq, why };
        let stable = self.table.get(session).ok_or_else(|| fault("the session is not open"))?;
        if stable.has(seq) {
            return Err(fault("it was executed before"));
        }
        if seq < window::floor(stable.top()) {
            return Err(fault("it is below the window"));
        }
        Ok(())
    }

    /// A digest of the state machine together with the table. Equal states and tables have equal
    /// ones; without sessions it is the machine's own.
    #[must_use]
    pub fn digest_with(&self, machine: [u8; 16]) -> [u8; 16] {
        let table = self.table.digest();
        if table == 0 {
            return machine;
        }
        let mut both = [0; 32];
        let (left, right) = both.split_at_mut(16);
        left.copy_from_slice(&machine);
        right.copy_from_slice(&table.to_le_bytes());
        xxhash_rust::xxh3::xxh3_128(&both).to_le_bytes()
    }
}

impl Executed {
    const fn stable(at: EntryId, reply: Option<Bytes>) -> Self {
        Self { at, stable: true, reply }
    }
}

/// Splits a session's name into the entry that opened it; none when no entry can have done so.
fn opener(session: SessionId) -> Option<EntryId> {
    let epoch = u64::try_from(session.0 >> 64).ok()?;
    let lsn = u64::try_from(session.0 & u128::from(u64::MAX)).ok()?;
    let most = crate::ids::NUMBER_MAX;
    let real = (1..=most).contains(&epoch) && (1..=most).contains(&lsn);
    real.then(|| EntryId::new(Epoch::new(epoch), Lsn::new(lsn)))
}

#[cfg(test)]
mod tests;
