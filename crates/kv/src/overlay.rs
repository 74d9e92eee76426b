//! What the primary has promised to do but what is not yet stable, over the base.
//!
//! Each key has its newest state and the position of the entry that made it. An entry that became
//! stable leaves the overlay as its effects reach the base; a deposed primary forgets it all.

use antiphon_proto::Lsn;
use hashbrown::HashTable;

use crate::base::{DATABASES, Db, Place, Places};
use crate::item::Item;

/// Room for keys that an empty overlay keeps for the next ones.
const KEPT_CAPACITY_MAX: usize = 1 << 16;

/// A key's newest unstable state.
#[derive(Debug, Clone)]
pub(crate) struct Unstable {
    pub(crate) place: Place,
    pub(crate) hash: u64,
    pub(crate) item: Item,
    pub(crate) gone: bool, // deleted; `item` then only carries the key
    pub(crate) lsn: Lsn,   // of the entry that made it so
}

/// What unstable entries did to a whole database.
#[derive(Debug, Clone, Copy, Default)]
struct Wide {
    flushed: Lsn, // newest flush: the base's keys are hidden; 0 when there is none
    touched: Lsn, // newest flush or exchange; touched >= flushed
}

/// What the overlay knows of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    /// It is this.
    Item(&'a Item, Lsn),
    /// It is not there, whatever the base says.
    Gone(Lsn),
    /// The base decides; the position is that of the newest entry on the whole database.
    Through(Lsn),
}

/// Speculative effects by key.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    keys: HashTable<Unstable>,
    wide: [Wide; DATABASES], // by place
    places: Option<Places>,  // with unstable exchanges; none when it is the base's
    newest: Lsn,             // newest entry that was added; 0 after the last left
}

/// Keys of different databases differ in the table, too.
const fn mixed(place: Place, hash: u64) -> u64 {
    hash.rotate_left(32) ^ (place.get() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Overlay {
    /// Whether nothing is unstable.
    pub(crate) const fn is_empty(&self) -> bool {
        self.newest.get() == 0
    }

    /// The newest unstable entry; 0 when there is none.
    pub(crate) const fn newest(&self) -> Lsn {
        self.newest
    }

    /// Keys that are held.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Where the databases lie, when an exchange is unstable.
    pub(crate) const fn places(&self) -> Option<&Places> {
        self.places.as_ref()
    }

    /// What is known of a key.
    pub(crate) fn find(&self, place: Place, hash: u64, key: &[u8]) -> Seen<'_> {
        if self.is_empty() {
            return Seen::Through(Lsn::ZERO);
        }
        let wide = self.wide(place);
        match self.keys.find(mixed(place, hash), |held| held.is(place, key)) {
            Some(held) if held.gone => Seen::Gone(held.lsn.max(wide.touched)),
            Some(held) => Seen::Item(&held.item, held.lsn.max(wide.touched)),
            None if wide.flushed > Lsn::ZERO => Seen::Gone(wide.touched),
            None => Seen::Through(wide.touched),
        }
    }

    fn wide(&self, place: Place) -> Wide {
        *self.wide.get(place.index()).expect("a place is below the count")
    }

    fn wide_mut(&mut self, place: Place) -> &mut Wide {
        self.wide.get_mut(place.index()).expect("a place is below the count")
    }

    /// Whether an unstable flush hides the base's keys of a place.
    pub(crate) fn hides(&self, place: Place) -> bool {
        self.wide(place).flushed > Lsn::ZERO
    }

    /// The unstable keys of a place.
    pub(crate) fn of(&self, place: Place) -> impl Iterator<Item = &Unstable> {
        self.keys.iter().filter(move |held| held.place == place)
    }

    /// The places of all unstable keys, some of them several times.
    pub(crate) fn places_used(&self) -> impl Iterator<Item = Place> {
        self.keys.iter().map(|held| held.place)
    }

    /// A key has a new state.
    pub(crate) fn put(&mut self, new: Unstable) {
        assert!(new.lsn >= self.newest, "entries are added in log order");
        self.newest = new.lsn;
        let held = self
            .keys
            .find_mut(mixed(new.place, new.hash), |held| held.is(new.place, new.item.key()));
        match held {
            Some(held) => *held = new,
            None => {
                let rehash = |held: &Unstable| mixed(held.place, held.hash);
                self.keys.insert_unique(mixed(new.place, new.hash), new, rehash);
            }
        }
    }

    /// A database was emptied.
    pub(crate) fn flush(&mut self, place: Place, lsn: Lsn) {
        assert!(lsn >= self.newest, "entries are added in log order");
        self.newest = lsn;
        self.keys.retain(|held| held.place != place);
        *self.wide_mut(place) = Wide { flushed: lsn, touched: lsn };
    }

    /// Two databases were exchanged; `base` is where they lie in the stable state.
    pub(crate) fn swap(&mut self, one: Db, other: Db, base: &Places, lsn: Lsn) {
        assert!(lsn >= self.newest, "entries are added in log order");
        self.newest = lsn;
        let places = self.places.get_or_insert_with(|| base.clone());
        let both = [places.of(one), places.of(other)];
        places.swap(one, other);
        for place in both {
            self.wide_mut(place).touched = lsn;
        }
    }

    /// The entry at `lsn` reached the base, where it changed this key. Returns the item if it was
    /// that entry which made the key's newest state.
    pub(crate) fn settle(&mut self, at: (Place, u64, &[u8]), lsn: Lsn) -> Option<Item> {
        if self.is_empty() {
            return None;
        }
        let (place, hash, key) = at;
        let same = |held: &Unstable| held.is(place, key);
        let entry = self.keys.find_entry(mixed(place, hash), same).ok()?;
        if entry.get().lsn > lsn {
            return None;
        }
        let (held, _) = entry.remove();
        (!held.gone && held.lsn == lsn).then_some(held.item)
    }

    /// All of the entry at `lsn`, which became stable, has reached the base.
    pub(crate) fn settled(&mut self, lsn: Lsn) {
        if self.newest <= lsn && !self.is_empty() {
            self.forget();
            return;
        }
        for wide in &mut self.wide {
            if wide.flushed <= lsn {
                wide.flushed = Lsn::ZERO;
            }
            if wide.touched <= lsn {
                wide.touched = Lsn::ZERO;
            }
        }
    }

    /// Nothing is unstable any more: all became stable, or this node is no longer primary.
    pub(crate) fn forget(&mut self) {
        if self.keys.capacity() > KEPT_CAPACITY_MAX {
            self.keys = HashTable::new();
        }
        self.keys.clear();
        self.wide = [Wide::default(); DATABASES];
        self.places = None;
        self.newest = Lsn::ZERO;
    }
}

impl Unstable {
    fn is(&self, place: Place, key: &[u8]) -> bool {
        self.place == place && self.item.key() == key
    }
}
