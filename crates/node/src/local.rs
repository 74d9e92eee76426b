//! A shard as code on its own thread sees it: direct, without locks and without waiting.

mod sessions;

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use antiphon_proto::{
    EntryId, Envelope, Epoch, Fate, Hlc, Lsn, Message, NodeId, Policy, ProposeError, ShardId, Token,
};
use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::{Notify, watch};

use crate::calls::CallError;
use crate::clock::Clock;
use crate::level::Level;
use crate::machine::Machine;
use crate::owner::{LocalAnswer, Owner};
use crate::status::NodeStatus;

pub use sessions::{OnceError, OpenError, Placed};

/// The shard, on its thread. A clone is another handle to the same shard.
pub struct Local<M> {
    inner: Rc<Inner<M>>,
}

pub(crate) struct Inner<M> {
    pub(crate) owner: RefCell<Owner<M>>,
    pub(crate) turn: Rc<Notify>,
    pub(crate) stop: watch::Sender<bool>,
}

impl<M> Clone for Local<M> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

impl<M> std::fmt::Debug for Local<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

/// The shard's place and positions at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// This node.
    pub me: NodeId,
    /// The log.
    pub shard: ShardId,
    /// The configuration obeyed.
    pub epoch: Epoch,
    /// Who appends, as far as it is known.
    pub primary: NodeId,
    /// Whether this node appends and accepts writes.
    pub serving: bool,
    /// The end of the log here.
    pub last: Lsn,
    /// How much of it is on disk here.
    pub durable: Lsn,
    /// What can never be lost.
    pub stable: Lsn,
    /// What readers here see.
    pub applied: Lsn,
    /// The time of that entry.
    pub applied_hlc: Hlc,
    /// The time on the wall. Unit: milliseconds since 1970.
    pub wall_ms: u64,
}

/// The node lost the primary's place before the level was reached. Ask for the entry's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no longer the primary that appended the entry")]
pub struct Lost;

impl<M: Machine> Local<M> {
    pub(crate) fn new(owner: Owner<M>, stop: watch::Sender<bool>) -> Self {
        let turn = Rc::clone(&owner.turn);
        Self { inner: Rc::new(Inner { owner: RefCell::new(owner), turn, stop }) }
    }

    pub(crate) fn inner(&self) -> &Inner<M> {
        &self.inner
    }

    /// Runs `f` on the state machine. Calls do not nest.
    pub fn with<R>(&self, f: impl FnOnce(&mut M) -> R) -> R {
        f(&mut self.inner.owner.borrow_mut().machine)
    }

    /// Where the shard stands now.
    #[must_use]
    pub fn view(&self) -> View {
        let owner = self.inner.owner.borrow();
        let config = owner.replica.config();
        View {
            me: owner.replica.identity().node,
            shard: config.shard,
            epoch: config.epoch,
            primary: config.primary,
            serving: owner.replica.is_serving(),
            last: owner.replica.last().lsn,
            durable: owner.replica.durable(),
            stable: owner.replica.stable(),
            applied: owner.replica.applied(),
            applied_hlc: owner.applied_hlc(),
            wall_ms: Clock::wall_ms(),
        }
    }

    /// Whether enough voters are linked for `level` to be reached.
    #[must_use]
    pub fn can_reach(&self, level: Level) -> bool {
        let owner = self.inner.owner.borrow();
        let policy = match level {
            Level::Floor => owner.replica.config().floor,
            Level::At(policy) => policy,
        };
        owner.replica.can_reach(policy)
    }

