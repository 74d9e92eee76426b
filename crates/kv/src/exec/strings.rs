//! Commands on strings.

use super::options::{Condition, Expiry, Options, Origin, Owner, Unit, digest_text, positive_time};
use super::{Run, string};
use crate::item::{Item, Value};
use crate::number;
use crate::pending::Key;
use crate::reply::{Fault, ReplySink};

/// `GET key`. The hot path: nothing is allocated and no item is cloned.
pub(super) fn get<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let found = run.engine.find(run.context.pending, &key, run.context.now_ms);
    run.dirty = found.dirty;
    run.engine.count_lookup(found.item.is_some());
    match found.item.map(Item::value) {
        Some(Value::Str(value)) => run.out.bulk(value),
        None => run.out.null(),
    }
    Ok(())
}

/// `SET key value [NX | XX | IFEQ v | IFNE v | IFDEQ d | IFDNE d] [GET]
/// [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`.
pub(super) fn set<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let value = run.arg(2);
    if run.args.len() == 3 {
        // The hot path: the old value does not matter, so it is not looked up.
        run.put(&key, value, None)?;
        run.ok();
        return Ok(());
    }
    let options = Options::parse(Owner::Set, run.rest(3))?;
    let at = match options.expiry {
        Expiry::At(text, unit, origin) => {
            Some(positive_time(text, (unit, origin), run.now_ms(), "set")?)
        }
        Expiry::Default | Expiry::Keep | Expiry::Persist => None,
    };
    let old = run.item(&key);
    if options.get || options.condition.needs_value() {
        run.engine.count_lookup(old.is_some());
        old.as_ref().map(string).transpose()?;
    }
    let acts = options.condition.holds(old.as_ref().map(string_or_empty));
    if acts {
        let keep = matches!(options.expiry, Expiry::Keep);
        let kept = old.as_ref().filter(|_| keep).and_then(Item::expire_at_ms);
        store(run, &key, value, at.or(kept))?;
    }
    match (options.get, acts) {
        (true, _) => run.bulk_or_null(old.as_ref()),
        (false, true) => run.ok(),
        (false, false) => run.out.null(),
    }
    Ok(())
}

/// Writes a string; one whose time has come already is not there.
fn store<S: ReplySink>(
    run: &mut Run<'_, '_, S>,
    key: &Key<'_>,
    value: &[u8],
    at: Option<u64>,
) -> Result<(), Fault> {
    if at.is_none_or(|at| at > run.now_ms()) {
        return run.put(key, value, at);
    }
    run.check_value_bytes(value.len())?;
    if run.find(key).is_some() { run.delete(key) } else { Ok(()) }
}

/// An item's string, to ask whether the key is there.
fn string_or_empty(item: &Item) -> &[u8] {
    string(item).unwrap_or_default()
}

/// `SETNX key value`.
pub(super) fn setnx<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let free = run.find(&key).is_none();
    if free {
        run.put(&key, run.arg(2), None)?;
    }
    run.flag(free);
    Ok(())
}

/// `SETEX key seconds value`, `PSETEX key ms value`.
pub(super) fn setex<S: ReplySink>(
    run: &mut Run<'_, '_, S>,
    unit: Unit,
    name: &str,
) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let at = positive_time(run.arg(2), (unit, Origin::Now), run.now_ms(), name)?;
    run.put(&key, run.arg(3), Some(at))?;
    run.ok();
    Ok(())
}

/// `GETSET key value`.
pub(super) fn getset<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let old = run.read(&key);
    old.as_ref().map(string).transpose()?;
    run.put(&key, run.arg(2), None)?;
    run.bulk_or_null(old.as_ref());
    Ok(())
}

/// `GETDEL key`.
pub(super) fn getdel<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let old = run.read(&key);
    if let Some(old) = &old {
        string(old)?;
        run.delete(&key)?;
    }
    run.bulk_or_null(old.as_ref());
    Ok(())
}

/// `GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]`.
pub(super) fn getex<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let options = Options::parse(Owner::GetEx, run.rest(2))?;
    let key = run.key(run.arg(1));
    let Some(item) = run.read(&key) else {
        run.out.null();
        return Ok(());
    };
    string(&item)?;
    match options.expiry {
        Expiry::At(text, unit, origin) => {
            let at = positive_time(text, (unit, origin), run.now_ms(), "getex")?;
            run.set_expiry(&key, &item, Some(at))?;
        }
        Expiry::Persist => run.set_expiry(&key, &item, None)?,
        Expiry::Default | Expiry::Keep => {}
    }
    run.bulk_or_null(Some(&item));
    Ok(())
}

/// `MGET key ...`.
pub(super) fn mget<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    run.out.array(run.args.len() - 1);
    for bytes in run.rest(1) {
        let key = run.key(bytes);
        let found = run.engine.find(run.context.pending, &key, run.context.now_ms);
        run.dirty = run.dirty.max(found.dirty);
        run.engine.count_lookup(found.item.is_some());
        match found.item.map(Item::value) {
            Some(Value::Str(value)) => run.out.bulk(value),
            None => run.out.null(),
        }
    }
    Ok(())
}

