//! Many seeds, and the rare branches that they must take.

use antiphon_sim::{Range, keep_panics, search};

/// Seeds of the gate. More: `cargo run -p sim -- --seeds N`.
const SEEDS: u64 = 2_000;

/// Branches without which the run would not have tested what it is for.
const BRANCHES: [&str; 44] = [
    "acknowledged below the floor",
    "amnesiac excluded",
    "applied from the disk",
    "busy",
    "child served from the disk",
    "client gave up",
    "copies from a longer log",
    "damaged head dropped the link",
    "damaged log refused",
    "executed again after a loss",
    "executed in a session",
    "fate told: lost",
    "fate told: pending",
    "fate told: stable",
    "fate told: unknown",
    "log cut",
    "log trimmed",
    "number refused",
    "new disk sealed",
    "one disk too many was spared",
    "power lost within a write",
    "primary serves",
    "read at a replica",
    "read failed, node stopped",
    "recovery served from the disk",
    "repeat of a stable write",
    "repeat under way",
    "replaced disk caught up",
    "seal refused",
    "sealed",
    "sent again in its session",
    "session opened",
    "session refused",
    "sessions expired",
    "slow reader dropped",
    "snapshot written",
    "stale message dropped",
    "started from a snapshot",
    "store failed, node stopped",
    "stream closed: behind",
    "stream opened",
    "too few nodes are left",
    "torn tail cut",
    "writes below the floor were lost",
];

#[test]
fn seeds_break_no_rule_and_take_the_rare_branches() {
    keep_panics();
    let range = Range { from: 1, count: SEEDS, ..Range::default() };
    let tally = search(&range, &|_done| {}).unwrap();
    if let Some(failure) = &tally.failure {
        let seed = failure.plan.seed;
        panic!("seed {seed}: {:?}\ncargo run -p sim -- --seed {seed}", failure.outcome.violation);
    }
    assert_eq!(tally.runs, SEEDS);
    let missed: Vec<_> =
        BRANCHES.iter().filter(|branch| !tally.marks.contains_key(*branch)).collect();
    assert!(missed.is_empty(), "branches that no seed took: {missed:?}, of {:?}", tally.marks);
}
