//! The transport within one process: bounded, addressed, with the errors of the real one, and
//! with hooks that cut, hold and delay.

mod pipe;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use antiphon_proto::NodeId;
use bytes::Bytes;

use crate::codec::{Agreed, Offer};
use crate::error::{BindError, CloseReason, Closed, ConnectError, LinkError, Refusal};
use crate::lane::{Lane, PerLane};
use crate::message::Outgoing;
use crate::refusals::Refusals;
use crate::transport::{Link, Transport};
use pipe::{End, Pipe, Rule};

/// Links that may wait to be accepted by one node.
const ACCEPT_MAX: usize = 64;

/// A network in memory. Clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    fabric: Arc<Fabric>,
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Fabric {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stations: BTreeMap<NodeId, Station>,
    rules: BTreeMap<(NodeId, NodeId), Rule>, // from, to
    pipes: Vec<Weak<Pipe>>,
}

#[derive(Default)]
struct Station {
    admitted: BTreeSet<NodeId>,
    offer: Offer,
    waiting: VecDeque<MemoryLink>,
    wakers: Vec<Waker>,
    refusals: Arc<Refusals>,
}

impl Fabric {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn between(&mut self, one: NodeId, other: NodeId) -> Vec<Arc<Pipe>> {
        self.pipes.retain(|pipe| pipe.strong_count() > 0);
        let alive = self.pipes.iter().filter_map(Weak::upgrade);
        alive.filter(|pipe| pipe.joins(one, other)).collect()
    }

    fn rule(&self, from: NodeId, to: NodeId) -> Rule {
        self.rules.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Changes the rule of one direction, for the links that stand and for those to come.
    fn amend(&mut self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Rule)) {
        let rule = self.rules.entry((from, to)).or_default();
        change(rule);
        let rule = *rule;
        for pipe in self.between(from, to) {
            pipe.obey(from, rule);
        }
    }
}

impl MemoryNetwork {
    /// A network with nobody in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A node joins.
    ///
    /// # Errors
    /// [`BindError::Taken`] while another transport has this id.
    pub fn bind(&self, me: NodeId) -> Result<MemoryTransport, BindError> {
        let mut state = self.fabric.lock();
        if state.stations.contains_key(&me) {
            return Err(BindError::Taken(me));
        }
        let refusals = Arc::<Refusals>::default();
        let station = Station { refusals: Arc::clone(&refusals), ..Station::default() };
        state.stations.insert(me, station);
        Ok(MemoryTransport { me, fabric: Arc::clone(&self.fabric), refusals })
    }

    /// Parts two nodes: their links break, new ones time out, until [`Self::heal`].
    pub fn cut(&self, one: NodeId, other: NodeId) {
        let mut state = self.fabric.lock();
        state.amend(one, other, |rule| rule.cut = true);
        state.amend(other, one, |rule| rule.cut = true);
        for pipe in state.between(one, other) {
            pipe.snap();
        }
    }

    /// Holds back what `from` sends to `to`, without loss, until [`Self::heal`]: as a network
    /// that loses one direction while the sender sends again and again. New links time out.
    pub fn hold(&self, from: NodeId, to: NodeId) {
        self.fabric.lock().amend(from, to, |rule| rule.held = PerLane::from_fn(|_| true));
    }

    /// Holds back one lane of one direction, or lets it go again.
    pub fn hold_lane(&self, from: NodeId, to: NodeId, lane: Lane, held: bool) {
        self.fabric.lock().amend(from, to, |rule| *rule.held.of_mut(lane) = held);
    }

    /// Delays every message from `from` to `to` that is sent from now on.
    pub fn delay(&self, from: NodeId, to: NodeId, delay: Duration) {
        self.fabric.lock().amend(from, to, |rule| rule.delay = delay);
    }

    /// Takes back every cut, hold and delay between two nodes.
    pub fn heal(&self, one: NodeId, other: NodeId) {
        let mut state = self.fabric.lock();
        state.amend(one, other, |rule| *rule = Rule::default());
        state.amend(other, one, |rule| *rule = Rule::default());
    }

    /// Breaks the links between two nodes, once; new ones may be made.
    pub fn snap(&self, one: NodeId, other: NodeId) {
        for pipe in self.fabric.lock().between(one, other) {
            pipe.snap();
        }
    }
}

/// A node's place in a [`MemoryNetwork`].
pub struct MemoryTransport {
    me: NodeId,
    fabric: Arc<Fabric>,
    refusals: Arc<Refusals>,
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport").field("me", &self.me).finish_non_exhaustive()
    }
}

