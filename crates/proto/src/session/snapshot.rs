//! The table as bytes, before the state machine's own in a snapshot.
//!
//! Layout, all numbers little-endian: the magic `AFST`, a version byte, three zero bytes; the
//! number of sessions (8); each session with its length (4) before it; the digest (16). A
//! session: name (16), time to live (8), highest number (8), bits of the window (32), last entry
//! (epoch and lsn, 8 each), its time (8), number of records (4); a record: number (8), entry
//! (16), length of the reply or 2^32 - 1 for none (4), reply. Nothing depends on chance or on
//! the order in which it came about.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;

use super::table::{Part, Record, Session, Table};
use super::window::{Window, floor};
use super::{REPLY_BYTES_MAX, SESSION_REPLIES_BYTES_MAX, SessionId, Sessions, opener};
use crate::ids::NUMBER_MAX;
use crate::mutation::Mutation;
use crate::{Config, EntryId, Epoch, Hlc, Lsn};

/// The layout that this build writes, and the only one that it reads.
pub const SESSIONS_VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"AFST";
const HEAD_BYTES: usize = 100;
/// The longest session: each record counts more in the table than it has bytes here.
const SESSION_BYTES_MAX: usize = HEAD_BYTES + SESSION_REPLIES_BYTES_MAX;
const NO_REPLY: u32 = u32::MAX;

/// Why bytes are no table of sessions. It comes inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionsError {
    /// The first bytes are not those of a table.
    #[error("not a table of sessions")]
    Magic,
    /// Another layout than ours.
    #[error(
        "version {0} of the sessions is not known, this build reads version {SESSIONS_VERSION}"
    )]
    Version(u8),
    /// A session is not well formed.
    #[error("a session of the snapshot is damaged")]
    Session,
    /// What was read is not what was written.
    #[error("the digest of the sessions does not match them")]
    Digest,
    /// The snapshot's header does not tell what its body is.
    #[error("the snapshot's header can't be understood")]
    Meta,
    /// Another body than ours.
    #[error("snapshot body {0} is not known, this build reads body {BODY_VERSION}")]
    Body(u32),
}

impl From<SessionsError> for io::Error {
    fn from(error: SessionsError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The table at one position. Later writes do not change it; it can go to another thread.
#[derive(Debug)]
pub struct SessionsCut {
    parts: Vec<Arc<Part>>,
    len: usize,
    digest: u128,
}

impl Sessions {
    /// The stable table as it is now. Cheap: sessions are shared, and a later write copies those
    /// that it changes while the cut lives.
    #[must_use]
    pub fn cut(&self) -> SessionsCut {
        let table = if self.planted.is(Mutation::SessionsNotInSnapshot) {
            &Table::default()
        } else {
            &self.table
        };
        SessionsCut { parts: table.parts(), len: table.len(), digest: table.digest() }
    }

    /// Takes on the table of a snapshot and forgets the one before; reads no further than the
    /// table goes. On an error nothing has changed.
    ///
    /// # Errors
    /// Those of `from`, and a [`SessionsError`] inside an error of the kind `InvalidData`.
    pub fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        self.table = read(from)?;
        self.overlay = super::Overlay::default();
        Ok(())
    }

    /// Forgets all sessions: a snapshot from before there were any was restored.
    pub fn clear(&mut self) {
        self.table = Table::default();
        self.overlay = super::Overlay::default();
    }
}

impl SessionsCut {
    /// Writes the table.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&MAGIC)?;
        out.write_all(&[SESSIONS_VERSION, 0, 0, 0])?;
        out.write_all(&(self.len as u64).to_le_bytes())?;
        let mut encoded = Vec::new();
        for (id, session) in self.parts.iter().flat_map(|part| part.iter()) {
            encoded.clear();
            encode(&mut encoded, *id, session);
            let length = u32::try_from(encoded.len()).expect("a session's limit fits 32 bits");
            out.write_all(&length.to_le_bytes())?;
            out.write_all(&encoded)?;
        }
        out.write_all(&self.digest.to_le_bytes())
    }
}

fn encode(out: &mut Vec<u8>, id: SessionId, session: &Session) {
    out.put_u128_le(id.get());
    out.put_u64_le(session.ttl_ms);
    out.put_u64_le(session.top());
    for word in session.window.bits() {
        out.put_u64_le(word);
    }
    put_entry(out, session.last);
    out.put_u64_le(session.used.get());
    out.put_u32_le(u32::try_from(session.records.len()).expect("a window's records fit 32 bits"));
    for (seq, record) in &session.records {
        out.put_u64_le(*seq);
        put_entry(out, record.at);
        match &record.reply {
            Some(reply) => {
                out.put_u32_le(u32::try_from(reply.len()).expect("a reply's limit fits 32 bits"));
                out.put_slice(reply);
            }
            None => out.put_u32_le(NO_REPLY),
        }
    }
}

