//! Execution of commands: one function for each, over what an execution works with.

mod counters;
mod expiry;
mod keys;
mod lcs;
mod options;
mod scan;
mod strings;

use antiphon_proto::Lsn;

use self::keys::Existing;
use self::options::{Origin, Unit};

use crate::command::Keys;
use crate::engine::{Context, Engine};
use crate::item::{Item, Value};
use crate::pending::{Key, What};
use crate::reply::{Fault, ReplySink};

/// One execution. Replies are written after the last thing that can fail.
pub(crate) struct Run<'r, 'c, S> {
    pub(crate) engine: &'r Engine,
    pub(crate) context: &'r mut Context<'c>,
    pub(crate) args: &'r [&'r [u8]],
    pub(crate) out: &'r mut S,
    pub(crate) dirty: Lsn, // newest unstable entry that was seen so far
}

impl<'r, S: ReplySink> Run<'r, '_, S> {
    /// A word of the command; the first after the name is 1.
    ///
    /// # Panics
    /// When the command has not so many words, which its arity promised.
    fn arg(&self, at: usize) -> &'r [u8] {
        self.args.get(at).expect("the command's arity was checked")
    }

    /// The words from `at` on.
    fn rest(&self, at: usize) -> &'r [&'r [u8]] {
        self.args.get(at..).unwrap_or_default()
    }

    fn now_ms(&self) -> u64 {
        self.context.now_ms
    }

    /// A key of the connection's database.
    fn key(&self, bytes: &'r [u8]) -> Key<'r> {
        self.engine.key(self.context.pending, self.context.db, bytes)
    }

    /// A key's item, if it is there.
    fn find(&mut self, key: &Key<'_>) -> Option<&Item> {
        let found = self.engine.find(self.context.pending, key, self.context.now_ms);
        self.dirty = self.dirty.max(found.dirty);
        found.item
    }

    /// A key's item, if it is there, to keep while other things happen.
    fn item(&mut self, key: &Key<'_>) -> Option<Item> {
        self.find(key).cloned()
    }

    /// As [`Run::item`], and counts a hit or miss.
    fn read(&mut self, key: &Key<'_>) -> Option<Item> {
        let item = self.item(key);
        self.engine.count_lookup(item.is_some());
        item
    }

    /// The key holds a string from now on.
    fn put(&mut self, key: &Key<'_>, value: &[u8], expire_at_ms: Option<u64>) -> Result<(), Fault> {
        self.check_value_bytes(value.len())?;
        self.put_item(key, Item::string(key.bytes, value, expire_at_ms))
    }

    fn check_value_bytes(&self, bytes: usize) -> Result<(), Fault> {
        if bytes > self.engine.limits().value_bytes_max { Err(Fault::TOO_LONG) } else { Ok(()) }
    }

    /// The key has this item from now on; the item carries the same key.
    fn put_item(&mut self, key: &Key<'_>, item: Item) -> Result<(), Fault> {
        if key.bytes.len() > self.engine.limits().key_bytes_max {
            return Err(Fault::KEY_TOO_LONG);
        }
        self.context.pending.put(key, item, What::Put);
        self.check_fits()
    }

    /// The key keeps its item's value, with another expiry. A time that has come deletes it.
    fn set_expiry(&mut self, key: &Key<'_>, item: &Item, at: Option<u64>) -> Result<(), Fault> {
        if at.is_some_and(|at| at <= self.now_ms()) {
            return self.delete(key);
        }
        if item.expire_at_ms() != at {
            self.context.pending.put(key, item.with_expiry(at), What::Expiry);
        }
        self.check_fits()
    }

    /// The key is gone from now on.
    fn delete(&mut self, key: &Key<'_>) -> Result<(), Fault> {
        self.context.pending.put(key, Item::string(key.bytes, b"", None), What::Gone);
        self.check_fits()
    }

    fn check_fits(&self) -> Result<(), Fault> {
        if self.context.pending.fits() { Ok(()) } else { Err(Fault::TOO_LARGE) }
    }

    fn ok(&mut self) {
        self.out.simple("OK");
    }

    fn flag(&mut self, yes: bool) {
        self.out.int(i64::from(yes));
    }

    fn count(&mut self, count: usize) {
        self.out.int(i64::try_from(count).expect("a count of things in memory"));
    }

    fn bulk_or_null(&mut self, item: Option<&Item>) {
        match item.map(Item::value) {
            Some(Value::Str(value)) => self.out.bulk(value),
            None => self.out.null(),
        }
    }
}

