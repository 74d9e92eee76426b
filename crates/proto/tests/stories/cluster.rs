//! A cluster of replica machines in one thread: disks, links and a clock that a story moves.

use std::collections::{BTreeMap, VecDeque};

use antiphon_proto::{
    Append, Config, Effect, Envelope, Event, Identity, Incarnation, Kind, Limits, Lsn, Message,
    MessageLane, NodeId, Policy, ProposeError, Replica, StoreUuid, Time, Token,
};
use bytes::Bytes;

use super::checks::Checks;
use super::disk::{Disk, Op, Pace};
use super::words;

/// The most nodes whose logs are compared after each step.
const COMPARED_MAX: usize = 12;

/// Wakes in a row without the clock moving after which a replica is said to spin.
const WAKES_MAX: usize = 50;

#[derive(Debug)]
struct Node {
    replica: Option<Replica>,
    disk: Disk,
    reads: VecDeque<Event>,
}

/// One direction between two nodes: lanes that are in order each, but not with one another.
#[derive(Debug, Default)]
struct Link {
    held: Vec<MessageLane>,
    lanes: BTreeMap<MessageLane, VecDeque<(u64, Bytes)>>,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: BTreeMap<u64, Node>,
    links: BTreeMap<(u64, u64), Link>, // those that are up
    sent: u64,
    sent_bytes: BTreeMap<u64, usize>,
    now_ms: u64,
    config: Config,
    limits: Limits,
    told: BTreeMap<(u64, u64), (u64, Lsn, bool)>, // stream, stable and flag of the last append
    lines: Vec<String>,
    pub(crate) checks: Checks,
}

impl Cluster {
    pub(crate) fn new(config: Config, limits: Limits) -> Self {
        let node = |id: NodeId| {
            let disk = Disk::new(u128::from(id.get()));
            (id.get(), Node { replica: None, disk, reads: VecDeque::new() })
        };
        Self {
            nodes: config.nodes().into_iter().map(node).collect(),
            links: BTreeMap::new(),
            sent: 0,
            sent_bytes: BTreeMap::new(),
            now_ms: 0,
            config,
            limits,
            told: BTreeMap::new(),
            lines: Vec::new(),
            checks: Checks::default(),
        }
    }

    /// Bytes that a node sent to others since this was asked last.
    pub(crate) fn take_sent_bytes(&mut self, from: u64) -> usize {
        self.sent_bytes.remove(&from).unwrap_or_default()
    }

