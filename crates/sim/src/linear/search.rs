//! Any register or counter: a search for an order, after Wing and Gong with Lowe's memory of
//! states that were seen.

use std::collections::BTreeSet;

use super::{Act, NEVER, What};

/// States after which the search is given up as undecided; runs are made small enough.
const STATES_MAX: usize = 200_000;

/// A value between operations.
type Value = Option<Vec<u8>>;

/// Whether there is an order; if not, why not. Undecided counts as one.
pub(super) fn check(acts: &[Act]) -> Result<(), String> {
    let mut acts: Vec<&Act> = acts.iter().collect();
    acts.sort_by_key(|act| act.start);
    let words = acts.len().div_ceil(64);
    let mut seen: BTreeSet<(Vec<u64>, Value)> = BTreeSet::new();
    let mut stack = vec![(vec![0_u64; words], None::<Vec<u8>>)];
    while let Some((done, value)) = stack.pop() {
        if !seen.insert((done.clone(), value.clone())) {
            continue;
        }
        if seen.len() > STATES_MAX {
            return Ok(());
        }
        // The next in the order must have begun before any other that is left has ended.
        let left = || acts.iter().enumerate().filter(|(index, _)| !has(&done, *index));
        let Some(limit) = left().map(|(_, act)| act.end).min() else { return Ok(()) };
        if limit == NEVER && left().all(|(_, act)| act.end == NEVER) {
            return Ok(()); // what is left may happen after all
        }
        for (index, act) in left().take_while(|(_, act)| act.start <= limit) {
            if let Some(after) = apply(&act.what, &value) {
                let mut next = done.clone();
                if let Some(word) = next.get_mut(index / 64) {
                    *word |= 1 << (index % 64);
                }
                stack.push((next, after));
            }
        }
    }
    Err(format!("no order of its {} operations explains what was read", acts.len()))
}

fn has(done: &[u64], index: usize) -> bool {
    done.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
}

/// The value after an operation; none when it could not have answered so.
fn apply(what: &What, value: &Value) -> Option<Value> {
    match what {
        What::Write(new) => Some(Some(new.clone())),
        What::Read(read) => (read == value).then(|| value.clone()),
        What::Incr(sum) => {
            let text = value.as_deref().unwrap_or(b"0");
            let now = std::str::from_utf8(text).ok()?.parse::<i64>().ok()? + 1;
            sum.is_none_or(|sum| sum == now).then(|| Some(now.to_string().into_bytes()))
        }
        What::Delete(was) => was.is_none_or(|was| was == value.is_some()).then_some(None),
    }
}
