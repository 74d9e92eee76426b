//! Failover and planned change: who may be sealed, who wins, what is cut, what counts.
//!
//! The rules: a set of sealed nodes is safe when those left cannot satisfy the floor; the log
//! with the greatest last epoch, then the longest, wins; only nodes that hold the epoch's first
//! entry count for an acknowledgement; a log is cut only where the recorded end of the epoch's
//! start says; during a planned change an acknowledgement needs the old and the new rule.
//! Steps interleave freely: any node that believes to be primary writes, acknowledgements are
//! counted late, recoveries are restarted.

mod log;
mod tests;

use crate::search::Model;
use crate::set::Set;
use log::{Entry, Log};

/// Nodes that a case may have.
const NODES_MAX: usize = 4;
/// Epochs that a case may have; epoch 0 is "never".
const EPOCHS_MAX: usize = 5;

/// Which voters must hold an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Need {
    /// So many of them.
    Count(u8),
    /// Every one.
    All,
    /// One of the nodes 0 and 1, and one of the nodes 2 and 3.
    EachRegion,
}

/// A floor: the voters, and which of them must hold an entry before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Rule {
    voters: Set,
    need: Need,
}

impl Rule {
    const fn new(voters: u8, need: Need) -> Self {
        Self { voters: Set(voters), need }
    }

    fn is_satisfied_by(self, nodes: Set) -> bool {
        let holders = nodes.and(self.voters);
        match self.need {
            Need::Count(count) => holders.count() >= u32::from(count),
            Need::All => holders == self.voters,
            Need::EachRegion => {
                !nodes.and(Set(0b0011)).is_empty() && !nodes.and(Set(0b1100)).is_empty()
            }
        }
    }
}

/// The one rule that is left out or bent, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    None,
    /// A sealed majority is taken as safe, whatever the floor.
    M1MajorityIsSafe,
    /// Any sealed node may win.
    M2AnyoneWins,
    /// The longest log wins, its epochs ignored.
    M3LongestWins,
    /// Entries of older epochs are acknowledged without one of the own epoch.
    M4OldEpochCounts,
    /// A new epoch begins without its first entry. Not unsafe: nothing is acknowledged before a
    /// first write comes; what is lost is time.
    M5NoFirstEntry,
    /// A log is cut at the end of its upstream's instead of the recorded start of the epoch.
    M6CutAtUpstream,
    /// The epoch that a node obeys orders the logs instead of the epoch of their last entry.
    M7ObeyedEpochWins,
    /// During a planned change the new rule alone is asked.
    M8NewRuleAlone,
    /// One sealed node is enough.
    M9OneIsSafe,
    /// Only sealed voters may win. Not unsafe: a stricter rule than ours.
    M10VotersWin,
    /// The new rule is activated before it holds.
    M11EarlyActivation,
}

