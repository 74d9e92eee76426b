//! The engine: executes commands against overlay over base, and applies stable entries to base.

use std::cell::Cell;
use std::io;

use antiphon_proto::{Hlc, Lsn, PAYLOAD_BYTES_MAX};

use crate::base::{Base, Db, Place, Places};
use crate::command::{Command, Flags, Runs};
use crate::exec::{self, Run};
use crate::hash::KeyHash;
use crate::item::Item;
use crate::overlay::{Overlay, Seen, Unstable};
use crate::payload::{self, DecodeError, Effect};
use crate::pending::{Change, Key, Pending, What};
use crate::reply::{Fault, ReplySink};
use crate::snapshot::{self, Cut};
use crate::watch::{Watched, WatcherId, Watches};

/// What the engine refuses to go beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a key. Default 1 MiB.
    pub key_bytes_max: usize,
    /// Bytes of a value. Default 64 MiB, the most that an entry holds; key and value together
    /// must fit an entry in any case.
    pub value_bytes_max: usize,
    /// Bytes of memory from which on commands that take more are refused. Default: none.
    pub memory_bytes_max: Option<usize>,
    /// Pairs of watcher and key. Default 1,048,576.
    pub watched_keys_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_bytes_max: 1 << 20,
            value_bytes_max: PAYLOAD_BYTES_MAX,
            memory_bytes_max: None,
            watched_keys_max: 1 << 20,
        }
    }
}

/// What one execution works with, besides the engine.
pub struct Context<'a> {
    /// The connection's database.
    pub db: Db,
    /// The time. At the primary, what an entry appended now would carry; at a replica, that of
    /// the last applied entry. Unit: milliseconds since 1970.
    pub now_ms: u64,
    /// Draws 64 random bits.
    pub random: &'a mut dyn FnMut() -> u64,
    /// Effects of this command, and of those before it in the same transaction.
    pub pending: &'a mut Pending,
}

/// What a command did, besides its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// It has effects, which are now pending.
    pub wrote: bool,
    /// Its reply is an error; it has no effects.
    pub failed: bool,
    /// The newest unstable entry that the reply depends on; 0 when it rests on stable state only.
    /// The reply must be held until that entry is stable.
    pub dirty: Lsn,
}

/// Counts since the engine was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Keys that were looked up to be read, and found.
    pub hits: u64,
    /// Keys that were looked up to be read, and not found.
    pub misses: u64,
    /// Keys that were deleted because their time had come.
    pub expired: u64,
}

/// What is stored in one database, stable entries only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DbStats {
    /// Keys.
    pub keys: u64,
    /// Keys that expire.
    pub expires: u64,
    /// Mean time these have left, in milliseconds.
    pub avg_ttl_ms: u64,
}

/// A key, as execution sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    /// The item, if it is there and has not expired.
    pub(crate) item: Option<&'a Item>,
    /// The newest unstable entry that this rests on.
    pub(crate) dirty: Lsn,
}

/// The keyspace of a shard.
#[derive(Debug)]
pub struct Engine {
    pub(crate) base: Base,
    pub(crate) overlay: Overlay,
    watches: Watches,
    limits: Limits,
    applied: Lsn,     // the last entry whose effects are in the base
    applied_hlc: Hlc, // and its time
    counts: Cell<Counts>,
}

impl Engine {
    /// An empty keyspace. `seed` keys the hash of keys: it should be secret, and need not be
    /// the same on other nodes or in another run.
    #[must_use]
    pub fn new(seed: u128, limits: Limits) -> Self {
        Self {
            base: Base::new(KeyHash::new(seed)),
            overlay: Overlay::default(),
            watches: Watches::default(),
            limits,
            applied: Lsn::ZERO,
            applied_hlc: Hlc::ZERO,
            counts: Cell::default(),
        }
    }

