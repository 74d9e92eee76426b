//! Replies as a client reads them: the scanner finds the same end however the bytes arrive, and a
//! value that is parsed encodes to one that parses the same.
#![no_main]

use antiphon_fuzz::within;
use antiphon_server::resp::reply::{ReplyError, Scanner, Value, parse};
use bytes::BytesMut;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let whole = Scanner::default().scan(input);
    assert_eq!(whole, in_pieces(input), "a reply ends at the same place in one piece and in many");
    let Ok(Some(bytes)) = whole else { return };
    match within(input, 256, 4096, || parse(&input[..bytes])) {
        Ok(value) => {
            let encoded = encode(&value);
            let again = parse(&encoded).expect("what we encode is a reply");
            // Not the values: a NaN differs from itself.
            assert_eq!(encode(&again), encoded);
        }
        Err(error) => assert_ne!(error, ReplyError::Short, "the scanner saw a whole reply"),
    }
});

fn in_pieces(input: &[u8]) -> Result<Option<usize>, ReplyError> {
    let mut scanner = Scanner::default();
    for end in 0..input.len() {
        if let Some(bytes) = scanner.scan(&input[..end])? {
            return Ok(Some(bytes));
        }
    }
    scanner.scan(input)
}

fn encode(value: &Value) -> BytesMut {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out
}
