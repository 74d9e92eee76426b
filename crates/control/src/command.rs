//! What the register is told to do, and what comes of it: one command, a compare-and-swap of a
//! batch of records, all of them or none.

use std::fmt;

use prost::Message as _;

use crate::record::{WireItem, WireRow};
use crate::{HistoryRow, Key, Record, RecordError, Version};

/// The most records of one command.
pub const BATCH_ITEMS_MAX: usize = 256;

/// The most bytes of an encoded command: with its head it fits the control lane of a link.
pub const COMMAND_BYTES_MAX: usize = 512 << 10;
const _: () = assert!(COMMAND_BYTES_MAX >= 2 * crate::RECORD_BYTES_MAX, "records fit a command");

/// A record to write, if the one that it replaces is the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The version of the record that it replaces; 0 when there must be none.
    pub expect: Version,
    /// What is written.
    pub record: Record,
}

/// Writes all of these records, if each replaces what it expects, or none of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// The records, at most [`BATCH_ITEMS_MAX`], each under another key.
    pub items: Vec<Item>,
    /// What is added to the history with them; at most one for each record.
    pub rows: Vec<HistoryRow>,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done; the records have this version now.
    Done(Version),
    /// Nothing was written: these records have another version than was expected, this one.
    /// Read them, and decide again.
    Conflict(Vec<(Key, Version)>),
    /// Nothing was written, and never will be: it breaks a rule.
    Refused(Refusal),
}

/// Which rule a command breaks, and with which record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{rule} ({key})")]
pub struct Refusal {
    /// The record.
    pub key: Key,
    /// The rule.
    pub rule: RegisterRule,
}

/// What holds for every change of the register, whoever asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum RegisterRule {
    /// A command without a record, with too many, or with more rows than records.
    #[error("a command has from 1 to {BATCH_ITEMS_MAX} records and at most a row for each")]
    Batch,
    /// Over a limit of bytes, or a record that could not be read back.
    #[error("a record or the whole command is over its limit")]
    TooLong,
    /// Two records under one key.
    #[error("a command names each record once")]
    Twice,
    /// Before anything else there is a cluster.
    #[error("the cluster's own record comes first; found the cluster")]
    NotFounded,
    /// A cluster stays the cluster that it is.
    #[error("a cluster's identity and name never change")]
    OtherCluster,
    /// An older run of a node than the one that registered.
    #[error("a newer run of this node is registered; stop this one")]
    OldIncarnation,
    /// A data directory that was replaced.
    #[error("this data directory was replaced by another; start the node with an empty one")]
    FormerStore,
    /// A data directory that nobody announced as a replacement.
    #[error("the node is registered with another data directory; replace it, or use that one")]
    OtherStore,
    /// A node was removed, and stays so.
    #[error("the node was removed; give it a new number")]
    Removed,
    /// A node has gone through more data directories than are remembered.
    #[error("the node has had too many data directories; give it a new number")]
    TooManyStores,
    /// An epoch that is not greater than all before it, for another configuration.
    #[error("a new configuration has an epoch over all that the shard ever had")]
    OldEpoch,
    /// No room for another node or shard.
    #[error("the register has no room for another record")]
    Full,
}

const RULES: [(u32, RegisterRule); 12] = [
    (1, RegisterRule::Batch),
    (2, RegisterRule::TooLong),
    (3, RegisterRule::Twice),
    (4, RegisterRule::NotFounded),
    (5, RegisterRule::OtherCluster),
    (6, RegisterRule::OldIncarnation),
    (7, RegisterRule::FormerStore),
    (8, RegisterRule::OtherStore),
    (9, RegisterRule::Removed),
    (10, RegisterRule::TooManyStores),
    (11, RegisterRule::OldEpoch),
    (12, RegisterRule::Full),
];

#[derive(Clone, PartialEq, prost::Message)]
struct WireCommand {
    #[prost(message, repeated, tag = "1")]
    items: Vec<WireItem>,
    #[prost(message, repeated, tag = "2")]
    rows: Vec<WireRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireOutcome {
    #[prost(uint64, tag = "1")]
    done: u64,
    #[prost(message, repeated, tag = "2")]
    conflict: Vec<WireKey>,
    #[prost(message, optional, tag = "3")]
    refused: Option<WireKey>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireKey {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    id: u64,
    /// A version, or a rule.
    #[prost(uint64, tag = "3")]
    value: u64,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write")?;
        self.items.iter().try_for_each(|item| write!(f, " {}", item.record.key()))
    }
}

impl Command {
    /// Writes one record.
    #[must_use]
    pub fn one(expect: Version, record: Record, row: Option<HistoryRow>) -> Self {
        Self { items: vec![Item { expect, record }], rows: row.into_iter().collect() }
    }