/// One case: its bounds, its floor, and what may happen in it.
#[derive(Debug, Clone, Copy)]
struct Failover {
    nodes: u8,
    epochs_max: u8,
    writes_max: u8,
    floor: Rule,
    /// The rule of one planned change.
    change: Option<Rule>,
    /// Whether any node of an epoch passes entries on, as in a chain or a tree.
    relays: bool,
    /// Whether an election drops the voters that were not sealed.
    drops_voters: bool,
    mutation: Mutation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Node {
    log: Log,
    /// The epoch below which it obeys nobody.
    promised: u8,
    /// The epoch that its log belongs to.
    joined: u8,
    /// The epoch that it believes to lead; 0 is none.
    leads: u8,
}

/// What is known of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Epoch {
    /// The primary's log when the epoch began; logs that join are cut where they leave it.
    origin: Log,
    /// Entries before the epoch's own first.
    start: u8,
    floor: Rule,
    /// The second rule, while a planned change is not yet active.
    also: Option<Rule>,
    /// The longest log that each node acknowledged to the epoch's primary.
    acked: [u8; NODES_MAX],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Change {
    NotYet,
    Begun,
    Active,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Broken {
    Prefix,
    Stable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    nodes: [Node; NODES_MAX],
    epochs: [Epoch; EPOCHS_MAX],
    epoch: u8,
    primary: u8,
    active: Rule,
    pending: Option<Rule>,
    change: Change,
    /// The epoch that a recovery works towards; 0 is none.
    recovering: u8,
    sealed: Set,
    next_write: u8,
    /// Writes that a client was told are safe.
    told: Set,
    /// The longest prefix that was ever acknowledged.
    stable: Log,
    broken: Option<Broken>,
}

impl State {
    fn node(&self, node: u8) -> &Node {
        &self.nodes[usize::from(node)]
    }

    fn node_mut(&mut self, node: u8) -> &mut Node {
        &mut self.nodes[usize::from(node)]
    }

    fn epoch(&self, epoch: u8) -> &Epoch {
        &self.epochs[usize::from(epoch)]
    }

    fn epoch_mut(&mut self, epoch: u8) -> &mut Epoch {
        &mut self.epochs[usize::from(epoch)]
    }

    /// Counts the node's whole log as acknowledged to the primary of the epoch.
    fn acknowledge(&mut self, node: u8, epoch: u8) {
        let length = self.node(node).log.length();
        let acked = &mut self.epoch_mut(epoch).acked[usize::from(node)];
        *acked = length.max(*acked);
    }

    /// Makes `node` the primary of a new epoch; its first entry is appended on request.
    fn begin(&mut self, epoch: u8, node: u8, first_entry: bool) {
        let start = self.node(node).log.length();
        let primary = self.node_mut(node);
        (primary.leads, primary.joined) = (epoch, epoch);
        if first_entry {
            primary.log.push(Entry::first_of(epoch));
        }
        let origin = primary.log;
        self.epoch = epoch;
        let begun = self.epoch_mut(epoch);
        (begun.origin, begun.start, begun.acked) = (origin, start, [0; NODES_MAX]);
        self.acknowledge(node, epoch);
    }
}

#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "the fields are read where a trace is printed")]
enum Step {
    Write { id: u8, at: u8, epoch: u8 },
    Tell { id: u8, by: u8, epoch: u8 },
    Replicate { from: u8, to: u8, epoch: u8 },
    Recover { epoch: u8 },
    Seal { node: u8, epoch: u8 },
    Elect { node: u8, epoch: u8, sealed: Set },
    Change { epoch: u8 },
    Activate { epoch: u8 },
}

type Next = Vec<(Step, State)>;

impl Model for Failover {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let unknown = Epoch {
            origin: Log::default(),
            start: 0,
            floor: self.floor,
            also: None,
            acked: [0; NODES_MAX],
        };
        let mut state = State {
            nodes: [Node::default(); NODES_MAX],
            epochs: [unknown; EPOCHS_MAX],
            epoch: 1,
            primary: 0,
            active: self.floor,
            pending: None,
            change: Change::NotYet,
            recovering: 0,
            sealed: Set::default(),
            next_write: 1,
            told: Set::default(),
            stable: Log::default(),
            broken: None,
        };
        for node in 0..self.nodes {
            (state.node_mut(node).promised, state.node_mut(node).joined) = (1, 1);
        }
        state.begin(1, 0, true);
        state
    }

    fn steps(&self, state: &State, next: &mut Next) {
        for node in (0..self.nodes).filter(|node| state.node(*node).leads != 0) {
            self.write(state, node, next);
            self.tell(state, node, next);
        }
        for from in (0..self.nodes).filter(|from| self.replicates(state.node(*from))) {
            for to in (0..self.nodes).filter(|to| *to != from) {
                replicate(state, from, to, self.mutation, next);
            }
        }
        self.recover(state, next);
        if state.recovering > 0 {
            self.seal(state, next);
            self.elect(state, next);
        }
        if let Some(rule) = self.change {
            self.begin_change(state, rule, next);
            self.activate(state, next);
        }
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        match state.broken {
            Some(Broken::Stable) => return Some("two different prefixes were acknowledged"),
            Some(Broken::Prefix) => return Some("two logs of one epoch differ"),
            None => {}
        }
        let primary = state.node(state.primary);
        let lost = |id: &u8| state.told.has(*id) && !primary.log.has_write(*id);
        let is_lost = primary.leads == state.epoch && (1..=self.writes_max).any(|id| lost(&id));
        is_lost.then_some("the primary lacks a write that was acknowledged at the floor")
    }
}

impl Failover {
    fn replicates(&self, node: &Node) -> bool {
        node.joined != 0 && (self.relays || node.leads == node.joined)
    }