    /// Appends one entry whose payload `write` puts in place; it writes `bytes` bytes.
    ///
    /// # Errors
    /// When nothing was appended, and why.
    pub fn propose(
        &self,
        bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<EntryId, ProposeError> {
        self.inner.owner.borrow_mut().propose(bytes, write)
    }

    /// Ready when `entry` may be acknowledged at `level`; else wakes the task when that changes.
    pub fn poll_reached(
        &self,
        cx: &mut Context<'_>,
        entry: EntryId,
        level: Level,
    ) -> Poll<Result<(), Lost>> {
        let mut owner = self.inner.owner.borrow_mut();
        if owner.fatal.is_some() || !owner.replica.is_serving() {
            return Poll::Ready(Err(Lost));
        }
        if owner.reached(level) >= entry.lsn {
            // A later epoch may have put another entry at this position.
            let token = Token { shard: owner.shard(), entry };
            let lost = matches!(owner.replica.fate(token), Fate::Lost | Fate::Unknown);
            return Poll::Ready(if lost { Err(Lost) } else { Ok(()) });
        }
        owner.waiters.level(level).add(entry.lsn, cx.waker());
        Poll::Pending
    }

    /// As [`Self::poll_reached`], awaited.
    ///
    /// # Errors
    /// [`Lost`]
    pub async fn reached(&self, entry: EntryId, level: Level) -> Result<(), Lost> {
        std::future::poll_fn(|cx| self.poll_reached(cx, entry, level)).await
    }

    /// Ready when the entry at `lsn` is applied here; else wakes the task when it is.
    pub fn poll_applied(&self, cx: &mut Context<'_>, lsn: Lsn) -> Poll<()> {
        let mut owner = self.inner.owner.borrow_mut();
        if owner.replica.applied() >= lsn {
            return Poll::Ready(());
        }
        owner.waiters.applied.add(lsn, cx.waker());
        Poll::Pending
    }

    /// What became of a write.
    #[must_use]
    pub fn fate(&self, token: Token) -> Fate {
        self.inner.owner.borrow().replica.fate(token)
    }

    /// How many other voters hold the entry at `lsn`: in memory, and on disk.
    #[must_use]
    pub fn copies(&self, lsn: Lsn) -> (usize, usize) {
        self.inner.owner.borrow().replica.copies(lsn)
    }

    /// The policy that can never be lost.
    #[must_use]
    pub fn floor(&self) -> Policy {
        self.inner.owner.borrow().replica.config().floor
    }

    /// Everything, for pages and operators.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        self.inner.owner.borrow().status()
    }

    /// The digest of the stable state.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        self.inner.owner.borrow().digest()
    }

    /// Asks another node and waits for its answer, `deadline` at most.
    ///
    /// # Errors
    /// Why there is no answer, and whether the request may have been served all the same.
    pub async fn call(
        &self,
        to: NodeId,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        self.call_kind(to, FRONT, request, deadline).await
    }

    pub(crate) async fn call_kind(
        &self,
        to: NodeId,
        kind: u8,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let mut tagged = BytesMut::with_capacity(request.len() + 1);
        tagged.put_u8(kind);
        tagged.put_slice(&request);
        let (id, waits) = {
            let mut owner = self.inner.owner.borrow_mut();
            let (id, waits) = owner.calls.begin(to).ok_or(CallError::NotSent)?;
            let message = Message::Call { id, request: tagged.freeze() };
            let envelope =
                Envelope { shard: owner.shard(), epoch: owner.replica.config().epoch, message };
            if !owner.call_send(to, &envelope) {
                owner.calls.end(id);
                return Err(CallError::NotSent);
            }
            (id, waits)
        };
        let guard = Ending { local: self.clone(), id };
        let answer = tokio::time::timeout(deadline, waits).await;
        drop(guard);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(CallError::NoAnswer),
        }
    }

    /// Names who answers the calls of other nodes. One handler for a shard; the last one counts.
    pub fn on_call(&self, handler: impl Fn(NodeId, Bytes) -> LocalAnswer + 'static) {
        self.inner.owner.borrow_mut().handler = Some(Rc::new(handler));
    }

    /// Names who is told when the link to a node broke. The last one counts.
    pub fn on_disconnect(&self, told: impl Fn(NodeId) + 'static) {
        self.inner.owner.borrow_mut().on_left = Some(Rc::new(told));
    }

    /// Begins a snapshot now; false when one is being written already.
    #[must_use]
    pub fn snapshot(&self) -> bool {
        self.inner.owner.borrow_mut().begin_snapshot()
    }

    /// Begins to stop the node.
    pub fn shutdown(&self) {
        self.inner.stop.send_replace(true);
    }

    /// Becomes true when the node begins to stop.
    #[must_use]
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.inner.stop.subscribe()
    }
}

/// A call's place among those that wait, given back however the wait ends.
struct Ending<M: Machine> {
    local: Local<M>,
    id: u64,
}

impl<M: Machine> Drop for Ending<M> {
    fn drop(&mut self) {
        self.local.inner.owner.borrow_mut().calls.end(self.id);
    }
}

/// Calls for the program above the node.
pub(crate) const FRONT: u8 = 0;
/// Calls that ask the primary for a position to read at.
pub(crate) const READ_INDEX: u8 = 1;
/// Calls that ask for a copy of entries, to mend a damaged log with.
pub(crate) const READ_ENTRIES: u8 = 2;
