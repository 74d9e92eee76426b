//! The two checkers against each other, and against histories with a planted mistake.

use super::{Act, NEVER, What, search, zones};
use crate::rng::Rng;

/// A register that really is one: each operation takes effect at a moment within its time.
fn history(rng: &mut Rng, length: u64) -> Vec<Act> {
    let mut value = None;
    let mut acts = Vec::new();
    for number in 0..length {
        let moment = number * 10 + 100;
        let (start, end) = (moment - rng.below(60), moment + 1 + rng.below(60));
        let what = if rng.chance(500) {
            let new = format!("v{number}").into_bytes();
            value = Some(new.clone());
            What::Write(new)
        } else {
            What::Read(value.clone())
        };
        let unknown = matches!(what, What::Write(_)) && rng.chance(100);
        acts.push(Act { start, end: if unknown { NEVER } else { end }, what });
    }
    acts
}

/// Lets one read tell another value than it should, if that changes anything.
fn spoil(rng: &mut Rng, acts: &mut [Act]) -> bool {
    let written: Vec<_> = acts
        .iter()
        .filter_map(|act| match &act.what {
            What::Write(value) => Some(value.clone()),
            What::Read(_) | What::Incr(_) | What::Delete(_) => None,
        })
        .collect();
    let reads = acts.iter_mut().filter(|act| matches!(act.what, What::Read(_)));
    let mut reads: Vec<_> = reads.collect();
    if reads.is_empty() || written.is_empty() {
        return false;
    }
    let at = rng.place(reads.len());
    let what = What::Read(Some(rng.pick(&written).clone()));
    let changed = reads[at].what != what;
    reads[at].what = what;
    changed
}

#[test]
fn both_checkers_believe_what_is_true() {
    for seed in 0..3_000 {
        let mut rng = Rng::new(seed, 9);
        let acts = history(&mut rng, 12);
        assert_eq!(zones::check(&acts), Ok(()), "seed {seed}: {acts:?}");
        assert_eq!(search::check(&acts), Ok(()), "seed {seed}: {acts:?}");
    }
}

#[test]
fn both_checkers_judge_spoiled_histories_alike() {
    let mut refused = 0;
    for seed in 0..10_000 {
        let mut rng = Rng::new(seed, 10);
        let mut acts = history(&mut rng, 9);
        if spoil(&mut rng, &mut acts) {
            let (zones, search) = (zones::check(&acts), search::check(&acts));
            assert_eq!(zones.is_ok(), search.is_ok(), "seed {seed}: {zones:?} {search:?} {acts:?}");
            refused += u64::from(zones.is_err());
        }
    }
    assert!(refused > 1_000, "{refused} spoiled histories were refused");
}

fn act(start: u64, end: u64, what: What) -> Act {
    Act { start, end, what }
}

#[test]
fn counters_and_deletions_are_followed() {
    let count = |sums: [i64; 2]| {
        let one = act(0, 10, What::Incr(Some(sums[0])));
        let two = act(20, 30, What::Incr(Some(sums[1])));
        search::check(&[one, two]).is_ok()
    };
    assert!(count([1, 2]));
    assert!(!count([2, 1]), "the first was over before the second began");
    assert!(!count([1, 1]), "an addition was lost");
    let gone = |was| {
        let set = act(0, 10, What::Write(b"x".to_vec()));
        let del = act(20, 30, What::Delete(Some(was)));
        search::check(&[set, del, act(40, 50, What::Read(None))]).is_ok()
    };
    assert!(gone(true));
    assert!(!gone(false));
}

#[test]
fn a_write_that_nobody_heard_of_may_come_late() {
    let unknown = act(0, NEVER, What::Write(b"x".to_vec()));
    let early = act(100, 110, What::Read(None));
    let late = act(200, 210, What::Read(Some(b"x".to_vec())));
    let acts = [unknown, early, late];
    assert_eq!(zones::check(&acts), Ok(()));
    assert_eq!(search::check(&acts), Ok(()));
}
