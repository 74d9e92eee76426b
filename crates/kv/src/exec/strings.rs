//! Commands on strings.

use super::{Run, string};
use crate::item::Value;
use crate::reply::{Fault, ReplySink};

/// `GET key`. The hot path: nothing is allocated and no item is cloned.
pub(super) fn get<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let found = run.engine.find(run.context.pending, &key, run.context.now_ms);
    run.dirty = found.dirty;
    run.engine.count_lookup(found.item.is_some());
    match found.item {
        Some(item) => match item.value() {
            Value::Str(value) => run.out.bulk(value),
        },
        None => run.out.null(),
    }
    Ok(())
}

/// `SET key value`.
pub(super) fn set<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    run.put(&key, run.arg(2), None)?;
    run.ok();
    Ok(())
}
