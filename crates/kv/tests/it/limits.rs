//! What the engine refuses, at the limit and one past it; and that nothing changes then.

use antiphon_kv::{Limits, WatcherId};
use antiphon_proto::PAYLOAD_BYTES_MAX;

use crate::kit::Pair;

const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

fn small() -> Pair {
    Pair::new(Limits { key_bytes_max: 4, value_bytes_max: 8, ..Limits::default() })
}

#[test]
fn a_value_past_the_limit_is_refused() {
    let mut pair = small();
    assert_eq!(pair.say("SET k 12345678"), "OK");
    assert_eq!(pair.say("SET k 123456789"), TOO_LONG);
    assert_eq!(pair.say("SETRANGE k 7 a"), "8");
    assert_eq!(pair.say("SETRANGE k 8 a"), TOO_LONG);
    assert_eq!(pair.say("SETRANGE k 9223372036854775807 a"), TOO_LONG);
    assert_eq!(pair.say("APPEND k a"), TOO_LONG);
    assert_eq!(pair.say("MSET a 1 b 123456789"), TOO_LONG);
    assert_eq!(pair.say("EXISTS a b"), "0");
    assert_eq!(pair.say("SET a 1 EX 10"), "OK");
    assert_eq!(pair.unstable(), 3);
}

#[test]
fn a_key_past_the_limit_is_refused() {
    let mut pair = small();
    assert_eq!(pair.say("SET 1234 v"), "OK");
    assert_eq!(pair.say("SET 12345 v"), "ERR key exceeds maximum allowed size");
    assert_eq!(pair.say("RENAME 1234 12345"), "ERR key exceeds maximum allowed size");
    assert_eq!(pair.say("GET 1234"), "\"v\"");
    assert_eq!(pair.say("GET 12345"), "(nil)");
}

#[test]
fn an_entry_past_the_limit_is_refused() {
    let mut pair = Pair::default();
    let half = vec![b'x'; PAYLOAD_BYTES_MAX / 2];
    let over = "ERR write exceeds maximum allowed size of one entry";
    assert_eq!(pair.run(&[b"MSET", b"a", &half, b"b", &half]), over);
    assert_eq!(pair.unstable(), 0);
    let room = PAYLOAD_BYTES_MAX - half.len() - 1 - 2 * (2 + 2) - 2 * 4;
    assert_eq!(pair.run(&[b"MSET", b"a", &half, b"b", &half[..room + 1]]), over);
    assert_eq!(pair.run(&[b"MSET", b"a", &half, b"b", &half[..room]]), "OK");
    pair.stabilise(usize::MAX);
    assert_eq!(pair.ask_replica("STRLEN b"), room.to_string());
}

#[test]
fn commands_that_take_memory_are_refused_when_it_is_used_up() {
    let limits = Limits { memory_bytes_max: Some(200), ..Limits::default() };
    let mut pair = Pair::new(limits);
    pair.run(&[b"SET", b"k", &[b'x'; 400]]);
    pair.stabilise(usize::MAX);
    let full = "OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(pair.say("SET a 1"), full);
    assert_eq!(pair.say("STRLEN k"), "400");
    assert_eq!(pair.say("DEL k"), "1");
    pair.stabilise(usize::MAX);
    assert_eq!(pair.say("SET a 1"), "OK");
}

#[test]
fn watched_keys_are_limited() {
    let mut pair = Pair::new(Limits { watched_keys_max: 2, ..Limits::default() });
    let id = WatcherId::new(1);
    let (db, now) = (pair.db, pair.now_ms);
    assert!(pair.primary.watch(id, db, b"a", now).is_ok());
    assert!(pair.primary.watch(id, db, b"b", now).is_ok());
    assert!(pair.primary.watch(id, db, b"c", now).is_err());
    pair.primary.unwatch(id);
    assert!(pair.primary.watch(id, db, b"c", now).is_ok());
}
