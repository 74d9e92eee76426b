//! What waits to be sent to one peer: bounded by lane, gone with the link.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use antiphon_proto::NodeId;
use tokio::sync::Notify;

use super::packer::Wrapped;
use super::{PeerStats, SendError, cost};
use crate::codec::Agreed;
use crate::lane::{Lane, PerLane};
use crate::message::Outgoing;
use crate::packing::FLAG_BYTES;

/// Bytes that a writer takes at once: many small messages, and room is given back in steps.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// The queues to one peer.
pub(super) struct Outbox {
    peer: NodeId,
    bytes_max: PerLane<usize>,
    state: Mutex<State>,
    room: PerLane<Notify>,
    drop_asked: Notify,
}

#[derive(Default)]
struct State {
    open: Option<u64>, // generation of the link that stands
    drop_wanted: Option<u64>,
    sealed: bool, // nothing more is taken; what is there still leaves
    agreed: Agreed,
    limits: PerLane<usize>,
    lanes: PerLane<Queue>,
    generation: u64,
    disconnects: u64,
    failed_attempts: u64,
    sent_messages: u64,
    sent_bytes: u64,
    sent_wire_bytes: u64,
    packed_messages: u64,
    skipped_messages: u64,
    dropped_messages: u64,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    taken: usize, // messages that the writer holds
    cost: usize,  // of those in `messages` and those that the writer holds
    writer: Option<Waker>,
}

/// What a writer finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Messages, and what they count.
    Batch { cost: usize },
    /// Nothing more will come; what was sent shall be flushed.
    Sealed,
    /// The link is over.
    Closed,
}

/// Messages that the link took.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) messages: usize,
    /// What they counted.
    pub(super) cost: usize,
    /// What they became.
    pub(super) wrapped: Wrapped,
}

impl Outbox {
    pub(super) fn new(peer: NodeId, bytes_max: PerLane<usize>) -> Self {
        Self {
            peer,
            bytes_max,
            state: Mutex::default(),
            room: PerLane::from_fn(|_| Notify::new()),
            drop_asked: Notify::new(),
        }
    }

    pub(super) const fn peer(&self) -> NodeId {
        self.peer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link stands: messages are taken. Its number is returned.
    pub(super) fn open(&self, limits: PerLane<usize>, agreed: Agreed) -> u64 {
        let mut state = self.lock();
        assert!(state.open.is_none(), "one link for each pair of nodes");
        state.generation = state.generation.checked_add(1).expect("links are counted in 64 bits");
        state.open = Some(state.generation);
        state.sealed = false;
        state.agreed = agreed;
        let flag = if agreed.send.is_empty() { 0 } else { FLAG_BYTES };
        state.limits = PerLane::from_fn(|lane| limits.of(lane).saturating_sub(flag));
        state.generation
    }

    /// Takes no more messages; those that wait still leave.
    pub(super) fn seal(&self) {
        let mut state = self.lock();
        state.sealed = true;
        for lane in Lane::ALL {
            if let Some(writer) = state.lanes.of_mut(lane).writer.take() {
                writer.wake();
            }
        }
    }

    /// The link is lost, and all that waits with it.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.open = None;
        state.disconnects = state.disconnects.saturating_add(1);
        for lane in Lane::ALL {
            let queue = std::mem::take(state.lanes.of_mut(lane));
            let dropped = queue.messages.len().saturating_add(queue.taken);
            state.dropped_messages = state.dropped_messages.saturating_add(wide(dropped));
            if let Some(writer) = queue.writer {
                writer.wake();
            }
        }
        drop(state);
        for lane in Lane::ALL {
            self.room.of(lane).notify_waiters();
        }
    }

    pub(super) fn push(&self, lane: Lane, message: Outgoing) -> Result<(), SendError> {
        let bytes_max = *self.bytes_max.of(lane);
        let bytes = message.len();
        let mut state = self.lock();
        if state.open.is_none() || state.sealed {
            return Err(SendError::NotConnected);
        }
        let limit = *state.limits.of(lane);
        if bytes > limit {
            return Err(SendError::TooLarge { bytes, limit });
        }
        let queue = state.lanes.of_mut(lane);
        let after = queue.cost.saturating_add(cost(bytes));
        if after > bytes_max && queue.cost > 0 {
            return Err(SendError::Full);
        }
        queue.cost = after;
        queue.messages.push_back(message);
        let writer = queue.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(())
    }

