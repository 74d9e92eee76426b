//! Patterns: a text matches itself when every byte of it is escaped, wherever stars are put; case
//! is folded on both sides alike; no pattern takes long.
#![no_main]

use antiphon_kv::{Case, glob};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((at, input)) = input.split_first() else { return };
    let (pattern, text) = input.split_at(input.len() * usize::from(*at) / 256);
    let found = glob(pattern, text, Case::Sensitive);
    let folded = glob(pattern, text, Case::Insensitive);
    let swapped: Vec<u8> = text.iter().map(swap_case).collect();
    assert_eq!(glob(pattern, &swapped, Case::Insensitive), folded, "case means nothing here");
    if found == Ok(true) {
        let around = [b"*", pattern, b"*"].concat();
        // Its star may be taken by an open class or a backslash at the pattern's end.
        if !pattern.iter().any(|byte| matches!(byte, b'[' | b'\\')) {
            assert_ne!(glob(&around, text, Case::Sensitive), Ok(false), "stars only widen");
            assert_ne!(folded, Ok(false), "folding only widens");
        }
    }
    let escaped: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
    assert_eq!(glob(&escaped, text, Case::Sensitive), Ok(true));
    let starred: Vec<u8> = text.iter().flat_map(|byte| [b'*', b'\\', *byte]).collect();
    assert_ne!(glob(&starred, text, Case::Sensitive), Ok(false));
});

const fn swap_case(byte: &u8) -> u8 {
    if byte.is_ascii_lowercase() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }
}