/// The string that an item holds.
///
/// # Errors
/// When it holds something else.
#[expect(clippy::unnecessary_wraps, reason = "strings are the first of several types")]
fn string(item: &Item) -> Result<&[u8], Fault> {
    match item.value() {
        Value::Str(value) => Ok(value),
    }
}

/// Runs a command.
pub(crate) fn dispatch<S: ReplySink>(run: &mut Run<'_, '_, S>, command: Keys) -> Result<(), Fault> {
    match command {
        Keys::Get => strings::get(run),
        Keys::Set => strings::set(run),
        Keys::Append => strings::append(run),
        Keys::Copy => keys::copy(run),
        Keys::DbSize => scan::dbsize(run),
        Keys::Decr => counters::add(run, -1),
        Keys::DecrBy => counters::decrby(run),
        Keys::Del | Keys::Unlink => keys::del(run),
        Keys::DelEx => strings::delex(run),
        Keys::DelIfEq => strings::delifeq(run),
        Keys::Digest => strings::digest(run),
        Keys::Exists | Keys::Touch => keys::exists(run),
        Keys::Expire => expiry::expire(run, (Unit::Seconds, Origin::Now), "expire"),
        Keys::ExpireAt => expiry::expire(run, (Unit::Seconds, Origin::Epoch), "expireat"),
        Keys::ExpireTime => expiry::time_of(run, Unit::Seconds, Origin::Epoch),
        Keys::FlushAll => scan::flushall(run),
        Keys::FlushDb => scan::flushdb(run),
        Keys::GetDel => strings::getdel(run),
        Keys::GetEx => strings::getex(run),
        Keys::GetRange | Keys::SubStr => strings::getrange(run),
        Keys::GetSet => strings::getset(run),
        Keys::Incr => counters::add(run, 1),
        Keys::IncrBy => counters::incrby(run),
        Keys::IncrByFloat => counters::incrbyfloat(run),
        Keys::Keys => scan::keys(run),
        Keys::Lcs => lcs::lcs(run),
        Keys::Memory => keys::memory(run),
        Keys::MGet => strings::mget(run),
        Keys::Move => keys::move_key(run),
        Keys::MSet => strings::mset(run),
        Keys::MSetNx => strings::msetnx(run),
        Keys::Object => keys::object(run),
        Keys::Persist => expiry::persist(run),
        Keys::PExpire => expiry::expire(run, (Unit::Milliseconds, Origin::Now), "pexpire"),
        Keys::PExpireAt => expiry::expire(run, (Unit::Milliseconds, Origin::Epoch), "pexpireat"),
        Keys::PExpireTime => expiry::time_of(run, Unit::Milliseconds, Origin::Epoch),
        Keys::PSetEx => strings::setex(run, Unit::Milliseconds, "psetex"),
        Keys::PTtl => expiry::time_of(run, Unit::Milliseconds, Origin::Now),
        Keys::RandomKey => scan::randomkey(run),
        Keys::Rename => keys::rename(run, Existing::Replace),
        Keys::RenameNx => keys::rename(run, Existing::Spare),
        Keys::Scan => scan::scan(run),
        Keys::SetEx => strings::setex(run, Unit::Seconds, "setex"),
        Keys::SetNx => strings::setnx(run),
        Keys::SetRange => strings::setrange(run),
        Keys::StrLen => strings::strlen(run),
        Keys::SwapDb => keys::swapdb(run),
        Keys::Ttl => expiry::time_of(run, Unit::Seconds, Origin::Now),
        Keys::Type => keys::type_of(run),
    }
}
