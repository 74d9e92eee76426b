//! Makes a failing plan small: leaves out what it fails without.

use crate::plan::{Plan, Timed};
use crate::run;

/// A plan with fewer faults and commands that breaks the same rule. Tries at most `tries` runs.
#[must_use]
pub fn shrink(plan: &Plan, rule: &str, tries: usize) -> Plan {
    let mut best = plan.clone();
    let mut left = tries;
    let mut fails = |candidate: &Plan| {
        left = left.saturating_sub(1);
        left > 0
            && run(candidate, 0)
                .is_ok_and(|outcome| outcome.violation.is_some_and(|found| found.rule == rule))
    };
    let mut piece = best.faults.len();
    while piece > 0 {
        let mut from = 0;
        while from < best.faults.len() {
            let mut fewer = best.clone();
            fewer.faults = without(&best.faults, from, piece);
            if fails(&fewer) {
                best = fewer;
            } else {
                from += piece;
            }
        }
        piece /= 2;
    }
    for change in [fewer_clients, fewer_ops, no_snapshots] {
        loop {
            let smaller = change(&best);
            if smaller == best || !fails(&smaller) {
                break;
            }
            best = smaller;
        }
    }
    best
}

fn without(faults: &[Timed], from: usize, count: usize) -> Vec<Timed> {
    let kept = faults.iter().enumerate().filter(|(at, _)| *at < from || *at >= from + count);
    kept.map(|(_, fault)| fault.clone()).collect()
}

fn fewer_clients(plan: &Plan) -> Plan {
    let mut smaller = plan.clone();
    smaller.work.clients = (plan.work.clients / 2).max(1);
    smaller
}

fn fewer_ops(plan: &Plan) -> Plan {
    let mut smaller = plan.clone();
    smaller.work.ops = (plan.work.ops * 2 / 3).max(1);
    smaller
}

fn no_snapshots(plan: &Plan) -> Plan {
    let mut smaller = plan.clone();
    smaller.disk.snapshot_us = 0;
    smaller
}
