//! Several commands as one entry; watched keys; what a reply rests on; deposition.

use antiphon_kv::{Db, WatcherId};
use antiphon_proto::Lsn;

use crate::kit::{Pair, words};

#[test]
fn later_commands_see_earlier_ones_and_all_are_one_entry() {
    let mut pair = Pair::default();
    pair.say("SET old 1");
    for (line, want) in [
        ("INCR n", "1"),
        ("INCR n", "2"),
        ("GET old", "\"1\""),
        ("DEL old", "1"),
        ("EXISTS old", "0"),
        ("SET old 2", "OK"),
        ("APPEND n x", "2"),
        ("INCR n", "ERR value is not an integer or out of range"),
        ("KEYS *", "*2 \"n\" \"old\""),
        ("DBSIZE", "2"),
        ("FLUSHALL", "OK"),
        ("DBSIZE", "0"),
        ("SET last v", "OK"),
        ("SWAPDB 0 1", "OK"),
        ("EXISTS last", "0"),
        ("SET here v", "OK"),
    ] {
        assert_eq!(pair.execute(&words(line)), want, "{line}");
    }
    assert_eq!(pair.unstable(), 1);
    pair.propose();
    assert_eq!(pair.unstable(), 2);
    assert_eq!(pair.say("KEYS *"), "*1 \"here\"");
    pair.stabilise(usize::MAX);
    assert_eq!(pair.ask_replica("KEYS *"), "*1 \"here\"");
    pair.db = Db::new(1).unwrap();
    assert_eq!(pair.ask_replica("KEYS *"), "*1 \"last\"");
}

#[test]
fn a_long_transaction_sees_itself() {
    let mut pair = Pair::default();
    for round in 0..3 {
        for key in 0..200 {
            let reply = pair.execute(&words(&format!("INCR k{key}")));
            assert_eq!(reply, (round + 1).to_string());
        }
    }
    assert_eq!(pair.execute(&words("MSET a 1 b")).split(' ').next(), Some("ERR"));
    assert_eq!(pair.execute(&words("DBSIZE")), "200");
    pair.propose();
    pair.stabilise(usize::MAX);
    assert_eq!(pair.ask_replica("GET k199"), "\"3\"");
}

#[test]
fn dropped_effects_leave_no_trace() {
    let mut pair = Pair::default();
    pair.say("SET k v");
    pair.stabilise(usize::MAX);
    let digest = pair.primary.digest();
    for line in ["SET k w", "DEL k", "FLUSHALL", "SWAPDB 0 3", "EXPIRE k 5"] {
        pair.execute(&words(line));
        assert!(!pair.pending.is_empty(), "{line}");
        pair.pending.clear();
        assert_eq!(pair.say("GET k"), "\"v\"", "{line}");
        assert_eq!(pair.say("TTL k"), "-1", "{line}");
    }
    assert_eq!((pair.unstable(), pair.primary.digest()), (0, digest));
}

#[test]
fn a_reply_names_the_newest_unstable_entry_it_rests_on() {
    let mut pair = Pair::default();
    let rests_on = |pair: &mut Pair, line: &str| {
        pair.say(line);
        pair.outcome.dirty.get()
    };
    assert_eq!(rests_on(&mut pair, "SET a 1"), 0);
    pair.say("SET b 1");
    assert_eq!(rests_on(&mut pair, "GET a"), 1);
    assert_eq!(rests_on(&mut pair, "GET none"), 0);
    assert_eq!(rests_on(&mut pair, "MGET b none a"), 2);
    assert_eq!(rests_on(&mut pair, "DBSIZE"), 2);
    assert_eq!(rests_on(&mut pair, "SETNX a 2"), 1);
    assert_eq!(pair.primary.dirty(pair.db, b"a"), Some(Lsn::new(1)));
    pair.stabilise(1);
    assert_eq!(pair.primary.dirty(pair.db, b"a"), None);
    assert_eq!(rests_on(&mut pair, "GET a"), 0);
    pair.say("DEL b");
    assert_eq!(rests_on(&mut pair, "GET b"), 3);
    pair.say("FLUSHDB");
    assert_eq!(rests_on(&mut pair, "GET a"), 4);
    assert_eq!(rests_on(&mut pair, "GET none"), 4);
    assert_eq!(pair.primary.all_dirty_until(), Lsn::new(4));
    pair.stabilise(usize::MAX);
    assert_eq!(rests_on(&mut pair, "GET a"), 0);
}

