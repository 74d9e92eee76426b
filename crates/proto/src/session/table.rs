//! The stable table: sessions, their windows and replies, and what finds them by age.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::window::{Window, floor};
use super::{
    ALL_REPLIES_BYTES_MAX, Executed, SESSION_REPLIES_BYTES_MAX, SessionId, SessionInfo, Ticket,
};
use crate::{EntryId, Hlc, Lsn};

/// What a kept reply takes besides its bytes, about.
const RECORD_BYTES: usize = 64;
/// Sessions lie in so many parts: a change while a snapshot is written copies one of them.
const PARTS: usize = 256;

/// A session, as of the stable prefix of the log.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) ttl_ms: u64,
    pub(super) window: Window,
    pub(super) last: EntryId,
    pub(super) used: Hlc,
    pub(super) records: BTreeMap<u64, Record>, // all within the window
    bytes: usize,                              // of the records
    sum: u128,                                 // of the records' hashes
}

/// An executed write whose place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) at: EntryId,
    pub(super) reply: Option<Bytes>,
}

pub(super) type Part = BTreeMap<SessionId, Arc<Session>>;

/// All sessions.
#[derive(Debug)]
pub(super) struct Table {
    parts: Vec<Arc<Part>>,
    len: usize,
    bytes: usize,                    // of all records
    ages: BTreeMap<Lsn, Ticket>,     // every record, by its entry
    due: BTreeSet<(u64, SessionId)>, // every session, by when it expires
    digest: u128,                    // sum of the sessions' digests
}

impl Default for Table {
    fn default() -> Self {
        Self {
            parts: vec![Arc::default(); PARTS],
            len: 0,
            bytes: 0,
            ages: BTreeMap::new(),
            due: BTreeSet::new(),
            digest: 0,
        }
    }
}

impl Record {
    const fn bytes(&self) -> usize {
        match &self.reply {
            Some(reply) => RECORD_BYTES + reply.len(),
            None => RECORD_BYTES,
        }
    }

    fn hash(&self, seq: u64) -> u128 {
        let mut fields = [0; 41];
        let (place, reply) = fields.split_at_mut(24);
        put(place, [seq, self.at.epoch.get(), self.at.lsn.get()]);
        if let (Some((flag, hash)), Some(bytes)) = (reply.split_first_mut(), &self.reply) {
            *flag = 1;
            hash.copy_from_slice(&xxhash_rust::xxh3::xxh3_128(bytes).to_le_bytes());
        }
        xxhash_rust::xxh3::xxh3_128(&fields)
    }
}

impl Session {
    pub(super) const fn new(ttl_ms: u64, (opened, hlc): (EntryId, Hlc)) -> Self {
        Self {
            ttl_ms,
            window: Window::new(),
            last: opened,
            used: hlc,
            records: BTreeMap::new(),
            bytes: 0,
            sum: 0,
        }
    }

    pub(super) const fn top(&self) -> u64 {
        self.window.top()
    }

    pub(super) fn has(&self, seq: u64) -> bool {
        self.window.has(seq)
    }

    pub(super) fn find(&self, seq: u64) -> Option<Executed> {
        match self.records.get(&seq) {
            Some(record) => Some(Executed::stable(record.at, record.reply.clone())),
            None => self.has(seq).then(|| Executed::stable(self.last, None)),
        }
    }

    pub(super) fn info(&self) -> SessionInfo {
        SessionInfo {
            ttl_ms: self.ttl_ms,
            top: self.top(),
            floor: floor(self.top()),
            last: self.last,
            used: self.used,
            replies: self.records.values().filter(|record| record.reply.is_some()).count(),
        }
    }

    const fn due_ms(&self) -> u64 {
        self.used.ms().saturating_add(self.ttl_ms)
    }

    pub(super) fn record(&mut self, seq: u64, record: Record) {
        self.bytes += record.bytes();
        self.sum = self.sum.wrapping_add(record.hash(seq));
        self.records.insert(seq, record);
    }

    fn forget(&mut self, seq: u64) -> Option<Record> {
        let record = self.records.remove(&seq)?;
        self.bytes -= record.bytes();
        self.sum = self.sum.wrapping_sub(record.hash(seq));
        Some(record)
    }

    /// Notes a write; returns the entries whose replies are kept no longer.
    fn write(&mut self, seq: u64, (at, hlc): (EntryId, Hlc), reply: Option<Bytes>) -> Vec<Lsn> {
        self.window.put(seq);
        self.last = at;
        self.used = hlc;
        self.record(seq, Record { at, reply });
        let reach = floor(self.top());
        let mut gone = Vec::new();
        while let Some((&oldest, _)) = self.records.first_key_value()
            && (oldest < reach || self.bytes > SESSION_REPLIES_BYTES_MAX)
        {
            gone.extend(self.forget(oldest).map(|record| record.at.lsn));
        }
        gone
    }