    /// Executes a command of the keyspace. Nothing changes but `context.pending`, to which its
    /// effects are added; a command that fails adds none.
    ///
    /// `args` begins with the command's name. The caller goes on to propose `pending` and to
    /// [commit](Self::commit) it, or drops it: then the command has left no trace.
    ///
    /// # Panics
    /// When the command is one that the server runs.
    pub fn execute<S: ReplySink>(
        &self,
        context: &mut Context<'_>,
        command: &Command,
        args: &[&[u8]],
        out: &mut S,
    ) -> Outcome {
        let Runs::Keys(keys) = command.runs else {
            panic!("the server runs '{}' itself", command.name)
        };
        let before = context.pending.len();
        let mut run = Run { engine: self, context, args, out, dirty: Lsn::ZERO };
        let result = command
            .check_arity(args.len())
            .and_then(|()| self.check_memory(command))
            .and_then(|()| exec::dispatch(&mut run, keys));
        let dirty = run.dirty;
        if let Err(fault) = &result {
            context.pending.truncate(before);
            out.error(fault.text());
        }
        Outcome { wrote: context.pending.len() > before, failed: result.is_err(), dirty }
    }

    fn check_memory(&self, command: &Command) -> Result<(), Fault> {
        match self.limits.memory_bytes_max {
            Some(max) if command.flags.has(Flags::DENYOOM) && self.memory_bytes() > max => {
                Err(Fault::OUT_OF_MEMORY)
            }
            _ => Ok(()),
        }
    }

    /// The pending effects were appended to the log as the entry at `lsn`: later commands see
    /// them, watchers of the keys are told. Leaves `pending` empty.
    pub fn commit(&mut self, lsn: Lsn, pending: &mut Pending) {
        if !self.watches.is_empty() {
            self.touch_watchers(pending.changes());
        }
        let speculative = lsn > self.applied; // a single node may have applied it already
        for change in pending.drain() {
            match change {
                _ if !speculative => {}
                Change::Key { place, hash, item, what, .. } => {
                    let gone = what == What::Gone;
                    self.overlay.put(Unstable { place, hash, item, gone, lsn });
                }
                Change::Flush { place, .. } => self.overlay.flush(place, lsn),
                Change::Swap { one, other } => {
                    self.overlay.swap(one, other, self.base.places(), lsn);
                }
            }
        }
        pending.release_memory();
    }

    /// Brings the effects of a stable entry into the base, and lets its speculation go.
    ///
    /// # Errors
    /// When the payload is not one of ours. The state is then undefined: the node must stop.
    ///
    /// # Panics
    /// When entries come out of order.
    pub fn apply(&mut self, lsn: Lsn, hlc: Hlc, payload: &[u8]) -> Result<(), DecodeError> {
        assert!(lsn > self.applied, "entries are applied once each, in log order");
        for effect in payload::decode(payload)? {
            self.apply_effect(lsn, effect?);
        }
        self.applied = lsn;
        self.applied_hlc = hlc;
        self.overlay.settled(lsn);
        self.base.collect_garbage();
        Ok(())
    }

    fn apply_effect(&mut self, lsn: Lsn, effect: Effect<'_>) {
        match effect {
            Effect::Put { db, key, value, expire_at_ms } => {
                let (place, hash) = self.stable_spot(db, key);
                let held = self.overlay.settle((place, hash, key), lsn);
                let item = held.unwrap_or_else(|| Item::string(key, value, expire_at_ms));
                self.base.put(place, hash, item);
            }
            Effect::Delete { db, key } => {
                let (place, hash) = self.stable_spot(db, key);
                // A later effect of the same entry may put the key again: it brings its own bytes.
                drop(self.overlay.settle((place, hash, key), lsn));
                self.base.remove(place, hash, key);
            }
            Effect::Expire { db, key, expire_at_ms } => {
                let (place, hash) = self.stable_spot(db, key);
                let held = self.overlay.settle((place, hash, key), lsn);
                let old = self.base.find(place, hash, key);
                let item = held.or_else(|| old.map(|item| item.with_expiry(expire_at_ms)));
                if let Some(item) = item {
                    self.base.put(place, hash, item);
                }
            }
            Effect::Flush { db } => self.base.flush(self.base.places().of(db)),
            Effect::Swap { one, other } => self.base.swap(one, other),
        }
    }

