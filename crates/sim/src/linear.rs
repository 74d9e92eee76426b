//! Linearizability, key by key: zones for registers with unlike values, a search for the rest.

mod search;
mod zones;

use std::collections::BTreeMap;

use antiphon_proto::{EntryId, Lsn};

use crate::oracle::{Verdict, Violation};
use crate::work::{Deed, Op, Outcome, Reply};

/// After the end of every run.
const NEVER: u64 = u64::MAX;

/// One operation on one key, with the time in which it took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) start: u64,
    pub(crate) end: u64, // u64::MAX when nobody knows
    pub(crate) what: What,
}

/// What it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// It wrote a value.
    Write(Vec<u8>),
    /// It read a value, or nothing.
    Read(Option<Vec<u8>>),
    /// It added one; the sum, when it is known.
    Incr(Option<i64>),
    /// It deleted; whether there was something, when that is known.
    Delete(Option<bool>),
}

/// Judges all keys. `log` tells which writes happened at all.
pub(crate) fn check(ops: &[Op], log: &BTreeMap<Lsn, EntryId>) -> Verdict {
    let mut keys: BTreeMap<String, Vec<Act>> = BTreeMap::new();
    for op in ops {
        add(&mut keys, op, log)?;
    }
    for (key, acts) in keys {
        let unlike = key.starts_with('r') || key.starts_with('p');
        let sound = if unlike { zones::check(&acts) } else { search::check(&acts) };
        if let Err(why) = sound {
            return Err(Violation::new("linearizable", format!("key {key}: {why}")));
        }
    }
    Ok(())
}

fn add(keys: &mut BTreeMap<String, Vec<Act>>, op: &Op, log: &BTreeMap<Lsn, EntryId>) -> Verdict {
    let done = match &op.outcome {
        Outcome::Done(replies) if op.ended.is_some() => Some(replies),
        Outcome::Done(_) | Outcome::Pending | Outcome::Refused | Outcome::Unknown => None,
    };
    let reply = |index: usize| done.and_then(|replies| replies.get(index));
    let happened = op.entry.is_none_or(|id| log.get(&id.lsn) == Some(&id));
    if op.deed.writes() && op.entry.is_none() && done.is_none() {
        return Ok(()); // it was never proposed
    }
    if op.deed.writes() && !happened {
        return Ok(()); // lost; a read of its value is found out by its missing write
    }
    // A write acknowledged below the floor may become visible later.
    let known = op.ended.filter(|_| !op.weak && done.is_some());
    let end = known.unwrap_or(NEVER);
    let other = format!("{}'", op.key);
    let mut act = |key: &str, what: What| {
        keys.entry(key.to_owned()).or_default().push(Act { start: op.started, end, what });
    };
    match op.deed {
        Deed::Open => {}
        Deed::Set => act(&op.key, What::Write(op.value.clone())),
        Deed::SetPair => {
            act(&op.key, What::Write(op.value.clone()));
            act(&other, What::Write(op.value.clone()));
        }
        Deed::Incr => act(&op.key, What::Incr(reply(0).and_then(number))),
        Deed::Del => act(&op.key, What::Delete(reply(0).and_then(number).map(|n| n > 0))),
        Deed::Get => {
            if let Some(reply) = reply(0) {
                act(&op.key, What::Read(bytes(reply)));
            }
        }
        Deed::GetPair => {
            if let (Some(one), Some(two)) = (reply(0), reply(1)) {
                if one != two {
                    let what = format!("{} and {other} are read as {one:?} and {two:?}", op.key);
                    return Err(Violation::new("transactions are atomic", what));
                }
                act(&op.key, What::Read(bytes(one)));
                act(&other, What::Read(bytes(two)));
            }
        }
    }
    Ok(())
}

fn number(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Number(number) => Some(*number),
        Reply::Nothing | Reply::Status | Reply::Bytes(_) | Reply::Error(_) => None,
    }
}

fn bytes(reply: &Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Bytes(bytes) => Some(bytes.clone()),
        Reply::Nothing | Reply::Status | Reply::Number(_) | Reply::Error(_) => None,
    }
}

#[cfg(test)]
mod tests;
