//! What waits for the owner: changes of links and received messages, bounded, control first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use antiphon_proto::NodeId;
use bytes::Bytes;
use tokio::sync::Notify;

use super::packer::Came;
use super::{PeerEvent, PeerStats, cost};
use crate::error::Closed;
use crate::lane::{Lane, PerLane};

/// Messages of the log lane that may go before one of the bulk lane.
const LOG_STREAK_MAX: u8 = 32;

/// All that waits for the owner.
pub(super) struct Inbox {
    bytes_max: PerLane<usize>,
    state: Mutex<State>,
    doors: Vec<Door>, // by peer
}

/// Where the tasks of one peer wait for the owner.
struct Door {
    room: PerLane<Notify>,
    settled: Notify,
}

struct State {
    boxes: Vec<Mailbox>,     // by peer
    waiting: PerLane<usize>, // messages of all peers
    turn: PerLane<usize>,    // the peer to look at first
    held: PerLane<bool>,
    changes: usize, // mailboxes with a change that was not delivered
    log_streak: u8,
    owner: Option<Waker>,
    finished: bool,
    abandoned: bool,
}

struct Mailbox {
    peer: NodeId,
    generation: u64,
    connected: bool,      // to be delivered
    lost: Option<Closed>, // to be delivered after the messages
    lanes: PerLane<Queue>,
    received_messages: u64,
    received_bytes: u64,
    received_wire_bytes: u64,
    unpacked_messages: u64,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    cost: usize,
}

impl Mailbox {
    const fn changed(&self) -> bool {
        self.connected || self.lost.is_some()
    }
}

impl Inbox {
    pub(super) fn new(peers: &[NodeId], bytes_max: PerLane<usize>) -> Self {
        let mailbox = |peer: &NodeId| Mailbox {
            peer: *peer,
            generation: 0,
            connected: false,
            lost: None,
            lanes: PerLane::default(),
            received_messages: 0,
            received_bytes: 0,
            received_wire_bytes: 0,
            unpacked_messages: 0,
        };
        let door = |_| Door { room: PerLane::from_fn(|_| Notify::new()), settled: Notify::new() };
        let state = State {
            boxes: peers.iter().map(mailbox).collect(),
            waiting: PerLane::default(),
            turn: PerLane::default(),
            held: PerLane::default(),
            changes: 0,
            log_streak: 0,
            owner: None,
            finished: false,
            abandoned: false,
        };
        Self { bytes_max, state: Mutex::new(state), doors: peers.iter().map(door).collect() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn door(&self, index: usize) -> &Door {
        self.doors.get(index).expect("sessions and mailboxes have the same order")
    }

    /// Changes a mailbox and tells the owner.
    fn change(&self, index: usize, change: impl FnOnce(&mut Mailbox, &mut PerLane<usize>)) {
        let mut state = self.lock();
        let State { boxes, waiting, changes, owner, .. } = &mut *state;
        let mailbox = boxes.get_mut(index).expect("sessions and mailboxes have the same order");
        let before = mailbox.changed();
        change(mailbox, waiting);
        if mailbox.changed() && !before {
            *changes = changes.saturating_add(1);
        }
        let owner = owner.take();
        drop(state);
        if let Some(owner) = owner {
            owner.wake();
        }
    }

    /// A link stands.
    pub(super) fn connected(&self, index: usize, generation: u64) {
        self.change(index, |mailbox, _| {
            assert!(!mailbox.changed(), "links before this one were delivered to their end");
            assert!(generation > mailbox.generation, "later links have greater numbers");
            mailbox.generation = generation;
            mailbox.connected = true;
        });
    }

    /// The link is lost; what it brought before is delivered first.
    pub(super) fn lost(&self, index: usize, why: Closed) {
        self.change(index, |mailbox, _| mailbox.lost = Some(why));
    }

    /// Adds what came to the figures of a peer.
    pub(super) fn count(&self, index: usize, stats: &mut PeerStats) {
        if let Some(it) = self.lock().boxes.get(index) {
            stats.received_messages = it.received_messages;
            stats.received_bytes = it.received_bytes;
            stats.received_wire_bytes = it.received_wire_bytes;
            stats.unpacked_messages = it.unpacked_messages;
        }
    }

    /// Takes what came. The reader then waits for [`Self::room`].
    pub(super) fn push(&self, index: usize, lane: Lane, batch: &mut VecDeque<Bytes>, came: Came) {
        self.change(index, |mailbox, waiting| {
            let count = batch.len();
            let bytes: usize = batch.iter().map(Bytes::len).sum();
            let more = batch.iter().map(|message| cost(message.len())).sum();
            let queue = mailbox.lanes.of_mut(lane);
            queue.messages.append(batch);
            queue.cost = queue.cost.saturating_add(more);
            *waiting.of_mut(lane) = waiting.of(lane).saturating_add(count);
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            mailbox.received_messages = mailbox.received_messages.saturating_add(count);
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            mailbox.received_bytes = mailbox.received_bytes.saturating_add(bytes);
            let wire = mailbox.received_wire_bytes.saturating_add(came.wire_bytes);
            mailbox.received_wire_bytes = wire;
            mailbox.unpacked_messages = mailbox.unpacked_messages.saturating_add(came.packed);
        });
    }

    /// Waits until the owner has taken enough of a lane to read on.
    pub(super) async fn room(&self, index: usize, lane: Lane) {
        while self.cost(index, lane) >= *self.bytes_max.of(lane) {
            self.door(index).room.of(lane).notified().await;
        }
    }

    fn cost(&self, index: usize, lane: Lane) -> usize {
        self.lock().boxes.get(index).map_or(0, |mailbox| mailbox.lanes.of(lane).cost)
    }

    /// Waits until the owner knows that the last link is lost, or is gone.
    pub(super) async fn settled(&self, index: usize) {
        loop {
            {
                let state = self.lock();
                if state.abandoned || !state.boxes.get(index).is_some_and(Mailbox::changed) {
                    return;
                }
            }
            self.door(index).settled.notified().await;
        }
    }

    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<PeerEvent>> {
        let mut state = self.lock();
        if let Some(event) = self.pop(&mut state) {
            return Poll::Ready(Some(event));
        }
        if state.finished {
            return Poll::Ready(None);
        }
        state.owner = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn try_next(&self) -> Option<PeerEvent> {
        self.pop(&mut self.lock())
    }

    pub(super) fn hold(&self, lane: Lane, held: bool) {
        let mut state = self.lock();
        *state.held.of_mut(lane) = held;
        if let Some(owner) = state.owner.take() {
            owner.wake();
        }
    }

    /// No session is left: what is here is all that will be.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        state.finished = true;
        // Nobody will let a held lane go for the sake of the end.
        state.held = PerLane::default();
        if let Some(owner) = state.owner.take() {
            owner.wake();
        }
    }

    /// The owner is gone: nobody waits for it any more.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        for mailbox in &mut state.boxes {
            mailbox.lanes = PerLane::default();
        }
        state.waiting = PerLane::default();
        drop(state);
        for door in &self.doors {
            door.settled.notify_one();
            for lane in Lane::ALL {
                door.room.of(lane).notify_one();
            }
        }
    }