/// `MSET key value ...`.
pub(super) fn mset<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    put_pairs(run, "mset")?;
    run.ok();
    Ok(())
}

/// `MSETNX key value ...`.
pub(super) fn msetnx<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let (pairs, []) = run.rest(1).as_chunks::<2>() else { return Err(Fault::arity("msetnx")) };
    let mut free = true;
    for [key, _] in pairs {
        let key = run.key(key);
        free &= run.find(&key).is_none();
    }
    if free {
        put_pairs(run, "msetnx")?;
    }
    run.flag(free);
    Ok(())
}

fn put_pairs<S: ReplySink>(run: &mut Run<'_, '_, S>, name: &str) -> Result<(), Fault> {
    let (pairs, []) = run.rest(1).as_chunks::<2>() else { return Err(Fault::arity(name)) };
    for [key, value] in pairs {
        let key = run.key(key);
        run.put(&key, value, None)?;
    }
    Ok(())
}

/// `STRLEN key`.
pub(super) fn strlen<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let item = run.read(&key);
    let bytes = item.as_ref().map(string).transpose()?.map_or(0, <[u8]>::len);
    run.count(bytes);
    Ok(())
}

/// `APPEND key value`.
pub(super) fn append<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let more = run.arg(2);
    let item = run.item(&key);
    let old = item.as_ref().map(string).transpose()?;
    let bytes = old.map_or(0, <[u8]>::len) + more.len();
    if old.is_none() || !more.is_empty() {
        run.check_value_bytes(bytes)?;
        let at = item.as_ref().and_then(Item::expire_at_ms);
        let joined = Item::build(key.bytes, at, bytes, |place| {
            let (head, tail) = place.split_at_mut(bytes - more.len());
            head.copy_from_slice(old.unwrap_or_default());
            tail.copy_from_slice(more);
        });
        run.put_item(&key, joined)?;
    }
    run.count(bytes);
    Ok(())
}

/// `SETRANGE key offset value`.
pub(super) fn setrange<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let offset = usize::try_from(number::word(run.arg(2))?).map_err(|_negative| Fault::OFFSET)?;
    let key = run.key(run.arg(1));
    let patch = run.arg(3);
    let item = run.item(&key);
    let old = item.as_ref().map(string).transpose()?.unwrap_or_default();
    if patch.is_empty() {
        run.count(old.len());
        return Ok(());
    }
    let end = offset.saturating_add(patch.len());
    let bytes = end.max(old.len());
    run.check_value_bytes(bytes)?;
    let at = item.as_ref().and_then(Item::expire_at_ms);
    let patched = Item::build(key.bytes, at, bytes, |place| {
        let (head, _) = place.split_at_mut(old.len());
        head.copy_from_slice(old);
        let middle = place.get_mut(offset..end).expect("the place reaches to the patch's end");
        middle.copy_from_slice(patch);
    });
    run.put_item(&key, patched)?;
    run.count(bytes);
    Ok(())
}

/// `GETRANGE key start end`, `SUBSTR key start end`.
pub(super) fn getrange<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let (start, end) = (number::word(run.arg(2))?, number::word(run.arg(3))?);
    let key = run.key(run.arg(1));
    let item = run.read(&key);
    let value = item.as_ref().map(string).transpose()?.unwrap_or_default();
    run.out.bulk(part(value, start, end));
    Ok(())
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn part(value: &[u8], start: i64, end: i64) -> &[u8] {
    let len = i64::try_from(value.len()).expect("a length in memory");
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let from_front = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end => value.get(start..=end).unwrap_or_default(),
        _ => &[],
    }
}

/// `DELIFEQ key value`.
pub(super) fn delifeq<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    delete_if(run, Condition::Equal(run.arg(2)))
}

/// `DELEX key [IFEQ v | IFNE v | IFDEQ d | IFDNE d]`.
pub(super) fn delex<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    match run.rest(2) {
        [] => delete_if(run, Condition::Always),
        [word, operand] => {
            let condition = Condition::on_value(word, Some(operand)).ok_or(Fault::SYNTAX)?;
            delete_if(run, condition)
        }
        _ => Err(Fault::arity("delex")),
    }
}

fn delete_if<S: ReplySink>(
    run: &mut Run<'_, '_, S>,
    condition: Condition<'_>,
) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let mut deleted = false;
    if let Some(item) = run.item(&key) {
        deleted = !condition.needs_value() || condition.holds(Some(string(&item)?));
    }
    if deleted {
        run.delete(&key)?;
    }
    run.flag(deleted);
    Ok(())
}

/// `DIGEST key`.
pub(super) fn digest<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    match run.read(&key) {
        Some(item) => run.out.bulk(digest_text(string(&item)?).as_bytes()),
        None => run.out.null(),
    }
    Ok(())
}
