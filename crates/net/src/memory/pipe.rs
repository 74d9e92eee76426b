//! The two directions of a link in memory, three bounded queues each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use antiphon_proto::NodeId;
use bytes::Bytes;
use tokio::time::Instant;

use crate::error::{CloseReason, Closed, LinkError};
use crate::lane::{Lane, PerLane};
use crate::message::Outgoing;

/// The longest message of each lane, as over QUIC.
pub(super) const MESSAGE_BYTES_MAX: PerLane<usize> = crate::quic::MESSAGE_BYTES_MAX_DEFAULT;
/// Bytes that may wait in one lane of one direction; a longer message waits alone.
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// Messages that may wait in one lane of one direction.
const QUEUE_MESSAGES_MAX: usize = 16_384;
/// Messages that one receive takes, so that a reader gives way now and then.
const TAKE_MESSAGES_MAX: usize = 1024;

/// What the network does to one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rule {
    pub(super) cut: bool,
    pub(super) held: PerLane<bool>,
    pub(super) delay: Duration,
}

impl Rule {
    /// Whether no link can be made over this direction.
    pub(super) const fn parts(&self) -> bool {
        self.cut || (self.held.control && self.held.log && self.held.bulk)
    }
}

struct Item {
    message: Bytes,
    due: Option<Instant>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    held: bool,
    delay: Duration,
    over: bool,
    receivers: Vec<Waker>,
    senders: Vec<Waker>,
}

impl Queue {
    fn has_room(&self, bytes: usize) -> bool {
        self.items.is_empty()
            || (self.items.len() < QUEUE_MESSAGES_MAX
                && self.bytes.saturating_add(bytes) <= QUEUE_BYTES_MAX)
    }

    fn push(&mut self, message: Bytes) {
        let due = (!self.delay.is_zero()).then(|| Instant::now() + self.delay);
        self.bytes = self.bytes.saturating_add(message.len());
        self.items.push_back(Item { message, due });
    }

    /// The next message, when it waits at the front later, or nothing.
    fn pop(&mut self) -> Option<Result<Bytes, Instant>> {
        if self.held {
            return None;
        }
        if let Some(due) = self.items.front()?.due
            && due > Instant::now()
        {
            return Some(Err(due));
        }
        let item = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(item.message.len());
        Some(Ok(item.message))
    }
}

/// Remembers whom to wake, each once.
pub(super) fn register(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|known| known.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}

fn wake(wakers: &mut Vec<Waker>) {
    wakers.drain(..).for_each(Waker::wake);
}

// Whoever is woken wants the lock at once, so it is free by then.

fn wake_receivers(mut queue: MutexGuard<'_, Queue>) {
    let mut wakers = std::mem::take(&mut queue.receivers);
    drop(queue);
    wake(&mut wakers);
}

fn wake_senders(mut queue: MutexGuard<'_, Queue>) {
    let mut wakers = std::mem::take(&mut queue.senders);
    drop(queue);
    wake(&mut wakers);
}

type Direction = PerLane<Mutex<Queue>>;

/// A link between two nodes.
pub(super) struct Pipe {
    caller: NodeId,
    called: NodeId,
    forth: Direction, // what the caller sends
    back: Direction,  // what the called node sends
    over: OnceLock<Over>,
}

struct Over {
    by: Option<(NodeId, CloseReason)>, // nobody: the network broke it
}

impl Pipe {
    pub(super) fn new(caller: NodeId, called: NodeId) -> Arc<Self> {
        Arc::new(Self {
            caller,
            called,
            forth: PerLane::from_fn(|_| Mutex::default()),
            back: PerLane::from_fn(|_| Mutex::default()),
            over: OnceLock::new(),
        })
    }

    pub(super) fn joins(&self, one: NodeId, other: NodeId) -> bool {
        (self.caller, self.called) == (one, other) || (self.caller, self.called) == (other, one)
    }

    fn sent_by(&self, node: NodeId) -> &Direction {
        if node == self.caller { &self.forth } else { &self.back }
    }

    /// Applies a rule to what `from` sends.
    pub(super) fn obey(&self, from: NodeId, rule: Rule) {
        for lane in Lane::ALL {
            let mut queue = lock(self.sent_by(from).of(lane));
            queue.held = *rule.held.of(lane);
            queue.delay = rule.delay;
            wake(&mut queue.receivers);
        }
    }

    /// The network breaks the link.
    pub(super) fn snap(&self) {
        self.end(Over { by: None });
    }

    fn end(&self, over: Over) {
        if self.over.set(over).is_err() {
            return; // it ended before, and the first reason stays
        }
        for direction in [&self.forth, &self.back] {
            for lane in Lane::ALL {
                let mut queue = lock(direction.of(lane));
                queue.over = true;
                queue.items.clear();
                queue.bytes = 0;
                wake(&mut queue.receivers);
                wake(&mut queue.senders);
            }
        }
    }

