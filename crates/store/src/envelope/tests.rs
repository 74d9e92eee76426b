//! Wrapped records: every flipped bit and every cut is refused.

use super::{RecordKind, Refused, open, open_prefix, seal};
use crate::testing::UUID;

#[test]
fn what_was_sealed_opens() {
    let bytes = seal(RecordKind::HardState, UUID, b"body");
    let opened = open(RecordKind::HardState, &bytes).unwrap();
    assert_eq!((opened.store, opened.body, opened.bytes), (UUID, &b"body"[..], bytes.len()));
}

#[test]
fn every_flip_and_every_cut_is_refused() {
    let bytes = seal(RecordKind::HardState, UUID, b"some body");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let refused = open(RecordKind::HardState, &flipped).unwrap_err();
        assert!(matches!(refused, Refused::Bad(_)), "bit {bit}: {refused:?}");
    }
    for length in 0..bytes.len() {
        assert!(open(RecordKind::HardState, &bytes[..length]).is_err(), "{length}");
    }
    assert!(open(RecordKind::Hint, &bytes).is_err(), "another kind");
    let longer = [&bytes[..], b"x"].concat();
    assert!(open(RecordKind::HardState, &longer).is_err(), "bytes follow");
    assert_eq!(open_prefix(RecordKind::HardState, &longer).unwrap().bytes, bytes.len());
}
