//! The primary: gives entries their place, counts who holds them, says what is stable.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::mutation::Mutation;
use crate::replica::{Effect, Limits, Replica, Role};
use crate::watermark::Watermark;
use crate::{
    BatchBuilder, Config, EntryId, Kind, Lsn, Message, NodeId, PAYLOAD_BYTES_MAX, Policy,
    Positions, Rule, Time, VoterSet,
};

/// Why an entry was not appended. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node appends, or nobody yet.
    #[error("not the primary of this log")]
    NotPrimary {
        /// Who, as far as this node knows.
        primary: Option<NodeId>,
    },
    /// The epoch has not reached the floor yet.
    #[error("the primary is not ready yet")]
    NotReady,
    /// Too many bytes wait for the floor.
    #[error("too many writes are waiting for their replicas")]
    Busy,
    /// Over [`PAYLOAD_BYTES_MAX`].
    #[error("an entry of {0} bytes is over the limit of {PAYLOAD_BYTES_MAX}")]
    TooLarge(usize),
}

#[derive(Debug)]
pub(super) struct Primary {
    builder: BatchBuilder,
    start: Lsn, // this epoch's first entry
    held: Vec<Positions>,
    floor_rule: Rule,
    floor: Watermark,
    levels: Vec<Level>,
    unstable: VecDeque<Waiting>,
    unstable_bytes: usize,
    limits: Limits,
    ack_received: bool, // somebody waits for entries in memory
    serving: bool,
    stable_at: Option<Time>, // when `stable` moved and was not told to all children since
    config_waits: bool,      // it is told to nobody before it is on disk
}

#[derive(Debug)]
struct Level {
    policy: Policy,
    rule: Rule,
    mark: Watermark,
    below_floor: bool,
}

#[derive(Debug)]
struct Waiting {
    last: Lsn,
    bytes: usize,
    at: Time,
}

impl Primary {
    pub(super) fn new(
        config: &Config,
        builder: BatchBuilder,
        limits: Limits,
        config_waits: bool,
    ) -> Self {
        let floor = config.rule(config.floor).expect("a checked configuration has its floor");
        Self {
            start: builder.last().lsn.next(),
            builder,
            held: vec![Positions::default(); config.voters.len()],
            floor: Watermark::new(&floor),
            floor_rule: floor,
            levels: Vec::new(),
            unstable: VecDeque::new(),
            unstable_bytes: 0,
            limits,
            ack_received: false,
            serving: false,
            stable_at: None,
            config_waits,
        }
    }

    pub(super) const fn is_serving(&self) -> bool {
        self.serving
    }

    pub(super) const fn wants_received(&self) -> bool {
        self.ack_received
    }

    pub(super) const fn unstable_bytes(&self) -> usize {
        self.unstable_bytes
    }

    /// The voters whose disks hold this epoch's first entry.
    pub(super) fn holders(&self) -> VoterSet {
        let held = self.held.iter().enumerate();
        let holding = held.filter(|(_, positions)| positions.durable >= self.start);
        holding.fold(VoterSet::EMPTY, |set, (place, _)| set.with(place))
    }

    /// Whether those who hold this epoch's first entry would be enough for a recovery.
    pub(super) fn is_held_enough(&self, voters: VoterSet) -> bool {
        self.floor_rule.safe(voters, self.holders())
    }

    /// Entries whose loss would go beyond the guard are not acknowledged below the floor.
    fn guard_holds(&self, now: Time) -> bool {
        let age = self.unstable.front().map_or(0, |waiting| now.ms_since(waiting.at));
        self.unstable_bytes <= self.limits.guard_bytes && age <= self.limits.guard_ms
    }

    fn note(&mut self, place: usize, positions: Positions) {
        let Some(held) = self.held.get_mut(place) else { return };
        let fell = positions.received < held.received || positions.durable < held.durable;
        *held = positions;
        self.floor.advance(place, positions.durable);
        for level in &mut self.levels {
            level.mark.advance(place, level.policy.counts(positions));
        }
        if fell {
            self.recount();
        }
    }

    /// Counts anew: a voter came back with less than it had. What it lost counts no more.
    fn recount(&mut self) {
        self.floor = Watermark::new(&self.floor_rule);
        for (place, held) in self.held.iter().enumerate() {
            self.floor.advance(place, held.durable);
        }
        for level in &mut self.levels {
            level.mark = level.policy.count(&level.rule, &self.held);
        }
    }