    fn stable_spot(&self, db: Db, key: &[u8]) -> (Place, u64) {
        (self.base.places().of(db), self.base.hasher().of(key))
    }

    /// This node is no longer primary: what was not stable never happened.
    pub fn forget_speculation(&mut self) {
        self.overlay.forget();
        self.watches.touch_all();
    }

    /// The newest unstable entry that a read of this key rests on; none when the key is clean.
    #[must_use]
    pub fn dirty(&self, db: Db, key: &[u8]) -> Option<Lsn> {
        let place = self.places(None).of(db);
        let seen = self.overlay.find(place, self.base.hasher().of(key), key);
        let (Seen::Item(_, lsn) | Seen::Gone(lsn) | Seen::Through(lsn)) = seen;
        (lsn > Lsn::ZERO).then_some(lsn)
    }

    /// The newest unstable entry; 0 when all is stable.
    #[must_use]
    pub const fn all_dirty_until(&self) -> Lsn {
        self.overlay.newest()
    }

    /// The last entry that the base holds; 0 when none was applied since it was made or restored.
    #[must_use]
    pub const fn applied(&self) -> Lsn {
        self.applied
    }

    /// The time of the last applied entry: a replica's `now`.
    #[must_use]
    pub const fn applied_hlc(&self) -> Hlc {
        self.applied_hlc
    }

    /// Keys held by unstable entries.
    #[must_use]
    pub fn speculative_keys(&self) -> usize {
        self.overlay.len()
    }