#[test]
fn a_deposed_primary_forgets() {
    let mut pair = Pair::default();
    pair.say("SET k stable");
    pair.stabilise(usize::MAX);
    for line in ["SET k lost", "SET new lost", "FLUSHALL", "SWAPDB 0 1", "SET k again"] {
        pair.say(line);
    }
    pair.depose();
    assert_eq!(pair.say("GET k"), "\"stable\"");
    assert_eq!(pair.say("GET new"), "(nil)");
    assert_eq!(pair.say("DBSIZE"), "1");
    assert_eq!(pair.outcome.dirty, Lsn::ZERO);
    pair.say("SET k next");
    pair.stabilise(usize::MAX);
    assert_eq!(pair.ask_replica("GET k"), "\"next\"");
}

#[test]
fn an_entry_that_was_applied_before_its_commit_stays_applied() {
    let mut pair = Pair::default();
    pair.execute(&words("SET k v"));
    let mut payload = bytes::BytesMut::new();
    pair.pending.write(&mut payload);
    pair.primary.apply(Lsn::new(1), antiphon_proto::Hlc::from_ms(1), &payload).unwrap();
    let mut pending = std::mem::take(&mut pair.pending);
    pair.primary.commit(Lsn::new(1), &mut pending);
    assert_eq!(pair.primary.speculative_keys(), 0);
    assert_eq!(pair.say("GET k"), "\"v\"");
}

struct Watching {
    pair: Pair,
    id: WatcherId,
}

impl Watching {
    fn begin(keys: &[&str], before: &[&str]) -> Self {
        let mut pair = Pair::default();
        for line in before {
            pair.say(line);
        }
        let id = WatcherId::new(7);
        let (db, now_ms) = (pair.db, pair.now_ms);
        for key in keys {
            pair.primary.watch(id, db, key.as_bytes(), now_ms).unwrap();
        }
        Self { pair, id }
    }

    fn touched(&self) -> bool {
        self.pair.primary.watch_touched(self.id, self.pair.now_ms)
    }
}

#[track_caller]
fn check_watch(before: &[&str], then: &str, want: bool) {
    let mut watching = Watching::begin(&["k"], before);
    assert!(!watching.touched());
    watching.pair.say(then);
    assert_eq!(watching.touched(), want, "{then}");
    watching.pair.stabilise(usize::MAX);
    assert_eq!(watching.touched(), want, "{then}, stable");
    watching.pair.primary.unwatch(watching.id);
    assert!(!watching.touched());
}

#[test]
fn a_watched_key_notices_changes() {
    check_watch(&[], "SET k v", true);
    check_watch(&[], "SET other v", false);
    check_watch(&["SET k v"], "DEL k", true);
    check_watch(&["SET k v"], "GET k", false);
    check_watch(&["SET k v"], "EXPIRE k 100", true);
    check_watch(&["SET k v"], "SETNX k w", false);
    check_watch(&["SET k v"], "FLUSHALL", true);
    check_watch(&["SET other v"], "FLUSHALL", false);
    check_watch(&["SET other v"], "RENAME other k", true);
    check_watch(&["SET k v"], "SWAPDB 0 5", true);
    check_watch(&[], "SWAPDB 0 5", false);
}

#[test]
fn a_watched_key_that_expires_is_touched_unless_it_had_before() {
    let mut watching = Watching::begin(&["k"], &["SET k v PX 10"]);
    watching.pair.now_ms += 9;
    assert!(!watching.touched());
    watching.pair.now_ms += 1;
    assert!(watching.touched());
    let mut pair = Pair::default();
    pair.say("SET k v PX 10");
    pair.now_ms += 10;
    let (id, db, now_ms) = (WatcherId::new(1), pair.db, pair.now_ms);
    pair.primary.watch(id, db, b"k", now_ms).unwrap();
    assert!(!pair.primary.watch_touched(id, now_ms + 5));
}

#[test]
fn deposition_and_restoration_touch_all_watchers() {
    let mut watching = Watching::begin(&["k"], &[]);
    watching.pair.depose();
    assert!(watching.touched());
    let mut watching = Watching::begin(&["k"], &[]);
    let mut snapshot = Vec::new();
    watching.pair.primary.cut().write(&mut snapshot).unwrap();
    watching.pair.primary.restore(&mut &*snapshot).unwrap();
    assert!(watching.touched());
}
