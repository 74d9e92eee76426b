//! Snapshots of a keyspace: restored whole or refused without a trace; what is written restores to
//! the same state.
#![no_main]

use antiphon_fuzz::within;
use antiphon_kv::{Engine, Limits, PAYLOAD_VERSION, SNAPSHOT_VERSION};
use antiphon_proto::{Hlc, Lsn, crc32c};

/// A chunk is read as a whole, so one of them may be claimed by its length alone.
const CHUNK_BYTES: usize = 1 << 20;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    restore(input);
    restore(&repaired(input));
    round_trip(input);
});

fn restore(bytes: &[u8]) {
    let mut engine = Engine::new(1, Limits::default());
    let payload = [PAYLOAD_VERSION, 1, 0, 1, b'k', 1, b'v'];
    engine.apply(Lsn::new(1), Hlc::new(1), &payload).expect("one string");
    let before = (engine.digest(), engine.applied());
    let result = within(bytes, 4096, 8 * CHUNK_BYTES, || engine.restore(&mut &bytes[..]));
    if result.is_err() {
        assert_eq!(
            (engine.digest(), engine.applied()),
            before,
            "a refused snapshot leaves no trace"
        );
    }
}

/// The input as the content of chunks whose numbers and checksums are right.
fn repaired(input: &[u8]) -> Vec<u8> {
    let (size, content) = input.split_first().map_or((1, input), |(size, rest)| (*size, rest));
    let mut out = b"AFKV".to_vec();
    out.extend_from_slice(&[SNAPSHOT_VERSION, 0, 0, 0]);
    let chunks = content.chunks(usize::from(size).max(1)).chain([[].as_slice()]);
    for (chunk, number) in chunks.zip(0_u32..) {
        let numbered = [&number.to_le_bytes(), chunk].concat();
        let length = u32::try_from(chunk.len()).expect("a short input");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&crc32c(&numbered).to_le_bytes());
        out.extend_from_slice(&numbered);
    }
    out
}

/// A state made from the input's effects, written and restored under another hash seed.
fn round_trip(input: &[u8]) {
    let mut engine = Engine::new(1, Limits::default());
    let payload = [&[PAYLOAD_VERSION], input].concat();
    // A payload that cannot be read may have been applied in part; the state is one all the same.
    let _applied = engine.apply(Lsn::new(7), Hlc::new(9), &payload);
    let mut bytes = Vec::new();
    engine.cut().write(&mut bytes).expect("memory takes what is written");
    let mut other = Engine::new(2, Limits::default());
    other.restore(&mut &bytes[..]).expect("what is written restores");
    assert_eq!((other.digest(), other.applied()), (engine.digest(), engine.applied()));
}
