//! Items read back what they were made of.

use super::*;

#[track_caller]
fn check(key: &[u8], value: &[u8], expire_at_ms: Option<u64>) {
    let item = Item::string(key, value, expire_at_ms);
    assert_eq!(item.key(), key);
    assert_eq!(item.value(), Value::Str(value));
    assert_eq!(item.expire_at_ms(), expire_at_ms);
    assert_eq!(item, Item::string(key, value, expire_at_ms));
    assert_eq!(item.digest(), Item::string(key, value, expire_at_ms).digest());
}

#[test]
fn an_item_reads_back_at_every_width() {
    for key_bytes in [0, 1, 255, 256, 65_535, 65_536] {
        for value_bytes in [0, 1, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1] {
            for expiry in [None, Some(0), Some(u64::MAX)] {
                check(&vec![7; key_bytes], &vec![9; value_bytes], expiry);
            }
        }
    }
}

#[test]
fn another_expiry_keeps_key_and_value() {
    let item = Item::string(b"k", b"v", None);
    assert_eq!(item.with_expiry(Some(5)), Item::string(b"k", b"v", Some(5)));
    assert_eq!(item.with_expiry(Some(5)).with_expiry(None), item);
    assert_eq!(item.with_key(b"other"), Item::string(b"other", b"v", None));
}

#[test]
fn expiry_is_reached_at_its_millisecond() {
    let item = Item::string(b"k", b"v", Some(5));
    assert!(!item.expired(4));
    assert!(item.expired(5));
}

#[test]
fn items_that_differ_have_different_digests() {
    let all = [
        Item::string(b"ab", b"c", None),
        Item::string(b"a", b"bc", None),
        Item::string(b"a", b"bc", Some(1)),
        Item::string(b"", b"abc", None),
    ];
    for (at, one) in all.iter().enumerate() {
        for other in all.iter().skip(at + 1) {
            assert_ne!(one.digest(), other.digest());
        }
    }
}