    /// A client writes at a node that believes to be primary, rightly or not.
    fn write(&self, state: &State, node: u8, next: &mut Next) {
        let room = state.node(node).log.has_room_for(2);
        if state.next_write > self.writes_max || !room {
            return;
        }
        let (id, epoch) = (state.next_write, state.node(node).leads);
        let mut then = *state;
        then.node_mut(node).log.push(Entry { epoch, write: id });
        then.next_write += 1;
        then.acknowledge(node, epoch);
        next.push((Step::Write { id, at: node, epoch }, then));
    }

    /// A primary tells a client that its write is safe, now or any time later.
    fn tell(&self, state: &State, node: u8, next: &mut Next) {
        let log = &state.node(node).log;
        let number = state.node(node).leads;
        let epoch = state.epoch(number);
        for (entry, length) in log.entries().zip(1_u8..) {
            if entry.write == 0 || state.told.has(entry.write) {
                continue;
            }
            let own_first =
                if self.mutation == Mutation::M4OldEpochCounts { 0 } else { epoch.start + 1 };
            let held = (0..self.nodes)
                .filter(|node| epoch.acked[usize::from(*node)] >= length.max(own_first))
                .fold(Set::default(), Set::with);
            if !self.may_tell(epoch, held) {
                continue;
            }
            let mut then = *state;
            then.told = then.told.with(entry.write);
            if !then.stable.extend_to(log, length) {
                then.broken = Some(Broken::Stable);
            }
            next.push((Step::Tell { id: entry.write, by: node, epoch: number }, then));
        }
    }

    fn may_tell(&self, epoch: &Epoch, held: Set) -> bool {
        let old = epoch.floor.is_satisfied_by(held);
        match epoch.also {
            None => old,
            Some(new) if self.mutation == Mutation::M8NewRuleAlone => new.is_satisfied_by(held),
            Some(new) => old && new.is_satisfied_by(held),
        }
    }

    /// A recovery begins, or begins again with a higher epoch.
    fn recover(&self, state: &State, next: &mut Next) {
        let highest = state.epoch.max(state.recovering);
        if highest < self.epochs_max {
            let epoch = highest + 1;
            let then = State { recovering: epoch, sealed: Set::default(), ..*state };
            next.push((Step::Recover { epoch }, then));
        }
    }

    /// A node promises the new epoch and stops obeying older ones.
    fn seal(&self, state: &State, next: &mut Next) {
        let epoch = state.recovering;
        let open = |node: &u8| !state.sealed.has(*node) && state.node(*node).promised < epoch;
        for node in (0..self.nodes).filter(open) {
            let mut then = *state;
            (then.node_mut(node).promised, then.node_mut(node).leads) = (epoch, 0);
            then.sealed = then.sealed.with(node);
            next.push((Step::Seal { node, epoch }, then));
        }
    }

    /// One of the best among the sealed becomes primary.
    fn elect(&self, state: &State, next: &mut Next) {
        let (epoch, sealed) = (state.recovering, state.sealed);
        if !self.is_safe(state.active, sealed) {
            return;
        }
        for node in self.winners(state) {
            let winner = state.node(node);
            if winner.promised != epoch || !winner.log.has_room_for(1) {
                continue;
            }
            let mut then = *state;
            if self.drops_voters && !state.active.voters.and(sealed).is_empty() {
                then.active.voters = state.active.voters.and(sealed);
            }
            (then.primary, then.recovering, then.sealed) = (node, 0, Set::default());
            then.pending = None;
            then.begin(epoch, node, self.mutation != Mutation::M5NoFirstEntry);
            (then.epoch_mut(epoch).floor, then.epoch_mut(epoch).also) = (then.active, None);
            next.push((Step::Elect { node, epoch, sealed }, then));
        }
    }

