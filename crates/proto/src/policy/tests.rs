//! Policies as predicates: texts, tolerance, marks.

use super::*;

fn count(need: usize, of: usize) -> Rule {
    Rule::Count { need, of: VoterSet::first(of) }
}

fn regions() -> Rule {
    let region = |places: [usize; 2]| Rule::Count {
        need: 1,
        of: VoterSet::EMPTY.with(places[0]).with(places[1]),
    };
    Rule::AtLeast { need: 2, of: vec![region([0, 1]), region([2, 3])] }
}

#[test]
fn a_policy_reads_back_what_it_prints() {
    for text in ["local", "received(2)", "ack(3)", "quorum", "all", "region(2)", "prefix(15)"] {
        assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
    }
    assert_eq!(" QUORUM ".parse(), Ok(Policy::Quorum));
    assert_eq!("majority".parse(), Ok(Policy::Quorum));
    for text in ["", "ack", "ack()", "ack(0)", "ack(16)", "ack(+1)", "ack(1", "most", "local(1)"] {
        assert_eq!(text.parse::<Policy>(), Err(PolicyError), "{text:?}");
    }
}

#[test]
fn counting_tolerances_add_up_to_one_less_than_the_voters() {
    for of in 1..=5 {
        for need in 1..=of {
            let explained = count(need, of).explain(VoterSet::first(of));
            assert_eq!(explained.lossless, Some(need - 1));
            assert_eq!(explained.stall_free, Some(of - need));
            assert_eq!(explained.seal, Some(of - need + 1));
        }
    }
}

#[test]
fn one_copy_in_each_of_two_regions_survives_one_region() {
    let rule = regions();
    let voters = VoterSet::first(4);
    assert!(!rule.sat(VoterSet::first(2)), "one whole region is not enough");
    assert!(rule.sat(VoterSet::EMPTY.with(0).with(3)));
    assert!(rule.safe(voters, VoterSet::first(2)), "a sealed region blocks every acknowledgement");
    assert!(!rule.safe(voters, VoterSet::EMPTY.with(0).with(2)));
    let explained = rule.explain(voters);
    assert_eq!((explained.lossless, explained.stall_free), (Some(1), Some(1)));
    assert_eq!(explained.stalls.len(), 2);
}

#[test]
fn safe_means_that_acknowledging_and_sealed_sets_meet() {
    for rule in [count(1, 4), count(2, 4), count(3, 4), count(4, 4), regions()] {
        let voters = VoterSet::first(4);
        for sealed in voters.subsets() {
            let meets = voters
                .subsets()
                .filter(|acked| rule.sat(*acked))
                .all(|acked| !acked.and(sealed).is_empty());
            assert_eq!(rule.safe(voters, sealed), meets, "{rule:?} {sealed:?}");
        }
    }
}

#[test]
fn all_is_stronger_than_a_majority_and_not_the_reverse() {
    let voters = VoterSet::first(3);
    assert!(count(3, 3).implies(&count(2, 3), voters));
    assert!(!count(2, 3).implies(&count(3, 3), voters));
}

#[test]
fn a_mark_is_the_highest_position_that_satisfies() {
    let held = [9_u64, 4, 7, 0];
    for rule in [count(1, 4), count(2, 4), count(3, 4), count(4, 4), regions()] {
        let mark = rule.mark(&|place| held[place]);
        let sat = |position: u64| {
            let holders = (0..4).filter(|place| held[*place] >= position);
            rule.sat(holders.fold(VoterSet::EMPTY, VoterSet::with))
        };
        assert!(sat(mark) && !sat(mark + 1), "{rule:?} at {mark}");
    }
}

#[test]
fn subsets_are_all_of_them_once() {
    let set = VoterSet::EMPTY.with(1).with(4).with(14);
    let subsets: std::collections::BTreeSet<_> = set.subsets().collect();
    assert_eq!(subsets.len(), 8);
    assert!(subsets.iter().all(|subset| subset.without(set).is_empty()));
}
