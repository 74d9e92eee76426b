//! Requests of the library's handles, served on the shard's thread.

use std::time::Duration;

use antiphon_proto::{EntryId, Fate, Lsn, Token};
use bytes::{Buf, Bytes};
use tokio::sync::{mpsc, oneshot};

use crate::local::{Local, READ_INDEX};
use crate::status::NodeStatus;
use crate::typed::machine::{StateMachine, Typed};
use crate::typed::outcome::{Consistency, Observed, Propose, ReadError};
use crate::typed::write::{self, Proposed, What};

/// Requests taken from the handles' queue at a time.
const REQUESTS_AT_ONCE: usize = 256;
/// A read waits this long for its node to be new enough.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

type Answered<S> = Result<Observed<<S as StateMachine>::Answer>, ReadError>;

pub(crate) enum Request<S: StateMachine> {
    Write { what: What, how: Propose, answer: oneshot::Sender<Proposed<S>> },
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
        Box::pin(async move { write::forwarded(&local, request).await })
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
        Request::Write { what, how, answer } => {
            tokio::task::spawn_local(async move {
                drop(answer.send(write::write(&local, what, how).await));
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