    /// The watermark of a policy, begun when it is first asked for.
    fn level(&mut self, config: &Config, policy: Policy) -> Option<&Level> {
        if let Some(at) = self.levels.iter().position(|level| level.policy == policy) {
            return self.levels.get(at);
        }
        let rule = config.rule(policy).ok()?;
        let floor = config.rule(config.floor).ok()?;
        let durable = !matches!(policy, Policy::Received(_));
        let below_floor = !(durable && rule.implies(&floor, config.voter_set()));
        let mark = policy.count(&rule, &self.held);
        self.ack_received |= !durable;
        self.levels.push(Level { policy, rule, mark, below_floor });
        self.levels.last()
    }
}

impl Policy {
    fn count(self, rule: &Rule, held: &[Positions]) -> Watermark {
        let mut mark = Watermark::new(rule);
        for (place, held) in held.iter().enumerate() {
            mark.advance(place, self.counts(*held));
        }
        mark
    }

    /// Which of a voter's positions the policy counts.
    const fn counts(self, held: Positions) -> Lsn {
        match self {
            Self::Received(_) => held.received,
            Self::Local
            | Self::Ack(_)
            | Self::Quorum
            | Self::All
            | Self::Region(_)
            | Self::Prefix(_) => held.durable,
        }
    }
}

impl Replica {
    /// Appends the first entry of an epoch; its payload is the configuration.
    pub(super) fn start_epoch(&mut self) {
        let epoch = self.config.epoch;
        let payload = self.config.encode();
        let Role::Primary(primary) = &mut self.role else { return };
        primary.builder.push(epoch, Kind::EpochStart, 0, |out| out.extend_from_slice(&payload));
        self.close_batch();
    }

    /// Gives an entry its place at the end of the log. `bytes` is the size of what `write` will
    /// write; `wall_ms` is the time that the entry carries. It gathers with others until the
    /// next [`super::Event::Tick`] or until a batch is full.
    ///
    /// # Errors
    /// Why nothing was appended.
    ///
    /// # Panics
    /// When `write` writes more than it said and than an entry may have.
    pub fn propose(
        &mut self,
        kind: Kind,
        wall_ms: u64,
        bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<EntryId, ProposeError> {
        let known = Some(self.config.primary).filter(|node| *node != self.me.node);
        let epoch = self.config.epoch;
        let Role::Primary(primary) = &mut self.role else {
            return Err(ProposeError::NotPrimary { primary: known });
        };
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(ProposeError::TooLarge(bytes));
        }
        if !primary.serving {
            return Err(ProposeError::NotReady);
        }
        let waiting = primary.unstable_bytes + primary.builder.len();
        let endless = self.planted.is(Mutation::NeverBusy);
        if waiting > 0 && waiting + bytes > self.limits.unstable_bytes && !endless {
            return Err(ProposeError::Busy);
        }
        let id = primary.builder.push(epoch, kind, wall_ms, write);
        if primary.builder.len() >= self.limits.batch_bytes {
            self.close_batch();
        }
        Ok(id)
    }

    /// What was proposed and gathers: the last entry that was given a place, and bytes.
    #[must_use]
    pub fn gathered(&self) -> (Lsn, usize) {
        match &self.role {
            Role::Primary(primary) => (primary.builder.last().lsn, primary.builder.len()),
            Role::Follower(_) | Role::Recovering(_) | Role::Halted => (self.log.last().lsn, 0),
        }
    }

    /// Moves what was proposed into the log.
    pub(super) fn close_batch(&mut self) {
        let now = self.now;
        let Role::Primary(primary) = &mut self.role else { return };
        let Some(batch) = primary.builder.take() else { return };
        let (last, bytes) = (batch.last().lsn, batch.bytes().len());
        primary.unstable_bytes += bytes;
        primary.unstable.push_back(Waiting { last, bytes, at: now });
        self.append(batch);
        self.note_own_progress();
    }

    pub(super) fn settle_primary(&mut self) {
        self.tell_waiting_config();
        let Role::Primary(primary) = &mut self.role else { return };
        let alone = self.planted.is(Mutation::StableFromOwnDisk);
        let mark = if alone { self.log.durable() } else { primary.floor.mark() };
        let any_epoch = self.planted.is(Mutation::SkipRuleA);
        // Entries of earlier epochs count only together with this epoch's first: until then a
        // recovery elsewhere could still prefer another log.
        if (mark < primary.start && !any_epoch) || mark <= self.stable {
            return;
        }
        // Whatever is acknowledged rests on what is stable.
        if !self.establish() {
            return;
        }
        let now = self.now;
        let Role::Primary(primary) = &mut self.role else { return };
        self.stable = mark;
        primary.stable_at.get_or_insert(now);
        while primary.unstable.front().is_some_and(|waiting| waiting.last <= mark) {
            let done = primary.unstable.pop_front().map_or(0, |waiting| waiting.bytes);
            primary.unstable_bytes -= done;
        }
    }

