//! The handle of an embedded node.

use std::sync::Arc;
use std::time::Duration;

use antiphon_proto::{Fate, Lsn, SessionId, Token};
use bytes::BytesMut;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::changes::{ChangesError, From, Subscription};
use crate::error::Fatal;
use crate::launch::Running;
use crate::status::{NodeStatus, Progress};
use crate::typed::codec::Codec;
use crate::typed::front::Request;
use crate::typed::machine::{Stamp, StateMachine};
use crate::typed::outcome::{
    Consistency, Observed, Propose, ProposeFailure, ReadError, Reason, Receipt,
};
use crate::typed::session::Session;
use crate::typed::write::What;

/// One node of a replicated state machine. A clone is another handle to the same node.
pub struct Node<S: StateMachine> {
    requests: mpsc::Sender<Request<S>>,
    progress: watch::Receiver<Progress>,
    log: crate::changes::LogSource,
    peer_address: String,
    running: Arc<Mutex<Option<Running>>>,
    stop: watch::Sender<bool>,
}

impl<S: StateMachine> Clone for Node<S> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
            progress: self.progress.clone(),
            log: self.log.clone(),
            peer_address: self.peer_address.clone(),
            running: Arc::clone(&self.running),
            stop: self.stop.clone(),
        }
    }
}

impl<S: StateMachine> std::fmt::Debug for Node<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("peer_address", &self.peer_address).finish_non_exhaustive()
    }
}

impl<S: StateMachine> Node<S> {
    pub(crate) fn new(requests: mpsc::Sender<Request<S>>, running: Running) -> Self {
        Self {
            requests,
            progress: running.progress(),
            log: running.log().clone(),
            peer_address: running.peer_address().to_owned(),
            stop: running.stopper(),
            running: Arc::new(Mutex::new(Some(running))),
        }
    }

    /// Makes a write and waits for the floor. At a replica it is forwarded to the primary.
    ///
    /// Dropping the future does not undo the write: its outcome is then unknown.
    ///
    /// # Errors
    /// That it did not happen, or that this is not known.
    pub async fn propose(&self, command: S::Command) -> Result<Receipt<S::Reply>, ProposeFailure> {
        self.propose_with(command, Propose::default()).await
    }

    /// Makes a write and waits for what the caller asks.
    ///
    /// # Errors
    /// As [`Self::propose`]. A full inbox is [`Reason::Busy`].
    pub async fn propose_with(
        &self,
        command: S::Command,
        how: Propose,
    ) -> Result<Receipt<S::Reply>, ProposeFailure> {
        let mut payload = BytesMut::new();
        command.encode(&mut payload);
        self.write(What::Command(payload.freeze()), how).await
    }

    /// Opens a session, in which each write executes once however often it is sent. The log
    /// forgets it when nothing was written in it for `ttl`, from 1 ms to 30 days.
    ///
    /// # Errors
    /// As [`Self::propose`]; [`Reason::TooManySessions`].
    pub async fn session(&self, ttl: Duration) -> Result<Session<S>, ProposeFailure> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let receipt = self.write(What::Open { ttl_ms }, Propose::default()).await?;
        Ok(self.resume(SessionId::opened_by(receipt.token.entry), 1))
    }

    /// Goes on in a session that was opened before, perhaps by another process: `next` is the
    /// number of its next write. A number that was used before gets that write's reply.
    #[must_use]
    pub fn resume(&self, session: SessionId, next: u64) -> Session<S> {
        Session::new(self.clone(), session, next)
    }

    pub(crate) async fn write(
        &self,
        what: What,
        how: Propose,
    ) -> Result<Receipt<S::Reply>, ProposeFailure> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Write { what, how, answer };
        self.requests.try_send(request).map_err(|error| {
            ProposeFailure::Rejected(match error {
                TrySendError::Full(_) => Reason::Busy,
                TrySendError::Closed(_) => Reason::Stopped,
            })
        })?;
        answered.await.unwrap_or(Err(ProposeFailure::Unknown { token: None }))
    }

    /// Asks the state, as new as the caller wants it.
    ///
    /// # Errors
    /// When it can't be that new, or the write that the caller saw was lost.
    pub async fn read(
        &self,
        at: Consistency,
        query: S::Query,
    ) -> Result<Observed<S::Answer>, ReadError> {
        self.ask(|answer| Request::Read { at, query, answer }).await.ok_or(ReadError::Stopped)?
    }

    /// What became of a write.
    pub async fn fate(&self, token: Token) -> Fate {
        self.ask(|answer| Request::Fate { token, answer }).await.unwrap_or(Fate::Unknown)
    }

    /// Everything about this node; none when it has stopped.
    pub async fn status(&self) -> Option<NodeStatus> {
        self.ask(|answer| Request::Status { answer }).await.map(|status| *status)
    }

    /// Begins a snapshot; false when one is being written or nothing changed since the last.
    pub async fn snapshot(&self) -> bool {
        self.ask(|answer| Request::Snapshot { answer }).await.unwrap_or(false)
    }

    async fn ask<A>(&self, request: impl FnOnce(oneshot::Sender<A>) -> Request<S>) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Positions, as they move.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits until this node accepts writes itself.
    ///
    /// # Errors
    /// [`Reason::Stopped`] when it stops instead.
    pub async fn serving(&self) -> Result<(), Reason> {
        let mut progress = self.progress.clone();
        let waited = progress.wait_for(|progress| progress.serving).await;
        waited.map(|_reached| ()).map_err(|_gone| Reason::Stopped)
    }

    /// Waits until the entry at `lsn` is applied here.
    ///
    /// # Errors
    /// [`Reason::Stopped`] when the node stops before.
    pub async fn applied(&self, lsn: Lsn) -> Result<(), Reason> {
        let mut progress = self.progress.clone();
        let waited = progress.wait_for(|progress| progress.applied >= lsn).await;
        waited.map(|_reached| ()).map_err(|_gone| Reason::Stopped)
    }

    /// Subscribes to stable commands.
    #[must_use]
    pub fn changes(&self, from: From) -> TypedChanges<S> {
        TypedChanges { raw: self.log.changes(from), of: std::marker::PhantomData }
    }

    /// Where other nodes reach this one.
    #[must_use]
    pub fn peer_address(&self) -> &str {
        &self.peer_address
    }

    /// Stops the node in order and waits until it has stopped.
    ///
    /// # Errors
    /// Why it stopped by itself before.
    pub async fn shutdown(self) -> Result<(), Fatal> {
        self.stop.send_replace(true);
        let running = self.running.lock().await.take();
        match running {
            Some(running) => running.ended().await,
            None => Ok(()),
        }
    }
}

/// A stable command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedChange<C> {
    /// Its place and time.
    pub at: Stamp,
    /// The command.
    pub command: C,
}

/// A stream of stable commands, in order.
#[derive(Debug)]
pub struct TypedChanges<S> {
    raw: Subscription,
    of: std::marker::PhantomData<fn() -> S>,
}

impl<S: StateMachine> TypedChanges<S> {
    /// The next command; waits for it. May be cancelled without loss.
    ///
    /// # Errors
    /// [`ChangesError`]
    pub async fn next(&mut self) -> Result<TypedChange<S::Command>, ChangesError> {
        let change = self.raw.next().await?;
        let command = S::Command::decode(&change.payload)
            .map_err(|error| ChangesError::Log(error.to_string()))?;
        Ok(TypedChange { at: Stamp { token: change.token, hlc: change.at }, command })
    }

    /// Where to resume: [`From::After`] this.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.raw.position()
    }
}