    fn is_safe(&self, floor: Rule, sealed: Set) -> bool {
        if self.mutation == Mutation::M1MajorityIsSafe {
            return sealed.and(floor.voters).count() * 2 > floor.voters.count();
        }
        let left = floor.voters.without(sealed);
        let safe = self.mutation == Mutation::M9OneIsSafe || !floor.is_satisfied_by(left);
        safe && !sealed.is_empty()
    }

    fn winners(&self, state: &State) -> Vec<u8> {
        let voters_only = self.mutation == Mutation::M10VotersWin;
        let eligible = if voters_only { state.active.voters } else { Set(u8::MAX) };
        let sealed = state.sealed.and(eligible);
        let rank = |node: &u8| {
            let Node { log, joined, .. } = state.node(*node);
            if self.mutation == Mutation::M2AnyoneWins {
                (0, 0)
            } else if self.mutation == Mutation::M3LongestWins {
                (0, log.length())
            } else if self.mutation == Mutation::M7ObeyedEpochWins {
                (*joined, log.length())
            } else {
                (log.last_epoch(), log.length())
            }
        };
        let candidates = || (0..self.nodes).filter(|node| sealed.has(*node));
        let best = candidates().map(|node| rank(&node)).max();
        candidates().filter(|node| Some(rank(node)) == best).collect()
    }

    /// The primary begins an epoch in which the old and the new rule count.
    fn begin_change(&self, state: &State, rule: Rule, next: &mut Next) {
        let node = state.primary;
        let primary = state.node(node);
        let idle = state.change == Change::NotYet && state.recovering == 0;
        let leads = primary.leads == state.epoch && rule.voters.has(node);
        if !idle || !leads || state.epoch >= self.epochs_max || !primary.log.has_room_for(1) {
            return;
        }
        let epoch = state.epoch + 1;
        let mut then = *state;
        (then.pending, then.change) = (Some(rule), Change::Begun);
        then.node_mut(node).promised = epoch;
        then.begin(epoch, node, true);
        (then.epoch_mut(epoch).floor, then.epoch_mut(epoch).also) = (state.active, Some(rule));
        next.push((Step::Change { epoch }, then));
    }

    /// The new rule holds for the epoch's first entry, and from now on alone.
    fn activate(&self, state: &State, next: &mut Next) {
        let Some(rule) = state.pending else { return };
        if state.recovering != 0 || state.node(state.primary).leads != state.epoch {
            return;
        }
        let epoch = state.epoch(state.epoch);
        let held = (0..self.nodes)
            .filter(|node| epoch.acked[usize::from(*node)] > epoch.start)
            .fold(Set::default(), Set::with);
        if self.mutation != Mutation::M11EarlyActivation && !rule.is_satisfied_by(held) {
            return;
        }
        let mut then = *state;
        (then.active, then.pending, then.change) = (rule, None, Change::Active);
        let epoch = then.epoch_mut(state.epoch);
        (epoch.floor, epoch.also) = (rule, None);
        next.push((Step::Activate { epoch: state.epoch }, then));
    }
}

/// One entry goes from a node to another; a node that joins the epoch is cut first.
fn replicate(state: &State, from: u8, to: u8, mutation: Mutation, next: &mut Next) {
    let (source, target) = (state.node(from), state.node(to));
    let epoch = source.joined;
    if target.promised > epoch || target.leads == epoch {
        return;
    }
    let step = Step::Replicate { from, to, epoch };
    let mut then = *state;
    let follower = then.node_mut(to);
    follower.promised = epoch;
    if follower.joined < epoch {
        let at_upstream = mutation == Mutation::M6CutAtUpstream;
        let origin = if at_upstream { &source.log } else { &state.epoch(epoch).origin };
        follower.log.cut(target.log.common(origin));
        (follower.joined, follower.leads) = (epoch, 0);
    }
    if let Some(entry) = source.log.get(follower.log.length()) {
        if source.log.common(&follower.log) < follower.log.length() {
            then.broken = Some(Broken::Prefix);
            next.push((step, then));
            return;
        }
        follower.log.push(entry);
    }
    then.acknowledge(to, epoch);
    if then != *state {
        next.push((step, then));
    }
}
