//! Damage in the log: what is behind it is set aside, remembered as owed, and fetched again.

use antiphon_proto::{HardState, Lsn, ShardId};
use antiphon_store::{Committer, Completion, Op, Position};
use tracing::warn;

use crate::error::StartError;

/// Moves the log's end before the damage. What is cut goes to `diverged/` as far as it can be
/// read, and the node is not counted in a recovery until its log reaches as far as before.
///
/// `missing` are the first and last entry that can't be read; `snapshot` is where the state was
/// restored to. Returns how far the log once reached.
pub(super) fn set_aside(
    committer: &mut Committer,
    shard: ShardId,
    ((first, last), snapshot): ((Lsn, Lsn), Option<Position>),
    promise: HardState,
    alone: bool,
) -> Result<Lsn, StartError> {
    if alone {
        return Err(StartError::Alone { first, last });
    }
    let end = committer.reader().bounds(shard).last.id.lsn;
    let owed = end.max(last).max(promise.owed);
    warn!(%first, %last, %owed, "setting entries aside, other nodes have them");
    // First the debt, then the cut: a node that cut and forgot why would count as whole.
    let state = HardState { owed, ..promise }.encode().into();
    committer.submit(Op::Hard { shard, state, ticket: 0 });
    let covered = snapshot.filter(|position| position.id.lsn >= first);
    if let Some(position) = covered {
        committer.submit(Op::Restart { shard, position, ticket: 0 });
    } else if first <= end {
        committer.submit(Op::Truncate { shard, lsn: first.prev(), ticket: 0 });
    }
    let mut done = Vec::new();
    while !committer.is_idle() {
        committer.run(&mut done);
    }
    for completion in done {
        if let Completion::Failed(error) = completion {
            return Err(StartError::State { what: "the log", why: error.to_string() });
        }
    }
    Ok(owed)
}
