//! The table against a plain map, and what cuts and scans rely on.

use std::collections::BTreeMap;

use super::*;

fn key(number: u32) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn filled(hasher: &KeyHash, keys: std::ops::Range<u32>) -> Keyspace {
    let mut table = Keyspace::default();
    for number in keys {
        let key = key(number);
        assert_eq!(table.insert(hasher, hasher.of(&key), Item::string(&key, b"v", None)), None);
    }
    table
}

#[test]
fn keys_survive_every_split() {
    let hasher = KeyHash::new(7);
    let table = filled(&hasher, 0..20_000);
    assert_eq!(table.len(), 20_000);
    assert!(table.segments.len() > 40, "{} segments", table.segments.len());
    for number in 0..20_000 {
        let key = key(number);
        assert!(table.find(hasher.of(&key), &key).is_some(), "{number}");
    }
    assert_eq!(table.iter().count(), 20_000);
    assert!(table.segments.iter().all(|segment| segment.len() <= SEGMENT_ITEMS_MAX));
}

#[test]
fn it_behaves_like_a_map() {
    let hasher = KeyHash::new(9);
    let mut table = Keyspace::default();
    let mut model = BTreeMap::new();
    let mut state = 1_u64;
    for step in 0..60_000_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = key(u32::try_from((state >> 33) % 5_000).unwrap());
        let hash = hasher.of(&key);
        if state >> 62 == 0 {
            let removed = table.remove(hash, &key, &hasher);
            assert_eq!(removed, model.remove(&key));
        } else {
            let item = Item::string(&key, &step.to_le_bytes(), None);
            assert_eq!(table.insert(&hasher, hash, item.clone()), model.insert(key, item));
        }
        assert_eq!(table.len(), model.len());
    }
    let mut left: Vec<&Item> = table.iter().collect();
    left.sort_by_key(|item| item.key().to_vec());
    assert_eq!(left, model.values().collect::<Vec<_>>());
}

#[test]
fn a_cut_does_not_see_later_writes() {
    let hasher = KeyHash::new(3);
    let mut table = filled(&hasher, 0..3_000);
    let cut = table.cut();
    for number in 0..3_000 {
        let key = key(number);
        table.remove(hasher.of(&key), &key, &hasher);
    }
    for number in 3_000..9_000 {
        let key = key(number);
        table.insert(&hasher, hasher.of(&key), Item::string(&key, b"new", None));
    }
    assert_eq!(cut.iter().map(|segment| segment.len()).sum::<usize>(), 3_000);
    let sees = |number| {
        let wanted = key(number);
        cut.iter().flat_map(|segment| segment.iter()).any(|item| item.key() == wanted)
    };
    assert!(sees(0) && sees(2_999) && !sees(3_000));
}

#[test]
fn segments_divide_the_hashes_without_gap() {
    let hasher = KeyHash::new(5);
    let table = filled(&hasher, 0..10_000);
    let mut seen = 0;
    let mut from = 0;
    loop {
        let (segment, last) = table.segment_of(from).unwrap();
        for item in segment.iter() {
            let hash = hasher.of(item.key());
            assert!((from..=last).contains(&hash));
        }
        seen += segment.len();
        match last.checked_add(1) {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(seen, 10_000);
}

#[test]
fn an_empty_keyspace_owns_nothing() {
    let table = Keyspace::default();
    assert_eq!(table.table_bytes(), 0);
    assert!(table.segment_of(0).is_none());
}
