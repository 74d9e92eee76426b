//! Bodies that several peers ask for.

use super::*;

fn body(byte: u8, bytes: usize) -> Bytes {
    Bytes::from(vec![byte; bytes])
}

fn held(bodies: &SharedBodies) -> usize {
    bodies.ring.lock().unwrap().len()
}

#[test]
fn as_many_ask_as_there_are_peers() {
    let bodies = SharedBodies::default();
    let one = body(1, 1000);
    let first = bodies.cell(&one, Codec::Lz4, 3);
    assert!(Arc::ptr_eq(&first, &bodies.cell(&one.clone(), Codec::Lz4, 3)));
    assert_eq!(held(&bodies), 1);
    assert!(Arc::ptr_eq(&first, &bodies.cell(&one, Codec::Lz4, 3)));
    assert_eq!(held(&bodies), 0, "the last one to ask takes it along");
}

#[test]
fn equal_bytes_elsewhere_and_other_ways_are_others() {
    let bodies = SharedBodies::default();
    let one = body(1, 1000);
    let first = bodies.cell(&one, Codec::Lz4, 2);
    for other in [
        bodies.cell(&body(1, 1000), Codec::Lz4, 2),
        bodies.cell(&one.slice(..999), Codec::Lz4, 2),
        bodies.cell(&one, Codec::Zstd, 2),
    ] {
        assert!(!Arc::ptr_eq(&first, &other));
    }
}

#[test]
fn a_single_peer_leaves_nothing_behind() {
    let bodies = SharedBodies::default();
    let _cell = bodies.cell(&body(1, 1000), Codec::Lz4, 1);
    assert_eq!(held(&bodies), 0);
}

#[test]
fn what_nobody_asks_for_goes() {
    let bodies = SharedBodies::default();
    for _ in 0..1000 {
        let _cell = bodies.cell(&body(1, 1000), Codec::Lz4, 2);
    }
    assert_eq!(held(&bodies), BODIES_MAX);
    for _ in 0..3 {
        let _cell = bodies.cell(&body(1, BYTES_MAX), Codec::Lz4, 2);
    }
    assert_eq!(held(&bodies), 1);
    bodies.clear();
    assert_eq!(held(&bodies), 0);
}
