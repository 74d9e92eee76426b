//! Effects of commands that were executed but not yet proposed.
//!
//! Later commands of the same transaction see them; they are written into the entry's frame in
//! one go, and then join the overlay. Dropping them undoes the commands.

use antiphon_proto::PAYLOAD_BYTES_MAX;
use bytes::{BufMut, BytesMut};
use hashbrown::HashTable;

use crate::base::{Db, Place, Places};
use crate::item::{Item, Value};
use crate::payload::{Effect, PAYLOAD_VERSION};

/// From this many effects on, keys are found through an index.
const INDEX_FROM: usize = 16;
/// Room for effects that is kept for the next command.
const KEPT_CAPACITY_MAX: usize = 256;

/// A key with all that finding it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) db: Db,
    pub(crate) place: Place,
    pub(crate) hash: u64,
    pub(crate) bytes: &'a [u8],
}

/// One executed change.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A key's new state; `what` tells how it is logged.
    Key { db: Db, place: Place, hash: u64, item: Item, what: What },
    /// A database was emptied.
    Flush { db: Db, place: Place },
    /// Two databases were exchanged.
    Swap { one: Db, other: Db },
}

/// How a key changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// It has a new value.
    Put,
    /// It has only a new expiry.
    Expiry,
    /// It is gone; the item only carries the key.
    Gone,
}

/// The effects of one command, or of all commands of one transaction: one entry.
///
/// They refer to the engine's state at the time of execution: propose and commit them, or drop
/// them, before any other command is executed.
#[derive(Debug, Default)]
pub struct Pending {
    changes: Vec<Change>,
    bytes: usize,
    places: Option<Places>,       // when databases were exchanged within
    flushes: Vec<(Place, usize)>, // databases that were emptied, and the last change that did it
    index: HashTable<usize>,      // newest change of each key among the first `indexed`
    indexed: usize,               // 0, or the number of changes
}

impl Pending {
    /// No effects.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing would be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of the payload that [`Pending::write`] would append.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        1 + self.bytes
    }

    /// Whether the effects fit one entry. When not, they must be dropped as a whole.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.payload_bytes() <= PAYLOAD_BYTES_MAX
    }

    /// Appends the entry's payload.
    pub fn write(&self, out: &mut BytesMut) {
        out.reserve(self.payload_bytes());
        out.put_u8(PAYLOAD_VERSION);
        for change in &self.changes {
            change.effect().encode(out);
        }
    }

    /// Drops all effects; keeps a little memory for the next command.
    pub fn clear(&mut self) {
        self.truncate(0);
        self.release_memory();
    }

    /// Gives back what only a large transaction needed.
    pub(crate) fn release_memory(&mut self) {
        if self.changes.is_empty() && self.changes.capacity() > KEPT_CAPACITY_MAX {
            self.changes = Vec::new();
            self.index = HashTable::new();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Drops all effects after the first `len`: those of a command that failed half-way.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len == self.changes.len() {
            return;
        }
        self.changes.truncate(len);
        self.bytes = self.changes.iter().map(|change| change.effect().encoded_bytes()).sum();
        self.index.clear();
        self.indexed = 0;
        self.flushes.retain(|&(_, at)| at < len);
        if len == 0 {
            self.places = None;
        }
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Takes the effects out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Change> {
        self.bytes = 0;
        self.places = None;
        self.flushes.clear();
        self.index.clear();
        self.indexed = 0;
        self.changes.drain(..)
    }

    /// Where the databases lie, when they were exchanged within.
    pub(crate) const fn places(&self) -> Option<&Places> {
        self.places.as_ref()
    }

    /// A key's newest state among these effects: none when they do not touch it, or the item,
    /// or that it is gone.
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<Option<&Item>> {
        if self.changes.is_empty() {
            return None;
        }
        let flushed = self.flushes.iter().find(|(place, _)| *place == key.place);
        let flushed = flushed.map(|&(_, at)| at);
        let at = if self.indexed == self.changes.len() {
            let same = |&at: &usize| self.changes.get(at).is_some_and(|change| change.is(key));
            self.index.find(key.hash, same).copied()
        } else {
            self.changes.iter().rposition(|change| change.is(key))
        };
        if at < flushed {
            return Some(None);
        }
        self.changes.get(at?).map(Change::item)
    }

    /// A key has a new state.
    pub(crate) fn put(&mut self, key: &Key<'_>, item: Item, what: What) {
        let Key { db, place, hash, .. } = *key;
        self.push(Change::Key { db, place, hash, item, what });
    }

    /// A database is emptied.
    pub(crate) fn flush(&mut self, db: Db, place: Place) {
        self.flushes.retain(|&(flushed, _)| flushed != place);
        self.flushes.push((place, self.changes.len()));
        self.push(Change::Flush { db, place });
    }

    /// Two databases are exchanged; `current` is where they lie before.
    pub(crate) fn swap(&mut self, one: Db, other: Db, current: &Places) {
        self.places.get_or_insert_with(|| current.clone()).swap(one, other);
        self.push(Change::Swap { one, other });
    }

    fn push(&mut self, change: Change) {
        self.bytes += change.effect().encoded_bytes();
        self.changes.push(change);
        if self.changes.len() > INDEX_FROM {
            self.bring_index_up();
        }
    }

    fn bring_index_up(&mut self) {
        let Self { changes, index, .. } = self;
        let hash_at = |&at: &usize| changes.get(at).map_or(0, Change::hash);
        for (at, change) in changes.iter().enumerate().skip(self.indexed) {
            let Change::Key { place, hash, item, .. } = change else { continue };
            let same = |&other: &usize| {
                changes.get(other).is_some_and(|other| other.is_of(*place, *hash, item.key()))
            };
            match index.find_mut(*hash, same) {
                Some(older) => *older = at,
                None => {
                    index.insert_unique(*hash, at, hash_at);
                }
            }
        }
        self.indexed = self.changes.len();
    }
}

impl Change {
    fn is(&self, key: &Key<'_>) -> bool {
        self.is_of(key.place, key.hash, key.bytes)
    }

    fn is_of(&self, at: Place, wanted: u64, key: &[u8]) -> bool {
        match self {
            Self::Key { place, hash, item, .. } => {
                *hash == wanted && *place == at && item.key() == key
            }
            Self::Flush { .. } | Self::Swap { .. } => false,
        }
    }

    fn hash(&self) -> u64 {
        match self {
            Self::Key { hash, .. } => *hash,
            Self::Flush { .. } | Self::Swap { .. } => 0,
        }
    }

    fn item(&self) -> Option<&Item> {
        match self {
            Self::Key { what: What::Put | What::Expiry, item, .. } => Some(item),
            Self::Key { what: What::Gone, .. } | Self::Flush { .. } | Self::Swap { .. } => None,
        }
    }

    fn effect(&self) -> Effect<'_> {
        match self {
            Self::Key { db, item, what, .. } => {
                let (db, key, expire_at_ms) = (*db, item.key(), item.expire_at_ms());
                match what {
                    What::Put => match item.value() {
                        Value::Str(value) => Effect::Put { db, key, value, expire_at_ms },
                    },
                    What::Expiry => Effect::Expire { db, key, expire_at_ms },
                    What::Gone => Effect::Delete { db, key },
                }
            }
            Self::Flush { db, .. } => Effect::Flush { db: *db },
            Self::Swap { one, other } => Effect::Swap { one: *one, other: *other },
        }
    }
}
