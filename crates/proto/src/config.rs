//! The configuration of a shard: who replicates, from whom, under which floor, and the cut table.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{Policy, Rule, VOTERS_MAX, VoterSet};
use crate::{EntryId, Epoch, Lsn, NodeId, ShardId};

/// Rows that the cut table keeps. Older epochs answer "unknown" when asked for a write's fate.
pub const HISTORY_ROWS_MAX: usize = 1_024;

/// The most nodes that a configuration names, readers and learners with the voters. One
/// acknowledgement speaks for all nodes below its sender.
pub const NODES_MAX: usize = 1_024;
const _: () = assert!(NODES_MAX <= crate::BELOW_MAX, "an acknowledgement has room for all nodes");

/// How the replication tree is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// The primary sends to every other member.
    Star,
    /// Each member sends to the next, the primary first.
    Chain,
}

/// A voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// Where it stands, for `region` policies; empty is a region too.
    pub region: String,
}

/// A row of the cut table: the last valid entry of an epoch that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The epoch.
    pub epoch: Epoch,
    /// Its last entry that later epochs kept.
    pub end: Lsn,
}

/// A configuration: a value, compared by its epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The log it configures.
    pub shard: ShardId,
    /// Its number; 0 is the configuration that the operator wrote, in which nobody serves.
    pub epoch: Epoch,
    /// Who appends.
    pub primary: NodeId,
    /// From whom each other member receives.
    pub parents: BTreeMap<NodeId, NodeId>,
    /// Who counts, in the order that `prefix` policies mean. At most [`VOTERS_MAX`].
    pub voters: Vec<Member>,
    /// The policy whose acknowledgements survive every automatic failover.
    pub floor: Policy,
    /// The cut table, oldest first. At most [`HISTORY_ROWS_MAX`] rows.
    pub history: Vec<Cut>,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No voter, or too many.
    #[error("a shard has from 1 to {VOTERS_MAX} voters, not {0}")]
    Voters(usize),
    /// Too many nodes.
    #[error("a shard has at most {NODES_MAX} nodes, not {0}")]
    Nodes(usize),
    /// A node is listed twice, or is node 0.
    #[error("node {0} is listed twice or is 0")]
    Member(NodeId),
    /// The primary does not vote.
    #[error("primary {0} is not among the voters")]
    Primary(NodeId),
    /// A parent link leads to no root.
    #[error("node {0} receives from nobody who leads back to the primary")]
    Tree(NodeId),
    /// A policy that this membership can never satisfy.
    #[error("policy {policy} can't be satisfied by {voters} voters; lower it or add nodes")]
    Policy {
        /// The policy.
        policy: Policy,
        /// How many voters there are.
        voters: usize,
    },
    /// The floor must be durable.
    #[error("the floor must be a durable policy, not {0}; take ack(N) or quorum")]
    Floor(Policy),
    /// The cut table is out of order or too long.
    #[error("the cut table is out of order or over {HISTORY_ROWS_MAX} rows")]
    History,
}

impl Config {
    /// The configuration that an operator writes: epoch 0, the tree drawn by `shape`, the
    /// first voter as primary.
    ///
    /// # Errors
    /// As [`Config::check`].
    pub fn initial(
        shard: ShardId,
        voters: Vec<Member>,
        shape: Shape,
        floor: Policy,
    ) -> Result<Self, ConfigError> {
        let nodes: Vec<_> = voters.iter().map(|member| member.node).collect();
        let primary = *nodes.first().ok_or(ConfigError::Voters(0))?;
        let pairs = nodes.iter().zip(nodes.iter().skip(1));
        let parents = match shape {
            Shape::Star => nodes.iter().skip(1).map(|node| (*node, primary)).collect(),
            Shape::Chain => pairs.map(|(parent, child)| (*child, *parent)).collect(),
        };
        let config =
            Self { shard, epoch: Epoch::ZERO, primary, parents, voters, floor, history: vec![] };
        config.check()?;
        Ok(config)
    }

