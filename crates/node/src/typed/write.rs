//! Writes of the library's handles: placed in the log, waited for, and answered; or handed on to
//! the primary.

use std::time::Duration;

use antiphon_proto::{
    EntryId, Executed, LoggedReply, Lsn, NodeId, ProposeError, SessionId, SessionRefusal, Token,
};
use bytes::{BufMut, Bytes};
use tokio::time::{Instant, timeout_at};

use crate::calls::CallError;
use crate::level::Level;
use crate::local::{Local, OnceError, OpenError, Placed};
use crate::typed::codec::Codec;
use crate::typed::machine::{StateMachine, Typed};
use crate::typed::outcome::{Propose, ProposeFailure, Reason, Receipt};
use crate::typed::wire;

pub(crate) type Proposed<S> = Result<Receipt<<S as StateMachine>::Reply>, ProposeFailure>;

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A command; under the ticket of [`Propose`], if it has one.
    Command(Bytes),
    /// Opens a session; its name follows from the entry.
    Open { ttl_ms: u64 },
    /// Closes a session.
    Close { session: SessionId },
}

/// Why nothing was appended here.
enum Refused {
    Log(ProposeError),
    Session(Reason),
}

pub(super) async fn write<S: StateMachine>(
    local: &Local<Typed<S>>,
    what: What,
    how: Propose,
) -> Proposed<S> {
    let until = Instant::now() + how.timeout;
    match place(local, &what, how) {
        Ok(Placed::New(entry)) => written(local, entry, (how, until)).await,
        Ok(Placed::Before(executed)) => again(local, executed, (how, until)).await,
        Err(Refused::Log(ProposeError::NotPrimary { primary: Some(primary) })) => {
            forward::<S>(local, primary, (&what, how)).await
        }
        Err(Refused::Log(error)) => Err(ProposeFailure::Rejected(reason(&error))),
        Err(Refused::Session(reason)) => Err(ProposeFailure::Rejected(reason)),
    }
}

/// Gives the write its place in the log, or finds the one that it has.
fn place<S: StateMachine>(
    local: &Local<Typed<S>>,
    what: &What,
    how: Propose,
) -> Result<Placed, Refused> {
    let serving = local.view().serving;
    // A retry of what is stable is answered even when nothing new could be.
    if let Some(ticket) = how.ticket.filter(|_| serving)
        && let Some(executed) = local.admit(ticket)?
    {
        return Ok(Placed::Before(executed));
    }
    if serving && !local.can_reach(how.commit.level()) {
        return Err(Refused::Session(Reason::TooFewReplicas));
    }
    match (what, how.ticket) {
        (What::Command(payload), None) => {
            Ok(Placed::New(local.propose(payload.len(), |out| out.put_slice(payload))?))
        }
        (What::Command(payload), Some(ticket)) => {
            let (reply, bytes) = (LoggedReply::ByMachine, payload.len());
            Ok(local.propose_once(ticket, reply, bytes, |out| out.put_slice(payload))?)
        }
        (What::Open { ttl_ms }, _) => Ok(Placed::New(local.open_session(*ttl_ms)?)),
        (What::Close { session }, _) => Ok(Placed::New(local.close_session(*session)?)),
    }
}

/// Waits for an entry that was appended now, and for its reply.
async fn written<S: StateMachine>(
    local: &Local<Typed<S>>,
    entry: EntryId,
    (how, until): (Propose, Instant),
) -> Proposed<S> {
    // Given up with the wait, however that ends.
    let expected = Expected::new(local, entry.lsn);
    let reached = timeout_at(until, local.reached(entry, how.commit.level())).await;
    let token = Token { shard: local.view().shard, entry };
    if !matches!(reached, Ok(Ok(()))) {
        return Err(ProposeFailure::Unknown { token: Some(token) });
    }
    applied(local, entry, until).await;
    Ok(Receipt { reply: expected.take(), token, reached: how.commit })
}

