//! Who watches which keys, and who has seen one of them change.

use std::collections::BTreeMap;

use crate::base::{DATABASES, Db};

/// One who watches keys: a connection. The caller numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(u64);

impl WatcherId {
    /// Wraps a number.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }
}

/// A watched key, as one watcher sees it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) db: Db,
    pub(crate) key: Box<[u8]>,
    pub(crate) expired: bool, // it had expired already when the watching began
}

#[derive(Debug, Default)]
struct Watcher {
    touched: bool,
    keys: Vec<Watched>,
}

/// The watched keys.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_key: [BTreeMap<Box<[u8]>, Vec<WatcherId>>; DATABASES],
    watchers: BTreeMap<WatcherId, Watcher>,
    pairs: usize, // of watcher and key
}

impl Watches {
    pub(crate) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Pairs of watcher and key.
    pub(crate) const fn len(&self) -> usize {
        self.pairs
    }

    fn keys(&self, db: Db) -> &BTreeMap<Box<[u8]>, Vec<WatcherId>> {
        self.by_key.get(usize::from(db.get())).expect("a database's number is below the count")
    }

    fn keys_mut(&mut self, db: Db) -> &mut BTreeMap<Box<[u8]>, Vec<WatcherId>> {
        self.by_key.get_mut(usize::from(db.get())).expect("a database's number is below the count")
    }

    /// Begins to watch a key; watching it twice is watching it once.
    pub(crate) fn add(&mut self, id: WatcherId, watched: Watched) {
        let ids = self.keys_mut(watched.db).entry(watched.key.clone()).or_default();
        if ids.contains(&id) {
            return;
        }
        ids.push(id);
        self.pairs += 1;
        self.watchers.entry(id).or_default().keys.push(watched);
    }

    /// Forgets a watcher.
    pub(crate) fn remove(&mut self, id: WatcherId) {
        let Some(watcher) = self.watchers.remove(&id) else { return };
        self.pairs -= watcher.keys.len();
        for watched in watcher.keys {
            let keys = self.keys_mut(watched.db);
            if let Some(ids) = keys.get_mut(&watched.key) {
                ids.retain(|&held| held != id);
                if ids.is_empty() {
                    keys.remove(&watched.key);
                }
            }
        }
    }

    /// A key changed.
    pub(crate) fn touch(&mut self, db: Db, key: &[u8]) {
        let Some(ids) = self.keys(db).get(key).cloned() else { return };
        for id in ids {
            self.watchers.entry(id).or_default().touched = true;
        }
    }

    /// Everything may have changed.
    pub(crate) fn touch_all(&mut self) {
        for watcher in self.watchers.values_mut() {
            watcher.touched = true;
        }
    }

    /// The watched keys of a database for which `wanted` holds.
    pub(crate) fn those(&self, db: Db, wanted: impl Fn(&[u8]) -> bool) -> Vec<Box<[u8]>> {
        self.keys(db).keys().filter(|key| wanted(key)).cloned().collect()
    }

    /// Whether a watcher has seen a change.
    pub(crate) fn touched(&self, id: WatcherId) -> bool {
        self.watchers.get(&id).is_some_and(|watcher| watcher.touched)
    }

    /// The keys of a watcher.
    pub(crate) fn of(&self, id: WatcherId) -> &[Watched] {
        self.watchers.get(&id).map_or(&[], |watcher| &watcher.keys)
    }
}
