//! What nodes of the library say to each other about a write, as bytes.

use std::time::Duration;

use antiphon_proto::{EntryId, Epoch, Lsn, SessionId, ShardId, Ticket, Token};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::typed::codec::Codec;
use crate::typed::machine::StateMachine;
use crate::typed::outcome::{Commit, Propose, ProposeFailure, Reason, Receipt};
use crate::typed::write::{Proposed, What};

const COMMAND: u8 = 0;
const COMMAND_ONCE: u8 = 1;
const OPEN: u8 = 2;
const CLOSE: u8 = 3;

const DONE: u8 = 0;
const UNKNOWN: u8 = 1;
const BUSY: u8 = 2;
const TOO_FEW: u8 = 3;
const TOO_LARGE: u8 = 4;
const NOT_PRIMARY: u8 = 5;
const NO_SESSION: u8 = 6;
const TOO_OLD: u8 = 7;
const TOO_MANY_SESSIONS: u8 = 8;
const BAD_TTL: u8 = 9;

/// What a replica asks of the primary.
pub(super) fn request(what: &What, how: Propose) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(match (what, how.ticket) {
        (What::Command(_), None) => COMMAND,
        (What::Command(_), Some(_)) => COMMAND_ONCE,
        (What::Open { .. }, _) => OPEN,
        (What::Close { .. }, _) => CLOSE,
    });
    out.put_slice(&how.commit.to_bytes());
    out.put_u64_le(u64::try_from(how.timeout.as_millis()).unwrap_or(u64::MAX));
    match (what, how.ticket) {
        (What::Command(payload), ticket) => {
            if let Some(ticket) = ticket {
                out.put_u128_le(ticket.session.get());
                out.put_u64_le(ticket.seq);
            }
            out.put_slice(payload);
        }
        (What::Open { ttl_ms }, _) => out.put_u64_le(*ttl_ms),
        (What::Close { session }, _) => out.put_u128_le(session.get()),
    }
    out.freeze()
}

/// A request, if the bytes are one.
pub(super) fn requested(mut bytes: Bytes) -> Option<(What, Propose)> {
    let kind = bytes.try_get_u8().ok()?;
    let commit = Commit::from_bytes([bytes.try_get_u8().ok()?, bytes.try_get_u8().ok()?])?;
    let timeout = Duration::from_millis(bytes.try_get_u64_le().ok()?);
    let mut how = Propose { commit, timeout, ticket: None };
    let what = match kind {
        COMMAND => What::Command(bytes),
        COMMAND_ONCE => {
            let session = SessionId::new(bytes.try_get_u128_le().ok()?);
            how.ticket = Some(Ticket { session, seq: bytes.try_get_u64_le().ok()? });
            What::Command(bytes)
        }
        OPEN => {
            let ttl_ms = bytes.try_get_u64_le().ok().filter(|_| bytes.is_empty())?;
            What::Open { ttl_ms }
        }
        CLOSE => {
            let session = bytes.try_get_u128_le().ok().filter(|_| bytes.is_empty())?;
            What::Close { session: SessionId::new(session) }
        }
        _ => return None,
    };
    Some((what, how))
}

/// The primary's answer.
pub(super) fn pack<S: StateMachine>(outcome: Proposed<S>) -> Bytes {
    let mut out = BytesMut::new();
    match outcome {
        Ok(Receipt { reply, token, .. }) => {
            out.put_u8(DONE);
            put_token(&mut out, token);
            out.put_u8(u8::from(reply.is_some()));
            if let Some(reply) = reply {
                reply.encode(&mut out);
            }
        }
        Err(ProposeFailure::Unknown { token }) => {
            out.put_u8(UNKNOWN);
            if let Some(token) = token {
                put_token(&mut out, token);
            }
        }
        Err(ProposeFailure::Rejected(reason)) => match reason {
            Reason::Busy => out.put_u8(BUSY),
            Reason::TooFewReplicas => out.put_u8(TOO_FEW),
            Reason::TooLarge => out.put_u8(TOO_LARGE),
            Reason::NotPrimary { .. } | Reason::Stopped => out.put_u8(NOT_PRIMARY),
            Reason::NoSession => out.put_u8(NO_SESSION),
            Reason::TooOld { floor } => {
                out.put_u8(TOO_OLD);
                out.put_u64_le(floor);
            }
            Reason::TooManySessions => out.put_u8(TOO_MANY_SESSIONS),
            Reason::Ttl => out.put_u8(BAD_TTL),
        },
    }
    out.freeze()
}

/// What an answer says.
pub(super) fn unpack<S: StateMachine>(mut answer: Bytes, commit: Commit) -> Proposed<S> {
    let unknown = || ProposeFailure::Unknown { token: None };
    let rejected = |reason| Err(ProposeFailure::Rejected(reason));
    match answer.try_get_u8().map_err(|_empty| unknown())? {
        DONE => {
            let token = get_token(&mut answer).ok_or_else(unknown)?;
            let has_reply = answer.try_get_u8().is_ok_and(|byte| byte == 1);
            let decoded = has_reply.then(|| S::Reply::decode(&answer)).transpose();
            let reply =
                decoded.map_err(|_malformed| ProposeFailure::Unknown { token: Some(token) })?;
            Ok(Receipt { reply, token, reached: commit })
        }
        BUSY => rejected(Reason::Busy),
        TOO_FEW => rejected(Reason::TooFewReplicas),
        TOO_LARGE => rejected(Reason::TooLarge),
        NOT_PRIMARY => rejected(Reason::NotPrimary { primary: None }),
        NO_SESSION => rejected(Reason::NoSession),
        TOO_OLD => {
            let floor = answer.try_get_u64_le().map_err(|_short| unknown())?;
            rejected(Reason::TooOld { floor })
        }
        TOO_MANY_SESSIONS => rejected(Reason::TooManySessions),
        BAD_TTL => rejected(Reason::Ttl),
        _ => Err(ProposeFailure::Unknown { token: get_token(&mut answer) }),
    }
}

fn put_token(out: &mut BytesMut, token: Token) {
    out.put_u32_le(token.shard.get());
    out.put_u64_le(token.entry.epoch.get());
    out.put_u64_le(token.entry.lsn.get());
}

fn get_token(bytes: &mut Bytes) -> Option<Token> {
    let shard = ShardId::new(bytes.try_get_u32_le().ok()?);
    let epoch = Epoch::new(bytes.try_get_u64_le().ok()?);
    let lsn = Lsn::new(bytes.try_get_u64_le().ok()?);
    Some(Token { shard, entry: EntryId::new(epoch, lsn) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_what_arrives() {
        let session = SessionId::new(7);
        let command = || What::Command(Bytes::from_static(b"add"));
        let ticket = Some(Ticket { session, seq: 3 });
        let asked = [
            (command(), None),
            (command(), ticket),
            (What::Command(Bytes::new()), ticket),
            (What::Open { ttl_ms: 9 }, None),
            (What::Close { session }, None),
        ];
        for (what, ticket) in asked {
            let how = Propose { commit: Commit::Replicas(2), ticket, ..Propose::default() };
            let bytes = request(&what, how);
            assert_eq!(requested(bytes.clone()), Some((what.clone(), how)));
            let fixed = if let What::Command(payload) = &what {
                bytes.len() - payload.len()
            } else {
                assert_eq!(requested([&bytes[..], b"x"].concat().into()), None, "bytes follow");
                bytes.len()
            };
            for short in 0..fixed {
                assert_eq!(requested(bytes.slice(..short)), None, "{what:?} cut to {short}");
            }
        }
    }
}
