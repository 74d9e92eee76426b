//! The same plan is the same run.

use antiphon_sim::{Plan, run};

#[test]
fn two_runs_of_a_plan_are_equal() {
    for seed in 1..=200 {
        let plan = Plan::draw(seed, None);
        let again = Plan::parse(&plan.to_text()).unwrap();
        assert_eq!(plan, again, "seed {seed}");
        let (one, two) = (run(&plan, 0).unwrap(), run(&again, 50).unwrap());
        assert_eq!(one.trace, two.trace, "seed {seed}");
        assert_eq!(one.events, two.events, "seed {seed}");
        assert_eq!(one.marks, two.marks, "seed {seed}");
        assert_eq!(two.lines.len(), 50, "seed {seed} has its last events");
    }
}

#[test]
fn another_seed_is_another_run() {
    let trace = |seed| run(&Plan::draw(seed, None), 0).unwrap().trace;
    assert_ne!(trace(1), trace(2));
}
