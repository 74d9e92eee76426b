//! The keys of one database: small hash tables behind a directory that grows by splitting one of
//! them at a time (extendible hashing).
//!
//! Three things follow: no insert moves more than one segment's items; a cut is a clone of the
//! list of segments, and a later write copies one segment; a scan walks the keys in the order of
//! their hashes, which no growth changes.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::hash::KeyHash;
use crate::item::Item;

/// A segment with this many items is split: what a table of 512 buckets holds.
const SEGMENT_ITEMS_MAX: usize = 448;
/// The directory stops growing at 4,194,304 slots, and segments get longer from there.
const DIRECTORY_BITS_MAX: u32 = 22;

/// The items whose hashes begin with the same bits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segment {
    depth: u32, // how many leading bits they share; at most the directory's bits
    items: HashTable<Item>,
}

impl Segment {
    /// The items, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

/// A database's keys. Takes no memory while nothing was ever written.
#[derive(Debug, Default)]
pub(crate) struct Keyspace {
    bits: u32,           // leading bits of a hash that choose a slot of the directory
    directory: Vec<u32>, // 2^bits positions in `segments`; empty before the first insert
    segments: Vec<Arc<Segment>>,
    len: usize, // items in all segments together
}

/// The segment tables look at other bits than the directory does.
const fn inner(hash: u64) -> u64 {
    hash.rotate_left(32)
}

impl Keyspace {
    /// How many keys there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn slot(&self, hash: u64) -> usize {
        // Two shifts, because a shift by all 64 bits is none.
        usize::try_from(hash >> 1 >> (63 - self.bits)).expect("a slot has at most 22 bits")
    }

    fn position(&self, hash: u64) -> Option<usize> {
        let position = *self.directory.get(self.slot(hash))?;
        Some(usize::try_from(position).expect("32 bits fit"))
    }

    /// The item of a key.
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<&Item> {
        let segment = self.segments.get(self.position(hash)?)?;
        segment.items.find(inner(hash), |item| item.key() == key)
    }

    /// The first item with this hash that `wanted` accepts.
    pub(crate) fn find_by(&self, hash: u64, wanted: impl Fn(&Item) -> bool) -> Option<&Item> {
        let segment = self.segments.get(self.position(hash)?)?;
        segment.items.find(inner(hash), wanted)
    }

    /// Puts an item in the place of the one with the same key, which is returned.
    pub(crate) fn insert(&mut self, hasher: &KeyHash, hash: u64, item: Item) -> Option<Item> {
        if self.directory.is_empty() {
            self.directory.push(0);
            self.segments.push(Arc::default());
        }
        loop {
            let position = self.position(hash).expect("the directory has a slot for every hash");
            let shared = self.segments.get_mut(position).expect("the directory names segments");
            let segment = Arc::make_mut(shared);
            let old = segment.items.find_mut(inner(hash), |old| old.key() == item.key());
            if let Some(old) = old {
                return Some(std::mem::replace(old, item));
            }
            if segment.items.len() < SEGMENT_ITEMS_MAX || segment.depth == DIRECTORY_BITS_MAX {
                let rehash = |item: &Item| inner(hasher.of(item.key()));
                segment.items.insert_unique(inner(hash), item, rehash);
                self.len += 1;
                return None;
            }
            self.split(hasher, hash, position);
        }
    }

    /// Divides the segment at `position`, which holds `hash`, by the next bit.
    fn split(&mut self, hasher: &KeyHash, hash: u64, position: usize) {
        let shared = self.segments.get_mut(position).expect("the caller looked it up");
        let segment = Arc::make_mut(shared);
        let items = std::mem::take(&mut segment.items);
        let bit = 1_u64 << (63 - segment.depth);
        segment.depth += 1;
        let depth = segment.depth;
        // Room for all that will come until the next split: growing would hash them again.
        let mut right = Segment { depth, items: HashTable::with_capacity(SEGMENT_ITEMS_MAX) };
        segment.items = HashTable::with_capacity(SEGMENT_ITEMS_MAX);
        let rehash = |item: &Item| inner(hasher.of(item.key()));
        for item in items {
            let hash = hasher.of(item.key());
            let side = if hash & bit == 0 { &mut segment.items } else { &mut right.items };
            side.insert_unique(inner(hash), item, rehash);
        }
        if depth > self.bits {
            self.directory = self.directory.iter().flat_map(|&slot| [slot, slot]).collect();
            self.bits += 1;
        }
        let added = u32::try_from(self.segments.len()).expect("fewer segments than slots");
        self.segments.push(Arc::new(right));
        let slots = 1 << (self.bits - depth); // that name the right half
        let first = self.slot(hash & !(bit - 1) | bit);
        let names = self.directory.get_mut(first..first + slots).expect("slots of this prefix");
        names.fill(added);
    }

    /// Takes a key's item out.
    pub(crate) fn remove(&mut self, hash: u64, key: &[u8], hasher: &KeyHash) -> Option<Item> {
        self.find(hash, key)?; // so that a key that is not there copies no shared segment
        let position = self.position(hash)?;
        let segment = Arc::make_mut(self.segments.get_mut(position)?);
        let entry = segment.items.find_entry(inner(hash), |item| item.key() == key).ok()?;
        let (item, _) = entry.remove();
        self.len -= 1;
        if segment.items.len() * 8 < segment.items.capacity() {
            let twice = segment.items.len() * 2;
            segment.items.shrink_to(twice, |item| inner(hasher.of(item.key())));
        }
        Some(item)
    }

    /// Empties the keyspace; its segments are returned, for dropping them takes time.
    pub(crate) fn clear(&mut self) -> Vec<Arc<Segment>> {
        std::mem::take(self).segments
    }

    /// The segments as they are now. Later writes copy what they change.
    pub(crate) fn cut(&self) -> Vec<Arc<Segment>> {
        self.segments.clone()
    }

    /// The segment that holds the hashes around `hash`, and the last hash that belongs to it.
    pub(crate) fn segment_of(&self, hash: u64) -> Option<(&Segment, u64)> {
        let segment = self.segments.get(self.position(hash)?)?;
        let rest = u64::MAX.checked_shr(segment.depth).unwrap_or(0);
        Some((segment, hash | rest))
    }

    /// All items, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.segments.iter().flat_map(|segment| segment.iter())
    }

    /// Bytes of the tables themselves, about.
    pub(crate) fn table_bytes(&self) -> usize {
        let buckets: usize = self.segments.len() * 512;
        self.directory.capacity() * size_of::<u32>()
            + self.segments.capacity() * size_of::<Arc<Segment>>()
            + if self.segments.len() > 1 { buckets * (size_of::<Item>() + 1) } else { 0 }
    }
}

#[cfg(test)]
mod tests;