    /// Waits for messages of this link, and moves some into `batch`, which is empty.
    pub(super) async fn take(
        &self,
        lane: Lane,
        generation: u64,
        batch: &mut VecDeque<Outgoing>,
    ) -> Taken {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.open != Some(generation) {
                return Poll::Ready(Taken::Closed);
            }
            let sealed = state.sealed;
            let queue = state.lanes.of_mut(lane);
            if queue.messages.is_empty() {
                if sealed {
                    return Poll::Ready(Taken::Sealed);
                }
                queue.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let cost = queue.take_into(batch);
            Poll::Ready(Taken::Batch { cost })
        })
        .await
    }

    /// The link took messages.
    pub(super) fn release(&self, lane: Lane, generation: u64, left: &Left) {
        let Left { messages, cost, wrapped } = *left;
        let mut state = self.lock();
        if state.open != Some(generation) {
            return;
        }
        let bytes = cost.saturating_sub(messages.saturating_mul(super::MESSAGE_COST_BYTES));
        state.sent_messages = state.sent_messages.saturating_add(wide(messages));
        state.sent_bytes = state.sent_bytes.saturating_add(wide(bytes));
        state.sent_wire_bytes = state.sent_wire_bytes.saturating_add(wrapped.wire_bytes);
        state.packed_messages = state.packed_messages.saturating_add(wrapped.packed);
        state.skipped_messages = state.skipped_messages.saturating_add(wrapped.skipped);
        let queue = state.lanes.of_mut(lane);
        queue.taken = queue.taken.saturating_sub(messages);
        queue.cost = queue.cost.checked_sub(cost).expect("what is released was counted before");
        if queue.cost <= *self.bytes_max.of(lane) / 2 {
            drop(state);
            self.room.of(lane).notify_waiters();
        }
    }

    /// Waits until half of the lane's room is free, or no link stands.
    pub(super) async fn room(&self, lane: Lane) {
        loop {
            let notified = self.room.of(lane).notified();
            {
                let state = self.lock();
                let half = *self.bytes_max.of(lane) / 2;
                if state.open.is_none() || state.lanes.of(lane).cost <= half {
                    return;
                }
            }
            notified.await;
        }
    }

    pub(super) fn generation(&self) -> Option<u64> {
        self.lock().open
    }

    pub(super) fn ask_to_drop(&self) {
        let mut state = self.lock();
        state.drop_wanted = state.open;
        drop(state);
        self.drop_asked.notify_one();
    }

    /// Waits until the owner gives this link up.
    pub(super) async fn drop_asked(&self, generation: u64) {
        while self.lock().drop_wanted != Some(generation) {
            self.drop_asked.notified().await;
        }
    }

    pub(super) fn attempt_failed(&self) {
        let mut state = self.lock();
        state.failed_attempts = state.failed_attempts.saturating_add(1);
    }

    pub(super) fn stats(&self) -> PeerStats {
        let state = self.lock();
        PeerStats {
            peer: self.peer,
            generation: state.open,
            connects: state.generation,
            disconnects: state.disconnects,
            failed_attempts: state.failed_attempts,
            sent_messages: state.sent_messages,
            sent_bytes: state.sent_bytes,
            sent_wire_bytes: state.sent_wire_bytes,
            packed_messages: state.packed_messages,
            skipped_messages: state.skipped_messages,
            dropped_messages: state.dropped_messages,
            received_messages: 0,
            received_bytes: 0,
            received_wire_bytes: 0,
            unpacked_messages: 0,
            agreed: state.open.map_or_else(Agreed::default, |_| state.agreed),
            queued_bytes: PerLane::from_fn(|lane| state.lanes.of(lane).cost),
        }
    }
}

impl Queue {
    /// Moves messages up to the size of a batch, at least one; what they count is returned.
    fn take_into(&mut self, batch: &mut VecDeque<Outgoing>) -> usize {
        let waiting = self.messages.iter().map(|message| cost(message.len()));
        if self.taken == 0 && self.cost <= BATCH_BYTES_MAX {
            std::mem::swap(&mut self.messages, batch);
            self.taken = batch.len();
            return self.cost;
        }
        let mut sum: usize = 0;
        let mut count: usize = 0;
        for cost in waiting {
            if count > 0 && sum.saturating_add(cost) > BATCH_BYTES_MAX {
                break;
            }
            sum = sum.saturating_add(cost);
            count = count.saturating_add(1);
        }
        batch.extend(self.messages.drain(..count));
        self.taken = self.taken.saturating_add(count);
        sum
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
