//! A shard of model voters, two reconfigurators at once, one register, and links that delay,
//! lose and reorder. Everything follows from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use antiphon_proto::{
    Config, EntryId, Epoch, Incarnation, Lsn, NodeId, Policy, Shape, ShardId, StoreUuid, Time,
    VoterSet,
};

use super::voter::{Office, Take as _, Voter, join, seal};
use crate::reconfigure::{
    Order, Person, Planted, Probed, Reconfigurator, ReconfigureEffect, ReconfigureEvent,
    ReconfigureOptions,
};
use crate::samples::{found, shard};
use crate::{
    Appointment, Command, Key, MemoryRegister, Outcome, Record, RegisterError, Version, WallMs,
};

pub(super) const SHARD: ShardId = ShardId::new(7);
const STEP_MS: u64 = 20;
pub(super) const SILENCE_MS: u64 = 300;

/// Numbers from a seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("64 bits") % limit
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

enum Message {
    ToVoter(usize, NodeId, ReconfigureEffect),
    ToDesk(usize, NodeId, ReconfigureEvent),
    ToRegister(usize, u64, Command),
    Answer(usize, u64, Result<Outcome, RegisterError>),
    Record(usize, Version),
    Config(NodeId, Version),
}

pub(super) struct World {
    pub(super) dice: Dice,
    now: Time,
    voters: BTreeMap<NodeId, Voter>,
    away: BTreeSet<NodeId>, // cut off from all others
    desks: Vec<(NodeId, Reconfigurator)>,
    register: MemoryRegister,
    records: BTreeMap<Version, Arc<crate::ShardRecord>>,
    mail: Vec<Message>,
    links: BTreeSet<(usize, NodeId)>,
    acknowledged: BTreeMap<EntryId, Epoch>, // and in which epoch first
    damage_left: usize,
    pub(super) elections: usize,
    pub(super) problem: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, planted: Planted) -> Self {
        let mut dice = Dice::new(seed);
        let (count, floor) =
            [(3, Policy::Quorum), (3, Policy::Ack(2)), (5, Policy::Quorum), (3, Policy::All)]
                [dice.below(4)];
        let shape = if dice.one_in(2) { Shape::Star } else { Shape::Chain };
        let member =
            |node| antiphon_proto::Member { node: NodeId::new(node), region: String::new() };
        let members: Vec<_> = (1..=count).map(member).collect();
        let config = Config::initial(SHARD, members, shape, floor).expect("good");
        let voter = |node: u64| Voter {
            up: true,
            log: Vec::new(),
            obeyed: config.clone(),
            promised: Epoch::ZERO,
            incarnation: 1,
            store: StoreUuid::new(node.into()),
            amnesiac: false,
            confirmed: None,
            head: Lsn::ZERO,
            office: Office::No,
        };
        let voters: BTreeMap<_, _> =
            (1..=count).map(|node| (NodeId::new(node), voter(node))).collect();
        let desk = || {
            let mut desk = Reconfigurator::new(ReconfigureOptions {
                silence_ms: SILENCE_MS,
                epoch_age_min_ms: 100,
                ..ReconfigureOptions::default()
            });
            desk.plant(planted);
            desk
        };
        let desks = vec![(NodeId::new(1), desk()), (NodeId::new(2), desk())];
        let mut this = Self {
            dice,
            now: Time::from_ms(10_000),
            away: BTreeSet::new(),
            desks,
            register: MemoryRegister::new(),
            records: BTreeMap::new(),
            mail: Vec::new(),
            links: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            damage_left: 1,
            elections: 0,
            problem: None,
            voters,
        };
        let run = Appointment {
            node: NodeId::new(1),
            incarnation: Incarnation::new(1),
            end: EntryId::ZERO,
        };
        let record = crate::ShardRecord {
            active: Config { epoch: Epoch::new(1), ..config },
            appointed: Some(run),
            stores: this.voters.iter().map(|(node, voter)| (*node, voter.store)).collect(),
            ..shard(7, 1)
        };
        this.register.apply(&found());
        let first = Command::one(Version::ZERO, Record::Shard(Box::new(record)), None);
        this.commit(&first);
        for desk in 0..this.desks.len() {
            this.tell(desk, ReconfigureEvent::Lead(true));
        }
        this
    }

    fn commit(&mut self, command: &Command) -> Outcome {
        let outcome = self.register.apply(command);
        if let Outcome::Done(version) = outcome {
            let record = self.register.get(Key::Shard(SHARD)).expect("written").record;
            let record = record.as_shard().expect("a shard's").clone();
            self.elections += 1;
            self.records.insert(version, Arc::new(record));
            self.mail.extend((0..self.desks.len()).map(|desk| Message::Record(desk, version)));
            self.mail.extend(self.voters.keys().map(|node| Message::Config(*node, version)));
        }
        outcome
    }

    /// All that was acknowledged is in the log of whoever takes office. (A disk may be lost after
    /// its node was chosen: then it takes no office.)
    fn check_office(&mut self, node: NodeId) {
        let voter = &self.voters[&node];
        let log: BTreeSet<_> = voter.log.iter().copied().collect();
        let epoch = voter.obeyed.epoch;
        let mut before = self.acknowledged.iter().filter(|(_, at)| **at < epoch);
        if let Some((lost, _)) = before.find(|(entry, _)| !log.contains(entry)) {
            self.problem.get_or_insert(format!("epoch {epoch} of node {node} lost {lost}"));
        }
    }

    fn connected(&self, a: NodeId, b: NodeId) -> bool {
        a == b || !(self.away.contains(&a) || self.away.contains(&b))
    }

    fn tell(&mut self, desk: usize, event: ReconfigureEvent) {
        let wall = WallMs::new(self.now.nanos() / 1_000_000);
        let effects = self.desks[desk].1.step(self.now, wall, event);
        for effect in effects {
            let to = match &effect {
                ReconfigureEffect::Probe(to, _)
                | ReconfigureEffect::Resume(to, ..)
                | ReconfigureEffect::Seal { to, .. }
                | ReconfigureEffect::Copy { to, .. }
                | ReconfigureEffect::Drain { to, .. } => *to,
                ReconfigureEffect::Swap(_, ticket, command) => {
                    self.mail.push(Message::ToRegister(desk, *ticket, command.clone()));
                    continue;
                }
                ReconfigureEffect::Answer(..) => continue,
            };
            self.mail.push(Message::ToVoter(desk, to, effect));
        }
    }

    /// A moment: faults, rounds, appends, and some of the mail.
    pub(super) fn step(&mut self, calm: bool) {
        self.now = self.now.plus_ms(STEP_MS);
        if !calm {
            self.fault();
        }
        self.rounds();
        self.replicate();
        self.watch_links();
        for _letter in 0..self.dice.below(12) + 4 {
            if self.mail.is_empty() {
                break;
            }
            // The oldest more often than others, or nothing would ever come to an end.
            let at = if self.dice.one_in(3) { self.dice.below(self.mail.len()) } else { 0 };
            let letter = self.mail.remove(at);
            self.deliver(letter);
        }
        for desk in 0..self.desks.len() {
            self.tell(desk, ReconfigureEvent::Tick);
        }
    }

    fn any_node(&mut self) -> NodeId {
        let count = u64::try_from(self.voters.len()).expect("small");
        NodeId::new(u64::try_from(self.dice.below(self.voters.len())).expect("small") % count + 1)
    }

    fn fault(&mut self) {
        let node = self.any_node();
        let voter = self.voters.get_mut(&node).expect("a voter");
        match self.dice.below(60) {
            0 | 1 if voter.up => (voter.up, voter.office) = (false, Office::No),
            2..=6 if !voter.up => self.restart(node),
            7 => drop(self.away.insert(node)),
            8..=10 => drop(self.away.remove(&node)),
            11 if !voter.up && self.damage_left > 0 => {
                self.damage_left -= 1;
                voter.log.clear();
                voter.obeyed.epoch = Epoch::ZERO;
                voter.promised = Epoch::ZERO;
                voter.store = StoreUuid::new(0x1000);
            }
            12 if !voter.up && self.damage_left > 0 => {
                self.damage_left -= 1;
                let keep = voter.log.len() / 2;
                voter.log.truncate(keep);
                voter.amnesiac = true;
            }
            13 => {
                let desk = self.dice.below(self.desks.len());
                let order = Order::Switchover { to: Some(node) };
                self.tell(desk, ReconfigureEvent::Ordered(1, SHARD, order, Person::default()));
            }
            14 => {
                let desk = self.dice.below(self.desks.len());
                self.tell(desk, ReconfigureEvent::Suspect(SHARD));
            }
            _ => {}
        }
    }

    fn restart(&mut self, node: NodeId) {
        let voter = self.voters.get_mut(&node).expect("a voter");
        let ended = Incarnation::new(voter.incarnation);
        voter.incarnation += 1;
        (voter.up, voter.office, voter.confirmed) = (true, Office::No, None);
        if self.dice.one_in(2) {
            for desk in 0..self.desks.len() {
                self.tell(desk, ReconfigureEvent::Exited(node, ended));
            }
        }
        if let Some(version) = self.records.keys().next_back() {
            self.mail.push(Message::Config(node, *version));
        }
    }

    fn primaries(&self) -> Vec<NodeId> {
        let serves = |voter: &Voter| {
            voter.up && voter.office != Office::No && voter.promised == voter.obeyed.epoch
        };
        self.voters.iter().filter(|(_, voter)| serves(voter)).map(|(node, _)| *node).collect()
    }

    /// Voters confirm their primary, and it notices whether enough of them do.
    fn rounds(&mut self) {
        for primary in self.primaries() {
            let config = self.voters[&primary].obeyed.clone();
            let confirms = |(node, voter): (&NodeId, &Voter)| {
                voter.up
                    && voter.obeyed.epoch == config.epoch
                    && voter.promised == config.epoch
                    && self.connected(primary, *node)
            };
            let set: Vec<_> =
                self.voters.iter().filter(|it| confirms((it.0, it.1))).map(|it| *it.0).collect();
            let places = set.iter().filter_map(|node| config.place(*node));
            let places = places.fold(VoterSet::EMPTY, VoterSet::with);
            let enough = config.rule(config.floor).expect("a floor").sat(places);
            for node in set.into_iter().filter(|node| *node != primary || enough) {
                self.voters.get_mut(&node).expect("a voter").confirmed = Some(self.now);
            }
        }
    }

    fn replicate(&mut self) {
        for primary in self.primaries() {
            if !self.primaries().contains(&primary) {
                continue; // it has just followed another
            }
            if !self.primaries().contains(&primary) {
                continue; // it has just followed another
            }
            let mut own = self.voters[&primary].clone();
            if own.office == Office::Appends && self.dice.one_in(2) {
                own.log.push(EntryId::new(own.obeyed.epoch, Lsn::new(own.log.len() as u64 + 1)));
                self.voters.insert(primary, own.clone());
            }
            for node in own.obeyed.nodes() {
                if self.dice.one_in(2) && self.connected(primary, node) {
                    self.send(&own, node);
                }
            }
            self.acknowledge(&own);
        }
    }

    /// The primary's log reaches a voter, which takes it unless it has promised otherwise.
    fn send(&mut self, primary: &Voter, node: NodeId) {
        let epoch = primary.obeyed.epoch;
        let voter = self.voters.get_mut(&node).expect("a voter");
        if !voter.up || voter.promised > epoch {
            return;
        }
        join(voter, &primary.obeyed);
        if !primary.log.starts_with(&voter.log) {
            self.problem.get_or_insert(format!("node {node} has another history in epoch {epoch}"));
            return;
        }
        let all = self.dice.one_in(2);
        let end = if all { primary.log.len() } else { primary.log.len().min(voter.log.len() + 1) };
        voter.log.clone_from_slice_to(&primary.log, end);
        voter.head = Lsn::new(primary.log.len() as u64);
    }

    fn acknowledge(&mut self, primary: &Voter) {
        let config = &primary.obeyed;
        let rule = config.rule(config.floor).expect("a floor");
        let start = primary.log.iter().position(|entry| entry.epoch == config.epoch);
        let Some(start) = start else { return };
        let held = |place: usize| {
            let node = config.voters.get(place).map(|member| member.node);
            let voter = node.and_then(|node| self.voters.get(&node));
            // A new disk has forgotten what it promised, so its word counts for nothing.
            let voter = voter.filter(|it| {
                node.is_some_and(|node| it.store == StoreUuid::new(node.get().into()))
            });
            voter.filter(|it| it.obeyed.epoch == config.epoch).map_or(0, |it| it.log.len())
        };
        let mark = rule.mark(&held);
        if mark > start {
            for entry in primary.log.iter().take(mark) {
                self.acknowledged.entry(*entry).or_insert(config.epoch);
            }
        }
    }

    fn watch_links(&mut self) {
        for desk in 0..self.desks.len() {
            let at = self.desks[desk].0;
            for node in self.voters.keys().copied().collect::<Vec<_>>() {
                let up = self.voters[&node].up && self.connected(at, node);
                let changed = if up {
                    self.links.insert((desk, node))
                } else {
                    self.links.remove(&(desk, node))
                };
                if changed {
                    self.tell(desk, ReconfigureEvent::Link(node, up));
                }
            }
        }
    }

    fn deliver(&mut self, letter: Message) {
        match letter {
            Message::ToVoter(desk, to, effect) => {
                let linked = self.links.contains(&(desk, to)) && self.voters[&to].up;
                if linked && !self.dice.one_in(10) {
                    self.at_voter(desk, to, &effect);
                }
            }
            Message::ToDesk(desk, from, event) => {
                if self.links.contains(&(desk, from)) && !self.dice.one_in(10) {
                    self.tell(desk, event);
                }
            }
            Message::ToRegister(desk, ticket, command) => {
                let lost = self.dice.one_in(8);
                if lost && self.dice.one_in(2) {
                    let unknown = Err(RegisterError::Unknown);
                    return self.mail.push(Message::Answer(desk, ticket, unknown));
                }
                let outcome = self.commit(&command);
                let answer = if lost { Err(RegisterError::Unknown) } else { Ok(outcome) };
                self.mail.push(Message::Answer(desk, ticket, answer));
            }
            Message::Answer(desk, ticket, answer) => {
                self.tell(desk, ReconfigureEvent::Swapped(SHARD, ticket, answer));
            }
            Message::Record(desk, version) => {
                let record = Arc::clone(&self.records[&version]);
                self.tell(desk, ReconfigureEvent::Shard { version, record });
            }
            // Records travel between nodes like all else.
            Message::Config(node, version) if self.away.contains(&node) || self.dice.one_in(4) => {
                self.mail.push(Message::Config(node, version));
            }
            Message::Config(node, version) => self.obey(node, version),
        }
    }

    /// A voter hears of a record: it takes office if it is the run that is named, else it follows.
    fn obey(&mut self, node: NodeId, version: Version) {
        let record = Arc::clone(&self.records[&version]);
        let run = record.appointed.expect("always named");
        let voter = self.voters.get_mut(&node).expect("a voter");
        if voter.up && run.node == node && run.incarnation.get() < voter.incarnation {
            // A later run of a node knows that the one that is named has ended.
            for desk in 0..self.desks.len() {
                self.tell(desk, ReconfigureEvent::Exited(node, run.incarnation));
            }
        }
        let voter = self.voters.get_mut(&node).expect("a voter");
        if !voter.up
            || voter.promised > record.active.epoch
            || voter.obeyed.epoch >= record.active.epoch
        {
            return;
        }
        let mine = run.node == node && run.incarnation.get() == voter.incarnation;
        if mine && voter.log.last().copied().unwrap_or_default() == run.end {
            voter.obeyed = record.active.clone();
            voter.promised = record.active.epoch;
            voter.office = Office::Appends;
            voter.log.push(EntryId::new(record.active.epoch, run.end.lsn.next()));
            self.check_office(node);
        } else if run.node != node {
            join(voter, &record.active);
        }
    }

    fn at_voter(&mut self, desk: usize, node: NodeId, effect: &ReconfigureEffect) {
        let now = self.now;
        let voter = self.voters.get_mut(&node).expect("a voter");
        let event = match effect {
            ReconfigureEffect::Probe(..) => {
                let confirmed_ms = voter.confirmed.map(|at| now.ms_since(at));
                ReconfigureEvent::Probed(
                    node,
                    SHARD,
                    Probed {
                        epoch: voter.obeyed.epoch,
                        confirmed_ms,
                        promised: voter.promised,
                        last: voter.log.last().copied().unwrap_or_default(),
                        head: voter.head,
                        store: voter.store,
                        amnesiac: voter.amnesiac,
                    },
                )
            }
            ReconfigureEffect::Seal { epoch, force, .. } => seal(voter, node, now, *epoch, *force),
            ReconfigureEffect::Drain { epoch, target, .. } => {
                let (epoch, target) = (*epoch, *target);
                if voter.office == Office::No
                    || voter.obeyed.epoch != epoch
                    || voter.promised != epoch
                {
                    return;
                }
                voter.office = Office::Drained;
                let own = voter.clone();
                let level = self.connected(node, target) && {
                    self.send(&own, target);
                    self.voters[&target].log == own.log
                };
                if !level {
                    return;
                }
                ReconfigureEvent::Drained(node, SHARD, epoch)
            }
            ReconfigureEffect::Resume(..) => {
                if voter.office == Office::Drained {
                    voter.office = Office::Appends;
                }
                return;
            }
            ReconfigureEffect::Copy { .. }
            | ReconfigureEffect::Swap(..)
            | ReconfigureEffect::Answer(..) => return,
        };
        self.mail.push(Message::ToDesk(desk, node, event));
    }

    /// Whether somebody serves, in the epoch of the record.
    pub(super) fn serves(&self) -> bool {
        let newest = self.records.values().next_back().expect("there is one");
        let serves = |node: &NodeId| self.voters[node].obeyed.epoch == newest.active.epoch;
        self.primaries().iter().any(serves)
    }

    /// How everything stands, for a seed that fails.
    pub(super) fn describe(&self) -> String {
        let newest = self.records.values().next_back().expect("there is one");
        let voter = |(node, it): (&NodeId, &Voter)| {
            let last = it.log.last().copied().unwrap_or_default();
            let (obeyed, promised) = (it.obeyed.epoch, it.promised);
            format!(
                "node {node}: run {}, ends at {last}, obeys {obeyed}, promised {promised}, \
                 {:?}, damaged {}",
                it.incarnation,
                it.office,
                it.amnesiac || it.store != StoreUuid::new(node.get().into())
            )
        };
        let voters: Vec<_> = self.voters.iter().map(voter).collect();
        let desks: Vec<_> = self.desks.iter().map(|(_, desk)| format!("{desk:#?}")).collect();
        let run = newest.appointed;
        format!(
            "epoch {} floor {} {run:?} {:?}\n{}\n{} letters\n{}",
            newest.active.epoch,
            newest.active.floor,
            newest.active.voters,
            voters.join("\n"),
            self.mail.len(),
            desks.join("\n"),
        )
    }

    /// Everybody comes back; what was damaged stays so.
    pub(super) fn heal(&mut self) {
        self.away.clear();
        for node in self.voters.keys().copied().collect::<Vec<_>>() {
            if !self.voters[&node].up {
                self.restart(node);
            }
        }
    }
}