    fn why(&self, node: NodeId) -> Closed {
        match self.over.get().and_then(|over| over.by) {
            Some((by, reason)) if by == node => Closed::Here(reason),
            Some((_, reason)) => Closed::There(reason),
            None => Closed::Broken("the network was cut".to_owned()),
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One node's end of a pipe.
pub(super) struct End {
    pipe: Arc<Pipe>,
    me: NodeId,
}

impl End {
    pub(super) fn new(pipe: &Arc<Pipe>, me: NodeId) -> Self {
        Self { pipe: Arc::clone(pipe), me }
    }

    pub(super) fn peer(&self) -> NodeId {
        if self.me == self.pipe.caller { self.pipe.called } else { self.pipe.caller }
    }

    fn outward(&self, lane: Lane) -> MutexGuard<'_, Queue> {
        lock(self.pipe.sent_by(self.me).of(lane))
    }

    fn inward(&self, lane: Lane) -> MutexGuard<'_, Queue> {
        lock(self.pipe.sent_by(self.peer()).of(lane))
    }

    fn check(lane: Lane, message: &Outgoing) -> Result<(), LinkError> {
        let (bytes, limit) = (message.len(), *MESSAGE_BYTES_MAX.of(lane));
        if bytes > limit {
            return Err(LinkError::TooLarge { lane, bytes, limit });
        }
        Ok(())
    }

    pub(super) fn poll_send(
        &self,
        cx: &Context<'_>,
        lane: Lane,
        batch: &mut VecDeque<Outgoing>,
    ) -> Poll<Result<(), LinkError>> {
        let mut queue = self.outward(lane);
        if queue.over {
            return Poll::Ready(Err(self.pipe.why(self.me).into()));
        }
        let before = queue.items.len();
        let mut outcome = Poll::Ready(Ok(()));
        while let Some(message) = batch.pop_front() {
            let checked = Self::check(lane, &message);
            if checked.is_err() || !queue.has_room(message.len()) {
                batch.push_front(message);
                outcome = match checked {
                    Err(error) => Poll::Ready(Err(error)),
                    Ok(()) => {
                        register(&mut queue.senders, cx.waker());
                        Poll::Pending
                    }
                };
                break;
            }
            queue.push(message.into_bytes());
        }
        if queue.items.len() > before {
            wake_receivers(queue);
        }
        outcome
    }

    pub(super) fn poll_send_one(
        &self,
        cx: &Context<'_>,
        lane: Lane,
        slot: &mut Option<Outgoing>,
    ) -> Poll<Result<(), LinkError>> {
        let Some(message) = slot.take() else { return Poll::Ready(Ok(())) };
        Self::check(lane, &message)?;
        let mut queue = self.outward(lane);
        if queue.over {
            return Poll::Ready(Err(self.pipe.why(self.me).into()));
        }
        if !queue.has_room(message.len()) {
            *slot = Some(message);
            register(&mut queue.senders, cx.waker());
            return Poll::Pending;
        }
        queue.push(message.into_bytes());
        wake_receivers(queue);
        Poll::Ready(Ok(()))
    }

    /// `Some(instant)` when the next message is on its way until then.
    pub(super) fn poll_receive(
        &self,
        cx: &Context<'_>,
        lane: Lane,
        into: &mut VecDeque<Bytes>,
    ) -> Poll<Result<Option<Instant>, Closed>> {
        let first = match ready!(self.poll_receive_one(cx, lane))? {
            Ok(message) => message,
            Err(due) => return Poll::Ready(Ok(Some(due))),
        };
        into.push_back(first);
        let mut queue = self.inward(lane);
        for _ in 1..TAKE_MESSAGES_MAX {
            match queue.pop() {
                Some(Ok(message)) => into.push_back(message),
                Some(Err(_)) | None => break,
            }
        }
        wake_senders(queue);
        Poll::Ready(Ok(None))
    }

    pub(super) fn poll_receive_one(
        &self,
        cx: &Context<'_>,
        lane: Lane,
    ) -> Poll<Result<Result<Bytes, Instant>, Closed>> {
        let mut queue = self.inward(lane);
        if queue.over {
            return Poll::Ready(Err(self.pipe.why(self.me)));
        }
        match queue.pop() {
            Some(next) => {
                if next.is_ok() {
                    wake_senders(queue);
                }
                Poll::Ready(Ok(next))
            }
            None => {
                register(&mut queue.receivers, cx.waker());
                Poll::Pending
            }
        }
    }

    pub(super) fn poll_flush(&self, cx: &Context<'_>, lane: Lane) -> Poll<Result<(), Closed>> {
        let mut queue = self.outward(lane);
        if queue.over {
            return Poll::Ready(Err(self.pipe.why(self.me)));
        }
        if queue.items.is_empty() {
            return Poll::Ready(Ok(()));
        }
        register(&mut queue.senders, cx.waker());
        Poll::Pending
    }

    pub(super) fn close(&self, reason: CloseReason) {
        self.pipe.end(Over { by: Some((self.me, reason)) });
    }
}
