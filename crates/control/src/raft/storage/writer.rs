//! The thread that writes the register's file, and how the file is read when it is opened.

use std::io;

use antiphon_proto::NodeId;
use bytes::Bytes;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};
use tokio::sync::mpsc;

use super::{Mirror, StorageError, Write, broken, stored};
use crate::raft::codec::{WireEntry, WireLogId, WireMeta, WireVote};
use crate::raft::types::Entry;
use crate::{ClusterUuid, Machine};

/// The file's format.
pub(crate) const FORMAT: u64 = 1;

/// Writes of one transaction.
const GROUP_MAX: usize = 64;

const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

const FORMAT_KEY: &str = "format";
const NODE: &str = "node";
const CLUSTER: &str = "cluster";
const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";
const SNAPSHOT_META: &str = "snapshot meta";
const SNAPSHOT: &str = "snapshot";

fn unreadable(error: impl std::fmt::Display) -> StorageError {
    StorageError::File(error.to_string())
}

/// Reads the whole file, and marks a new one as this node's.
pub(super) fn load(database: &Database, me: NodeId) -> Result<Mirror, StorageError> {
    claim(database, me)?;
    let read = database.begin_read().map_err(unreadable)?;
    let facts = read.open_table(FACTS).map_err(unreadable)?;
    let fact = |key: &str| {
        let value = facts.get(key).map_err(unreadable)?;
        Ok::<_, StorageError>(value.map(|value| value.value().to_vec()))
    };
    let id = |key| fact(key)?.map(|bytes| stored::<WireLogId>("an id", &bytes)).transpose();
    let cluster = fact(CLUSTER)?.map(|bytes| number(&bytes).map(ClusterUuid::new)).transpose()?;
    let vote = fact(VOTE)?.map(|bytes| stored::<WireVote>("a vote", &bytes)).transpose()?;
    let mut mirror = Mirror {
        vote,
        cluster,
        committed: id(COMMITTED)?,
        purged: id(PURGED)?,
        ..Mirror::default()
    };
    if let (Some(meta), Some(state)) = (fact(SNAPSHOT_META)?, fact(SNAPSHOT)?) {
        Machine::decode(&state)?;
        mirror.snapshot = Some((stored::<WireMeta>("a snapshot", &meta)?, Bytes::from(state)));
    }
    let log = read.open_table(LOG).map_err(unreadable)?;
    for row in log.iter().map_err(unreadable)? {
        let (index, bytes) = row.map_err(unreadable)?;
        let entry: Entry = stored::<WireEntry>("an entry", bytes.value())?;
        let index = index.value();
        let before = mirror.entries.keys().next_back().copied();
        let before = before.or(mirror.purged.map(|id| id.index));
        let next = before.map_or(0, |before| before.saturating_add(1));
        if entry.log_id.index != index || index != next {
            return Err(StorageError::Damaged { what: format!("entry {index} is out of place") });
        }
        mirror.entries.insert(index, entry);
    }
    Ok(mirror)
}

fn number(bytes: &[u8]) -> Result<u128, StorageError> {
    let bytes = bytes.try_into();
    let bytes = bytes.map_err(|_other_length| StorageError::Damaged { what: "uuid".to_owned() })?;
    Ok(u128::from_le_bytes(bytes))
}

/// A new file becomes this node's; one that exists has to be.
fn claim(database: &Database, me: NodeId) -> Result<(), StorageError> {
    let write = database.begin_write().map_err(unreadable)?;
    {
        let mut facts = write.open_table(FACTS).map_err(unreadable)?;
        drop(write.open_table(LOG).map_err(unreadable)?);
        let mut claimed = |key: &str, mine: u64| {
            let found = facts.get(key).map_err(unreadable)?.map(|value| value.value().to_vec());
            let Some(found) = found else {
                facts.insert(key, mine.to_le_bytes().as_slice()).map_err(unreadable)?;
                return Ok(mine);
            };
            let found = found.as_slice().try_into().map(u64::from_le_bytes);
            found.map_err(|_other_length| StorageError::Damaged { what: key.to_owned() })
        };
        let found = claimed(FORMAT_KEY, FORMAT)?;
        if found != FORMAT {
            return Err(StorageError::Format { found });
        }
        let found = NodeId::new(claimed(NODE, me.get())?);
        if found != me {
            return Err(StorageError::OtherNode { found, expected: me });
        }
    }
    write.commit().map_err(unreadable)
}

