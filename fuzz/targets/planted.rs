//! A bug that only coverage leads to: `fuzz/run` must find it, or its silence means nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // Two comparisons and a sum, each reachable only through the one before: 72 bits in all.
    if let Some((word, rest)) = input.split_first_chunk::<4>()
        && word == b"bug!"
        && let Some((length, rest)) = rest.split_first_chunk::<4>()
        && u32::from_le_bytes(*length) == 77_777
        && let [left, right, ..] = rest
    {
        assert!(left ^ right != 0x5A, "found the planted bug");
    }
});
