//! Links: dialled, carrying, lost.

use antiphon_proto::{Envelope, Event};
use bytes::{Bytes, BytesMut};

use super::{Delivery, Due, MS, US, World};
use crate::link::{Lane, Link};
use crate::oracle::Verdict;

/// Silence in one direction after which a link is given up.
const PATIENCE: u64 = 800 * MS;

impl World {
    fn link_index(&self, a: usize, b: usize) -> usize {
        let ends = (a.min(b), a.max(b));
        self.links.iter().position(|link| link.ends == ends).expect("each pair has a link")
    }

    pub(super) fn link_mut(&mut self, a: usize, b: usize) -> &mut Link {
        let index = self.link_index(a, b);
        self.links.get_mut(index).expect("an index that was just found")
    }

    fn usual_delay(&mut self) -> u64 {
        let usual = if self.healed_at.is_some() { 100 } else { self.plan.net.delay_us };
        self.dice.net.heavy(usual * US)
    }

    /// Dials all links of a node, as a process does when it starts.
    pub(super) fn dial_all(&mut self, at: usize) {
        for peer in (0..self.nodes.len()).filter(|peer| *peer != at) {
            self.redial(at, peer);
        }
    }

    pub(super) fn redial(&mut self, a: usize, b: usize) {
        let index = self.link_index(a, b);
        let usual = if self.healed_at.is_some() { 1_000 } else { self.plan.net.redial_us };
        let wait = self.dice.net.range(1, usual * US);
        let now = self.now;
        let link = self.links.get_mut(index).expect("an index that was just found");
        if !link.dialling {
            link.dialling = true;
            let at = now.max(link.cut_until) + wait;
            self.queue.push(at, Due::Dial(index));
        }
    }

    pub(super) fn dial(&mut self, index: usize) {
        let (d1, d2) = (self.usual_delay(), self.usual_delay());
        let now = self.now;
        let link = self.links.get_mut(index).expect("a link of the plan");
        let (a, b) = link.ends;
        link.dialling = false;
        if link.alive {
            return;
        }
        if link.cut_until > now {
            self.redial(a, b);
            return;
        }
        if !self.node(a).is_up() || !self.node(b).is_up() {
            return; // the process that starts dials
        }
        let link = self.links.get_mut(index).expect("a link of the plan");
        link.name += 1;
        link.alive = true;
        link.cutoff = u64::MAX;
        link.lanes.clear();
        for (from, last) in [(a, now + d2), (b, now + d1)] {
            for lane in LANES {
                link.lanes.insert((from, lane), Lane { last, bytes: 0 });
            }
        }
        let name = link.name;
        self.queue.push(now + d1, Due::Up { at: a, peer: b, link: name });
        self.queue.push(now + d2, Due::Up { at: b, peer: a, link: name });
    }

    /// A link ends. What was sent by a node that still runs may arrive until `cutoff`.
    pub(super) fn lose_link(&mut self, a: usize, b: usize, cutoff: u64) {
        let (d1, d2) = (self.usual_delay(), self.usual_delay());
        let now = self.now;
        let link = self.link_mut(a, b);
        if !link.alive {
            return;
        }
        link.alive = false;
        link.cutoff = cutoff;
        let (name, ends) = (link.name, link.ends);
        let (ea, eb) = ends;
        let base = now.max(cutoff);
        self.queue.push(base + d1, Due::Down { at: ea, peer: eb, link: name });
        self.queue.push(base + d2, Due::Down { at: eb, peer: ea, link: name });
        self.redial(a, b);
    }

    pub(super) fn link_up(&mut self, at: usize, peer: usize, name: u64) -> Verdict {
        if let Some(when) = self.paused(at) {
            self.queue.push(when, Due::Up { at, peer, link: name });
            return Ok(());
        }
        let link = self.link_mut(at, peer);
        if link.name != name || !link.alive {
            return Ok(());
        }
        let peer_id = self.node(peer).id;
        let Some(process) = self.node_mut(at).process.as_mut() else { return Ok(()) };
        let before = process.links.insert(peer_id, name);
        if before.is_some() {
            self.step(at, Event::Disconnected(peer_id))?;
        }
        self.log(at, 1, || format!("linked with n{}", peer + 1));
        self.step(at, Event::Connected(peer_id))
    }

    pub(super) fn link_down(&mut self, at: usize, peer: usize, name: u64) -> Verdict {
        if let Some(when) = self.paused(at) {
            self.queue.push(when, Due::Down { at, peer, link: name });
            return Ok(());
        }
        let peer_id = self.node(peer).id;
        let Some(process) = self.node_mut(at).process.as_mut() else { return Ok(()) };
        if process.links.get(&peer_id) != Some(&name) {
            return Ok(());
        }
        process.links.remove(&peer_id);
        self.log(at, 2, || format!("lost the link with n{}", peer + 1));
        self.step(at, Event::Disconnected(peer_id))
    }

