//! Plans: refused when they can't be run, made small when they fail.

use antiphon_sim::{Plan, Profile, keep_panics, run, shrink};

#[test]
fn plans_that_cannot_run_are_refused() {
    let refused = |change: fn(&mut Plan)| {
        let mut plan = Plan::draw(1, None);
        change(&mut plan);
        Plan::parse(&plan.to_text()).unwrap_err().to_string()
    };
    assert!(refused(|plan| plan.nodes = 9).contains("from 1 to 5 nodes"));
    assert!(refused(|plan| plan.floor = "most".to_owned()).contains("floor"));
    assert!(refused(|plan| plan.floor = "ack(15)".to_owned()).contains("refused"));
    assert!(Plan::parse("{").is_err());
    assert!(Plan::draw(1, None).plant("no-such-bug").is_err());
}

#[test]
fn a_failing_plan_shrinks_and_still_fails() {
    keep_panics();
    let failing = (1..200).find_map(|seed| {
        let mut plan = Plan::draw(seed, Some(Profile::Elections));
        plan.plant("core-keep-own-log").unwrap();
        let violation = run(&plan, 0).unwrap().violation?;
        Some((plan, violation))
    });
    let (plan, violation) = failing.expect("the bug is found");
    let small = shrink(&plan, violation.rule, 200);
    assert!(small.faults.len() < plan.faults.len(), "{} faults are left", small.faults.len());
    let again = run(&small, 0).unwrap().violation.expect("the small plan fails too");
    assert_eq!(again.rule, violation.rule);
}

/// Plans of failures that were repaired; each is run again for ever.
#[test]
fn plans_of_repaired_failures_hold() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plans");
    let mut played = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let plan = Plan::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let outcome = run(&plan, 0).unwrap();
        assert_eq!(outcome.violation, None, "{}", path.display());
        played += 1;
    }
    assert!(played >= 2, "{played} plans are kept");
}
