//! Requests of the library's handles, served on the shard's thread.

use std::time::Duration;

use antiphon_proto::{EntryId, Epoch, Fate, Lsn, NodeId, ProposeError, ShardId, Token};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use crate::calls::CallError;
use crate::local::{Local, READ_INDEX};
use crate::status::NodeStatus;
use crate::typed::codec::Codec;
use crate::typed::machine::{StateMachine, Typed};
use crate::typed::outcome::{
    Commit, Consistency, Observed, Propose, ProposeFailure, ReadError, Reason, Receipt,
};

/// Requests taken from the handles' queue at a time.
const REQUESTS_AT_ONCE: usize = 256;
/// A read waits this long for its node to be new enough.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

type Proposed<S> = Result<Receipt<<S as StateMachine>::Reply>, ProposeFailure>;
type Answered<S> = Result<Observed<<S as StateMachine>::Answer>, ReadError>;

pub(crate) enum Request<S: StateMachine> {
    Propose { payload: Bytes, how: Propose, answer: oneshot::Sender<Proposed<S>> },
    Read { at: Consistency, query: S::Query, answer: oneshot::Sender<Answered<S>> },
    Fate { token: Token, answer: oneshot::Sender<Fate> },
    Status { answer: oneshot::Sender<Box<NodeStatus>> },
    Snapshot { answer: oneshot::Sender<bool> },
}

/// Serves until the node stops.
pub(crate) async fn serve<S: StateMachine>(
    local: Local<Typed<S>>,
    mut requests: mpsc::Receiver<Request<S>>,
) {
    let callee = local.clone();
    local.on_call(move |_from, request| {
        let local = callee.clone();
        Box::pin(async move { forwarded(&local, request).await })
    });
    let mut stopping = local.stopping();
    let mut batch = Vec::with_capacity(REQUESTS_AT_ONCE);
    loop {
        tokio::select! {
            biased;
            taken = requests.recv_many(&mut batch, REQUESTS_AT_ONCE) => if taken == 0 { return },
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        for request in batch.drain(..) {
            begin(&local, request);
        }
    }
}

/// Begins a request. A caller that went away has no use for the answer.
fn begin<S: StateMachine>(local: &Local<Typed<S>>, request: Request<S>) {
    let local = local.clone();
    match request {
        Request::Propose { payload, how, answer } => {
            tokio::task::spawn_local(async move {
                drop(answer.send(propose(&local, payload, how).await));
            });
        }
        Request::Read { at, query, answer } => {
            tokio::task::spawn_local(async move {
                drop(answer.send(read(&local, at, query).await));
            });
        }
        Request::Fate { token, answer } => drop(answer.send(local.fate(token))),
        Request::Status { answer } => drop(answer.send(Box::new(local.status()))),
        Request::Snapshot { answer } => drop(answer.send(local.snapshot())),
    }
}

async fn propose<S: StateMachine>(
    local: &Local<Typed<S>>,
    payload: Bytes,
    how: Propose,
) -> Proposed<S> {
    if !local.can_reach(how.commit.level()) && local.view().serving {
        return Err(ProposeFailure::Rejected(Reason::TooFewReplicas));
    }
    let entry = match local.propose(payload.len(), |out| out.put_slice(&payload)) {
        Ok(entry) => entry,
        Err(ProposeError::NotPrimary { primary: Some(primary) }) => {
            return forward::<S>(local, primary, payload, how).await;
        }
        Err(error) => return Err(ProposeFailure::Rejected(reason(&error))),
    };
    local.with(|machine| machine.expect(entry.lsn));
    let reached = tokio::time::timeout(how.timeout, local.reached(entry, how.commit.level())).await;
    let reply = local.with(|machine| machine.take(entry.lsn));
    let token = Token { shard: local.view().shard, entry };
    match reached {
        Ok(Ok(())) => Ok(Receipt { reply, token, reached: how.commit }),
        Ok(Err(_)) | Err(_) => Err(ProposeFailure::Unknown { token: Some(token) }),
    }
}

fn reason(error: &ProposeError) -> Reason {
    match error {
        ProposeError::NotPrimary { primary } => Reason::NotPrimary { primary: *primary },
        ProposeError::NotReady => Reason::NotPrimary { primary: None },
        ProposeError::Busy => Reason::Busy,
        ProposeError::TooLarge(_) => Reason::TooLarge,
    }
}

/// A write at a node that does not append: the primary does it, and answers for it.
async fn forward<S: StateMachine>(
    local: &Local<Typed<S>>,
    primary: NodeId,
    payload: Bytes,
    how: Propose,
) -> Proposed<S> {
    let mut request = BytesMut::with_capacity(payload.len() + 10);
    request.put_slice(&how.commit.to_bytes());
    request.put_u64_le(u64::try_from(how.timeout.as_millis()).unwrap_or(u64::MAX));
    request.put_slice(&payload);
    let deadline = how.timeout + Duration::from_millis(100);
    match local.call(primary, request.freeze(), deadline).await {
        Ok(answer) => unpack::<S>(answer, how.commit),
        Err(CallError::NotSent | CallError::Refused) => {
            let primary = Some(primary);
            Err(ProposeFailure::Rejected(Reason::NotPrimary { primary }))
        }
        Err(CallError::NoAnswer) => Err(ProposeFailure::Unknown { token: None }),
    }
}

/// At the primary: a write that came through another node.
async fn forwarded<S: StateMachine>(local: &Local<Typed<S>>, mut request: Bytes) -> Option<Bytes> {
    if request.len() < 10 {
        return None;
    }
    let commit = Commit::from_bytes([request.get_u8(), request.get_u8()])?;
    let timeout = Duration::from_millis(request.get_u64_le());
    if !local.view().serving {
        return None;
    }
    let outcome = propose::<S>(local, request, Propose { commit, timeout }).await;
    Some(pack::<S>(outcome))
}

const DONE: u8 = 0;
const UNKNOWN: u8 = 1;
const BUSY: u8 = 2;
const TOO_FEW: u8 = 3;
const TOO_LARGE: u8 = 4;
const NOT_PRIMARY: u8 = 5;

fn pack<S: StateMachine>(outcome: Proposed<S>) -> Bytes {
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
        Err(ProposeFailure::Rejected(reason)) => out.put_u8(match reason {
            Reason::Busy => BUSY,
            Reason::TooFewReplicas => TOO_FEW,
            Reason::TooLarge => TOO_LARGE,
            Reason::NotPrimary { .. } | Reason::Stopped => NOT_PRIMARY,
        }),
    }
    out.freeze()
}