    /// Tells a peer of the configuration, unless all are told soon.
    pub(super) fn tell_config(&mut self, peer: NodeId) {
        if matches!(&self.role, Role::Primary(primary) if primary.config_waits) {
            return;
        }
        self.send(peer, Message::Config(self.config.clone()));
    }

    fn tell_waiting_config(&mut self) {
        let Role::Primary(primary) = &mut self.role else { return };
        if primary.config_waits && self.obeyed <= self.persisted {
            primary.config_waits = false;
            self.tell_all();
        }
    }

    pub(super) fn tell_all(&mut self) {
        let peers: Vec<_> = self.links.iter().copied().collect();
        for peer in peers {
            self.tell_config(peer);
        }
    }

    /// Serves once the epoch's first entry is stable and the state holds all up to it: writes
    /// are executed against that state.
    pub(super) fn settle_serve(&mut self) {
        let Role::Primary(primary) = &mut self.role else { return };
        let stable = self.stable >= primary.start || self.planted.is(Mutation::ServeBeforeStable);
        let hasty = self.planted.is(Mutation::ServeBeforeApplied)
            || self.planted.is(Mutation::ServeBeforeStable);
        if !primary.serving && stable && (self.applied >= primary.start || hasty) {
            primary.serving = true;
            self.effects.push(Effect::Serve);
        }
    }

    /// Tells the primary's counts about this node's own disk.
    pub(super) fn note_own_progress(&mut self) {
        let own = self.own_positions();
        self.note(self.me.node, own);
    }

    pub(super) fn note(&mut self, node: NodeId, positions: Positions) {
        let Some(place) = self.config.place(node) else { return };
        if let Role::Primary(primary) = &mut self.role {
            primary.note(place, positions);
        }
    }

    /// When a stable position must be told for want of an entry to travel with.
    pub(super) fn stable_deadline(&self) -> Option<Time> {
        let Role::Primary(primary) = &self.role else { return None };
        primary.stable_at.map(|at| at.plus_ms(self.limits.stable_ms))
    }

    pub(super) fn stable_is_told(&mut self) {
        if let Role::Primary(primary) = &mut self.role {
            primary.stable_at = None;
        }
    }

    /// The highest position that may be acknowledged at `policy`; nothing at a follower.
    ///
    /// At least as strong as the floor: stable too. Weaker: while the guard holds, or stable.
    pub fn reached(&mut self, policy: Policy) -> Lsn {
        let (now, stable) = (self.now, self.stable);
        let Role::Primary(primary) = &mut self.role else { return Lsn::ZERO };
        let guard = primary.guard_holds(now) || self.planted.is(Mutation::GuardIgnored);
        let early = self.planted.is(Mutation::ReachedBeforeStable);
        match primary.level(&self.config, policy) {
            Some(level) if (level.below_floor && guard) || early => level.mark.mark(),
            Some(level) => level.mark.mark().min(stable),
            None => Lsn::ZERO,
        }
    }

    /// Whether the voters that are linked now could satisfy `policy`.
    #[must_use]
    pub fn can_reach(&self, policy: Policy) -> bool {
        self.config.rule(policy).is_ok_and(|rule| rule.sat(self.linked_voters()))
    }

    fn linked_voters(&self) -> VoterSet {
        let open = self.children.iter().filter(|(_, child)| child.is_open());
        let below = open.flat_map(|(node, child)| {
            std::iter::once(*node).chain(child.below().iter().map(|(node, _)| *node))
        });
        let nodes = below.chain([self.me.node]);
        nodes.filter_map(|node| self.config.place(node)).fold(VoterSet::EMPTY, VoterSet::with)
    }

    /// How many other voters hold the entry at `lsn`: in memory, and on disk.
    #[must_use]
    pub fn copies(&self, lsn: Lsn) -> (usize, usize) {
        let Role::Primary(primary) = &self.role else { return (0, 0) };
        let own = self.config.place(self.me.node);
        let others = primary.held.iter().enumerate().filter(|(place, _)| Some(*place) != own);
        others.fold((0, 0), |(received, durable), (_, held)| {
            (
                received + usize::from(held.received >= lsn),
                durable + usize::from(held.durable >= lsn),
            )
        })
    }
}