    fn pop(&self, state: &mut State) -> Option<PeerEvent> {
        if let Some(event) = state.pop_connected(self) {
            return Some(event);
        }
        if state.ready(Lane::Control) {
            return self.pop_message(state, Lane::Control);
        }
        if let Some(event) = state.pop_lost(self) {
            return Some(event);
        }
        let bulk = state.ready(Lane::Bulk);
        if state.ready(Lane::Log) && !(bulk && state.log_streak >= LOG_STREAK_MAX) {
            state.log_streak = state.log_streak.saturating_add(1);
            return self.pop_message(state, Lane::Log);
        }
        state.log_streak = 0;
        if bulk { self.pop_message(state, Lane::Bulk) } else { None }
    }

    /// The next message of a lane, from each peer in turn.
    fn pop_message(&self, state: &mut State, lane: Lane) -> Option<PeerEvent> {
        let peers = state.boxes.len();
        let first = *state.turn.of(lane);
        for step in 0..peers {
            let index = first.saturating_add(step).checked_rem(peers)?;
            let mailbox = state.boxes.get_mut(index)?;
            let queue = mailbox.lanes.of_mut(lane);
            let Some(message) = queue.messages.pop_front() else { continue };
            let before = queue.cost;
            queue.cost = before.saturating_sub(cost(message.len()));
            let enough = *self.bytes_max.of(lane) / 2;
            if before > enough && queue.cost <= enough {
                self.door(index).room.of(lane).notify_one();
            }
            let (peer, generation) = (mailbox.peer, mailbox.generation);
            *state.turn.of_mut(lane) = index.saturating_add(1);
            *state.waiting.of_mut(lane) = state.waiting.of(lane).saturating_sub(1);
            return Some(PeerEvent::Received { peer, generation, lane, message });
        }
        None
    }
}

impl State {
    const fn ready(&self, lane: Lane) -> bool {
        *self.waiting.of(lane) > 0 && !*self.held.of(lane)
    }

    fn pop_connected(&mut self, inbox: &Inbox) -> Option<PeerEvent> {
        if self.changes == 0 {
            return None;
        }
        let (index, mailbox) =
            self.boxes.iter_mut().enumerate().find(|(_, mailbox)| mailbox.connected)?;
        mailbox.connected = false;
        if mailbox.lost.is_none() {
            self.changes = self.changes.saturating_sub(1);
            inbox.door(index).settled.notify_one();
        }
        Some(PeerEvent::Connected { peer: mailbox.peer, generation: mailbox.generation })
    }

    /// A lost link whose messages are delivered, but for those of held lanes.
    fn pop_lost(&mut self, inbox: &Inbox) -> Option<PeerEvent> {
        if self.changes == 0 {
            return None;
        }
        let held = self.held;
        let done = |mailbox: &Mailbox| {
            mailbox.lost.is_some()
                && Lane::ALL
                    .into_iter()
                    .all(|lane| *held.of(lane) || mailbox.lanes.of(lane).messages.is_empty())
        };
        let (index, mailbox) =
            self.boxes.iter_mut().enumerate().find(|(_, mailbox)| done(mailbox))?;
        let why = mailbox.lost.take()?;
        for lane in Lane::ALL {
            let rest = std::mem::take(mailbox.lanes.of_mut(lane));
            let waiting = self.waiting.of_mut(lane);
            *waiting = waiting.saturating_sub(rest.messages.len());
        }
        self.changes = self.changes.saturating_sub(1);
        inbox.door(index).settled.notify_one();
        let (peer, generation) = (mailbox.peer, mailbox.generation);
        Some(PeerEvent::Disconnected { peer, generation, why })
    }
}
