//! Local reads under leases: a chain, one key, discrete time, one reconfiguration.
//!
//! The rules: a node answers from its own log when the log is clean, all of it known to be
//! committed, and its lease runs. The head renews the lease by rounds that every member
//! confirms, counts it from the start of the round, and hands sub-leases down. A recovery seals,
//! and then waits until every lease that could have been granted before the first seal is over,
//! unless all are sealed.

mod tests;

use crate::search::Model;
use crate::set::Set;

/// Nodes of the first epoch, all of them.
const NODES: u8 = 3;
/// Ticks that a lease lasts.
const LEASE_TICKS: u8 = 2;
/// Writes that a log has room for.
const WRITES_MAX: usize = 4;

/// The one rule that is left out or bent, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    None,
    /// The recovery does not wait for leases to end.
    N1NoWait,
    /// A lease is counted from the end of its round.
    N2FromCompletion,
    /// Nodes read without a lease.
    N3NoLease,
    /// A star that commits with a majority still reads locally.
    N4QuorumCommit,
    /// The recovery counts its wait from the suspicion instead of the first seal.
    N5WaitFromSuspicion,
    /// A value that is not known to be committed is returned.
    N6DirtyRead,
    /// A majority confirms a lease.
    N7MajorityLease,
}

/// One case: its bounds and what is wrong with it.
#[derive(Debug, Clone, Copy)]
struct Reads {
    ticks_max: u8,
    writes_max: u8,
    mutation: Mutation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Log {
    length: u8,
    writes: [u8; WRITES_MAX], // those past the length are 0, so that equal logs are equal
}

impl Log {
    fn push(&mut self, write: u8) {
        self.writes[usize::from(self.length)] = write;
        self.length += 1;
    }

    fn get(&self, index: u8) -> Option<u8> {
        (index < self.length).then(|| self.writes[usize::from(index)])
    }

    /// The first entries, as many as there are up to `length`.
    fn first(&self, length: u8) -> Self {
        let mut first = *self;
        first.length = length.min(self.length);
        first.writes[usize::from(first.length)..].fill(0);
        first
    }

