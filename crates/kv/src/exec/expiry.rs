//! Commands on expiry.

use std::cmp::Ordering;

use super::Run;
use super::options::{Origin, Unit};
use crate::number;
use crate::reply::{Fault, ReplySink};

/// Conditions of `EXPIRE` on the expiry that the key has.
#[derive(Debug)]
struct Conditions {
    missing: bool,
    present: bool,
    order: Option<Ordering>, // of the new expiry to the old one
}

impl Conditions {
    fn parse(words: &[&[u8]]) -> Result<Self, Fault> {
        let (mut missing, mut present, mut later, mut earlier) = (false, false, false, false);
        for word in words {
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => missing = true,
                b"XX" => present = true,
                b"GT" => later = true,
                b"LT" => earlier = true,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(Fault::text_of(format!("ERR Unsupported option {word}")));
                }
            }
        }
        if missing && (present || later || earlier) {
            return Err(Fault::fixed(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if later && earlier {
            return Err(Fault::fixed("ERR GT and LT options at the same time are not compatible"));
        }
        let earlier = earlier.then_some(Ordering::Less);
        Ok(Self { missing, present, order: later.then_some(Ordering::Greater).or(earlier) })
    }

    /// Whether a key that expires at `old` may get the expiry `new`. No expiry is the latest.
    fn hold(&self, old: Option<u64>, new: i64) -> bool {
        let order = match old.map(i64::try_from) {
            Some(Ok(old)) => new.cmp(&old),
            Some(Err(_)) | None => Ordering::Less,
        };
        let presence = if old.is_some() { !self.missing } else { !self.present };
        presence && self.order.is_none_or(|wanted| wanted == order)
    }
}

/// `EXPIRE`, `PEXPIRE`, `EXPIREAT`, `PEXPIREAT`: `key time [NX | XX | GT | LT]`.
pub(super) fn expire<S: ReplySink>(
    run: &mut Run<'_, '_, S>,
    (unit, origin): (Unit, Origin),
    name: &str,
) -> Result<(), Fault> {
    let conditions = Conditions::parse(run.rest(3))?;
    let number = number::word(run.arg(2))?;
    let ms = match unit {
        Unit::Seconds => number.checked_mul(1_000),
        Unit::Milliseconds => Some(number),
    };
    let base = match origin {
        Origin::Now => i64::try_from(run.now_ms()).unwrap_or(i64::MAX),
        Origin::Epoch => 0,
    };
    let at = ms.and_then(|ms| ms.checked_add(base)).ok_or_else(|| Fault::expire_time(name))?;
    let key = run.key(run.arg(1));
    let item = run.item(&key).filter(|item| conditions.hold(item.expire_at_ms(), at));
    if let Some(item) = &item {
        let at = u64::try_from(at).unwrap_or(0); // before 1970: the time has come
        run.set_expiry(&key, item, Some(at))?;
    }
    run.flag(item.is_some());
    Ok(())
}

/// `PERSIST key`.
pub(super) fn persist<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let item = run.item(&key).filter(|item| item.expire_at_ms().is_some());
    if let Some(item) = &item {
        run.set_expiry(&key, item, None)?;
    }
    run.flag(item.is_some());
    Ok(())
}

/// `TTL`, `PTTL`, `EXPIRETIME`, `PEXPIRETIME`: `key`.
pub(super) fn time_of<S: ReplySink>(
    run: &mut Run<'_, '_, S>,
    unit: Unit,
    origin: Origin,
) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let Some(item) = run.item(&key) else {
        run.out.int(-2);
        return Ok(());
    };
    let Some(at) = item.expire_at_ms() else {
        run.out.int(-1);
        return Ok(());
    };
    let ms = match origin {
        Origin::Now => at.saturating_sub(run.now_ms()),
        Origin::Epoch => at,
    };
    let shown = match unit {
        Unit::Seconds => ms.saturating_add(500) / 1_000,
        Unit::Milliseconds => ms,
    };
    run.out.int(i64::try_from(shown).unwrap_or(i64::MAX));
    Ok(())
}
