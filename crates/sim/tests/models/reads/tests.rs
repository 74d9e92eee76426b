//! The rules hold, and every mutant gives a stale or an uncommitted read.

use super::*;
use crate::search::{Outcome, explore, full, states_max};

const CHAIN: Reads = Reads { ticks_max: 3, writes_max: 2, mutation: Mutation::None };

/// The search must find a false read, with a trace of `steps` steps and no shorter one.
#[track_caller]
fn misreads(mutation: Mutation, want: &str, steps: usize) {
    let found = explore(&Reads { mutation, ..CHAIN }, states_max());
    let Outcome::Violated { what, states, trace } = found else {
        panic!("{mutation:?} must give a false read, but {found:?}")
    };
    println!("{mutation:?}: {what}, after {states} states: {}", trace.join(", "));
    assert_eq!((what, trace.len()), (want, steps));
}

#[test]
fn clean_reads_under_leases_are_true() {
    let (ticks_max, states) = if full() { (5, 5_514_311) } else { (3, 575_369) };
    let found = explore(&Reads { ticks_max, ..CHAIN }, usize::MAX);
    println!("{ticks_max} ticks: {found:?}");
    assert!(matches!(found, Outcome::Holds { states: found, .. } if found == states), "{found:?}");
}

#[test]
fn n1_a_recovery_waits_for_leases() {
    misreads(Mutation::N1NoWait, "stale read", 11);
}

#[test]
fn n2_a_lease_counts_from_the_start_of_its_round() {
    misreads(Mutation::N2FromCompletion, "stale read", 13);
}

#[test]
fn n3_a_clean_log_alone_is_not_enough() {
    misreads(Mutation::N3NoLease, "stale read", 9);
}

#[test]
fn n4_local_reads_need_a_commit_at_all_members() {
    misreads(Mutation::N4QuorumCommit, "stale read", 10);
}

#[test]
fn n5_the_wait_counts_from_the_first_seal() {
    misreads(Mutation::N5WaitFromSuspicion, "stale read", 13);
}

#[test]
fn n6_a_dirty_value_is_not_returned() {
    misreads(Mutation::N6DirtyRead, "read of an uncommitted value", 6);
}

#[test]
fn n7_a_lease_needs_every_member() {
    misreads(Mutation::N7MajorityLease, "stale read", 12);
}
