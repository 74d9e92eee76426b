//! The cases, the mutants, and the figures that both must give.

use super::*;
use crate::search::{Outcome, explore, full, states_max};

const QUORUM: Rule = Rule::new(0b0111, Need::Count(2));
const EVERY: Rule = Rule::new(0b0111, Need::All);
const ANY: Rule = Rule::new(0b0111, Need::Count(1));
const REGIONS: Rule = Rule::new(0b1111, Need::EachRegion);
const TWO_OF_FOUR: Rule = Rule::new(0b1111, Need::Count(2));
const MOVED: Rule = Rule::new(0b1011, Need::Count(2));
const PAIR: Rule = Rule::new(0b0011, Need::All);

const STAR: Failover = Failover {
    nodes: 3,
    epochs_max: 3,
    writes_max: 1,
    floor: QUORUM,
    change: None,
    relays: false,
    drops_voters: false,
    mutation: Mutation::None,
};
const TREE: Failover = Failover { relays: true, ..STAR };
const FOUR: Failover = Failover { nodes: 4, epochs_max: 2, ..TREE };

/// Epochs and writes of a search, and the states and the depth that it must have.
type Bounds = (u8, u8, Option<(usize, usize)>);

/// Searches the case to its end within the small bounds or, on request, within the full ones.
#[track_caller]
fn holds(case: Failover, small: Bounds, whole: Bounds) {
    let (epochs_max, writes_max, want) = if full() { whole } else { small };
    let found = explore(&Failover { epochs_max, writes_max, ..case }, states_max());
    println!("{epochs_max} epochs, {writes_max} writes: {found:?}");
    match (want, found) {
        (Some((states, depth)), found) => assert_eq!(found, Outcome::Holds { states, depth }),
        (None, Outcome::Capped { states }) => assert!(states > states_max()),
        (None, found) => panic!("the case is larger than the limit, but found {found:?}"),
    }
}

/// The search must find a lost write, with a trace of `steps` steps and no shorter one.
#[track_caller]
fn loses(mutant: Failover, steps: usize) {
    let found = explore(&mutant, states_max());
    let Outcome::Violated { what, states, trace } = found else {
        panic!("{:?} must lose a write, but {found:?}", mutant.mutation)
    };
    println!("{:?}: {what}, after {states} states: {}", mutant.mutation, trace.join(", "));
    assert_eq!(trace.len(), steps);
    assert_eq!(what, "the primary lacks a write that was acknowledged at the floor");
}

#[test]
fn a_star_keeps_what_two_of_three_hold() {
    holds(STAR, (3, 2, Some((149_827, 22))), (4, 2, Some((3_786_579, 28))));
}

#[test]
fn a_tree_keeps_what_two_of_three_hold() {
    holds(TREE, (3, 1, Some((26_526, 19))), (4, 1, Some((639_777, 26))));
}

#[test]
fn a_chain_keeps_what_all_hold() {
    let chain = Failover { floor: EVERY, ..TREE };
    holds(chain, (3, 1, Some((26_174, 17))), (4, 1, Some((725_748, 23))));
}

#[test]
fn a_tree_of_four_keeps_what_two_hold() {
    let tree = Failover { floor: TWO_OF_FOUR, ..FOUR };
    holds(tree, (2, 2, Some((87_641, 21))), (3, 2, Some((13_900_753, 31))));
}

#[test]
fn two_regions_keep_what_each_holds() {
    let regions = Failover { floor: REGIONS, ..FOUR };
    holds(regions, (2, 1, Some((11_566, 15))), (3, 1, Some((1_246_142, 24))));
}

#[test]
fn one_copy_is_enough_when_all_are_sealed() {
    holds(Failover { floor: ANY, ..TREE }, (3, 1, Some((15_972, 21))), (3, 2, Some((129_252, 25))));
}

#[test]
fn a_star_becomes_a_chain() {
    let change = Failover { change: Some(EVERY), ..TREE };
    holds(change, (3, 1, Some((48_849, 19))), (4, 1, Some((1_588_809, 26))));
}