    /// Draws learners below the voters: members that receive and never count. Each has the parent
    /// that is named with it, or the one nearest to the primary with fewer than `fan_out`
    /// children: a replica, then a learner before it in the list.
    ///
    /// # Errors
    /// As [`Config::check`], and [`ConfigError::Tree`] for one that nobody has room for.
    pub fn with_learners(
        mut self,
        learners: &[(NodeId, Option<NodeId>)],
        fan_out: usize,
    ) -> Result<Self, ConfigError> {
        if self.nodes().len() + learners.len() > NODES_MAX {
            return Err(ConfigError::Nodes(self.nodes().len() + learners.len()));
        }
        let mut children: BTreeMap<NodeId, usize> = BTreeMap::new();
        let named = learners.iter().filter_map(|(_, parent)| *parent);
        for parent in self.parents.values().copied().chain(named) {
            *children.entry(parent).or_default() += 1;
        }
        // The primary has the voters to send to, and takes learners only if it is alone.
        let voters = self.voters.iter().map(|member| (self.depth(member.node), member.node));
        let alone = self.voters.len() == 1;
        let mut open: Vec<_> = voters.filter(|(depth, _)| *depth > 0 || alone).collect();
        let mut known = self.nodes();
        for (node, parent) in learners {
            if *node == NodeId::default() || !known.insert(*node) {
                return Err(ConfigError::Member(*node));
            }
            let count = |node: &NodeId| children.get(node).copied().unwrap_or(0);
            let room = open.iter().filter(|(_, node)| count(node) < fan_out);
            let learns = |node: &NodeId| self.place(*node).is_none();
            let nearest = room.min_by_key(|(depth, node)| (*depth, learns(node), count(node)));
            let drawn = nearest.map(|(_, node)| *node);
            let taken = parent.or(drawn).ok_or(ConfigError::Tree(*node))?;
            *children.entry(taken).or_default() += usize::from(parent.is_none());
            self.parents.insert(*node, taken);
            open.push((self.depth(*node), *node));
        }
        self.check()?;
        Ok(self)
    }

    /// Steps from the primary to a node.
    fn depth(&self, node: NodeId) -> usize {
        let up = std::iter::successors(self.parent(node), |parent| self.parent(*parent));
        up.take(self.parents.len()).count()
    }

    /// The members that receive and never count.
    pub fn learners(&self) -> impl Iterator<Item = NodeId> {
        self.parents.keys().copied().filter(|node| self.place(*node).is_none())
    }

