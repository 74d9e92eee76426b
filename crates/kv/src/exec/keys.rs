//! Commands on keys of any type.

use super::Run;
use crate::reply::{Fault, ReplySink};

/// `DEL key ...`, `UNLINK key ...`.
pub(super) fn del<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let mut deleted = 0;
    for bytes in run.rest(1) {
        let key = run.key(bytes);
        if run.find(&key).is_some() {
            run.delete(&key)?;
            deleted += 1;
        }
    }
    run.count(deleted);
    Ok(())
}