pub(super) struct Writer {
    database: Database,
    queue: mpsc::Receiver<Write>,
    failed: Option<String>, // of the first write that failed; nothing is written since
}

impl Writer {
    pub(super) const fn new(database: Database, queue: mpsc::Receiver<Write>) -> Self {
        Self { database, queue, failed: None }
    }

    /// Until it is closed, or nobody can write any more.
    pub(super) fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while self.queue.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            // Nobody waits for these, so they wait for the next write; the last is enough.
            while group.iter().all(|write| matches!(write, Write::Committed(_))) {
                let last = group.pop();
                group.clear();
                group.extend(last);
                if self.queue.blocking_recv_many(&mut group, GROUP_MAX) == 0 {
                    break;
                }
            }
            let closed = group.iter().position(|write| matches!(write, Write::Close));
            group.truncate(closed.unwrap_or(usize::MAX));
            self.write(&mut group);
            if closed.is_some() {
                break;
            }
        }
    }

    fn write(&mut self, group: &mut Vec<Write>) {
        if self.failed.is_none()
            && let Err(error) = self.commit(group)
        {
            tracing::error!(%error, "failed to write the register's file, it stops");
            self.failed = Some(error.to_string());
        }
        for write in group.drain(..) {
            tell(write, self.failed.as_ref().map_or(Ok(()), |why| Err(broken(why))));
        }
    }

    fn commit(&self, group: &[Write]) -> io::Result<()> {
        let transaction = self.database.begin_write().map_err(broken)?;
        group.iter().try_for_each(|write| perform(&transaction, write))?;
        transaction.commit().map_err(broken)
    }
}

/// Says that a write is durable, or never will be. Whoever waited may have given up.
fn tell(write: Write, result: io::Result<()>) {
    match write {
        Write::Vote(_, done)
        | Write::Truncate { done, .. }
        | Write::Snapshot { done, .. }
        | Write::Cluster(_, done) => drop(done.send(result)),
        Write::Append(_, flushed) => flushed.io_completed(result),
        Write::Purge { .. } | Write::Committed(_) | Write::Close => {}
    }
}

fn perform(transaction: &WriteTransaction, write: &Write) -> io::Result<()> {
    let fact = |key: &str, value: &[u8]| {
        let mut facts = transaction.open_table(FACTS).map_err(broken)?;
        facts.insert(key, value).map_err(broken)?;
        Ok(())
    };
    match write {
        Write::Vote(vote, _) => fact(VOTE, vote),
        Write::Committed(id) => fact(COMMITTED, id),
        Write::Cluster(cluster, _) => fact(CLUSTER, &cluster.get().to_le_bytes()),
        Write::Snapshot { meta, state, .. } => {
            fact(SNAPSHOT_META, meta)?;
            fact(SNAPSHOT, state)
        }
        Write::Append(entries, _) => {
            let mut log = transaction.open_table(LOG).map_err(broken)?;
            for (index, entry) in entries {
                log.insert(index, entry.as_slice()).map_err(broken)?;
            }
            Ok(())
        }
        Write::Truncate { from, .. } => remove(transaction, *from, u64::MAX),
        Write::Purge { to, id } => {
            fact(PURGED, id)?;
            remove(transaction, 0, *to)
        }
        Write::Close => Ok(()),
    }
}

fn remove(transaction: &WriteTransaction, from: u64, to: u64) -> io::Result<()> {
    let mut log = transaction.open_table(LOG).map_err(broken)?;
    log.retain_in(from..=to, |_, _| false).map_err(broken)
}
