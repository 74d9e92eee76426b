//! When a lane is tried, and which way a link goes.

use super::*;

#[test]
fn what_never_shrinks_is_tried_ever_less() {
    let mut lane = Shrinking::default();
    let mut tries = Vec::new();
    for message in 0_u32..20_000 {
        if lane.try_next() {
            lane.tried(false);
            tries.push(message);
        }
    }
    assert_eq!(tries.get(..6), Some(&[0, 1, 2, 3, 20, 53][..]));
    let gaps: Vec<u32> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.is_sorted(), "{gaps:?}");
    assert_eq!(gaps.last(), Some(&(SKIP_MAX + 1)));
}

#[test]
fn one_that_shrinks_brings_all_tries_back() {
    let mut lane = Shrinking::default();
    while lane.try_next() {
        lane.tried(false);
    }
    while !lane.try_next() {}
    lane.tried(true);
    assert!((0..100).all(|_| {
        let tried = lane.try_next();
        lane.tried(true);
        tried
    }));
}

/// A link that takes so many bytes a second, behind a node that compresses ten to one at another
/// speed: how many of a thousand batches are compressed.
fn packed_of_a_thousand(link: u64, packer: u64) -> u32 {
    const BATCH: u64 = 100_000;
    let mut pressure = Pressure::default();
    let mut packed = 0;
    for _ in 0..1000 {
        let nanos = if pressure.pack_next() {
            packed += 1;
            BATCH * 1_000_000_000 / packer + BATCH / 10 * 1_000_000_000 / link
        } else {
            BATCH * 1_000_000_000 / link
        };
        pressure.sent(100_000, Duration::from_nanos(nanos));
    }
    packed
}

#[test]
fn a_slow_link_is_sent_compressed_batches() {
    let packed = packed_of_a_thousand(12_500_000, 500_000_000);
    assert!(packed > 900, "{packed}");
}

#[test]
fn a_fast_link_is_sent_plain_ones() {
    let packed = packed_of_a_thousand(10_000_000_000, 500_000_000);
    assert!((1..=20).contains(&packed), "tried now and then, but {packed} times");
}

#[test]
fn a_link_that_gets_slow_and_fast_again_is_followed() {
    let mut pressure = Pressure::default();
    let mut last_of = |nanos_plain: u64, nanos_packed: u64| {
        let mut last = false;
        for _ in 0..=2 * TRIAL_EVERY {
            last = pressure.pack_next();
            let nanos = if last { nanos_packed } else { nanos_plain };
            pressure.sent(100_000, Duration::from_nanos(nanos));
        }
        last
    };
    assert!(!last_of(10_000, 200_000));
    assert!(last_of(8_000_000, 1_000_000));
    assert!(!last_of(10_000, 200_000));
}