    /// What happened since this was asked last.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("the story names a node of its cluster")
    }

    pub(crate) fn disk(&mut self, id: u64) -> &mut Disk {
        &mut self.node(id).disk
    }

    pub(crate) fn replica(&mut self, id: u64) -> Option<&mut Replica> {
        self.node(id).replica.as_mut()
    }

    fn now(&self) -> Time {
        Time::from_ms(self.now_ms)
    }

    // Processes.

    pub(crate) fn start(&mut self, id: u64) {
        let (config, limits) = (self.config.clone(), self.limits);
        let node = self.node(id);
        if node.replica.is_some() {
            return;
        }
        node.disk.incarnation += 1;
        let me = Identity {
            node: NodeId::new(id),
            incarnation: Incarnation::new(node.disk.incarnation),
            store: StoreUuid::new(node.disk.store),
        };
        let recovered = node.disk.recovered();
        let (last, log) = (recovered.log.end.last, node.disk.ids());
        node.replica = Some(Replica::new(me, config, recovered, limits));
        self.checks.on_restart(id, last, log);
        self.step(id, Event::Start);
    }

    /// The machine stops. Of what its disk was asked and did not say, `keep` requests are there.
    pub(crate) fn crash(&mut self, id: u64, keep: usize) {
        for other in self.ids() {
            self.cut(id, other);
        }
        let node = self.node(id);
        node.replica = None;
        node.reads.clear();
        node.disk.crash(keep);
    }

    /// The machine comes back with an empty disk.
    pub(crate) fn wipe(&mut self, id: u64) {
        let disk = self.disk(id);
        let incarnation = disk.incarnation;
        *disk = Disk::new(disk.store + 100);
        disk.incarnation = incarnation;
        self.checks.damaged = true;
    }

    // Links.

    /// A node finds entries of its log damaged, or has mended them.
    pub(crate) fn unreadable(&mut self, id: u64, unreadable: bool) {
        self.step(id, Event::Unreadable(unreadable));
    }

    pub(crate) fn connect(&mut self, a: u64, b: u64) {
        let alive = [a, b].iter().all(|id| self.node(*id).replica.is_some());
        if a == b || !alive || self.links.contains_key(&(a, b)) {
            return;
        }
        self.links.insert((a, b), Link::default());
        self.links.insert((b, a), Link::default());
        self.step(a, Event::Connected(NodeId::new(b)));
        self.step(b, Event::Connected(NodeId::new(a)));
    }

    pub(crate) fn cut(&mut self, a: u64, b: u64) {
        if self.links.remove(&(a, b)).is_some() {
            self.links.remove(&(b, a));
            self.step(a, Event::Disconnected(NodeId::new(b)));
            self.step(b, Event::Disconnected(NodeId::new(a)));
        }
    }

    /// What is sent from `a` to `b` stays under way.
    pub(crate) fn hold(&mut self, (a, b): (u64, u64), lanes: &[MessageLane]) {
        if let Some(link) = self.links.get_mut(&(a, b)) {
            link.held = lanes.to_vec();
        }
    }

    fn send(&mut self, from: u64, to: u64, envelope: &Envelope) {
        let quiet = self.is_heartbeat(from, to, envelope);
        let Some(link) = self.links.get_mut(&(from, to)) else { return };
        let encoded = envelope.encode();
        let bytes: Bytes = [encoded.head.as_ref(), encoded.body.as_ref()].concat().into();
        let lane = envelope.message.lane();
        *self.sent_bytes.entry(from).or_default() += bytes.len();
        link.lanes.entry(lane).or_default().push_back((self.sent, bytes));
        let held = if link.held.contains(&lane) { " (held)" } else { "" };
        self.sent += 1;
        if !quiet {
            self.say(format!("{from}->{to} {}{held}", words::message(envelope)));
        }
    }

    /// Whether a message repeats what was told: those are delivered, but not worth a line.
    fn is_heartbeat(&mut self, from: u64, to: u64, envelope: &Envelope) -> bool {
        let Message::Append(Append { stream, stable, ack_received, frames, .. }) =
            &envelope.message
        else {
            return false;
        };
        let told = (*stream, *stable, *ack_received);
        self.told.insert((from, to), told) == Some(told) && frames.is_empty()
    }

    fn next_message(&self) -> Option<(u64, (u64, u64), MessageLane)> {
        let open = self.links.iter().flat_map(|(pair, link)| {
            let lanes = link.lanes.iter().filter(|(lane, _)| !link.held.contains(lane));
            lanes.filter_map(|(lane, queue)| Some((queue.front()?.0, *pair, *lane)))
        });
        open.min()
    }

    /// Delivers the oldest message that is not held. Returns whether there was one.
    pub(crate) fn deliver(&mut self) -> bool {
        let Some((_, (from, to), lane)) = self.next_message() else { return false };
        let link = self.links.get_mut(&(from, to)).expect("the link was just found");
        let queue = link.lanes.get_mut(&lane).expect("the lane was just found");
        let (_, bytes) = queue.pop_front().expect("the message was just found");
        let envelope = Envelope::decode(&bytes).expect("a message that we encoded");
        self.step(to, Event::Message { from: NodeId::new(from), envelope });
        true
    }

    // Steps.

    fn step(&mut self, id: u64, event: Event) {
        let now = self.now();
        let Some(replica) = self.replica(id) else { return };
        let before = replica.stable();
        let effects = replica.step(now, event);
        assert_eq!(replica.step(now, Event::Tick), [], "settling twice says nothing new");
        let (stable, config) = (replica.stable(), replica.config().clone());
        if stable > before && replica.is_primary() {
            self.say(format!("{id} stable {stable}"));
            let disks = self.nodes.iter().map(|(id, node)| (*id, &node.disk)).collect();
            self.checks.on_stable((id, &config), (before, stable), &disks);
        }
        for effect in effects {
            self.perform(id, effect);
        }
        let running = |node: &Node| node.replica.is_some();
        let replicas = self.nodes.iter().filter(|(_, node)| running(node));
        let replicas = replicas.filter_map(|(id, node)| Some((*id, node.replica.as_ref()?)));
        // All are compared with each other, which large clusters leave to small ones.
        if self.nodes.len() <= COMPARED_MAX {
            self.checks.on_step(&replicas.collect());
        }
    }

    fn perform(&mut self, id: u64, effect: Effect) {
        match effect {
            Effect::Persist { ticket, hard } => {
                self.say(format!("{id} {}", words::hard(id, &hard)));
                self.disk(id).submit(Op::Persist { ticket, hard });
            }
            Effect::Truncate(keep) => {
                self.say(format!("{id} cuts its log behind {keep}"));
                self.disk(id).submit(Op::Truncate(keep));
            }
            Effect::Append(batch) => {
                self.say(format!("{id} appends {}", words::range(batch.first(), batch.last())));
                self.checks.on_append(id, &batch);
                self.disk(id).submit(Op::Append(batch));
            }
            Effect::Send { to, envelope } => {
                self.note_claims(id, &envelope.message);
                self.send(id, to.get(), &envelope);
            }
            Effect::Load(load) => {
                self.say(format!("{id} {}", words::load(&load)));
                let shard = self.config.shard;
                let batch = self.disk(id).read(shard, load.after, load.bytes_max);
                self.node(id).reads.push_back(Event::Loaded { load, batch });
            }
            Effect::Apply(batch) => self.say(format!("{id} applies {}", words::applied(&batch))),
            Effect::Serve => self.say(format!("{id} serves")),
            Effect::Resign => self.say(format!("{id} resigns")),
            Effect::Halt(why) => self.say(format!("{id} halts: {why}")),
        }
    }

    /// A disk remembers the end that its node acknowledged.
    fn note_claims(&mut self, id: u64, message: &Message) {
        let durable = if let Message::Ack(ack) = message {
            ack.own.durable
        } else if let Message::Open(open) = message {
            open.durable
        } else if let Message::Sealed(sealed) = message {
            sealed.last.lsn
        } else {
            return;
        };
        let disk = self.disk(id);
        disk.hint = disk.hint.max(durable);
    }

    /// Lets a disk answer; `count` requests of it, or as many as its pace allows.
    pub(crate) fn sync(&mut self, id: u64, count: Option<usize>) {
        let disk = self.disk(id);
        let events = match count {
            Some(count) => disk.complete(count),
            None => disk.run(),
        };
        for event in events {
            if let Event::Durable(end) = &event {
                self.say(format!("{id} synced {end}"));
            } else if let Event::Truncated(end) = &event {
                self.checks.on_truncated(id, end.last.lsn);
            } else if matches!(event, Event::Persisted(_)) {
                let hard = self.disk(id).hard().expect("it was just written");
                self.checks.on_hard(id, &hard);
            }
            self.step(id, event);
        }
    }

    /// One thing that is ready to happen: a read, else a message, else a disk.
    pub(crate) fn advance(&mut self) -> bool {
        let reader = self.nodes.iter().find(|(_, node)| !node.reads.is_empty());
        if let Some(id) = reader.map(|(id, _)| *id) {
            if let Some(event) = self.node(id).reads.pop_front() {
                self.step(id, event);
            }
            return true;
        }
        if self.deliver() {
            return true;
        }
        let ready = self.nodes.iter().find(|(_, node)| node.disk.is_ready());
        let Some(id) = ready.map(|(id, _)| *id) else { return false };
        self.sync(id, None);
        true
    }

    /// Everything that can happen without the clock.
    pub(crate) fn settle(&mut self) {
        let mut steps = 0;
        while self.advance() {
            steps += 1;
            assert!(steps < 100_000, "the cluster never comes to rest");
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.nodes.values().filter_map(|node| node.replica.as_ref()?.deadline()).min()
    }

    /// Ticks every replica whose time has come. A deadline that stays in the past would keep a
    /// processor busy for nothing.
    fn wake(&mut self) {
        for _wake in 0..WAKES_MAX {
            let due = |node: &Node| node.replica.as_ref().and_then(Replica::deadline);
            let now = self.now();
            let late = self.nodes.iter().find(|(_, node)| due(node).is_some_and(|at| at <= now));
            let Some(id) = late.map(|(id, _)| *id) else { return };
            self.step(id, Event::Tick);
        }
        panic!("a deadline stays in the past");
    }

    /// Moves the clock, from deadline to deadline; everything that can happen then does.
    pub(crate) fn tick(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            self.wake();
            self.settle();
            match self.deadline().map(|at| at.nanos().div_ceil(1_000_000)) {
                Some(at) if at <= end => self.now_ms = at.max(self.now_ms),
                Some(_) | None => break,
            }
        }
        self.now_ms = end;
        self.wake();
        self.settle();
    }

    /// Moves the clock and nothing but those whose time has come.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.wake();
    }

    // The program above.

    pub(crate) fn propose(&mut self, id: u64, payloads: &[&str]) -> Result<(), ProposeError> {
        for payload in payloads {
            let write = |out: &mut bytes::BytesMut| out.extend_from_slice(payload.as_bytes());
            let Some(replica) = self.replica(id) else { return Ok(()) };
            let done = replica.propose(Kind::Data, 0, payload.len(), write);
            match done {
                Ok(entry) => self.say(format!("{id} gives {payload} the place {entry}")),
                Err(error) => {
                    self.say(format!("{id} refuses {payload}: {error}"));
                    self.step(id, Event::Tick);
                    return Err(error);
                }
            }
        }
        self.step(id, Event::Tick);
        Ok(())
    }

    pub(crate) fn reached(&mut self, id: u64, policy: Policy) {
        let reached = self.replica(id).map_or(Lsn::ZERO, |replica| replica.reached(policy));
        self.say(format!("{policy} is reached up to {reached}"));
    }

    pub(crate) fn fate(&mut self, id: u64, token: Token) {
        let fate = self.replica(id).map(|replica| replica.fate(token));
        self.say(
            fate.map_or_else(|| format!("{id} is down"), |fate| format!("{fate:?}").to_lowercase()),
        );
    }

    pub(crate) fn trim(&mut self, id: u64, to: Lsn) {
        let base = self.disk(id).trim(to);
        self.step(id, Event::Trimmed(base));
    }

    pub(crate) fn status(&mut self) {
        for id in self.ids() {
            let line = self.replica(id).map(|replica| words::status(&replica.status()));
            self.say(format!("{id} {}", line.unwrap_or_else(|| "down".to_owned())));
        }
    }

    pub(crate) fn set_pace(&mut self, id: u64, pace: Pace) {
        self.disk(id).pace = pace;
    }
}
