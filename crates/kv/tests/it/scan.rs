//! Walks over a database.

use std::collections::BTreeMap;

use crate::kit::{Pair, check, words};

#[test]
fn keys_by_pattern() {
    check(
        "KEYS * => *0
         RANDOMKEY => (nil)
         SET one 1 => OK
         RANDOMKEY => \"one\"
         KEYS o* => *1 \"one\"
         KEYS x* => *0
         SCAN 0 => *2 \"0\" *1 \"one\"
         SCAN 0 MATCH x* => *2 \"0\" *0
         SCAN 0 TYPE string => *2 \"0\" *1 \"one\"
         SCAN 0 TYPE hash => *2 \"0\" *0
         SCAN 0 COUNT 0 => ERR syntax error
         SCAN 0 COUNT x => ERR value is not an integer or out of range
         SCAN 0 COUNT => ERR syntax error
         SCAN 0 WHAT 1 => ERR syntax error
         SCAN x => ERR invalid cursor
         SCAN 18446744073709551615 => *2 \"0\" *0",
    );
}

/// Takes a reply of `SCAN` apart.
fn page(reply: &str) -> (String, Vec<String>) {
    let mut words = reply.split(' ').map(|word| word.trim_matches('"').to_owned());
    assert_eq!(words.next().as_deref(), Some("*2"));
    let cursor = words.next().unwrap();
    let keys: Vec<String> = words.skip(1).collect();
    (cursor, keys)
}

/// Walks to the end, with something happening between the pages; counts how often keys came.
fn walk(
    pair: &mut Pair,
    count: usize,
    mut between: impl FnMut(&mut Pair, usize),
) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    let mut cursor = "0".to_owned();
    for round in 0.. {
        assert!(round < 100_000, "the walk does not end");
        let reply = pair.say(&format!("SCAN {cursor} COUNT {count}"));
        let (next, keys) = page(&reply);
        for key in keys {
            *seen.entry(key).or_default() += 1;
        }
        if next == "0" {
            break;
        }
        cursor = next;
        between(pair, round);
    }
    seen
}

#[test]
fn a_walk_sees_every_key_once_while_the_tables_grow_and_shrink() {
    for count in [1, 7, 10, 100, 100_000] {
        let mut pair = Pair::default();
        for key in 0..1_500 {
            pair.say(&format!("SET stay:{key} v"));
        }
        pair.stabilise(1_000); // the others are unstable when the walk begins
        let seen = walk(&mut pair, count, |pair, round| {
            pair.say(&format!("SET more:{round} v"));
            pair.say(&format!("DEL more:{}", round / 2));
            pair.stabilise(round % 4);
        });
        for key in 0..1_500 {
            assert_eq!(seen.get(&format!("stay:{key}")), Some(&1), "stay:{key} by {count}");
        }
        assert!(seen.values().all(|&times| times == 1));
    }
}

#[test]
fn pages_have_the_size_that_was_asked_for() {
    let mut pair = Pair::default();
    for key in 0..2_000 {
        pair.say(&format!("SET key:{key} v"));
    }
    pair.stabilise(usize::MAX);
    let (_, keys) = page(&pair.say("SCAN 0"));
    assert_eq!(keys.len(), 10);
    let (_, keys) = page(&pair.say("SCAN 0 COUNT 1000"));
    assert_eq!(keys.len(), 1_000);
}

#[test]
fn a_random_key_is_any_key() {
    let mut pair = Pair::default();
    for key in 0..20 {
        pair.say(&format!("SET key:{key} v"));
    }
    pair.stabilise(10);
    let mut seen = BTreeMap::new();
    for _ in 0..2_000 {
        let key = pair.say("RANDOMKEY");
        *seen.entry(key).or_insert(0_usize) += 1;
    }
    assert_eq!(seen.len(), 10, "unstable keys are drawn when there are no others: {seen:?}");
    pair.stabilise(usize::MAX);
    for _ in 0..2_000 {
        seen.insert(pair.say("RANDOMKEY"), 1);
    }
    assert_eq!(seen.len(), 20);
}

#[test]
fn a_costly_pattern_is_refused() {
    let mut pair = Pair::default();
    pair.run(&[b"SET", &[b'a'; 4_000], b"v"]);
    let pattern = [&b"*"[..], &[b'a'; 2_000], b"b"].concat();
    assert_eq!(pair.run(&[b"KEYS", &pattern]), "ERR pattern takes too long to match");
    assert_eq!(pair.run(&[b"SCAN", b"0", b"MATCH", &pattern]), pair.run(&[b"KEYS", &pattern]));
    assert_eq!(words("a ''"), [&b"a"[..], b""]);
}
