//! Keys of any type, and databases.

use antiphon_kv::Db;

use crate::kit::{Pair, check};

#[test]
fn deletion_and_existence() {
    check(
        "MSET a 1 b 2 c 3 => OK
         EXISTS a a b none => 3
         TOUCH a none => 1
         DEL a a none => 1
         UNLINK b c => 2
         DBSIZE => 0
         TYPE a => none
         SET a 1 => OK
         TYPE a => string",
    );
}

#[test]
fn renaming() {
    check(
        "RENAME a b => ERR no such key
         SET a 1 EX 10 => OK
         SET b 2 => OK
         RENAME a b => OK
         GET b => \"1\"
         TTL b => 10
         EXISTS a => 0
         RENAME b b => OK
         RENAMENX b b => 0
         SET a 3 => OK
         RENAMENX a b => 0
         RENAMENX a c => 1
         MGET a b c => *3 (nil) \"1\" \"3\"
         RENAMENX none x => ERR no such key",
    );
}

#[test]
fn copies() {
    check(
        "COPY a b => 0
         SET a 1 EX 10 => OK
         COPY a b => 1
         TTL b => 10
         SET a 2 => OK
         COPY a b => 0
         COPY a b REPLACE => 1
         GET b => \"2\"
         TTL b => -1
         COPY a a => ERR source and destination objects are the same
         COPY a a DB 3 => 1
         COPY a b DB 16 => ERR DB index is out of range
         COPY a b DB x => ERR value is not an integer or out of range
         COPY a b DB => ERR syntax error
         COPY a b what => ERR syntax error
         MOVE a 3 => 0
         MOVE b 3 => 1
         EXISTS b => 0
         MOVE none 3 => 0
         MOVE a 0 => ERR source and destination objects are the same
         MOVE a 4294967296 => \
         ERR value is out of range, value must between -2147483648 and 2147483647
         MOVE a 99 => ERR DB index is out of range",
    );
}

#[test]
fn databases_are_apart_and_can_be_exchanged() {
    for stable_at_once in [false, true] {
        let mut pair = Pair::default();
        let mut say = |db: u64, line: &str| {
            pair.db = Db::new(db).unwrap();
            let reply = pair.say(line);
            if stable_at_once {
                pair.stabilise(usize::MAX);
            }
            reply
        };
        say(0, "SET k zero");
        say(1, "SET k one EX 100");
        assert_eq!(say(0, "SWAPDB 0 1"), "OK");
        assert_eq!(say(0, "GET k"), "\"one\"");
        assert_eq!(say(1, "GET k"), "\"zero\"");
        say(0, "SET new v");
        assert_eq!(say(0, "SWAPDB 1 2"), "OK");
        assert_eq!(say(1, "GET k"), "(nil)");
        assert_eq!(say(2, "GET k"), "\"zero\"");
        assert_eq!(say(2, "SWAPDB 2 2"), "OK");
        assert_eq!(say(0, "DBSIZE"), "2");
        assert_eq!(say(0, "SWAPDB a 1"), "ERR invalid first DB index");
        assert_eq!(say(0, "SWAPDB 1 a"), "ERR invalid second DB index");
        assert_eq!(say(0, "SWAPDB 1 16"), "ERR DB index is out of range");
        pair.stabilise(usize::MAX);
        pair.db = Db::new(2).unwrap();
        assert_eq!(pair.ask_replica("GET k"), "\"zero\"");
        pair.db = Db::new(0).unwrap();
        assert_eq!(pair.ask_replica("KEYS n*"), "*1 \"new\"");
    }
}

#[test]
fn flushing() {
    check(
        "FLUSHDB => OK
         MSET a 1 b 2 => OK
         COPY a a DB 5 => 1
         FLUSHDB ASYNC => OK
         DBSIZE => 0
         GET a => (nil)
         SET b 3 => OK
         KEYS * => *1 \"b\"
         MOVE b 5 => 1
         FLUSHALL SYNC => OK
         COPY b b DB 5 => 0
         FLUSHALL what => ERR syntax error
         FLUSHDB SYNC ASYNC => ERR syntax error",
    );
}

#[test]
fn how_keys_are_held() {
    check(
        "SET i 123 => OK
         SET s hello => OK
         OBJECT ENCODING i => \"int\"
         OBJECT encoding s => \"embstr\"
         OBJECT REFCOUNT s => 1
         OBJECT IDLETIME s => 0
         OBJECT ENCODING none => (nil)
         OBJECT WHAT s => ERR unknown subcommand 'WHAT'. Try OBJECT HELP.
         OBJECT ENCODING => ERR wrong number of arguments for 'object|encoding' command
         OBJECT HELP s => ERR wrong number of arguments for 'object|help' command
         MEMORY USAGE none => (nil)
         MEMORY USAGE s SAMPLES 0 => 72
         MEMORY USAGE s SAMPLES => ERR syntax error
         MEMORY WHAT => ERR unknown subcommand 'WHAT'. Try MEMORY HELP.",
    );
}

#[test]
fn a_long_string_is_raw() {
    let mut pair = Pair::default();
    pair.run(&[b"SET", b"k", &[b'a'; 45]]);
    assert_eq!(pair.say("OBJECT ENCODING k"), "\"raw\"");
    assert!(pair.say("OBJECT FREQ k").starts_with("ERR An LFU maxmemory policy is not selected"));
}
