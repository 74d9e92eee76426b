//! A cluster in one thread: everything that happens is an event at a time.

mod checks;
mod clients;
mod disks;
mod faults;
mod finish;
mod network;
mod process;
mod sessions;

use std::collections::{BTreeMap, VecDeque};

use antiphon_proto::{Config, EntryId, Load, MessageLane, NodeId, StoreUuid, Ticket};
use antiphon_store::SimDisk;
use bytes::Bytes;

use crate::clock::Clock;
use crate::link::Link;
use crate::node::{Node, Process};
use crate::oracle::{Oracle, Verdict, Violation};
use crate::plan::{Plan, PlanError};
use crate::rng::Rng;
use crate::storage::Truth;
use crate::work::Op;

pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000_000;

/// Events after which a run is taken to be stuck in a loop.
const EVENTS_MAX: u64 = 2_000_000;

/// What is to happen.
#[derive(Debug)]
enum Due {
    Boot(usize),
    Tick { at: usize, life: u64 },
    Flush { at: usize, life: u64 },
    Dial(usize),
    Up { at: usize, peer: usize, link: u64 },
    Down { at: usize, peer: usize, link: u64 },
    Deliver(Delivery),
    Disk { at: usize, life: u64 },
    Loaded { at: usize, life: u64, load: Load },
    Note { at: usize, life: u64 },
    Snapshot { at: usize, life: u64 },
    Think(usize),
    Arrive(usize),
    Answer(usize),
    GiveUp(usize),
    Fault(usize),
    Refill(usize),
    Heal,
    Probe,
}

#[derive(Debug)]
struct Delivery {
    from: usize,
    to: usize,
    lane: MessageLane,
    link: u64,
    bytes: Bytes,
}

/// What a run was, when it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was broken first, if anything was.
    pub violation: Option<Violation>,
    /// Hash over all that happened: equal for equal runs.
    pub trace: u64,
    /// Events that were handled.
    pub events: u64,
    /// Simulated time. Unit: nanoseconds.
    pub simulated: u64,
    /// Faults that happened, by class.
    pub faults: BTreeMap<&'static str, u64>,
    /// Rare branches that were taken, and how often.
    pub marks: BTreeMap<&'static str, u64>,
    /// The last events, if they were asked for.
    pub lines: Vec<String>,
    /// One line for each node.
    pub nodes: Vec<String>,
}

