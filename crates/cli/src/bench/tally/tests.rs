//! What counts, and from when.

use super::*;

fn window() -> Window {
    Window { from: Nanos::new(1_000), until: Nanos::new(2_000) }
}

fn write(from: u64, at: u64) -> Finished {
    Finished { read: false, from: Nanos::new(from), at: Nanos::new(at) }
}

#[test]
fn a_closed_loop_counts_by_the_answer() {
    let mut tally = Tally::new(window(), false);
    tally.finish(write(500, 999));
    tally.finish(write(500, 1_000));
    tally.finish(write(1_500, 2_000));
    assert_eq!(tally.done, 1);
    assert_eq!(tally.writes.len(), 1);
    assert_eq!(tally.writes.max(), 500);
}

#[test]
fn an_open_loop_keeps_late_answers_among_its_latencies() {
    let mut tally = Tally::new(window(), true);
    tally.finish(write(1_500, 9_000));
    assert_eq!(tally.done, 0, "it came too late for the throughput");
    assert!(tally.writes.max() >= 7_500, "its wait is not left out");
    tally.finish(write(900, 1_100));
    assert_eq!(tally.done, 1);
    assert_eq!(tally.writes.len(), 1, "it was due before the window");
}

#[test]
fn arrivals_that_were_never_sent_count_as_late() {
    let mut tally = Tally::new(window(), true);
    tally.never_sent(false, Nanos::new(1_100));
    tally.never_sent(true, Nanos::new(2_100));
    assert_eq!(tally.unsent, 1);
    assert_eq!(tally.all().len(), 1);
    assert!(tally.all().max() >= 900);
}

#[test]
fn kinds_of_error_are_bounded() {
    let mut tally = Tally::new(window(), false);
    for kind in 0..100 {
        tally.fail(&format!("E{kind}"), 1);
    }
    assert_eq!(tally.errors.len(), ERROR_KINDS_MAX + 1);
    assert_eq!(tally.errors.values().sum::<u64>(), 100);
    let mut sum = Tally::new(window(), false);
    sum.add(&tally);
    sum.add(&tally);
    assert_eq!(sum.errors.values().sum::<u64>(), 200);
}

#[test]
fn complaints_are_bounded_but_all_counted() {
    let mut tally = Tally::new(window(), false);
    for key in 0..100 {
        tally.verify((key % 2 == 0).then(|| format!("key {key}")));
    }
    assert_eq!((tally.verified, tally.wrong, tally.complaints.len()), (100, 50, COMPLAINTS_MAX));
}