    /// Checks what every user of a configuration relies on.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.voters.is_empty() || self.voters.len() > VOTERS_MAX {
            return Err(ConfigError::Voters(self.voters.len()));
        }
        if self.parents.len() >= NODES_MAX {
            return Err(ConfigError::Nodes(self.parents.len() + 1));
        }
        let mut seen = BTreeSet::from([NodeId::default()]);
        for member in &self.voters {
            if !seen.insert(member.node) {
                return Err(ConfigError::Member(member.node));
            }
        }
        if self.place(self.primary).is_none() {
            return Err(ConfigError::Primary(self.primary));
        }
        let others = self.voters.iter().map(|member| member.node);
        for node in others.chain(self.parents.keys().copied()) {
            if !self.leads_to_primary(node) {
                return Err(ConfigError::Tree(node));
            }
        }
        if matches!(self.floor, Policy::Received(_)) {
            return Err(ConfigError::Floor(self.floor));
        }
        self.rule(self.floor)?;
        let ordered = self.history.iter().zip(self.history.iter().skip(1));
        let ordered = ordered.clone().all(|(a, b)| a.epoch < b.epoch && a.end <= b.end);
        let past = self.history.iter().all(|row| row.epoch < self.epoch);
        if !ordered || !past || self.history.len() > HISTORY_ROWS_MAX {
            return Err(ConfigError::History);
        }
        Ok(())
    }

    fn leads_to_primary(&self, node: NodeId) -> bool {
        let mut at = node;
        for _step in 0..=self.parents.len() {
            match self.parents.get(&at) {
                _ if at == self.primary => return !self.parents.contains_key(&at),
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        false
    }

    /// The place of a voter in the list.
    #[must_use]
    pub fn place(&self, node: NodeId) -> Option<usize> {
        self.voters.iter().position(|member| member.node == node)
    }

    /// All voters.
    #[must_use]
    pub fn voter_set(&self) -> VoterSet {
        VoterSet::first(self.voters.len())
    }

    /// From whom `node` receives; none for the primary and for strangers.
    #[must_use]
    pub fn parent(&self, node: NodeId) -> Option<NodeId> {
        self.parents.get(&node).copied()
    }

    /// To whom `node` sends, in order.
    pub fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.parents.iter().filter(move |(_, parent)| **parent == node).map(|(child, _)| *child)
    }

    /// Every node that the configuration names.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        let voters = self.voters.iter().map(|member| member.node);
        voters.chain(self.parents.keys().copied()).collect()
    }

    /// The predicate behind a policy, for this membership.
    ///
    /// # Errors
    /// When no set of these voters satisfies it.
    pub fn rule(&self, policy: Policy) -> Result<Rule, ConfigError> {
        let voters = self.voter_set();
        let rule = match policy {
            Policy::Local => {
                let own = self.place(self.primary).ok_or(ConfigError::Primary(self.primary))?;
                Rule::Count { need: 1, of: VoterSet::EMPTY.with(own) }
            }
            Policy::Received(count) | Policy::Ack(count) => {
                Rule::Count { need: usize::from(count), of: voters }
            }
            Policy::Quorum => Rule::Count { need: voters.len() / 2 + 1, of: voters },
            Policy::All => Rule::Count { need: voters.len(), of: voters },
            Policy::Prefix(count) if usize::from(count) <= voters.len() => {
                let need = usize::from(count);
                Rule::Count { need, of: VoterSet::first(need) }
            }
            Policy::Prefix(_) => {
                return Err(ConfigError::Policy { policy, voters: voters.len() });
            }
            Policy::Region(count) => {
                Rule::AtLeast { need: usize::from(count), of: self.region_rules() }
            }
        };
        if rule.sat(voters) {
            Ok(rule)
        } else {
            Err(ConfigError::Policy { policy, voters: voters.len() })
        }
    }

    fn region_rules(&self) -> Vec<Rule> {
        let mut regions: BTreeMap<&str, VoterSet> = BTreeMap::new();
        for (place, member) in self.voters.iter().enumerate() {
            let of = regions.entry(&member.region).or_default();
            *of = of.with(place);
        }
        regions.into_values().map(|of| Rule::Count { need: of.len() / 2 + 1, of }).collect()
    }

    /// The last entry of `epoch` that counts, by the cut table.
    #[must_use]
    pub fn cut(&self, epoch: Epoch) -> Option<Lsn> {
        let row = self.history.binary_search_by_key(&epoch, |row| row.epoch).ok()?;
        self.history.get(row).map(|row| row.end)
    }

    /// How much of a log a node keeps when it joins this epoch, given where each epoch of its
    /// log ends, oldest first. Everything behind the answer is set aside.
    ///
    /// Compares with the recorded cuts and never with a parent's log: the parent may itself be
    /// behind, and cutting to its end loses acknowledged entries.
    #[must_use]
    pub fn keep(&self, log: &[Cut], base: EntryId) -> Lsn {
        match log.last() {
            Some(run) if run.epoch == self.epoch => run.end,
            _ => kept(&self.history, log, base),
        }
    }

    /// The configuration of the next epoch after an election of `primary`, whose log ends its
    /// epochs at `log`, behind `base`. Rows of epochs before that are kept.
    #[must_use]
    pub fn elected(&self, epoch: Epoch, primary: NodeId, log: &[Cut], base: EntryId) -> Self {
        assert!(epoch > self.epoch, "an epoch only grows");
        let history = history(&self.history, log, base);
        Self { epoch, primary, history, ..self.clone() }
    }
}

/// The cut table of a log: its own runs, behind the older rows that it no longer reaches back to.
#[must_use]
pub(crate) fn history(older: &[Cut], log: &[Cut], base: EntryId) -> Vec<Cut> {
    let oldest = log.first().map(|run| run.epoch);
    // A row past the log's beginning is of an epoch that this log holds otherwise, or not at all.
    let before = |row: &&Cut| row.end <= base.lsn && oldest.is_none_or(|first| row.epoch < first);
    let kept = older.iter().filter(before);
    let mut rows: Vec<_> = kept.chain(log).copied().collect();
    let over = rows.len().saturating_sub(HISTORY_ROWS_MAX);
    rows.drain(..over);
    rows
}

/// How much of `log` agrees with a cut table: its newest epoch that has a row is kept up to the
/// row's end, and epochs without a row won nothing and go.
#[must_use]
pub(crate) fn kept(rows: &[Cut], log: &[Cut], base: EntryId) -> Lsn {
    for (index, run) in log.iter().enumerate().rev() {
        let before = index.checked_sub(1).and_then(|index| log.get(index));
        let start = before.map_or(base.lsn, |run| run.end);
        let row = rows.iter().find(|row| row.epoch == run.epoch);
        if let Some(row) = row.filter(|row| row.end > start) {
            return run.end.min(row.end);
        }
    }
    base.lsn
}

#[cfg(test)]
mod tests;
