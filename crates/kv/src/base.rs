//! The stable data set: changed only by stable entries, equal on all nodes at the same position.

use std::collections::BTreeSet;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::hash::KeyHash;
use crate::item::Item;
use crate::table::{Keyspace, Segment};

/// Databases of a server, as in Redis' default.
pub const DATABASES: usize = 16;

/// Segments of a flushed database that each applied entry drops, so that no flush stalls.
const GARBAGE_PER_APPLY: usize = 4;

/// Where a database's keys lie. `SWAPDB` exchanges the places of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place(u8);

impl Place {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..DATABASES_U8).map(Self)
    }

    pub(crate) const fn get(self) -> u8 {
        self.0
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The number of a database, as clients write it; less than [`DATABASES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Db(u8);

const DATABASES_U8: u8 = 16;
const _: () = assert!(DATABASES == 16, "the two constants are one");

impl Db {
    /// The number, if there is such a database.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|&number| number < DATABASES_U8).map(Self)
    }

    /// All databases.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..DATABASES_U8).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Which place each database number has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places([Place; DATABASES]);

impl Default for Places {
    fn default() -> Self {
        let mut places = [Place(0); DATABASES];
        for (slot, place) in places.iter_mut().zip(Place::all()) {
            *slot = place;
        }
        Self(places)
    }
}

impl Places {
    /// The place of a database.
    pub(crate) fn of(&self, db: Db) -> Place {
        *self.0.get(db.index()).expect("a database's number is below the count")
    }

    /// Exchanges two.
    pub(crate) fn swap(&mut self, one: Db, other: Db) {
        self.0.swap(one.index(), other.index());
    }
}

/// One database.
#[derive(Debug, Default)]
pub(crate) struct Database {
    keys: Keyspace,
    expiring: u64,
    expiry_sum: u128, // of the expiries of all `expiring` keys, for their mean
    digest: u128,     // wrapping sum of all items' digests
    item_bytes: usize,
}

impl Database {
    pub(crate) const fn keys(&self) -> &Keyspace {
        &self.keys
    }

    pub(crate) const fn expiring(&self) -> u64 {
        self.expiring
    }

    /// Mean time left of the keys that expire, in milliseconds.
    pub(crate) fn mean_ttl_ms(&self, now_ms: u64) -> u64 {
        let mean = self.expiry_sum.checked_div(u128::from(self.expiring)).unwrap_or(0);
        u64::try_from(mean).unwrap_or(u64::MAX).saturating_sub(now_ms)
    }

    fn add(&mut self, item: &Item) {
        self.digest = self.digest.wrapping_add(item.digest());
        self.item_bytes += item.heap_bytes();
        if let Some(at) = item.expire_at_ms() {
            self.expiring += 1;
            self.expiry_sum += u128::from(at);
        }
    }

    fn subtract(&mut self, item: &Item) {
        self.digest = self.digest.wrapping_sub(item.digest());
        self.item_bytes -= item.heap_bytes();
        if let Some(at) = item.expire_at_ms() {
            self.expiring -= 1;
            self.expiry_sum -= u128::from(at);
        }
    }
}

/// A key that expires: when, where it lies, and the hash by which it is found.
type Expiring = (u64, u8, u64);

/// The stable data set of a shard.
#[derive(Debug)]
pub(crate) struct Base {
    hasher: KeyHash,
    places: Places,
    databases: [Database; DATABASES], // by place
    expiring: BTreeSet<Expiring>,     // exactly the items that have an expiry
    garbage: Vec<Arc<Segment>>,
}

impl Base {
    /// Nothing yet; keys are hashed under `hasher`.
    pub(crate) fn new(hasher: KeyHash) -> Self {
        Self {
            hasher,
            places: Places::default(),
            databases: Default::default(),
            expiring: BTreeSet::new(),
            garbage: Vec::new(),
        }
    }

    pub(crate) const fn hasher(&self) -> &KeyHash {
        &self.hasher
    }

    pub(crate) const fn places(&self) -> &Places {
        &self.places
    }

    /// The database at a place.
    pub(crate) fn database(&self, place: Place) -> &Database {
        self.databases.get(place.index()).expect("a place is below the count")
    }

    fn database_mut(&mut self, place: Place) -> &mut Database {
        self.databases.get_mut(place.index()).expect("a place is below the count")
    }

    /// The item of a key, expired or not.
    pub(crate) fn find(&self, place: Place, hash: u64, key: &[u8]) -> Option<&Item> {
        self.database(place).keys.find(hash, key)
    }

    /// Puts an item in the place of the one with the same key.
    pub(crate) fn put(&mut self, place: Place, hash: u64, item: Item) {
        let Self { hasher, databases, expiring, .. } = self;
        let database = databases.get_mut(place.index()).expect("a place is below the count");
        database.add(&item);
        let new = item.expire_at_ms();
        let old = database.keys.insert(hasher, hash, item);
        let before = old.as_ref().and_then(Item::expire_at_ms);
        if let Some(old) = &old {
            database.subtract(old);
        }
        if before == new {
            return;
        }
        if let Some(at) = before {
            expiring.remove(&(at, place.get(), hash));
        }
        if let Some(at) = new {
            expiring.insert((at, place.get(), hash));
        }
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, place: Place, hash: u64, key: &[u8]) {
        let Self { hasher, databases, expiring, .. } = self;
        let database = databases.get_mut(place.index()).expect("a place is below the count");
        let Some(old) = database.keys.remove(hash, key, hasher) else { return };
        database.subtract(&old);
        if let Some(at) = old.expire_at_ms() {
            expiring.remove(&(at, place.get(), hash));
        }
    }

    /// Empties a database.
    pub(crate) fn flush(&mut self, place: Place) {
        let mut database = std::mem::take(self.database_mut(place));
        if database.expiring > 0 {
            self.expiring.retain(|&(_, at, _)| at != place.get());
        }
        self.garbage.append(&mut database.keys.clear());
    }

    /// Exchanges the contents of two databases.
    pub(crate) fn swap(&mut self, one: Db, other: Db) {
        self.places.swap(one, other);
    }

    /// Frees a little of what was flushed.
    pub(crate) fn collect_garbage(&mut self) {
        let kept = self.garbage.len().saturating_sub(GARBAGE_PER_APPLY);
        self.garbage.truncate(kept);
        if kept == 0 && self.garbage.capacity() > 0 {
            self.garbage = Vec::new();
        }
    }

    /// Keys that expired at or before `now_ms`, the oldest first.
    pub(crate) fn expired(&self, now_ms: u64) -> impl Iterator<Item = (Place, u64, &Item)> {
        let until = (now_ms, u8::MAX, u64::MAX);
        self.expiring.range(..=until).map(|&(at, place, hash)| {
            let place = Place(place);
            let item = self
                .database(place)
                .keys
                .find_by(hash, |item| item.expire_at_ms() == Some(at))
                .expect("the index holds exactly the keys that expire");
            (place, hash, item)
        })
    }

    /// Digest of the whole state, independent of the order it was written in.
    pub(crate) fn digest(&self) -> [u8; 16] {
        let mut all = Vec::with_capacity(DATABASES * 17);
        for db in Db::all() {
            let database = self.database(self.places.of(db));
            if database.keys.len() > 0 {
                all.push(db.get());
                all.extend_from_slice(&(database.keys.len() as u64).to_le_bytes());
                all.extend_from_slice(&database.digest.to_le_bytes());
            }
        }
        xxh3_128(&all).to_le_bytes()
    }

    /// Bytes of memory that the data takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let databases = self.databases.iter();
        databases.map(|database| database.item_bytes + database.keys.table_bytes()).sum::<usize>()
            + self.expiring.len() * size_of::<Expiring>() * 3 / 2
    }
}
