//! Each planted bug is found within the budget: a check that can't fail proves nothing.

use antiphon_sim::{Profile, Range, keep_panics, mutations, search};

/// Seeds within which a bug must be found.
const BUDGET: u64 = 3_000;

/// Where to look for bugs that most runs never come near.
fn profile(bug: &str) -> Option<Profile> {
    match bug {
        "core-skip-rule-a"
        | "core-longest-ignores-epoch"
        | "core-fate-too-early"
        | "core-elect-unsafe" => Some(Profile::Forks),
        "core-amnesiac-counts"
        | "core-blank-counts"
        | "core-debt-forgiven"
        | "core-serve-unestablished"
        | "core-epochs-reused" => Some(Profile::Wipes),
        "core-head-guessed" => Some(Profile::Chains),
        "log-cut-on-damage" => Some(Profile::Rot),
        _other => None,
    }
}

#[test]
fn every_planted_bug_is_found() {
    keep_panics();
    let bugs = mutations();
    assert!(bugs.len() >= 30, "{} bugs can be planted", bugs.len());
    let mut missed = Vec::new();
    for bug in bugs {
        let mutation = Some(bug.clone());
        let range =
            Range { from: 1, count: BUDGET, profile: profile(&bug), mutation, threads: None };
        let tally = search(&range, &|_done| {}).unwrap();
        match tally.failure {
            Some(failure) => {
                let rule = failure.outcome.violation.map(|violation| violation.rule);
                println!("{bug}: {} seeds, {}", tally.runs, rule.unwrap_or_default());
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "bugs that nobody saw: {missed:?}");
}
