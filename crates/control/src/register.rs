//! The register as its users see it, wherever it is kept.

use std::sync::Arc;

use antiphon_proto::NodeId;

use crate::machine::Change;
use crate::{
    Cause, Command, HistoryRow, Key, Loss, NodeRecord, Outcome, Record, Refusal, RegisterRule,
    Version, Versioned, WallMs,
};

/// Why the register did not answer. Each is another next move; a conflict is none of them, but an
/// [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Nothing was written. Writes that the shards' primaries acknowledge go on meanwhile.
    #[error(
        "register has no majority: {reason}. Nothing was changed; bring back enough of its voters \
         ({voters}), then ask again"
    )]
    NoMajority {
        /// Who votes, as far as this node knows.
        voters: String,
        /// What this node saw.
        reason: String,
    },
    /// The command went out and no answer came: it may have happened, or may happen yet.
    #[error("the register did not answer in time; read the records to see whether it was done")]
    Unknown,
    /// Too much is under way already. Nothing was written.
    #[error("the register has too many commands under way; ask again")]
    Busy,
    /// Changes were not kept for so long: read all records, then watch from there.
    #[error(transparent)]
    Compacted(#[from] crate::Compacted),
    /// The register of this node has stopped, and only a restart of the node starts it again.
    #[error("the register of this node has stopped: {0}. Restart the node")]
    Stopped(String),
}

/// The configuration register: typed records under keys, changed by compare-and-swap.
///
/// All operations are linearizable. None of them waits for ever: each has a deadline within.
pub trait ConfigRegister: Send + Sync {
    /// What [`ConfigRegister::watch`] returns.
    type Watch: RegisterWatch;

    /// The records under these keys, at one moment, with the register's version then.
    ///
    /// # Errors
    /// When no majority of the register's voters answers, or this node's part has stopped.
    fn read(
        &self,
        keys: &[Key],
    ) -> impl Future<Output = Result<(Version, Vec<Option<Versioned>>), RegisterError>> + Send;

    /// All records, by key, at one moment, with the register's version then.
    ///
    /// # Errors
    /// As [`ConfigRegister::read`].
    fn read_all(
        &self,
    ) -> impl Future<Output = Result<(Version, Vec<(Key, Versioned)>), RegisterError>> + Send;

    /// Writes a batch of records, if each replaces the expected version; all or nothing.
    ///
    /// # Errors
    /// When it is not known to have been decided. That it was decided against is an [`Outcome`].
    fn swap(&self, command: Command)
    -> impl Future<Output = Result<Outcome, RegisterError>> + Send;

    /// The newest rows of the history, the newest last.
    ///
    /// # Errors
    /// As [`ConfigRegister::read`].
    fn history(
        &self,
        rows_max: usize,
    ) -> impl Future<Output = Result<Vec<Arc<HistoryRow>>, RegisterError>> + Send;

    /// Every change after a version, each once, in order, as this node learns of them.
    ///
    /// # Errors
    /// [`RegisterError::Compacted`] when some of them are no longer kept.
    fn watch(&self, after: Version) -> Result<Self::Watch, RegisterError>;
}

/// Changes as they come.
pub trait RegisterWatch: Send {
    /// The next change. Waits for it.
    ///
    /// # Errors
    /// [`RegisterError::Compacted`] when whoever watches was too slow, or
    /// [`RegisterError::Stopped`].
    fn next(&mut self) -> impl Future<Output = Result<Change, RegisterError>> + Send;
}

/// Why a node could not register.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterNodeError {
    /// The node may not take part as it is.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The register did not answer.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// Registers a run of a node, so that no older run and no data directory that it replaces counts
/// again. `replaces` is the operator's word that the disk is a new one.
///
/// Asks again when another change came between; each attempt that fails means that somebody
/// else's succeeded.
///
/// # Errors
/// [`RegisterNodeError::Refused`] for an older run, for a data directory that was replaced, and
/// for one that is new without `replaces`.
pub async fn register_node(
    register: &impl ConfigRegister,
    run: &NodeRecord,
    replaces: bool,
) -> Result<Version, RegisterNodeError> {
    let key = Key::Node(run.node);
    loop {
        let (_, records) = register.read(&[key]).await?;
        let before = records.into_iter().next().flatten();
        let expect = before.as_ref().map_or(Version::ZERO, |before| before.version);
        let old = before.as_ref().and_then(|before| before.record.as_node());
        let record = registered(old, run, replaces)
            .map_err(|rule| RegisterNodeError::Refused(Refusal { key, rule }))?;
        let row = joined(run.node, run.changed, old.is_none());
        let command = Command::one(expect, Record::Node(Box::new(record)), Some(row));
        match register.swap(command).await? {
            Outcome::Done(version) => return Ok(version),
            Outcome::Refused(refusal) => return Err(refusal.into()),
            Outcome::Conflict(_) => {}
        }
    }
}

/// What is written for a run: what the operator arranged stays, what the run says is new.
fn registered(
    old: Option<&NodeRecord>,
    run: &NodeRecord,
    replaces: bool,
) -> Result<NodeRecord, RegisterRule> {
    let Some(old) = old else {
        return Ok(NodeRecord { former_stores: Vec::new(), ..run.clone() });
    };
    let mut former_stores = old.former_stores.clone();
    if old.store != run.store {
        if former_stores.contains(&run.store) {
            return Err(RegisterRule::FormerStore);
        }
        if !replaces {
            return Err(RegisterRule::OtherStore);
        }
        former_stores.push(old.store);
    }
    Ok(NodeRecord { former_stores, role: old.role, ..run.clone() })
}

fn joined(node: NodeId, at: WallMs, first: bool) -> HistoryRow {
    let why = if first { "registered for the first time" } else { "started again" };
    HistoryRow {
        number: 0,
        cause: Cause::Node,
        shard: None,
        who: format!("node {node}"),
        why: why.to_owned(),
        from: Some(node),
        to: None,
        position: antiphon_proto::EntryId::ZERO,
        epoch: antiphon_proto::Epoch::ZERO,
        at,
        took_ms: 0,
        loss: Loss::Nothing,
    }
}
