//! Every type of reply, every split, and bytes that are no reply.

use super::*;

/// `bytes` holds exactly one reply that says `want`; no shorter piece of it does.
#[track_caller]
fn check(bytes: &[u8], want: Reply<'_>) {
    assert_eq!(scan(bytes), Ok(Some((want, bytes.len()))));
    for cut in 0..bytes.len() {
        assert_eq!(scan(&bytes[..cut]), Ok(None), "cut at {cut}");
    }
    let mut twice = bytes.to_vec();
    twice.extend_from_slice(b":7\r\n");
    assert_eq!(scan(&twice), Ok(Some((want, bytes.len()))), "with another behind it");
}

#[test]
fn plain_replies() {
    check(b"+OK\r\n", Reply::Status(b"OK"));
    check(b"+PONG\r\n", Reply::Status(b"PONG"));
    check(b"-ERR no\r\n", Reply::Error(b"ERR no"));
    check(b":-3\r\n", Reply::Integer(-3));
    check(b"$3\r\na\r\n\r\n", Reply::Bulk(b"a\r\n"));
    check(b"$0\r\n\r\n", Reply::Bulk(b""));
    check(b"$-1\r\n", Reply::Null);
    check(b"*-1\r\n", Reply::Null);
    check(b"_\r\n", Reply::Null);
    check(b"#t\r\n", Reply::Other);
    check(b",1.5\r\n", Reply::Other);
    check(b"=6\r\ntxt:ab\r\n", Reply::Other);
    check(b"!6\r\nERR no\r\n", Reply::Error(b"ERR no"));
}

#[test]
fn aggregates_are_skipped_whole() {
    check(b"*0\r\n", Reply::Other);
    check(b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n", Reply::Other);
    check(b"%1\r\n+a\r\n~1\r\n_\r\n", Reply::Other);
    check(b">2\r\n+a\r\n+b\r\n", Reply::Push);
}

#[test]
fn an_attribute_answers_nothing_wherever_it_stands() {
    check(b"|1\r\n+ttl\r\n:1\r\n", Reply::Push);
    check(b"*2\r\n|1\r\n+ttl\r\n:1\r\n:1\r\n:2\r\n", Reply::Other);
}

#[test]
fn bytes_that_are_no_reply_are_refused() {
    assert_eq!(scan(b"HTTP/1.1"), Err(ScanError::NotAReply(b'H')));
    assert_eq!(scan(b":x\r\n"), Err(ScanError::BadNumber));
    assert_eq!(scan(b"*x\r\n"), Err(ScanError::BadNumber));
    assert_eq!(scan(b"$99999999999\r\n"), Err(ScanError::TooLarge));
    assert_eq!(scan(b"*99999999999\r\n"), Err(ScanError::TooLarge));
    assert_eq!(scan(&[b'+'; LINE_BYTES_MAX + 1]), Err(ScanError::TooLarge));
}

#[test]
fn nesting_costs_no_stack() {
    let mut bytes = Vec::new();
    for _ in 0..200_000 {
        bytes.extend_from_slice(b"*1\r\n");
    }
    assert_eq!(scan(&bytes), Ok(None));
    bytes.extend_from_slice(b":1\r\n");
    assert_eq!(scan(&bytes), Ok(Some((Reply::Other, bytes.len()))));
}

#[test]
fn a_sum_of_items_over_the_limit_is_refused() {
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend_from_slice(b"*1000000\r\n");
    }
    assert_eq!(scan(&bytes), Err(ScanError::TooLarge));
}
