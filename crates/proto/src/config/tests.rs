//! Configurations: what is refused, the tree, the cut table.

use super::*;

fn id(raw: u64) -> NodeId {
    NodeId::new(raw)
}

fn member(raw: u64, region: &str) -> Member {
    Member { node: id(raw), region: region.to_owned() }
}

fn three(shape: Shape, floor: Policy) -> Config {
    let voters = vec![member(1, "a"), member(2, "a"), member(3, "b")];
    Config::initial(ShardId::default(), voters, shape, floor).unwrap()
}

fn cut(epoch: u64, end: u64) -> Cut {
    Cut { epoch: Epoch::new(epoch), end: Lsn::new(end) }
}

#[test]
fn the_shapes_draw_their_trees() {
    let star = three(Shape::Star, Policy::Quorum);
    assert_eq!(star.children(id(1)).collect::<Vec<_>>(), [id(2), id(3)]);
    let chain = three(Shape::Chain, Policy::All);
    assert_eq!(chain.parent(id(3)), Some(id(2)));
    assert_eq!(chain.children(id(1)).collect::<Vec<_>>(), [id(2)]);
}

#[test]
fn impossible_configurations_are_refused() {
    let check = |voters, floor| {
        Config::initial(ShardId::default(), voters, Shape::Star, floor).unwrap_err()
    };
    assert_eq!(check(vec![], Policy::Quorum), ConfigError::Voters(0));
    let twice = vec![member(1, ""), member(1, "")];
    assert_eq!(check(twice, Policy::Quorum), ConfigError::Member(id(1)));
    let one = vec![member(1, "")];
    let policy = Policy::Ack(2);
    assert_eq!(check(one.clone(), policy), ConfigError::Policy { policy, voters: 1 });
    assert_eq!(check(one, Policy::Received(1)), ConfigError::Floor(Policy::Received(1)));
    let mut ring = three(Shape::Star, Policy::Quorum);
    ring.parents = BTreeMap::from([(id(2), id(3)), (id(3), id(2))]);
    assert_eq!(ring.check(), Err(ConfigError::Tree(id(2))));
}

#[test]
fn region_policies_count_majorities_of_regions() {
    let config = three(Shape::Star, Policy::Region(2));
    let rule = config.rule(Policy::Region(2)).unwrap();
    assert!(!rule.sat(VoterSet::first(2)));
    assert!(!rule.sat(VoterSet::EMPTY.with(0).with(2)), "one of two is no majority of region a");
    assert!(rule.sat(VoterSet::first(3)));
}

#[test]
fn a_log_is_cut_at_the_recorded_end_of_its_epoch() {
    let mut config = three(Shape::Star, Policy::Quorum);
    config.epoch = Epoch::new(5);
    config.history = vec![cut(1, 10), cut(3, 20)];
    let keep = |log: &[Cut]| config.keep(log, EntryId::ZERO).get();
    assert_eq!(keep(&[cut(1, 8)]), 8, "a short log stays");
    assert_eq!(keep(&[cut(1, 12)]), 10, "what epoch 1 lost goes");
    assert_eq!(keep(&[cut(1, 10), cut(2, 15)]), 10, "epoch 2 won nothing");
    assert_eq!(keep(&[cut(1, 10), cut(2, 15), cut(4, 16)]), 10);
    assert_eq!(keep(&[cut(1, 10), cut(3, 25)]), 20);
    assert_eq!(keep(&[cut(1, 10), cut(3, 20), cut(5, 30)]), 30, "the epoch itself stays");
    assert_eq!(keep(&[cut(2, 4)]), 0);
    assert_eq!(keep(&[]), 0);
}

#[test]
fn an_election_records_where_each_epoch_of_the_winner_ended() {
    let mut config = three(Shape::Star, Policy::Quorum);
    config.epoch = Epoch::new(4);
    config.history = vec![cut(1, 10), cut(2, 20), cut(3, 30)];
    // The winner's log was trimmed below epoch 2 and never took part in epoch 3.
    let base = EntryId::new(Epoch::new(2), Lsn::new(12));
    let next = config.elected(Epoch::new(6), id(1), &[cut(2, 20), cut(4, 40)], base);
    assert_eq!(next.history, [cut(1, 10), cut(2, 20), cut(4, 40)]);
    assert_eq!(next.check(), Ok(()));
}

#[test]
fn an_election_forgets_epochs_that_the_winner_never_held() {
    let mut config = three(Shape::Star, Policy::Quorum);
    config.epoch = Epoch::new(2);
    config.history = vec![cut(1, 1)];
    let next = config.elected(Epoch::new(3), id(1), &[], EntryId::ZERO);
    assert_eq!(next.history, [], "the winner's log is empty, so nothing of epoch 1 is left");
    assert_eq!(next.keep(&[cut(1, 1), cut(2, 2)], EntryId::ZERO), Lsn::ZERO);
}

fn learners(ids: std::ops::RangeInclusive<u64>) -> Vec<(NodeId, Option<NodeId>)> {
    ids.map(|raw| (id(raw), None)).collect()
}

#[track_caller]
fn check_children(config: &Config, of: u64, want: &[u64]) {
    let children: Vec<_> = config.children(id(of)).map(NodeId::get).collect();
    assert_eq!(children, want, "below node {of}");
}

#[test]
fn learners_are_drawn_below_the_replicas() {
    let star = three(Shape::Star, Policy::Quorum).with_learners(&learners(4..=9), 2).unwrap();
    check_children(&star, 1, &[2, 3]);
    check_children(&star, 2, &[4, 6]);
    check_children(&star, 3, &[5, 7]);
    check_children(&star, 4, &[8]);
    assert_eq!(star.learners().count(), 6);
    // A chain's members have a child each already.
    let chain = three(Shape::Chain, Policy::All).with_learners(&learners(4..=6), 2).unwrap();
    check_children(&chain, 2, &[3, 4]);
    check_children(&chain, 3, &[5, 6]);
    let one = vec![member(1, "")];
    let alone = Config::initial(ShardId::default(), one, Shape::Star, Policy::Quorum).unwrap();
    check_children(&alone.with_learners(&learners(2..=4), 2).unwrap(), 1, &[2, 3]);
    let named = [(id(4), Some(id(1))), (id(5), Some(id(4)))];
    let named = three(Shape::Star, Policy::Quorum).with_learners(&named, 8).unwrap();
    assert_eq!((named.parent(id(4)), named.parent(id(5))), (Some(id(1)), Some(id(4))));
}

#[test]
fn no_tree_has_too_many_children_or_nodes() {
    let most = NODES_MAX as u64;
    let star = three(Shape::Star, Policy::Quorum);
    let full = star.clone().with_learners(&learners(4..=most), 8).unwrap();
    assert_eq!(full.nodes().len(), NODES_MAX);
    assert!(full.nodes().into_iter().all(|node| full.children(node).count() <= 8));
    let over = star.clone().with_learners(&learners(4..=most + 1), 8);
    assert_eq!(over, Err(ConfigError::Nodes(NODES_MAX + 1)));
    assert_eq!(star.clone().with_learners(&learners(3..=3), 8), Err(ConfigError::Member(id(3))));
    assert_eq!(star.clone().with_learners(&learners(4..=4), 0), Err(ConfigError::Tree(id(4))));
    let nowhere = [(id(4), Some(id(9)))];
    assert_eq!(star.with_learners(&nowhere, 8), Err(ConfigError::Tree(id(4))));
}