    /// Digest of the stable state. Equal on all nodes that applied the same entries.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        self.base.digest()
    }

    /// The stable state as it is now. Cheap: the data is shared, and a later write copies the
    /// part of it that it changes while the cut lives.
    #[must_use]
    pub fn cut(&self) -> Cut {
        Cut::new(&self.base, (self.applied, self.applied_hlc))
    }

    /// Takes on the state of a snapshot, with the position and time it was taken at, and forgets
    /// the one before. On an error nothing has changed.
    ///
    /// # Errors
    /// Those of `from`, and a [`SnapshotError`](crate::SnapshotError) inside an error of the kind
    /// `InvalidData`.
    pub fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()> {
        let mut base = Base::new(self.base.hasher().clone());
        let applied = snapshot::read(from, &mut base)?;
        self.base = base;
        (self.applied, self.applied_hlc) = applied;
        self.forget_speculation();
        Ok(())
    }

    /// Bytes of memory that the stable data takes, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.base.bytes()
    }

    /// The limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets the limits. What is stored already stays.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Counts since the engine was made.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// What is stored in a database.
    #[must_use]
    pub fn db_stats(&self, db: Db, now_ms: u64) -> DbStats {
        let database = self.base.database(self.base.places().of(db));
        DbStats {
            keys: database.keys().len() as u64,
            expires: database.expiring(),
            avg_ttl_ms: database.mean_ttl_ms(now_ms),
        }
    }

    /// Adds the deletion of keys whose time has come, at most `limit` of them, the oldest first.
    /// Returns how many. The primary proposes them now and then; keys that an unstable entry
    /// touched wait until it is stable.
    pub fn expire(&self, now_ms: u64, limit: usize, pending: &mut Pending) -> usize {
        let mut found = 0;
        let unstable = self.overlay.len();
        for (place, hash, item) in self.base.expired(now_ms).take(limit.saturating_add(unstable)) {
            let Some(db) = Db::all().find(|&db| self.places(None).of(db) == place) else {
                continue;
            };
            let through = matches!(self.overlay.find(place, hash, item.key()), Seen::Through(_));
            if found == limit || !through {
                continue;
            }
            let before = pending.len();
            let key = Key { db, place, hash, bytes: item.key() };
            pending.put(&key, Item::string(item.key(), b"", None), What::Gone);
            if !pending.fits() {
                pending.truncate(before);
                break;
            }
            found += 1;
        }
        let mut counts = self.counts.get();
        counts.expired += found as u64;
        self.counts.set(counts);
        found
    }

    /// Lets `id` watch a key from now on.
    ///
    /// # Errors
    /// When too many keys are watched.
    pub fn watch(&mut self, id: WatcherId, db: Db, key: &[u8], now_ms: u64) -> Result<(), Fault> {
        if self.watches.len() >= self.limits.watched_keys_max {
            return Err(Fault::fixed("ERR too many watched keys"));
        }
        let expired = self.present(db, key).is_some_and(|item| item.expired(now_ms));
        self.watches.add(id, Watched { db, key: key.into(), expired });
        Ok(())
    }

    /// Forgets what `id` watches.
    pub fn unwatch(&mut self, id: WatcherId) {
        self.watches.remove(id);
    }

    /// Whether a key that `id` watches was changed, or has expired, since the watching began.
    #[must_use]
    pub fn watch_touched(&self, id: WatcherId, now_ms: u64) -> bool {
        let expired = |watched: &Watched| {
            let item = self.present(watched.db, &watched.key);
            !watched.expired && item.is_some_and(|item| item.expired(now_ms))
        };
        self.watches.touched(id) || self.watches.of(id).iter().any(expired)
    }

    fn touch_watchers(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Key { db, item, .. } => self.watches.touch(*db, item.key()),
                Change::Flush { db, .. } => self.touch_present(*db, &[*db]),
                Change::Swap { one, other } => {
                    self.touch_present(*one, &[*one, *other]);
                    self.touch_present(*other, &[*one, *other]);
                }
            }
        }
    }

    /// Touches the watched keys of `db` that are there in one of `those`.
    fn touch_present(&mut self, db: Db, those: &[Db]) {
        let there = |key: &[u8]| those.iter().any(|&db| self.present(db, key).is_some());
        for key in self.watches.those(db, there) {
            self.watches.touch(db, &key);
        }
    }

    /// A key's item, expired or not, as the next command would find it.
    fn present(&self, db: Db, key: &[u8]) -> Option<&Item> {
        let place = self.places(None).of(db);
        let hash = self.base.hasher().of(key);
        match self.overlay.find(place, hash, key) {
            Seen::Item(item, _) => Some(item),
            Seen::Gone(_) => None,
            Seen::Through(_) => self.base.find(place, hash, key),
        }
    }

    /// Where the databases lie for the next command.
    pub(crate) fn places<'a>(&'a self, pending: Option<&'a Pending>) -> &'a Places {
        let pending = pending.and_then(Pending::places);
        pending.or_else(|| self.overlay.places()).unwrap_or_else(|| self.base.places())
    }

    /// A key with its hash and place.
    pub(crate) fn key<'a>(&self, pending: &Pending, db: Db, bytes: &'a [u8]) -> Key<'a> {
        let place = self.places(Some(pending)).of(db);
        Key { db, place, hash: self.base.hasher().of(bytes), bytes }
    }

    /// Looks a key up in what is pending, unstable, stable.
    pub(crate) fn find<'a>(
        &'a self,
        pending: &'a Pending,
        key: &Key<'_>,
        now_ms: u64,
    ) -> Found<'a> {
        let alive = |item: &&Item| !item.expired(now_ms);
        let (seen, dirty) = match self.overlay.find(key.place, key.hash, key.bytes) {
            Seen::Item(item, lsn) => (Some(item), lsn),
            Seen::Gone(lsn) => (None, lsn),
            Seen::Through(lsn) => (self.base.find(key.place, key.hash, key.bytes), lsn),
        };
        match pending.find(key) {
            Some(item) => Found { item: item.filter(alive), dirty },
            None => Found { item: seen.filter(alive), dirty },
        }
    }

    /// Counts a key that was looked up to be read.
    pub(crate) fn count_lookup(&self, found: bool) {
        let mut counts = self.counts.get();
        if found {
            counts.hits += 1;
        } else {
            counts.misses += 1;
        }
        self.counts.set(counts);
    }
}
