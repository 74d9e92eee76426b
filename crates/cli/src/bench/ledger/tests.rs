//! What a read may and may not find.

use super::*;
use crate::bench::plan::Load;
use crate::bench::wire::Requests;

fn values(value_bytes: u32) -> Values {
    let load = Load {
        clients: 1,
        pipeline: 1,
        threads: 1,
        key_bytes: 16,
        value_bytes,
        keys: 100,
        read_share: 0.5,
        policy: None,
        wait: None,
        rate: None,
        verify: true,
    };
    Requests::new(&load, 3, 0).values()
}

fn value(values: Values, key: u32, sequence: u32) -> Vec<u8> {
    let mut out = Vec::new();
    values.append(&mut out, key, sequence);
    out
}

/// Writes 1 and 2 of key 10 are acknowledged, 3 is in doubt, 4 was only sent.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&(10..20));
    for sequence in 1..=4 {
        assert_eq!(ledger.send(10), sequence);
    }
    ledger.acknowledge(10, 1);
    ledger.acknowledge(10, 2);
    ledger.doubt(10, 3);
    ledger
}

#[test]
fn the_newest_acknowledged_write_and_those_in_doubt_are_right() {
    for bytes in [100, 8, 4] {
        let values = values(bytes);
        let mut ledger = ledger();
        for sequence in [2, 3] {
            let found = value(values, 10, sequence);
            assert_eq!(ledger.judge(values, 10, Some(&found)), Judgement::Right, "{bytes} bytes");
        }
    }
}

#[test]
fn anything_is_right_before_the_first_acknowledgement() {
    assert_eq!(ledger().judge(values(100), 11, Some(b"?")), Judgement::Right);
    assert_eq!(ledger().judge(values(100), 11, None), Judgement::Right);
}

#[test]
fn lost_stale_and_damaged_values_are_told_apart() {
    let values = values(100);
    let mut ledger = ledger();
    assert_eq!(ledger.judge(values, 10, None), Judgement::Missing { expected: 2 });
    let old = value(values, 10, 1);
    assert_eq!(ledger.judge(values, 10, Some(&old)), Judgement::Stale { expected: 2, found: 1 });
    let mut torn = value(values, 10, 2);
    torn[99] ^= 1;
    assert_eq!(ledger.judge(values, 10, Some(&torn)), Judgement::Damaged { expected: 2 });
    let other_key = value(values, 11, 2);
    assert_eq!(ledger.judge(values, 10, Some(&other_key)), Judgement::Damaged { expected: 2 });
}
