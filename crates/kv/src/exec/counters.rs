//! Commands that count.

use super::{Run, string};
use crate::decimal::{self, Decimal, Parsed};
use crate::item::Item;
use crate::number::{self, Digits};
use crate::reply::{Fault, ReplySink};

/// `INCR key`, `DECR key`, and what the others come to.
pub(super) fn add<S: ReplySink>(run: &mut Run<'_, '_, S>, by: i64) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let item = run.item(&key);
    let old = match item.as_ref().map(string).transpose()? {
        Some(text) => number::word(text)?,
        None => 0,
    };
    let sum = old.checked_add(by).ok_or(Fault::OVERFLOW)?;
    let at = item.as_ref().and_then(Item::expire_at_ms);
    run.put(&key, Digits::signed(sum).as_bytes(), at)?;
    run.out.int(sum);
    Ok(())
}

/// `INCRBY key number`.
pub(super) fn incrby<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let by = number::word(run.arg(2))?;
    add(run, by)
}

/// `DECRBY key number`.
pub(super) fn decrby<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let by = number::word(run.arg(2))?.checked_neg().ok_or(Fault::DECREMENT_OVERFLOW)?;
    add(run, by)
}

/// `INCRBYFLOAT key number`.
pub(super) fn incrbyfloat<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let item = run.item(&key);
    let old = item.as_ref().map(string).transpose()?.unwrap_or(b"0");
    let old = decimal::parse(old).ok_or(Fault::NOT_FLOAT)?;
    let by = decimal::parse(run.arg(2)).ok_or(Fault::NOT_FLOAT)?;
    let text = sum(&old, &by).ok_or(Fault::NAN)?.text();
    let at = item.as_ref().and_then(Item::expire_at_ms);
    run.put(&key, text.as_bytes(), at)?;
    run.out.bulk(text.as_bytes());
    Ok(())
}

fn sum(one: &Parsed, other: &Parsed) -> Option<Decimal> {
    match (one, other) {
        (Parsed::Number(one), Parsed::Number(other)) => one.plus(other),
        (Parsed::Infinite, _) | (_, Parsed::Infinite) => None,
    }
}