    /// The command as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let item =
            |item: &Item| WireItem { version: item.expect.get(), record: item.record.encode() };
        let items = self.items.iter().map(item).collect();
        WireCommand { items, rows: self.rows.iter().map(WireRow::from).collect() }.encode_to_vec()
    }

    /// Reads back what [`Command::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no command, or one over a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(RecordError::TooLong("command"));
        }
        let wire = WireCommand::decode(bytes)
            .map_err(|_malformed| RecordError::Malformed("protobuf of a command"))?;
        if wire.items.len() > BATCH_ITEMS_MAX || wire.rows.len() > wire.items.len() {
            return Err(RecordError::TooLong("batch"));
        }
        let item = |item: WireItem| {
            let record = Record::decode(&item.record)?;
            Ok(Item { expect: Version::new(item.version), record })
        };
        let items = wire.items.into_iter().map(item).collect::<Result<_, RecordError>>()?;
        let rows = wire.rows.into_iter().map(HistoryRow::try_from).collect::<Result<_, _>>()?;
        Ok(Self { items, rows })
    }

    /// Whether the register may take it at all, as far as it can be seen from the command.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<(), Refusal> {
        let first = self.items.first().map_or(Key::Cluster, |item| item.record.key());
        let refusal = |key, rule| Err(Refusal { key, rule });
        if self.items.is_empty()
            || self.items.len() > BATCH_ITEMS_MAX
            || self.rows.len() > self.items.len()
        {
            return refusal(first, RegisterRule::Batch);
        }
        let mut keys: Vec<_> = self.items.iter().map(|item| item.record.key()).collect();
        keys.sort_unstable();
        let mut pairs = keys.iter().zip(keys.iter().skip(1));
        if let Some((key, _same)) = pairs.find(|(a, b)| a == b) {
            return refusal(*key, RegisterRule::Twice);
        }
        if let Some(item) = self.items.iter().find(|item| item.record.check().is_err()) {
            return refusal(item.record.key(), RegisterRule::TooLong);
        }
        // Reads as what was written, so within all limits, and small enough for a link.
        if Self::decode(&self.encode()).is_err() {
            return refusal(first, RegisterRule::TooLong);
        }
        Ok(())
    }
}

impl Outcome {
    /// The outcome as bytes, for whoever asked through another node.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let key = |key: Key, value: u64| {
            let (kind, id) = key.to_wire();
            WireKey { kind, id, value }
        };
        let mut wire = WireOutcome { done: 0, conflict: Vec::new(), refused: None };
        match self {
            Self::Done(version) => wire.done = version.get(),
            Self::Conflict(keys) => {
                wire.conflict = keys.iter().map(|(at, is)| key(*at, is.get())).collect();
            }
            Self::Refused(Refusal { key: at, rule }) => {
                let code = RULES.iter().find(|(_, known)| known == rule);
                wire.refused = code.map(|(code, _)| key(*at, u64::from(*code)));
            }
        }
        wire.encode_to_vec()
    }

    /// Reads back what [`Outcome::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no outcome, or one over a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let malformed = || RecordError::Malformed("outcome");
        let wire = WireOutcome::decode(bytes).map_err(|_malformed| malformed())?;
        let key = |wire: &WireKey| Key::from_wire(wire.kind, wire.id);
        match (wire.done, wire.conflict.as_slice(), &wire.refused) {
            (1.., [], None) => Ok(Self::Done(Version::new(wire.done))),
            (0, [], Some(refused)) => {
                let known = RULES.iter().find(|(code, _)| u64::from(*code) == refused.value);
                let (_, rule) = known.ok_or_else(malformed)?;
                Ok(Self::Refused(Refusal { key: key(refused)?, rule: *rule }))
            }
            (0, [_, ..], None) if wire.conflict.len() <= BATCH_ITEMS_MAX => {
                let keys = wire.conflict.iter().map(|at| Ok((key(at)?, Version::new(at.value))));
                keys.collect::<Result<_, _>>().map(Self::Conflict)
            }
            _ => Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests;
