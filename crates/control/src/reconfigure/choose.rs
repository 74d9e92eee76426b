//! What follows from promises: whether they are enough, who is to be primary, and the
//! configuration that says so. Pure functions of a record and of what voters said.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_proto::{Config, EntryId, Epoch, Member, NodeId, VoterSet};

use super::{NodeTrait, Planted, Promise};
use crate::ShardRecord;

/// Promises by who gave them.
pub(super) type Promises = BTreeMap<NodeId, Promise>;

/// Whether a voter's word counts: it votes, with the data directory that the record names, it
/// holds what it acknowledged, and what it tells of is before the epoch.
pub(super) fn counts(
    record: &ShardRecord,
    node: NodeId,
    promise: &Promise,
    epoch: Epoch,
    planted: Planted,
) -> bool {
    let votes = voters(record).contains(&node);
    let sealed = &promise.sealed;
    let store =
        record.stores.get(&node) == Some(&sealed.store) || planted == Planted::AnyStoreCounts;
    let whole = !sealed.amnesiac || planted == Planted::AmnesiacCounts;
    votes && store && whole && sealed.config.epoch < epoch && sealed.last.epoch < epoch
}

/// All voters of a record, of both configurations.
pub(super) fn voters(record: &ShardRecord) -> BTreeSet<NodeId> {
    let configs = [Some(&record.active), record.pending.as_ref()];
    let voters = configs.into_iter().flatten().flat_map(|config| &config.voters);
    voters.map(|member| member.node).collect()
}

/// The places of nodes among a configuration's voters.
pub(super) fn places<'a>(config: &Config, nodes: impl IntoIterator<Item = &'a NodeId>) -> VoterSet {
    let places = nodes.into_iter().filter_map(|node| config.place(*node));
    places.fold(VoterSet::EMPTY, VoterSet::with)
}

/// Whether the voters that are not among `nodes` could not satisfy the active floor by themselves.
pub(super) fn is_safe<'a>(config: &Config, nodes: impl IntoIterator<Item = &'a NodeId>) -> bool {
    let floor = config.rule(config.floor).expect("a record's configuration has its floor");
    floor.safe(config.voter_set(), places(config, nodes))
}

/// Whether `nodes` satisfy the active floor, so that writes would be acknowledged.
pub(super) fn satisfies<'a>(config: &Config, nodes: impl IntoIterator<Item = &'a NodeId>) -> bool {
    let floor = config.rule(config.floor).expect("a record's configuration has its floor");
    floor.sat(places(config, nodes))
}

/// Who is chosen, and from whom it has to copy first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) node: NodeId,
    /// The end of the longest log among the promises, which the new primary must have.
    pub(super) end: EntryId,
    /// Who holds it, when the node does not yet: the longest log is a witness's.
    pub(super) copy_from: Option<NodeId>,
}

/// The node with the longest log; of equal ones the wished, then of the old primary's region, then
/// the healthiest. A witness is never primary.
pub(super) fn choose(
    record: &ShardRecord,
    promises: &Promises,
    traits: &BTreeMap<NodeId, NodeTrait>,
    wish: Option<NodeId>,
    planted: Planted,
) -> Option<Choice> {
    let trait_of = |node: NodeId| traits.get(&node).cloned().unwrap_or_default();
    let last = |promise: &Promise| {
        let last = promise.sealed.last;
        let by_length = planted == Planted::LongestIgnoresEpoch;
        let any = planted == Planted::AnyLogWins;
        if by_length {
            EntryId::new(Epoch::ZERO, last.lsn)
        } else if any {
            EntryId::ZERO
        } else {
            last
        }
    };
    let home = trait_of(record.active.primary).region;
    let rank = |(node, promise): &(&NodeId, &Promise)| {
        let is = trait_of(**node);
        let wished = wish == Some(**node);
        let steady = record.active.primary == **node;
        (last(promise), wished, is.region == home, std::cmp::Reverse(is.slow), steady)
    };
    let longest = promises.iter().max_by_key(|(_, promise)| last(promise))?;
    let data = promises.iter().filter(|(node, _)| !trait_of(**node).witness);
    let (node, promise) = data.max_by_key(rank)?;
    let behind = last(promise) < last(longest.1);
    let copy_from = behind.then_some(*longest.0);
    Some(Choice { node: *node, end: longest.1.sealed.last, copy_from })
}

/// The configuration of the new epoch: the newest that anybody obeyed of what the record names,
/// with the tree redrawn below the new primary.
pub(super) fn elected(
    record: &ShardRecord,
    epoch: Epoch,
    choice: &Choice,
    promises: &Promises,
    members_min: usize,
) -> Option<Config> {
    let promise = promises.get(&choice.node)?;
    let sealed = &promise.sealed;
    let up: BTreeSet<_> = promises.keys().copied().collect();
    let mut drawn = redrawn(&record.active, choice.node, &up);
    if let Some(voters) = narrowed(&record.active, &up, members_min) {
        drawn.voters = voters;
    }
    let config = drawn.elected(epoch, choice.node, &sealed.runs, sealed.base);
    config.check().ok().map(|()| config)
}

/// The voters that are there, if the floor cannot be satisfied without the others, and if whatever
/// is safe under the new rule is safe under the old one.
fn narrowed(config: &Config, up: &BTreeSet<NodeId>, members_min: usize) -> Option<Vec<Member>> {
    let old = config.rule(config.floor).ok()?;
    let here = places(config, up);
    if old.sat(here) || here.len() < members_min {
        return None;
    }
    let mut narrow = config.clone();
    narrow.voters.retain(|member| up.contains(&member.node));
    let new = narrow.rule(narrow.floor).ok()?;
    let all = narrow.voter_set();
    let members = |set: VoterSet| {
        let nodes = narrow.voters.iter().enumerate().filter(move |(place, _)| set.has(*place));
        nodes.map(|(_, member)| member.node).collect::<Vec<_>>()
    };
    let lossless = all.subsets().filter(|sealed| new.safe(all, *sealed)).all(|sealed| {
        let sealed = members(sealed);
        old.safe(config.voter_set(), places(config, &sealed))
    });
    lossless.then_some(narrow.voters)
}

/// The same members below another primary. A chain stays one: the primary, then those that are
/// there in their order, then the rest. Otherwise whoever received from the old primary, or from a
/// node that is not there, receives from the new one.
pub(super) fn redrawn(config: &Config, primary: NodeId, up: &BTreeSet<NodeId>) -> Config {
    let mut drawn = config.clone();
    drawn.primary = primary;
    let fan_out = |node: NodeId| config.children(node).count();
    if config.nodes().len() > 2 && config.nodes().into_iter().all(|node| fan_out(node) <= 1) {
        let next = |node: &NodeId| config.children(*node).next();
        let old = std::iter::successors(Some(config.primary), next).filter(|node| *node != primary);
        let (here, away): (Vec<_>, Vec<_>) = old.partition(|node| up.contains(node));
        let order: Vec<_> = std::iter::once(primary).chain(here).chain(away).collect();
        let pairs = order.iter().zip(order.iter().skip(1));
        drawn.parents = pairs.map(|(parent, child)| (*child, *parent)).collect();
        return drawn;
    }
    let keeps = |parent: NodeId| parent != config.primary && up.contains(&parent);
    let below = |node: NodeId| match config.parent(node) {
        Some(parent) if keeps(parent) => parent,
        Some(_) | None => primary,
    };
    let others = config.nodes().into_iter().filter(|node| *node != primary);
    drawn.parents = others.map(|node| (node, below(node))).collect();
    drawn
}
