//! Inline requests: words with quotes and escapes. What they say, said with every byte escaped,
//! reads back the same.
#![no_main]

use antiphon_fuzz::within;
use antiphon_server::resp::request::{Cut, Limits, Parser};

const LIMITS: Limits = Limits { bulk_bytes_max: 1 << 20, authenticated: true };

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if input.starts_with(b"*") {
        return;
    }
    let line = [input.split(|byte| *byte == b'\n').next().unwrap_or_default(), b"\n"].concat();
    let Some(words) = within(input, 64, 4096, || words(&line)) else { return };
    let escaped: Vec<u8> = words.iter().flat_map(|word| escape(word)).chain([b'\n']).collect();
    assert_eq!(self::words(&escaped), Some(words));
});

/// The words of a line; none when it is refused or has none.
fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut parser = Parser::default();
    match parser.cut(line, &LIMITS) {
        Ok(Cut::Command { bytes }) => {
            assert_eq!(bytes, line.len());
            Some(parser.iter(line).map(<[u8]>::to_vec).collect())
        }
        Ok(Cut::Nothing { bytes }) => {
            assert_eq!(bytes, line.len());
            None
        }
        Ok(Cut::More) => panic!("a line with an end needs no more"),
        Err(_refused) => None,
    }
}

fn escape(word: &[u8]) -> Vec<u8> {
    let bytes: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{bytes}\" ").into_bytes()
}