impl MemoryTransport {
    fn meet(&self, peer: NodeId) -> Result<MemoryLink, ConnectError> {
        let mut state = self.fabric.lock();
        let (there, back) = (state.rule(self.me, peer), state.rule(peer, self.me));
        if there.parts() || back.parts() {
            return Err(ConnectError::Timeout(peer));
        }
        let here = state.stations.get(&self.me).map(|station| station.offer).unwrap_or_default();
        let station = state.stations.get_mut(&peer).ok_or(ConnectError::Timeout(peer))?;
        let refusal = if !station.admitted.contains(&self.me) {
            Some(Refusal::UnknownNode(self.me))
        } else if station.waiting.len() >= ACCEPT_MAX {
            Some(Refusal::Busy)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            station.refusals.note(&refusal, None);
            return Err(Refusal::ByPeer(refusal.kind().to_owned()).into());
        }
        let pipe = Pipe::new(self.me, peer);
        pipe.obey(self.me, there);
        pipe.obey(peer, back);
        let offered = station.offer;
        let agreed = offered.agree(here);
        station.waiting.push_back(MemoryLink { end: End::new(&pipe, peer), agreed });
        let wakers = std::mem::take(&mut station.wakers);
        state.pipes.retain(|pipe| pipe.strong_count() > 0);
        state.pipes.push(Arc::downgrade(&pipe));
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(MemoryLink { end: End::new(&pipe, self.me), agreed: here.agree(offered) })
    }
}

impl Transport for MemoryTransport {
    type Link = MemoryLink;

    fn me(&self) -> NodeId {
        self.me
    }

    fn local_address(&self) -> String {
        format!("memory:{}", self.me)
    }

    fn admit(&self, members: &[NodeId]) {
        if let Some(station) = self.fabric.lock().stations.get_mut(&self.me) {
            station.admitted = members.iter().copied().collect();
        }
    }

    fn offer(&self, offer: Offer) {
        if let Some(station) = self.fabric.lock().stations.get_mut(&self.me) {
            station.offer = offer;
        }
    }

    fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.refusals)
    }

    async fn connect(&self, peer: NodeId, _address: &str) -> Result<MemoryLink, ConnectError> {
        // Give way once, so that a loop of attempts never starves its thread.
        tokio::task::yield_now().await;
        self.meet(peer)
    }

    async fn accept(&self) -> Result<MemoryLink, Closed> {
        poll_fn(|cx| {
            let mut state = self.fabric.lock();
            let Some(station) = state.stations.get_mut(&self.me) else {
                return Poll::Ready(Err(Closed::Here(CloseReason::Shutdown)));
            };
            match station.waiting.pop_front() {
                Some(link) => Poll::Ready(Ok(link)),
                None => {
                    pipe::register(&mut station.wakers, cx.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        let station = self.fabric.lock().stations.remove(&self.me);
        // Links nobody accepted end here, after the lock is free again: ending them locks pipes.
        drop(station);
    }
}

/// One end of a link in memory. Dropping it closes the link.
pub struct MemoryLink {
    end: End,
    agreed: Agreed,
}

impl fmt::Debug for MemoryLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLink").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.end.close(CloseReason::Dropped);
    }
}

impl Link for MemoryLink {
    fn peer(&self) -> NodeId {
        self.end.peer()
    }

    fn agreed(&self) -> Agreed {
        self.agreed
    }

    fn message_bytes_max(&self) -> PerLane<usize> {
        pipe::MESSAGE_BYTES_MAX
    }

    async fn send_batch(
        &self,
        lane: Lane,
        batch: &mut VecDeque<Outgoing>,
    ) -> Result<(), LinkError> {
        poll_fn(|cx| self.end.poll_send(cx, lane, batch)).await
    }

    async fn receive_batch(&self, lane: Lane, into: &mut VecDeque<Bytes>) -> Result<(), Closed> {
        while let Some(due) = poll_fn(|cx| self.end.poll_receive(cx, lane, into)).await? {
            tokio::time::sleep_until(due).await;
        }
        Ok(())
    }

    async fn send(&self, lane: Lane, message: Outgoing) -> Result<(), LinkError> {
        let mut message = Some(message);
        poll_fn(|cx| self.end.poll_send_one(cx, lane, &mut message)).await
    }

    async fn receive(&self, lane: Lane) -> Result<Bytes, Closed> {
        loop {
            match poll_fn(|cx| self.end.poll_receive_one(cx, lane)).await? {
                Ok(message) => return Ok(message),
                Err(due) => tokio::time::sleep_until(due).await,
            }
        }
    }

    async fn flush(&self, lane: Lane) -> Result<(), Closed> {
        poll_fn(|cx| self.end.poll_flush(cx, lane)).await
    }

    fn close(&self, reason: CloseReason) {
        self.end.close(reason);
    }
}

#[cfg(test)]
mod tests;
