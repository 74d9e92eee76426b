//! Expiry: set, asked, reached; at the primary and at a replica.

use crate::kit::{Pair, check};

#[test]
fn expiry_is_set_and_asked() {
    check(
        "TTL k => -2
         PTTL k => -2
         EXPIRETIME k => -2
         EXPIRE k 10 => 0
         SET k v => OK
         EXPIRETIME k => -1
         EXPIRE k 10 => 1
         TTL k => 10
         EXPIRETIME k => 1010
         PEXPIRETIME k => 1010000
         PERSIST k => 1
         PERSIST k => 0
         PEXPIRE k 1499 => 1
         TTL k => 1
         PTTL k => 1499
         EXPIREAT k 2000 => 1
         TTL k => 1000
         PEXPIREAT k 1000001 => 1
         at 1
         GET k => (nil)
         PERSIST k => 0",
    );
}

#[test]
fn conditions_on_expiry() {
    check(
        "SET k v => OK
         EXPIRE k 10 XX => 0
         EXPIRE k 10 GT => 0
         EXPIRE k 10 LT => 1
         EXPIRE k 20 NX => 0
         EXPIRE k 20 LT => 0
         EXPIRE k 20 GT => 1
         EXPIRE k 20 GT => 0
         EXPIRE k 5 XX LT => 1
         TTL k => 5
         EXPIRE k 5 NX XX => \
         ERR NX and XX, GT or LT options at the same time are not compatible
         EXPIRE k 5 GT LT => ERR GT and LT options at the same time are not compatible
         EXPIRE k 5 what => ERR Unsupported option what
         EXPIRE k abc => ERR value is not an integer or out of range
         EXPIRE k 9223372036854775807 => ERR invalid expire time in 'expire' command
         PEXPIRE k 9223372036854775807 => ERR invalid expire time in 'pexpire' command
         PEXPIREAT k 9223372036854775807 => 1
         EXPIRE k -1 => 1
         EXISTS k => 0",
    );
}

#[test]
fn a_key_whose_time_has_come_is_not_there() {
    check(
        "SET k v PX 5 => OK
         at 4
         EXISTS k => 1
         at 5
         EXISTS k => 0
         GET k => (nil)
         TYPE k => none
         DEL k => 0
         KEYS * => *0
         RANDOMKEY => (nil)
         SCAN 0 => *2 \"0\" *0
         SETNX k w => 1
         TTL k => -1
         SET k v PX 5 => OK
         at 10
         INCR k => 1
         TTL k => -1
         SET k v PX 5 => OK
         at 15
         APPEND k x => 1
         RENAME none k => ERR no such key
         SET a v PX 5 => OK
         at 20
         RENAME a b => ERR no such key
         COPY a b => 0",
    );
}

#[test]
fn the_primary_logs_the_deletion_of_expired_keys() {
    let mut pair = Pair::default();
    for key in 0..10 {
        pair.say(&format!("SET k{key} v PX {}", 10 + key));
    }
    pair.say("SET forever v");
    pair.stabilise(usize::MAX);
    pair.now_ms += 14;
    let Pair { primary, pending, now_ms, .. } = &mut pair;
    assert_eq!(primary.expire(*now_ms, 3, pending), 3);
    assert!(pair.propose().is_some());
    // Those three are on their way: the next round takes the others.
    let Pair { primary, pending, now_ms, .. } = &mut pair;
    assert_eq!(primary.expire(*now_ms, 100, pending), 2);
    assert!(pair.propose().is_some());
    let Pair { primary, pending, now_ms, .. } = &mut pair;
    assert_eq!(primary.expire(*now_ms, 100, pending), 0);
    pair.stabilise(usize::MAX);
    assert_eq!(pair.say("DBSIZE"), "6");
    assert_eq!(pair.primary.counts().expired, 5);
}

#[test]
fn an_expired_key_that_an_unstable_write_renewed_is_spared() {
    let mut pair = Pair::default();
    pair.say("SET k v PX 10");
    pair.stabilise(usize::MAX);
    pair.now_ms += 20;
    pair.say("SET k w");
    let Pair { primary, pending, now_ms, .. } = &mut pair;
    assert_eq!(primary.expire(*now_ms, 10, pending), 0);
    pair.stabilise(usize::MAX);
    assert_eq!(pair.say("GET k"), "\"w\"");
}

#[test]
fn a_replica_hides_what_expired_by_the_log_not_by_its_clock() {
    let mut pair = Pair::default();
    pair.say("SET k v PX 10");
    pair.stabilise(usize::MAX);
    pair.now_ms += 1_000;
    assert_eq!(pair.say("GET k"), "(nil)");
    assert_eq!(pair.ask_replica("GET k"), "\"v\"");
    pair.say("SET other v");
    pair.stabilise(usize::MAX);
    assert_eq!(pair.ask_replica("GET k"), "(nil)");
}

#[test]
fn statistics_follow_expiry() {
    let mut pair = Pair::default();
    pair.say("SET a v PX 100");
    pair.say("SET b v PX 300");
    pair.say("SET c v");
    pair.stabilise(usize::MAX);
    let stats = pair.primary.db_stats(pair.db, pair.now_ms);
    assert_eq!((stats.keys, stats.expires, stats.avg_ttl_ms), (3, 2, 200));
    pair.say("PERSIST a");
    pair.say("DEL b");
    pair.stabilise(usize::MAX);
    let stats = pair.primary.db_stats(pair.db, pair.now_ms);
    assert_eq!((stats.keys, stats.expires, stats.avg_ttl_ms), (2, 0, 0));
}