#[derive(Debug)]
struct Dice {
    net: Rng,
    disk: Rng,
    work: Rng,
    node: Rng,
    once: Rng, // of clients with sessions
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct World {
    plan: Plan,
    config: Config,
    now: u64,
    queue: crate::queue::Queue<Due>,
    nodes: Vec<Node>,
    links: Vec<Link>,
    ops: Vec<Op>,
    asked: Vec<u64>, // commands left for each client
    sessions: Vec<sessions::Client>,
    first_replies: BTreeMap<EntryId, (Option<Ticket>, Bytes)>, // of executed numbered writes
    oracle: Oracle,
    dice: Dice,
    healed_at: Option<u64>,
    probe: Option<usize>, // the write that must get through after healing
    fates: Vec<(usize, EntryId, bool)>, // who said of which entry that it is stable, or lost
    over: bool,
    events: u64,
    trace: u64,
    faults: BTreeMap<&'static str, u64>,
    marks: BTreeMap<&'static str, u64>,
    lines: VecDeque<String>,
    lines_max: usize,
}

impl World {
    pub(crate) fn new(plan: &Plan, lines: usize) -> Result<Self, PlanError> {
        let config = plan.config()?;
        let mut node_dice = Rng::new(plan.seed, 5);
        let count = usize::try_from(plan.nodes).map_err(|_many| PlanError::Nodes(plan.nodes))?;
        let nodes = (0..count).map(|at| node(plan, at, &mut node_dice)).collect();
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| Link::new(a, b)));
        let clients = usize::try_from(plan.work.clients).unwrap_or(0);
        let mut world = Self {
            plan: plan.clone(),
            now: 0,
            queue: crate::queue::Queue::new(),
            nodes,
            links: pairs.collect(),
            ops: Vec::new(),
            asked: vec![plan.work.ops; clients],
            sessions: sessions::clients(plan, &mut Rng::new(plan.seed, 7)),
            first_replies: BTreeMap::new(),
            oracle: Oracle::new(config.clone()),
            config,
            dice: Dice {
                net: Rng::new(plan.seed, 2),
                disk: Rng::new(plan.seed, 3),
                work: Rng::new(plan.seed, 4),
                node: node_dice,
                once: Rng::new(plan.seed, 8),
            },
            healed_at: None,
            probe: None,
            fates: Vec::new(),
            over: false,
            events: 0,
            trace: plan.seed,
            faults: BTreeMap::new(),
            marks: BTreeMap::new(),
            lines: VecDeque::new(),
            lines_max: lines,
        };
        world.schedule(count, clients);
        Ok(world)
    }

    fn schedule(&mut self, nodes: usize, clients: usize) {
        for at in 0..nodes {
            self.node_mut(at).booting = true;
            let when = self.dice.node.below(20 * MS);
            self.queue.push(when, Due::Boot(at));
        }
        for client in 0..clients {
            let when = self.dice.work.below(self.plan.work.think_us * US);
            self.queue.push(when, Due::Think(client));
        }
        for (index, timed) in self.plan.faults.iter().enumerate() {
            self.queue.push(timed.at_us * US, Due::Fault(index));
        }
        self.queue.push(self.plan.until_us * US, Due::Heal);
    }

    /// Runs to the end or to the first violation.
    pub(crate) fn run(mut self) -> Outcome {
        let mut verdict = Ok(());
        while verdict.is_ok()
            && !self.over
            && let Some((at, due)) = self.queue.pop()
        {
            self.now = at;
            self.events += 1;
            verdict = self.handle(due);
            if self.events > EVENTS_MAX {
                let what = format!("{EVENTS_MAX} events by {} ms", self.now / MS);
                verdict = Err(Violation::new("a run ends", what));
            }
        }
        if verdict.is_ok() {
            verdict = self.last_checks();
        }
        let nodes = (0..self.nodes.len()).map(|at| self.describe(at)).collect();
        Outcome {
            violation: verdict.err(),
            trace: self.trace,
            events: self.events,
            simulated: self.now,
            faults: self.faults,
            marks: self.marks,
            lines: self.lines.into(),
            nodes,
        }
    }

    fn handle(&mut self, due: Due) -> Verdict {
        match due {
            Due::Boot(at) => self.boot(at),
            Due::Tick { at, life } => self.tick(at, life),
            Due::Flush { at, life } => self.flush(at, life),
            Due::Dial(link) => {
                self.dial(link);
                Ok(())
            }
            Due::Up { at, peer, link } => self.link_up(at, peer, link),
            Due::Down { at, peer, link } => self.link_down(at, peer, link),
            Due::Deliver(delivery) => self.deliver(delivery),
            Due::Disk { at, life } => self.disk_done(at, life),
            Due::Loaded { at, life, load } => self.loaded(at, life, load),
            Due::Note { at, life } => self.note_end(at, life),
            Due::Snapshot { at, life } => self.snapshot_due(at, life),
            Due::Think(client) => {
                self.think(client);
                Ok(())
            }
            Due::Arrive(op) => self.arrive(op),
            Due::Answer(op) => {
                self.answer(op);
                Ok(())
            }
            Due::GiveUp(op) => {
                self.give_up(op);
                Ok(())
            }
            Due::Fault(index) => self.inject(index),
            Due::Refill(at) => {
                self.node(at).disk.limit_bytes(None);
                Ok(())
            }
            Due::Heal => {
                self.heal();
                Ok(())
            }
            Due::Probe => self.probe(),
        }
    }

    fn node(&self, at: usize) -> &Node {
        self.nodes.get(at).expect("a node of the plan")
    }

    fn node_mut(&mut self, at: usize) -> &mut Node {
        self.nodes.get_mut(at).expect("a node of the plan")
    }

    /// The process of a life, if it still lives.
    fn alive(&mut self, at: usize, life: u64) -> Option<&mut Process> {
        let node = self.node_mut(at);
        if node.life == life { node.process.as_mut() } else { None }
    }

    /// The time at which a paused node can take this event; none when it is not paused.
    fn paused(&self, at: usize) -> Option<u64> {
        let until = self.node(at).paused_until;
        (until > self.now).then_some(until)
    }

    fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|other| other.id == node)
    }

    /// Notes that a rare branch was taken.
    fn mark(&mut self, name: &'static str) {
        *self.marks.entry(name).or_default() += 1;
    }

    /// Mixes what happened into the trace, and writes it down if somebody reads it.
    fn log(&mut self, at: usize, what: u64, words: impl FnOnce() -> String) {
        let mixed = self.trace ^ self.now.rotate_left(17) ^ (what << 8) ^ at as u64;
        self.trace = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        if self.lines_max > 0 {
            if self.lines.len() == self.lines_max {
                self.lines.pop_front();
            }
            let (ms, us) = (self.now / MS, self.now / US % 1_000);
            self.lines.push_back(format!("{ms:>6}.{us:03} n{} {}", at + 1, words()));
        }
    }
}

fn node(plan: &Plan, at: usize, dice: &mut Rng) -> Node {
    let skewed = plan.profile == crate::plan::Profile::Clocks;
    let ppm = if skewed { dice.range(980_000, 1_020_000) } else { dice.range(999_900, 1_000_100) };
    let number = at as u64 + 1;
    Node {
        id: NodeId::new(number),
        clock: Clock::new(dice.below(1 << 40), ppm, 1_700_000_000_000 + dice.below(1_000)),
        disk: SimDisk::new(dice.next()),
        stores: 0,
        truth: Truth::default(),
        process: None,
        life: 0,
        booting: false,
        gone: None,
        media: crate::node::Media::default(),
        told: antiphon_proto::Epoch::ZERO,
        paused_until: 0,
        disk_free_at: 0,
        slow_times: 1,
        slow_until: 0,
        armed: Vec::new(),
        read_fails: false,
    }
}

/// The name of a node's next data directory.
fn fresh_store(node: &Node, seed: u64) -> StoreUuid {
    let mut dice = Rng::new(seed ^ node.stores << 32, 6 + node.id.get());
    StoreUuid::new(u128::from(dice.next()) << 64 | u128::from(dice.next()))
}

impl Outcome {
    /// The outcome of a run in which an assertion broke.
    pub(crate) const fn panicked(said: String) -> Self {
        Self {
            violation: Some(Violation::new("no assertion breaks", said)),
            trace: 0,
            events: 0,
            simulated: 0,
            faults: BTreeMap::new(),
            marks: BTreeMap::new(),
            lines: Vec::new(),
            nodes: Vec::new(),
        }
    }
}