#[test]
fn a_chain_becomes_a_star() {
    let change = Failover { floor: EVERY, change: Some(QUORUM), ..TREE };
    holds(change, (3, 1, Some((57_967, 17))), (4, 1, Some((2_146_621, 24))));
}

#[test]
fn a_change_that_can_never_hold_loses_nothing() {
    let never = Rule::new(0b0001, Need::Count(2));
    let change = Failover { floor: PAIR, change: Some(never), ..TREE };
    holds(change, (3, 1, Some((42_099, 19))), (4, 1, Some((1_326_749, 26))));
}

#[test]
fn a_chain_shrinks() {
    let change = Failover { floor: EVERY, change: Some(PAIR), ..TREE };
    holds(change, (3, 1, Some((49_713, 17))), (4, 1, Some((1_730_084, 23))));
}

#[test]
fn a_voter_is_replaced() {
    let change = Failover { change: Some(MOVED), ..FOUR };
    holds(change, (2, 1, Some((15_994, 16))), (3, 1, Some((2_700_654, 26))));
}

#[test]
fn a_voter_is_replaced_and_recoveries_follow() {
    holds(Failover { change: Some(MOVED), ..FOUR }, (4, 1, None), (4, 1, None));
}

#[test]
fn a_chain_may_drop_voters_by_election() {
    let chain = Failover { floor: EVERY, drops_voters: true, ..TREE };
    holds(chain, (3, 1, Some((133_858, 21))), (4, 1, Some((5_884_677, 29))));
}

#[test]
fn m1_a_majority_is_not_safe_for_a_weaker_floor() {
    loses(Failover { floor: ANY, mutation: Mutation::M1MajorityIsSafe, ..STAR }, 6);
}

#[test]
fn m2_not_anyone_may_win() {
    loses(Failover { writes_max: 2, mutation: Mutation::M2AnyoneWins, ..STAR }, 8);
}

#[test]
fn m3_the_longest_log_may_be_an_older_one() {
    loses(Failover { writes_max: 2, mutation: Mutation::M3LongestWins, ..STAR }, 13);
}

#[test]
fn m4_entries_of_older_epochs_do_not_count_alone() {
    let mutation = Mutation::M4OldEpochCounts;
    loses(Failover { epochs_max: 4, mutation, ..STAR }, 16);
}

#[test]
fn m5_a_first_entry_is_not_what_keeps_writes() {
    let mutant = Failover { mutation: Mutation::M5NoFirstEntry, ..TREE };
    holds(mutant, (3, 2, Some((85_078, 22))), (4, 1, Some((171_408, 24))));
}

#[test]
fn m6_a_log_is_not_cut_at_its_upstreams_end() {
    loses(Failover { writes_max: 2, mutation: Mutation::M6CutAtUpstream, ..TREE }, 14);
}

#[test]
fn m7_the_obeyed_epoch_does_not_order_logs() {
    loses(Failover { writes_max: 2, mutation: Mutation::M7ObeyedEpochWins, ..STAR }, 13);
}

#[test]
fn m8_the_new_rule_alone_is_not_enough() {
    let change = Some(Rule::new(0b1001, Need::Count(2)));
    let mutation = Mutation::M8NewRuleAlone;
    loses(Failover { epochs_max: 3, change, mutation, ..FOUR }, 10);
}

#[test]
fn m9_one_sealed_node_is_not_enough() {
    loses(Failover { writes_max: 2, mutation: Mutation::M9OneIsSafe, ..STAR }, 7);
}

#[test]
fn m10_a_stricter_choice_of_winners_is_safe() {
    let mutant = Failover { mutation: Mutation::M10VotersWin, ..STAR };
    holds(mutant, (3, 1, Some((21_442, 18))), (3, 2, Some((149_827, 22))));
}

#[test]
fn m11_a_change_is_not_active_before_it_holds() {
    let change = Some(Rule::new(0b1001, Need::All));
    let mutation = Mutation::M11EarlyActivation;
    loses(Failover { epochs_max: 3, change, mutation, ..FOUR }, 9);
}

#[test]
fn m12_an_election_does_not_drop_voters_of_a_quorum() {
    loses(Failover { epochs_max: 4, drops_voters: true, ..TREE }, 11);
}
