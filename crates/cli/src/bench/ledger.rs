//! What each key must hold, known because one connection alone writes it.

use std::ops::Range;

use crate::bench::wire::Values;

/// The writes of one connection to its own keys.
#[derive(Debug)]
pub(crate) struct Ledger {
    first: u32,
    keys: Vec<Record>,
}

/// The writes of one key, by their sequence: the first write is 1, 0 is "none yet".
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// Newest that was sent.
    sent: u32,
    /// Newest that was acknowledged;    acked <= sent
    acked: u32,
    /// Newest without an acknowledgement, which may or may not be there;    maybe <= sent
    maybe: u32,
}

impl Ledger {
    /// Nothing written yet to any of `keys`.
    pub(crate) fn new(keys: &Range<u32>) -> Self {
        Self { first: keys.start, keys: vec![Record::default(); keys.len()] }
    }

    /// The sequence of the next write of `key`.
    pub(crate) fn send(&mut self, key: u32) -> u32 {
        let record = self.record(key);
        record.sent = record.sent.checked_add(1).expect("no run writes a key four billion times");
        record.sent
    }

    /// Write `sequence` of `key` was acknowledged.
    pub(crate) fn acknowledge(&mut self, key: u32, sequence: u32) {
        let record = self.record(key);
        assert!(record.acked < sequence && sequence <= record.sent, "replies come in order");
        record.acked = sequence;
    }

    /// Write `sequence` of `key` failed or was never answered: it may be there.
    pub(crate) fn doubt(&mut self, key: u32, sequence: u32) {
        let record = self.record(key);
        record.maybe = record.maybe.max(sequence);
    }

    /// Whether `found` may be what `key` holds now; the reason why not otherwise.
    ///
    /// Before the first acknowledged write, anything may be there: an earlier run left it.
    pub(crate) fn judge(&mut self, values: Values, key: u32, found: Option<&[u8]>) -> Judgement {
        let record = *self.record(key);
        if record.acked == 0 {
            return Judgement::Right;
        }
        let Some(found) = found else { return Judgement::Missing { expected: record.acked } };
        let mut want = Vec::with_capacity(found.len());
        let doubtful = record.acked.saturating_add(1)..=record.maybe;
        for sequence in std::iter::once(record.acked).chain(doubtful) {
            want.clear();
            values.append(&mut want, key, sequence);
            if want == found {
                return Judgement::Right;
            }
        }
        match values.named_sequence(found, key) {
            Some(found) if found < record.acked => {
                Judgement::Stale { expected: record.acked, found }
            }
            Some(_) | None => Judgement::Damaged { expected: record.acked },
        }
    }

    fn record(&mut self, key: u32) -> &mut Record {
        let place = key.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let record = place.and_then(|place| self.keys.get_mut(place));
        record.expect("a verified connection uses its own keys only")
    }
}

/// What a read says about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// As it must be.
    Right,
    /// Acknowledged, and gone.
    Missing {
        /// The write that should be there.
        expected: u32,
    },
    /// An older write than the newest acknowledged one.
    Stale {
        /// The write that should be there.
        expected: u32,
        /// The write that is there.
        found: u32,
    },
    /// Bytes that this run never wrote to this key.
    Damaged {
        /// The write that should be there.
        expected: u32,
    },
}

impl Judgement {
    /// A sentence about `key`, when something is wrong with it.
    pub(crate) fn complaint(self, key: u32) -> Option<String> {
        match self {
            Self::Right => None,
            Self::Missing { expected } => {
                Some(format!("key {key}: acknowledged write {expected} is missing"))
            }
            Self::Stale { expected, found } => Some(format!(
                "key {key}: holds write {found}, but write {expected} was acknowledged"
            )),
            Self::Damaged { expected } => {
                Some(format!("key {key}: its bytes are not those of write {expected}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
