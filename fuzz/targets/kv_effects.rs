//! Payloads of entries: effects or an error, and effects encode to the same bytes. Two engines
//! that apply the same payloads are equal, whatever the payloads are.
#![no_main]

use antiphon_fuzz::within;
use antiphon_kv::{Engine, Limits, PAYLOAD_VERSION, decode};
use antiphon_proto::{Hlc, Lsn};
use bytes::{BufMut, BytesMut};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    within(input, 256, 4096, || check(input));
    // The same bytes as payloads of several entries.
    let payloads: Vec<Vec<u8>> = input
        .split(|byte| *byte == 0xFF)
        .map(|effects| [&[PAYLOAD_VERSION], effects].concat())
        .collect();
    assert_eq!(digest(&payloads, 1), digest(&payloads, 2), "a digest is of the data alone");
});

fn check(payload: &[u8]) {
    let Ok(effects) = decode(payload) else { return };
    let Ok(effects) = effects.collect::<Result<Vec<_>, _>>() else { return };
    let mut again = BytesMut::new();
    again.put_u8(PAYLOAD_VERSION);
    for effect in effects {
        let before = again.len();
        effect.encode(&mut again);
        assert_eq!(again.len() - before, effect.encoded_bytes());
    }
    assert_eq!(again, payload);
}

fn digest(payloads: &[Vec<u8>], seed: u128) -> [u8; 16] {
    let mut engine = Engine::new(seed, Limits::default());
    for (payload, lsn) in payloads.iter().zip(1..) {
        // A node stops at a payload that it cannot read.
        if engine.apply(Lsn::new(lsn), Hlc::new(lsn), payload).is_err() {
            break;
        }
    }
    engine.digest()
}