    fn digest(&self, id: SessionId) -> u128 {
        let mut fields = [0; 88];
        let (name, rest) = fields.split_at_mut(16);
        name.copy_from_slice(&id.get().to_le_bytes());
        let [b0, b1, b2, b3] = self.window.bits();
        let (epoch, lsn) = (self.last.epoch.get(), self.last.lsn.get());
        put(rest, [self.ttl_ms, self.top(), b0, b1, b2, b3, epoch, lsn, self.used.get()]);
        xxhash_rust::xxh3::xxh3_128(&fields).wrapping_add(self.sum)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Numbers one behind the other, little-endian.
fn put<const N: usize>(into: &mut [u8], numbers: [u64; N]) {
    for (slot, number) in into.chunks_exact_mut(8).zip(numbers) {
        slot.copy_from_slice(&number.to_le_bytes());
    }
}

impl Table {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn digest(&self) -> u128 {
        self.digest
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.parts.get(part(id)).and_then(|part| part.get(&id)).map(Arc::as_ref)
    }

    /// Sessions whose time is over, the longest expired first.
    pub(super) fn due(&self, now_ms: u64) -> impl Iterator<Item = SessionId> {
        self.due.iter().take_while(move |(due_ms, _)| *due_ms <= now_ms).map(|(_, id)| *id)
    }

    pub(super) fn open(&mut self, id: SessionId, ttl_ms: u64, opened: (EntryId, Hlc)) {
        self.insert(id, Session::new(ttl_ms, opened));
    }

    /// Takes a session in as it is. Returns false when there is one of that name.
    pub(super) fn insert(&mut self, id: SessionId, session: Session) -> bool {
        let Some(part) = self.parts.get_mut(part(id)) else { return false };
        if part.contains_key(&id) {
            return false;
        }
        let session = Arc::new(session);
        Arc::make_mut(part).insert(id, Arc::clone(&session));
        for (seq, record) in &session.records {
            self.ages.insert(record.at.lsn, Ticket { session: id, seq: *seq });
        }
        self.count(id, &session);
        self.len += 1;
        true
    }

    pub(super) fn close(&mut self, id: SessionId) {
        let Some(part) = self.parts.get_mut(part(id)) else { return };
        if !part.contains_key(&id) {
            return;
        }
        if let Some(session) = Arc::make_mut(part).remove(&id) {
            self.discount(id, &session);
            self.len -= 1;
            for record in session.records.values() {
                self.ages.remove(&record.at.lsn);
            }
        }
    }

    /// Notes an executed write.
    pub(super) fn write(&mut self, ticket: Ticket, at: (EntryId, Hlc), reply: Option<Bytes>) {
        let gone = self.change(ticket.session, |session| session.write(ticket.seq, at, reply));
        self.ages.insert(at.0.lsn, ticket);
        for lsn in gone.unwrap_or_default() {
            self.ages.remove(&lsn);
        }
        // The oldest reply goes first, whosever it is: the newest are those that are asked for.
        while self.bytes > ALL_REPLIES_BYTES_MAX
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.change(oldest.session, |session| session.forget(oldest.seq));
        }
    }

    /// Changes a session and all that is counted over sessions.
    fn change<R>(&mut self, id: SessionId, change: impl FnOnce(&mut Session) -> R) -> Option<R> {
        let before = Arc::clone(self.parts.get(part(id))?.get(&id)?);
        self.discount(id, &before);
        // Given up first, so that nothing is copied unless a snapshot holds the session.
        drop(before);
        let session = Arc::make_mut(self.parts.get_mut(part(id))?).get_mut(&id)?;
        let out = change(Arc::make_mut(session));
        let after = Arc::clone(session);
        self.count(id, &after);
        Some(out)
    }

    fn count(&mut self, id: SessionId, session: &Session) {
        self.bytes += session.bytes();
        self.digest = self.digest.wrapping_add(session.digest(id));
        self.due.insert((session.due_ms(), id));
    }

    fn discount(&mut self, id: SessionId, session: &Session) {
        self.bytes -= session.bytes();
        self.digest = self.digest.wrapping_sub(session.digest(id));
        self.due.remove(&(session.due_ms(), id));
    }

    /// Shares all sessions with a snapshot.
    pub(super) fn parts(&self) -> Vec<Arc<Part>> {
        self.parts.clone()
    }

    /// Whether each record has an entry of its own: what is read from outside may lie.
    pub(super) fn is_consistent(&self) -> bool {
        let records = self.parts.iter().flat_map(|part| part.values());
        let records: usize = records.map(|session| session.records.len()).sum();
        records == self.ages.len() && self.bytes <= ALL_REPLIES_BYTES_MAX
    }
}

/// Where a session lies. Names differ in their low bits: those are positions in the log.
fn part(id: SessionId) -> usize {
    usize::try_from(id.get() % 256).unwrap_or(0)
}

const _: () = assert!(PARTS == 256, "a part for each remainder");