fn unpack<S: StateMachine>(mut answer: Bytes, commit: Commit) -> Proposed<S> {
    let unknown = || ProposeFailure::Unknown { token: None };
    if answer.is_empty() {
        return Err(unknown());
    }
    let rejected = |reason| Err(ProposeFailure::Rejected(reason));
    match answer.get_u8() {
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

async fn read<S: StateMachine>(
    local: &Local<Typed<S>>,
    at: Consistency,
    query: S::Query,
) -> Answered<S> {
    let position = match at {
        Consistency::Local => None,
        Consistency::AtLeast(token) if local.fate(token) == Fate::Lost => {
            return Err(ReadError::Lost);
        }
        Consistency::AtLeast(token) => Some(token.entry.lsn),
        Consistency::Linearizable => Some(read_index(local).await?),
    };
    if let Some(lsn) = position {
        let applied = std::future::poll_fn(|cx| local.poll_applied(cx, lsn));
        tokio::time::timeout(READ_TIMEOUT, applied).await.map_err(|_elapsed| ReadError::Timeout)?;
    }
    if let Consistency::AtLeast(token) = at
        && local.fate(token) == Fate::Lost
    {
        return Err(ReadError::Lost);
    }
    let applied = local.view().applied;
    Ok(Observed { answer: local.with(|machine| machine.state.query(query)), applied })
}

/// A position that covers every write acknowledged before now: the primary's end, once stable.
async fn read_index<S: StateMachine>(local: &Local<Typed<S>>) -> Result<Lsn, ReadError> {
    let view = local.view();
    if view.serving {
        let entry = EntryId::new(view.epoch, view.last);
        let reached = local.reached(entry, crate::level::Level::Floor);
        let waited = tokio::time::timeout(READ_TIMEOUT, reached).await;
        waited.map_err(|_elapsed| ReadError::Timeout)?.map_err(|_lost| ReadError::NoPrimary)?;
        return Ok(view.last);
    }
    if view.primary == view.me {
        return Err(ReadError::NoPrimary);
    }
    let answer = local.call_kind(view.primary, READ_INDEX, Bytes::new(), READ_TIMEOUT).await;
    let mut answer = answer.map_err(|_no_answer| ReadError::NoPrimary)?;
    answer.try_get_u64_le().map(Lsn::new).map_err(|_short| ReadError::NoPrimary)
}