fn put_entry(out: &mut Vec<u8>, entry: EntryId) {
    out.put_u64_le(entry.epoch.get());
    out.put_u64_le(entry.lsn.get());
}

fn read(from: &mut dyn Read) -> io::Result<Table> {
    let mut head = [0; 8];
    from.read_exact(&mut head)?;
    match head {
        [m0, m1, m2, m3, SESSIONS_VERSION, 0, 0, 0] if [m0, m1, m2, m3] == MAGIC => {}
        [m0, m1, m2, m3, version, ..] if [m0, m1, m2, m3] == MAGIC => {
            return Err(SessionsError::Version(version).into());
        }
        _ => return Err(SessionsError::Magic.into()),
    }
    let mut count = [0; 8];
    from.read_exact(&mut count)?;
    let mut table = Table::default();
    let mut encoded = Vec::new();
    for _ in 0..u64::from_le_bytes(count) {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_le_bytes(length)).ok();
        let length = length.filter(|length| *length <= SESSION_BYTES_MAX);
        encoded.resize(length.ok_or(SessionsError::Session)?, 0);
        from.read_exact(&mut encoded)?;
        let (id, session) = decode(&encoded).ok_or(SessionsError::Session)?;
        if !table.insert(id, session) {
            return Err(SessionsError::Session.into());
        }
    }
    let mut digest = [0; 16];
    from.read_exact(&mut digest)?;
    if u128::from_le_bytes(digest) != table.digest() || !table.is_consistent() {
        return Err(SessionsError::Digest.into());
    }
    Ok(table)
}

fn decode(mut from: &[u8]) -> Option<(SessionId, Session)> {
    let id = SessionId::new(from.try_get_u128_le().ok()?);
    opener(id)?;
    let (ttl_ms, top) = (number(&mut from)?, number(&mut from)?);
    let bits = [number(&mut from)?, number(&mut from)?, number(&mut from)?, number(&mut from)?];
    let last = entry(&mut from)?;
    let used = Hlc::new(number(&mut from)?);
    let mut session = Session::new(ttl_ms, (last, used));
    session.window = Window::from_parts(top, bits)?;
    let count = from.try_get_u32_le().ok()?;
    let mut before = floor(top).checked_sub(1)?;
    for _ in 0..count {
        let seq = number(&mut from)?;
        if seq <= before || !session.has(seq) {
            return None;
        }
        let at = entry(&mut from)?;
        session.record(seq, Record { at, reply: reply(&mut from)? });
        before = seq;
    }
    (from.is_empty() && session.bytes() <= SESSION_REPLIES_BYTES_MAX).then_some((id, session))
}

fn number(from: &mut &[u8]) -> Option<u64> {
    from.try_get_u64_le().ok()
}

fn entry(from: &mut &[u8]) -> Option<EntryId> {
    let (epoch, lsn) = (number(from)?, number(from)?);
    let sound = epoch <= NUMBER_MAX && (1..=NUMBER_MAX).contains(&lsn);
    sound.then(|| EntryId::new(Epoch::new(epoch), Lsn::new(lsn)))
}

fn reply(from: &mut &[u8]) -> Option<Option<Bytes>> {
    let length = from.try_get_u32_le().ok()?;
    if length == NO_REPLY {
        return Some(None);
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= REPLY_BYTES_MAX)?;
    let (reply, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(Some(Bytes::copy_from_slice(reply)))
}

/// What stands in a snapshot's header behind the configuration: numbers that no configuration
/// has, so that each is read without the other.
#[derive(Clone, PartialEq, prost::Message)]
struct WireBody {
    #[prost(uint32, tag = "15")]
    version: u32,
}

/// The body begins with the table of sessions.
const BODY_VERSION: u32 = 1;

/// The caller's bytes of a snapshot whose body begins with the table of sessions.
#[must_use]
pub fn snapshot_meta(config: &Config) -> Vec<u8> {
    let mut meta = config.encode();
    meta.extend_from_slice(&WireBody { version: BODY_VERSION }.encode_to_vec());
    meta
}

/// Whether a snapshot's body begins with the table of sessions. Older ones begin with the state.
///
/// # Errors
/// When the bytes are no caller's bytes of a snapshot, or of a body that this build can't read.
pub fn snapshot_has_sessions(meta: &[u8]) -> Result<bool, SessionsError> {
    match WireBody::decode(meta).map_err(|_malformed| SessionsError::Meta)?.version {
        0 => Ok(false),
        BODY_VERSION => Ok(true),
        newer => Err(SessionsError::Body(newer)),
    }
}
