//! What a replica asks of the primary for its clients, and what comes back, as bytes.

use std::time::Duration;

use antiphon::Level;
use antiphon_kv::Db;
use antiphon_proto::{EntryId, Epoch, Lsn, SessionId, ShardId, Token};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::resp::Proto;

const VERSION: u8 = 1;

/// What a replica wants of the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Run the commands one by one.
    Commands,
    /// Run the commands as one transaction. With `watching`, the session watches keys there; with
    /// a number, it is a write of the client's own session and executes once.
    Transaction { watching: bool, seq: Option<u64> },
    /// Forget the session's watched keys.
    Forget,
}

/// How the commands of one request are to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) db: Db,
    pub(crate) proto: Proto,
    pub(crate) level: Level,
    pub(crate) timeout: Duration,
    pub(crate) bound: Option<SessionId>, // where numbered writes belong
}

/// A request for a client of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) want: Want,
    pub(crate) session: u64,
    pub(crate) terms: Terms,
    pub(crate) token: Option<Token>, // its last write, which `WAIT` is about
    pub(crate) commands: Bytes,      // arrays of words, as on a client's wire
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) db: Db,
    pub(crate) token: Option<Token>, // the last write now
    pub(crate) replies: Bytes,
}

/// Bytes of another node that are neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message about a client's commands")]
pub(crate) struct WireError;

impl Request {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.commands.len());
        out.put_u8(VERSION);
        out.put_u8(match self.want {
            Want::Commands => 0,
            Want::Transaction { watching: false, .. } => 1,
            Want::Transaction { watching: true, .. } => 2,
            Want::Forget => 3,
        });
        out.put_u8(self.terms.proto.number());
        out.put_u8(self.terms.db.get());
        out.put_slice(&self.terms.level.to_bytes());
        out.put_u32_le(u32::try_from(self.terms.timeout.as_millis()).unwrap_or(u32::MAX));
        out.put_u64_le(self.session);
        out.put_u128_le(self.terms.bound.map_or(0, SessionId::get));
        if let Want::Transaction { seq, .. } = self.want {
            out.put_u64_le(seq.unwrap_or(0));
        }
        put_token(&mut out, self.token);
        out.put_slice(&self.commands);
        out.freeze()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, WireError> {
        if byte(&mut bytes)? != VERSION {
            return Err(WireError);
        }
        let mut want = match byte(&mut bytes)? {
            0 => Want::Commands,
            1 => Want::Transaction { watching: false, seq: None },
            2 => Want::Transaction { watching: true, seq: None },
            3 => Want::Forget,
            _ => return Err(WireError),
        };
        let proto = Proto::from_number(i64::from(byte(&mut bytes)?)).ok_or(WireError)?;
        let db = Db::new(u64::from(byte(&mut bytes)?)).ok_or(WireError)?;
        let level = [byte(&mut bytes)?, byte(&mut bytes)?];
        let level = Level::from_bytes(level).ok_or(WireError)?;
        let timeout = bytes.try_get_u32_le().map_err(|_short| WireError)?;
        let timeout = Duration::from_millis(u64::from(timeout));
        let session = bytes.try_get_u64_le().map_err(|_short| WireError)?;
        let bound = bytes.try_get_u128_le().map_err(|_short| WireError)?;
        let bound = (bound > 0).then_some(SessionId::new(bound));
        if let Want::Transaction { seq, .. } = &mut want {
            let number = bytes.try_get_u64_le().map_err(|_short| WireError)?;
            *seq = (number > 0).then_some(number);
        }
        let token = get_token(&mut bytes)?;
        let terms = Terms { db, proto, level, timeout, bound };
        Ok(Self { want, session, terms, token, commands: bytes })
    }
}

impl Response {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(32 + self.replies.len());
        out.put_u8(VERSION);
        out.put_u8(self.db.get());
        put_token(&mut out, self.token);
        out.put_slice(&self.replies);
        out.freeze()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, WireError> {
        if byte(&mut bytes)? != VERSION {
            return Err(WireError);
        }
        let db = Db::new(u64::from(byte(&mut bytes)?)).ok_or(WireError)?;
        let token = get_token(&mut bytes)?;
        Ok(Self { db, token, replies: bytes })
    }
}

fn byte(bytes: &mut Bytes) -> Result<u8, WireError> {
    bytes.try_get_u8().map_err(|_short| WireError)
}

fn put_token(out: &mut BytesMut, token: Option<Token>) {
    let Some(token) = token else { return out.put_u8(0) };
    out.put_u8(1);
    out.put_u32_le(token.shard.get());
    out.put_u64_le(token.entry.epoch.get());
    out.put_u64_le(token.entry.lsn.get());
}

fn get_token(bytes: &mut Bytes) -> Result<Option<Token>, WireError> {
    match byte(bytes)? {
        0 => Ok(None),
        1 => {
            let shard = bytes.try_get_u32_le().map_err(|_short| WireError)?;
            let epoch = bytes.try_get_u64_le().map_err(|_short| WireError)?;
            let lsn = bytes.try_get_u64_le().map_err(|_short| WireError)?;
            let entry = EntryId::new(Epoch::new(epoch), Lsn::new(lsn));
            Ok(Some(Token { shard: ShardId::new(shard), entry }))
        }
        _ => Err(WireError),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> impl Strategy<Value = Option<Token>> {
        prop::option::of((any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(s, e, l)| Token {
            shard: ShardId::new(s),
            entry: EntryId::new(Epoch::new(e), Lsn::new(l)),
        }))
    }

    proptest! {
        #[test]
        fn what_is_asked_is_what_arrives(
            want in prop::sample::select(vec![
                Want::Commands,
                Want::Transaction { watching: false, seq: None },
                Want::Transaction { watching: true, seq: Some(7) },
                Want::Forget,
            ]),
            (db, ms, session, bound) in (0_u64..16, any::<u32>(), any::<u64>(), any::<u128>()),
            token in token(),
            body in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let db = Db::new(db).expect("a database below 16");
            let terms = Terms {
                db,
                proto: Proto::Three,
                level: Level::Floor,
                timeout: Duration::from_millis(u64::from(ms)),
                bound: (bound > 0).then_some(SessionId::new(bound)),
            };
            let body = Bytes::from(body);
            let request = Request { want, session, terms, token, commands: body.clone() };
            prop_assert_eq!(Request::decode(request.encode()), Ok(request));
            let response = Response { db, token, replies: body };
            prop_assert_eq!(Response::decode(response.encode()), Ok(response));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            if let Ok(request) = Request::decode(bytes.clone()) {
                prop_assert_eq!(&request.encode(), &bytes);
            }
            if let Ok(response) = Response::decode(bytes.clone()) {
                prop_assert_eq!(&response.encode(), &bytes);
            }
        }
    }
}