    fn has_room(&self) -> bool {
        usize::from(self.length) < WRITES_MAX
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Node {
    log: Log,
    /// Entries that it knows to be committed.
    committed: u8,
    promised: u8,
    epoch: u8,
    /// The tick from which its lease is over.
    lease_end: u8,
    /// As head: when the round of the lease began, and who confirmed it.
    round: Option<u8>,
    confirmed: Set,
}

impl Node {
    /// Whether it still works in `epoch` and has promised no later one.
    const fn is_live(&self, epoch: u8) -> bool {
        self.epoch == epoch && self.promised <= epoch
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Broken {
    Order,
    Uncommitted,
    Stale,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    now: u8,
    nodes: [Node; NODES as usize],
    /// The active epoch, 1 or 2.
    epoch: u8,
    /// The members of epoch 2, the head first.
    order: [u8; NODES as usize],
    members: u8,
    suspected: Option<u8>,
    sealed: Set,
    first_seal: u8,
    /// What is committed, as nobody in the system can see it.
    committed: Log,
    /// Entries that some client has seen to be there.
    seen: u8,
    next_write: u8,
    broken: Option<Broken>,
}

impl State {
    fn node(&self, node: u8) -> &Node {
        &self.nodes[usize::from(node)]
    }

    fn node_mut(&mut self, node: u8) -> &mut Node {
        &mut self.nodes[usize::from(node)]
    }

    fn members(&self, epoch: u8) -> Vec<u8> {
        let second = || self.order.into_iter().take(usize::from(self.members)).collect();
        if epoch == 1 { (0..NODES).collect() } else { second() }
    }

    fn commit(&mut self, log: &Log) {
        for index in 0..log.length {
            let Some(write) = log.get(index) else { continue };
            match self.committed.get(index) {
                None => self.committed.push(write),
                Some(other) if other != write => self.broken = Some(Broken::Order),
                Some(_) => {}
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "the fields are read where a trace is printed")]
enum Step {
    Tick,
    Write { id: u8, at: u8 },
    Replicate { from: u8, to: u8 },
    Commit { at: u8 },
    LearnCommit { from: u8, to: u8 },
    Read { at: u8, entries: u8, now: u8 },
    Acknowledge { by: u8 },
    BeginRound { head: u8, now: u8 },
    Confirm { by: u8 },
    Lease { head: u8, until: u8 },
    SubLease { to: u8, until: u8 },
    Suspect,
    Seal { node: u8, now: u8 },
    Activate { head: u8, members: u8, now: u8 },
}

type Next = Vec<(Step, State)>;

/// Adds the state that `change` makes of this one.
fn push(state: &State, next: &mut Next, step: Step, change: impl FnOnce(&mut State)) {
    let mut then = *state;
    change(&mut then);
    next.push((step, then));
}

impl Model for Reads {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            now: 0,
            nodes: [Node { promised: 1, epoch: 1, ..Node::default() }; NODES as usize],
            epoch: 1,
            order: [0; NODES as usize],
            members: 0,
            suspected: None,
            sealed: Set::default(),
            first_seal: 0,
            committed: Log::default(),
            seen: 0,
            next_write: 1,
            broken: None,
        }
    }

    fn steps(&self, state: &State, next: &mut Next) {
        if state.now < self.ticks_max {
            push(state, next, Step::Tick, |then| then.now += 1);
        }
        for epoch in 1..=state.epoch {
            let members = state.members(epoch);
            let head = members[0];
            self.write(state, epoch, head, next);
            for (place, node) in members.iter().enumerate() {
                if self.mutation == Mutation::N4QuorumCommit {
                    quorum_commit(state, epoch, &members, *node, next);
                } else {
                    chain_commit(state, epoch, *node, members.get(place + 1).copied(), next);
                }
                self.read(state, epoch, *node, next);
            }
            acknowledge(state, epoch, head, next);
            self.lease(state, epoch, &members, next);
        }
        if state.epoch == 1 {
            self.recover(state, next);
        }
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        state.broken.map(|broken| match broken {
            Broken::Order => "two different orders were committed",
            Broken::Uncommitted => "read of an uncommitted value",
            Broken::Stale => "stale read",
        })
    }
}

impl Reads {
    fn write(&self, state: &State, epoch: u8, head: u8, next: &mut Next) {
        let (id, node) = (state.next_write, state.node(head));
        if node.is_live(epoch) && id <= self.writes_max && node.log.has_room() {
            push(state, next, Step::Write { id, at: head }, |then| {
                then.node_mut(head).log.push(id);
                then.next_write += 1;
            });
        }
    }

    /// A clean node with a lease answers from its own log.
    fn read(&self, state: &State, epoch: u8, at: u8, next: &mut Next) {
        let node = state.node(at);
        let dirty_allowed = self.mutation == Mutation::N6DirtyRead;
        let leased = state.now < node.lease_end || self.mutation == Mutation::N3NoLease;
        let clean = node.log.length == node.committed || dirty_allowed;
        if node.epoch != epoch || !leased || !clean {
            return;
        }
        let entries = if dirty_allowed { node.log.length } else { node.committed };
        let mut then = *state;
        let answer = node.log.first(entries);
        if entries > state.committed.length || state.committed.first(entries) != answer {
            then.broken = Some(Broken::Uncommitted);
        } else if entries < state.seen {
            then.broken = Some(Broken::Stale);
        } else {
            then.seen = entries;
        }
        if then != *state {
            next.push((Step::Read { at, entries, now: state.now }, then));
        }
    }

    /// The head renews its lease by rounds and hands it down.
    fn lease(&self, state: &State, epoch: u8, members: &[u8], next: &mut Next) {
        let head = members[0];
        let node = state.node(head);
        if !node.is_live(epoch) {
            return;
        }
        if node.round.is_none_or(|begun| begun < state.now) {
            push(state, next, Step::BeginRound { head, now: state.now }, |then| {
                then.node_mut(head).round = Some(state.now);
                then.node_mut(head).confirmed = Set::default().with(head);
            });
        }
        if let Some(begun) = node.round {
            confirm(state, epoch, members, next);
            self.complete(state, begun, members, next);
        }
        if node.lease_end > state.now {
            sub_lease(state, epoch, members, next);
        }
    }

    /// A round that all confirmed is a lease, counted from the round's start.
    fn complete(&self, state: &State, begun: u8, members: &[u8], next: &mut Next) {
        let head = members[0];
        let node = state.node(head);
        let confirmed = members.iter().filter(|member| node.confirmed.has(**member)).count();
        let majority = self.mutation == Mutation::N7MajorityLease && confirmed * 2 > members.len();
        let enough = majority || confirmed == members.len();
        let late = self.mutation == Mutation::N2FromCompletion;
        let until = if late { state.now } else { begun } + LEASE_TICKS;
        if enough && until > node.lease_end {
            let step = Step::Lease { head, until };
            push(state, next, step, |then| then.node_mut(head).lease_end = until);
        }
    }

    /// Suspicion, seals, and the second epoch with those that were sealed.
    fn recover(&self, state: &State, next: &mut Next) {
        let Some(suspected) = state.suspected else {
            push(state, next, Step::Suspect, |then| then.suspected = Some(state.now));
            return;
        };
        for node in (0..NODES).filter(|node| state.node(*node).promised < 2) {
            push(state, next, Step::Seal { node, now: state.now }, |then| {
                (then.node_mut(node).promised, then.node_mut(node).lease_end) = (2, 0);
                if state.sealed.is_empty() {
                    then.first_seal = state.now;
                }
                then.sealed = state.sealed.with(node);
            });
        }
        // With a commit at the tail every member holds what is committed, so one is enough.
        let enough = if self.mutation == Mutation::N4QuorumCommit { 2 } else { 1 };
        let early = self.mutation == Mutation::N5WaitFromSuspicion;
        let wait_from = if early { suspected } else { state.first_seal };
        let waited = state.now >= wait_from + LEASE_TICKS || self.mutation == Mutation::N1NoWait;
        let all = state.sealed.count() == u32::from(NODES);
        if state.sealed.count() >= enough && (all || waited) {
            activate(state, next);
        }
    }
}

/// Entries go down the chain, the tail commits, acknowledgements climb back.
fn chain_commit(state: &State, epoch: u8, at: u8, below: Option<u8>, next: &mut Next) {
    let node = state.node(at);
    let Some(below) = below else {
        if node.is_live(epoch) && node.log.length > node.committed {
            push(state, next, Step::Commit { at }, |then| {
                then.node_mut(at).committed = node.log.length;
                then.commit(&node.log);
            });
        }
        return;
    };
    if node.epoch != epoch {
        return;
    }
    let lower = state.node(below);
    if let (true, Some(write)) = (lower.is_live(epoch), node.log.get(lower.log.length)) {
        let step = Step::Replicate { from: at, to: below };
        push(state, next, step, |then| then.node_mut(below).log.push(write));
    }
    if lower.epoch == epoch {
        learn_commit(state, below, at, next);
    }
}

/// The star of mutant 4: the head sends to each member and commits with a majority.
fn quorum_commit(state: &State, epoch: u8, members: &[u8], at: u8, next: &mut Next) {
    let head = members[0];
    let (leader, node) = (state.node(head), state.node(at));
    if at == head {
        let length = node.committed + 1;
        let holds = |member: &&u8| {
            let member = state.node(**member);
            member.epoch == epoch && member.log.length >= length
        };
        let majority = members.iter().filter(holds).count() * 2 > members.len();
        if node.is_live(epoch) && length <= node.log.length && majority {
            push(state, next, Step::Commit { at }, |then| {
                then.node_mut(at).committed = length;
                then.commit(&node.log.first(length));
            });
        }
        return;
    }
    let continues = leader.epoch == epoch && leader.log.first(node.log.length) == node.log;
    if let (true, true, Some(write)) =
        (node.is_live(epoch), continues, leader.log.get(node.log.length))
    {
        let step = Step::Replicate { from: head, to: at };
        push(state, next, step, |then| then.node_mut(at).log.push(write));
    }
    if node.epoch == epoch {
        learn_commit(state, head, at, next);
    }
}

fn learn_commit(state: &State, from: u8, to: u8, next: &mut Next) {
    let committed = state.node(from).committed.min(state.node(to).log.length);
    if committed > state.node(to).committed {
        let step = Step::LearnCommit { from, to };
        push(state, next, step, |then| then.node_mut(to).committed = committed);
    }
}

/// The head tells a client that its write is committed; the client has then seen it.
fn acknowledge(state: &State, epoch: u8, head: u8, next: &mut Next) {
    let node = state.node(head);
    let news = node.committed > state.seen && node.committed <= state.committed.length;
    if node.epoch == epoch && news {
        let step = Step::Acknowledge { by: head };
        push(state, next, step, |then| then.seen = node.committed);
    }
}

fn confirm(state: &State, epoch: u8, members: &[u8], next: &mut Next) {
    let head = members[0];
    let confirmed = state.node(head).confirmed;
    let asked = members.iter().filter(|member| !confirmed.has(**member));
    for by in asked.filter(|member| state.node(**member).is_live(epoch)) {
        let step = Step::Confirm { by: *by };
        push(state, next, step, |then| then.node_mut(head).confirmed = confirmed.with(*by));
    }
}

fn sub_lease(state: &State, epoch: u8, members: &[u8], next: &mut Next) {
    let until = state.node(members[0]).lease_end;
    let shorter = |member: &&u8| state.node(**member).lease_end < until;
    for to in members.iter().filter(shorter).filter(|to| state.node(**to).is_live(epoch)) {
        let step = Step::SubLease { to: *to, until };
        push(state, next, step, |then| then.node_mut(*to).lease_end = until);
    }
}

/// The sealed nodes become the second epoch's chain, the longest log first.
fn activate(state: &State, next: &mut Next) {
    let mut chain: Vec<u8> = (0..NODES).filter(|node| state.sealed.has(*node)).collect();
    chain.sort_by_key(|node| (u8::MAX - state.node(*node).log.length, *node));
    let mut then = *state;
    (then.epoch, then.members) = (2, 0);
    for (place, node) in then.order.iter_mut().zip(&chain) {
        *place = *node;
        then.members += 1;
    }
    for node in &chain {
        let node = then.node_mut(*node);
        (node.epoch, node.round, node.confirmed) = (2, None, Set::default());
    }
    let step = Step::Activate { head: chain[0], members: then.members, now: state.now };
    next.push((step, then));
}
