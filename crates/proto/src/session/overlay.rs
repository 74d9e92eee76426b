//! What the primary appended for sessions and is not stable yet.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Executed, SessionId, Ticket};
use crate::EntryId;

/// Unstable entries, by session. Bounded by the bytes that may be unstable in the log.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    sessions: BTreeMap<SessionId, Unstable>,
    opening: usize, // sessions whose opening is not stable
    closing: usize, // sessions that are or will be in the table, and whose closing is not stable
}

#[derive(Debug, Default)]
struct Unstable {
    opening: bool,
    closing: bool,
    writes: BTreeMap<u64, InFlight>,
}

#[derive(Debug)]
struct InFlight {
    at: EntryId,
    reply: Option<Bytes>,
}

impl Overlay {
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    pub(super) const fn opening(&self) -> usize {
        self.opening
    }

    pub(super) const fn closing(&self) -> usize {
        self.closing
    }

    pub(super) fn opens(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|unstable| unstable.opening)
    }

    pub(super) fn closes(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|unstable| unstable.closing)
    }

    /// Whether anything of the session is under way.
    pub(super) fn touches(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// The highest number under way; 0 for none.
    pub(super) fn top(&self, session: SessionId) -> u64 {
        let unstable = self.sessions.get(&session);
        unstable.and_then(|unstable| unstable.writes.keys().next_back()).copied().unwrap_or(0)
    }

    pub(super) fn find(&self, ticket: Ticket) -> Option<Executed> {
        let flight = self.sessions.get(&ticket.session)?.writes.get(&ticket.seq)?;
        Some(Executed { at: flight.at, stable: false, reply: flight.reply.clone() })
    }

    pub(super) fn open(&mut self, session: SessionId) {
        self.opening += 1;
        self.sessions.entry(session).or_default().opening = true;
    }

    pub(super) fn write(&mut self, ticket: Ticket, at: EntryId, reply: Option<Bytes>) {
        let unstable = self.sessions.entry(ticket.session).or_default();
        unstable.writes.insert(ticket.seq, InFlight { at, reply });
    }

    /// The session is about to be closed; `there` says whether the table has it.
    pub(super) fn close(&mut self, session: SessionId, there: bool) {
        let unstable = self.sessions.entry(session).or_default();
        if !unstable.closing && (there || unstable.opening) {
            unstable.closing = true;
            self.closing += 1;
        }
    }

    /// The opening is stable.
    pub(super) fn is_open(&mut self, session: SessionId) {
        if let Some(unstable) = self.sessions.get_mut(&session) {
            self.opening -= usize::from(std::mem::take(&mut unstable.opening));
            self.drop_settled(session);
        }
    }

    /// A write is stable.
    pub(super) fn is_written(&mut self, ticket: Ticket) {
        if let Some(unstable) = self.sessions.get_mut(&ticket.session) {
            unstable.writes.remove(&ticket.seq);
            self.drop_settled(ticket.session);
        }
    }

    /// The closing is stable, and with it all that came before.
    pub(super) fn is_closed(&mut self, session: SessionId) {
        if let Some(unstable) = self.sessions.remove(&session) {
            self.opening -= usize::from(unstable.opening);
            self.closing -= usize::from(unstable.closing);
        }
    }

    fn drop_settled(&mut self, session: SessionId) {
        let settled = |unstable: &Unstable| {
            unstable.writes.is_empty() && !unstable.opening && !unstable.closing
        };
        if self.sessions.get(&session).is_some_and(settled) {
            self.sessions.remove(&session);
        }
    }
}
