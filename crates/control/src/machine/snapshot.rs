//! The register's state as bytes, and its digest.
//!
//! `AREG`, a version, the head, the records by key, the rows of history, each with its length
//! before it; then XXH3-128 of all that. Equal states have equal bytes.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::{HISTORY_KEPT, Machine, NODES_KEPT_MAX, SHARDS_MAX};
use crate::record::{WireItem, WireRow};
use crate::{HistoryRow, Key, Record, RecordError, Version, Versioned};

/// The most bytes of a register's state.
pub const SNAPSHOT_BYTES_MAX: usize = 256 << 20;

const MAGIC: [u8; 4] = *b"AREG";
const FORMAT: u32 = 1;
const HASH_BYTES: usize = 16;
const RECORDS_MAX: usize = 1 + NODES_KEPT_MAX + SHARDS_MAX;

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct WireHead {
    #[prost(uint64, tag = "1")]
    version: u64,
    #[prost(uint64, tag = "2")]
    rows: u64,
    #[prost(uint32, tag = "3")]
    records: u32,
    #[prost(uint32, tag = "4")]
    history: u32,
}

impl Machine {
    /// The whole state as bytes.
    ///
    /// # Panics
    /// When a count does not fit 32 bits, which the limits rule out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT.to_le_bytes());
        let count = |len: usize| u32::try_from(len).expect("limits are far below 32 bits");
        let head = WireHead {
            version: self.version.get(),
            rows: self.rows,
            records: count(self.records.len()),
            history: count(self.history.len()),
        };
        put(&mut out, &head);
        for versioned in self.records.values() {
            let record = versioned.record.encode();
            put(&mut out, &WireItem { version: versioned.version.get(), record });
        }
        for row in &self.history {
            put(&mut out, &WireRow::from(&**row));
        }
        let hash = xxh3_128(&out);
        out.extend_from_slice(&hash.to_le_bytes());
        out
    }

    /// Reads back what [`Machine::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no state, a damaged one, or one over a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > SNAPSHOT_BYTES_MAX {
            return Err(RecordError::TooLong("snapshot"));
        }
        let at = bytes.len().checked_sub(HASH_BYTES).ok_or(malformed("snapshot"))?;
        let (body, hash) = bytes.split_at(at);
        if xxh3_128(body).to_le_bytes() != hash {
            return Err(malformed("the snapshot's hash"));
        }
        let mut rest = body.strip_prefix(&MAGIC).ok_or(malformed("not a snapshot"))?;
        let (format, after) = rest.split_first_chunk().ok_or(malformed("snapshot"))?;
        if u32::from_le_bytes(*format) != FORMAT {
            return Err(malformed("a snapshot of another version"));
        }
        rest = after;
        let head: WireHead = take(&mut rest)?;
        let mut machine =
            Self { version: Version::new(head.version), rows: head.rows, ..Self::default() };
        machine.take_records(&mut rest, head.records)?;
        machine.take_history(&mut rest, head.history)?;
        if rest.is_empty() { Ok(machine) } else { Err(malformed("bytes behind the snapshot")) }
    }

    fn take_records(&mut self, rest: &mut &[u8], count: u32) -> Result<(), RecordError> {
        let mut last: Option<Key> = None;
        for _record in 0..count {
            let item: WireItem = take(rest)?;
            let record = Record::decode(&item.record)?;
            let (key, version) = (record.key(), Version::new(item.version));
            let rising = last.is_none_or(|last| last < key);
            if !rising || version == Version::ZERO || version > self.version {
                return Err(malformed("records out of order"));
            }
            let full = match key {
                Key::Cluster => false,
                Key::Node(_) => self.nodes == NODES_KEPT_MAX,
                Key::Shard(_) => self.shards == SHARDS_MAX,
            };
            if full || self.records.len() == RECORDS_MAX {
                return Err(RecordError::TooLong("records"));
            }
            last = Some(key);
            self.put(key, Versioned { version, record: Arc::new(record) });
        }
        Ok(())
    }

    fn take_history(&mut self, rest: &mut &[u8], count: u32) -> Result<(), RecordError> {
        let first = self.rows.checked_sub(u64::from(count)).ok_or(malformed("rows"))?;
        if usize::try_from(count).is_ok_and(|count| count > HISTORY_KEPT) {
            return Err(RecordError::TooLong("history"));
        }
        for place in 1..=u64::from(count) {
            let row = HistoryRow::try_from(take::<WireRow>(rest)?)?;
            if first.checked_add(place) != Some(row.number) {
                return Err(malformed("rows out of order"));
            }
            self.history.push_back(Arc::new(row));
        }
        Ok(())
    }

    /// A hash over the whole state: equal on all copies at equal versions.
    #[must_use]
    pub fn digest(&self) -> u128 {
        xxh3_128(&self.encode())
    }
}

const fn malformed(what: &'static str) -> RecordError {
    RecordError::Malformed(what)
}

fn put(out: &mut Vec<u8>, message: &impl prost::Message) {
    message.encode_length_delimited(out).expect("a Vec grows as needed");
}

fn take<M: prost::Message + Default>(rest: &mut &[u8]) -> Result<M, RecordError> {
    M::decode_length_delimited(rest).map_err(|_malformed| malformed("protobuf in a snapshot"))
}
