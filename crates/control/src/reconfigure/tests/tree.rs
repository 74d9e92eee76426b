//! The tree below a new primary, and the members that a chain goes on with.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_proto::{Config, Epoch, Member, NodeId, Policy, Shape, ShardId};

use super::promise;
use crate::ShardRecord;
use crate::reconfigure::choose::{Choice, elected, redrawn};
use crate::samples::{id, shard};

fn config(nodes: &[u64], shape: Shape, floor: Policy) -> Config {
    let member = |node: &u64| Member { node: NodeId::new(*node), region: String::new() };
    let voters = nodes.iter().map(member).collect();
    let config = Config::initial(ShardId::new(7), voters, shape, floor).expect("good");
    Config { epoch: Epoch::new(4), ..config }
}

fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
    nodes.iter().map(|node| NodeId::new(*node)).collect()
}

#[track_caller]
fn check(config: &Config, (primary, up): (u64, &[u64]), want: &[(u64, u64)]) {
    let drawn = redrawn(config, NodeId::new(primary), &set(up));
    assert_eq!(drawn.check(), Ok(()));
    let want: BTreeMap<_, _> =
        want.iter().map(|(child, parent)| (NodeId::new(*child), NodeId::new(*parent))).collect();
    assert_eq!(drawn.parents, want);
}

#[test]
fn a_star_turns_around_its_new_primary() {
    let star = config(&[1, 2, 3], Shape::Star, Policy::Quorum);
    check(&star, (2, &[2, 3]), &[(1, 2), (3, 2)]);
    check(&star, (1, &[1, 2]), &[(2, 1), (3, 1)]);
}

#[test]
fn a_chain_stays_one_and_ends_in_who_is_away() {
    let chain = config(&[1, 2, 3, 4], Shape::Chain, Policy::Quorum);
    check(&chain, (2, &[2, 3, 4]), &[(3, 2), (4, 3), (1, 4)]);
    check(&chain, (3, &[2, 3, 4]), &[(2, 3), (4, 2), (1, 4)]);
    check(&chain, (2, &[2, 4]), &[(4, 2), (1, 4), (3, 1)]);
}

#[test]
fn a_branch_stays_below_who_is_there() {
    let mut tree = config(&[1, 2, 3, 4, 5], Shape::Star, Policy::Quorum);
    let under = |tree: &mut Config, child, parent| {
        tree.parents.insert(NodeId::new(child), NodeId::new(parent));
    };
    under(&mut tree, 4, 2);
    under(&mut tree, 5, 3);
    check(&tree, (2, &[2, 3, 4, 5]), &[(1, 2), (3, 2), (4, 2), (5, 3)]);
    check(&tree, (2, &[2, 4, 5]), &[(1, 2), (3, 2), (4, 2), (5, 2)]);
    check(&tree, (4, &[2, 3, 4, 5]), &[(1, 4), (2, 4), (3, 4), (5, 3)]);
}

#[track_caller]
fn voters_of(floor: Policy, all: &[u64], up: &[u64]) -> Vec<u64> {
    let record = ShardRecord { active: config(all, Shape::Chain, floor), ..shard(7, 4) };
    let promises = up.iter().map(|node| (NodeId::new(*node), promise(*node, id(4, 9)))).collect();
    let node = NodeId::new(up[0]);
    let choice = Choice { node, end: id(4, 9), copy_from: None };
    let config = elected(&record, Epoch::new(5), &choice, &promises, 2).expect("good");
    assert_eq!(config.nodes(), set(all), "nobody is forgotten");
    config.voters.iter().map(|member| member.node.get()).collect()
}

#[test]
fn a_floor_of_all_goes_on_without_the_dead() {
    assert_eq!(voters_of(Policy::All, &[1, 2, 3], &[2, 3]), [2, 3]);
    assert_eq!(voters_of(Policy::All, &[1, 2, 3], &[1, 2, 3]), [1, 2, 3]);
    assert_eq!(voters_of(Policy::All, &[1, 2, 3], &[3]), [1, 2, 3], "never with fewer than two");
}

#[test]
fn what_fewer_voters_would_lose_keeps_them() {
    // Two of four: without those that are away an acknowledged write could be on none.
    assert_eq!(voters_of(Policy::Ack(3), &[1, 2, 3, 4], &[3, 4]), [1, 2, 3, 4]);
    assert_eq!(voters_of(Policy::Quorum, &[1, 2, 3, 4, 5], &[4, 5]), [1, 2, 3, 4, 5]);
}