    /// Puts a message on its way, if the sender believes in a link.
    pub(super) fn send(&mut self, from: usize, to: usize, envelope: &Envelope) {
        let to_id = self.node(to).id;
        let view = self.node(from).process.as_ref().and_then(|p| p.links.get(&to_id).copied());
        let Some(name) = view else { return };
        let lane = envelope.message.lane();
        let encoded = envelope.encode();
        let mut bytes = BytesMut::with_capacity(encoded.head.len() + encoded.body.len());
        bytes.extend_from_slice(&encoded.head);
        bytes.extend_from_slice(&encoded.body);
        let delay = self.usual_delay();
        let (now, most) = (self.now, self.plan.net.queue_bytes);
        let link = self.link_mut(from, to);
        if !link.alive || link.name != name {
            return; // lost: the sender does not know yet
        }
        let way = link.way(from).clone();
        let extra = if way.extra_until > now { way.extra } else { 0 };
        let queue = link.lanes.entry((from, lane)).or_default();
        let at = (now + delay + extra).max(way.stalled_until).max(queue.last + 1);
        queue.last = at;
        queue.bytes += bytes.len();
        if queue.bytes > most || at > now + PATIENCE {
            self.mark("slow reader dropped");
            self.lose_link(from, to, now);
            return;
        }
        let bytes = bytes.freeze();
        self.queue.push(at, Due::Deliver(Delivery { from, to, lane, link: name, bytes }));
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) -> Verdict {
        let Delivery { from, to, .. } = delivery;
        if let Some(when) = self.paused(to) {
            self.queue.push(when, Due::Deliver(delivery));
            return Ok(());
        }
        let (now, from_id) = (self.now, self.node(from).id);
        let link = self.link_mut(from, to);
        if link.name == delivery.link
            && let Some(lane) = link.lanes.get_mut(&(from, delivery.lane))
        {
            lane.bytes = lane.bytes.saturating_sub(delivery.bytes.len());
        }
        let lost = link.name == delivery.link && !link.alive && now > link.cutoff;
        let way = link.way(from);
        let flip = way.flips > 0;
        way.flips -= u64::from(flip);
        let view = self.node(to).process.as_ref().and_then(|p| p.links.get(&from_id).copied());
        if lost || view != Some(delivery.link) {
            if view.is_some() && view != Some(delivery.link) {
                self.mark("stale message dropped");
            }
            return Ok(());
        }
        let bytes = if flip { self.flipped(&delivery.bytes) } else { delivery.bytes };
        match Envelope::decode(&bytes) {
            Ok(envelope) => {
                self.log(to, 3, || format!("from n{} {}", from + 1, brief(&envelope)));
                self.step(to, Event::Message { from: from_id, envelope })
            }
            Err(_malformed) => {
                self.mark("damaged head dropped the link");
                self.lose_link(from, to, now);
                Ok(())
            }
        }
    }

    fn flipped(&mut self, bytes: &Bytes) -> Bytes {
        let mut out = bytes.to_vec();
        let at = self.dice.net.place(out.len());
        let bit = self.dice.net.below(8);
        if let Some(byte) = out.get_mut(at) {
            *byte ^= 1 << bit;
        }
        out.into()
    }
}

use antiphon_proto::{Message, MessageLane};

const LANES: [MessageLane; 3] = [MessageLane::Control, MessageLane::Log, MessageLane::Bulk];

/// A message in one line.
pub(super) fn brief(envelope: &Envelope) -> String {
    let epoch = envelope.epoch;
    match &envelope.message {
        Message::Append(append) => {
            let (stable, head, bytes) = (append.stable, append.head, append.frames.len());
            format!("append e{epoch} s{} {bytes}B stable {stable} head {head}", append.stream)
        }
        Message::Ack(ack) => format!("ack e{epoch} s{} {:?}", ack.stream, ack.own),
        Message::Sealed(sealed) => format!(
            "sealed e{epoch} last {} base {} amnesiac {} config {}",
            sealed.last, sealed.base, sealed.amnesiac, sealed.config.epoch
        ),
        Message::Config(config) => format!("config e{}", config.epoch),
        Message::Fetched { after, frames, .. } => {
            format!("fetched e{epoch} after {after} {}B", frames.len())
        }
        Message::Open(_)
        | Message::Closed { .. }
        | Message::Seal
        | Message::SealRefused
        | Message::Fetch { .. }
        | Message::Call { .. }
        | Message::Answer { .. } => format!("e{epoch} {:?}", envelope.message),
    }
}