/// An entry that is stable is applied as soon as this node's own disk has it; replies are made
/// then.
async fn applied<S: StateMachine>(local: &Local<Typed<S>>, entry: EntryId, until: Instant) {
    if local.view().stable >= entry.lsn {
        let applied = std::future::poll_fn(|cx| local.poll_applied(cx, entry.lsn));
        // Without it the write happened all the same, and has no reply.
        drop(timeout_at(until, applied).await);
    }
}

/// Waits for an entry that was appended before, by the write that this one repeats.
async fn again<S: StateMachine>(
    local: &Local<Typed<S>>,
    executed: Executed,
    (how, until): (Propose, Instant),
) -> Proposed<S> {
    let token = Token { shard: local.view().shard, entry: executed.at };
    let unknown = || ProposeFailure::Unknown { token: Some(token) };
    let level = how.commit.level();
    let done = if executed.stable && level == Level::Floor {
        executed
    } else {
        let reached = timeout_at(until, local.reached(executed.at, level)).await;
        if !matches!(reached, Ok(Ok(()))) {
            return Err(unknown());
        }
        applied(local, executed.at, until).await;
        let ticket = how.ticket.ok_or_else(unknown)?;
        local.admit(ticket).map_err(|_closed_since| unknown())?.ok_or_else(unknown)?
    };
    let reply = done.reply.map(|bytes| S::Reply::decode(&bytes)).transpose();
    let reply = reply.map_err(|_malformed| unknown())?;
    let token = Token { entry: done.at, ..token };
    Ok(Receipt { reply, token, reached: how.commit })
}

/// A writer's claim on the reply of its entry, given back however the wait ends.
struct Expected<'a, S: StateMachine> {
    local: &'a Local<Typed<S>>,
    lsn: Lsn,
}

impl<'a, S: StateMachine> Expected<'a, S> {
    fn new(local: &'a Local<Typed<S>>, lsn: Lsn) -> Self {
        local.with(|machine| machine.expect(lsn));
        Self { local, lsn }
    }

    fn take(&self) -> Option<S::Reply> {
        self.local.with(|machine| machine.take(self.lsn))
    }
}

impl<S: StateMachine> Drop for Expected<'_, S> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl From<ProposeError> for Refused {
    fn from(error: ProposeError) -> Self {
        Self::Log(error)
    }
}

impl From<SessionRefusal> for Refused {
    fn from(refusal: SessionRefusal) -> Self {
        Self::Session(match refusal {
            SessionRefusal::Unknown => Reason::NoSession,
            SessionRefusal::TooOld { floor } => Reason::TooOld { floor },
        })
    }
}

impl From<OnceError> for Refused {
    fn from(error: OnceError) -> Self {
        match error {
            OnceError::Propose(error) => error.into(),
            OnceError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Propose(error) => error.into(),
            OpenError::Full => Self::Session(Reason::TooManySessions),
            OpenError::Ttl => Self::Session(Reason::Ttl),
        }
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
    (what, how): (&What, Propose),
) -> Proposed<S> {
    let deadline = how.timeout + Duration::from_millis(100);
    match local.call(primary, wire::request(what, how), deadline).await {
        Ok(answer) => wire::unpack::<S>(answer, how.commit),
        Err(CallError::NotSent | CallError::Refused) => {
            let primary = Some(primary);
            Err(ProposeFailure::Rejected(Reason::NotPrimary { primary }))
        }
        Err(CallError::NoAnswer) => Err(ProposeFailure::Unknown { token: None }),
    }
}

/// At the primary: a write that came through another node.
pub(super) async fn forwarded<S: StateMachine>(
    local: &Local<Typed<S>>,
    request: Bytes,
) -> Option<Bytes> {
    let (what, how) = wire::requested(request)?;
    if !local.view().serving {
        return None;
    }
    Some(wire::pack::<S>(write::<S>(local, what, how).await))
}
