//! Tests of the reply parser against our own encoder and against any bytes.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(bytes: &[u8], want: &Value) {
    assert_eq!(Scanner::default().scan(bytes), Ok(Some(bytes.len())));
    assert_eq!(parse(bytes).as_ref(), Ok(want));
    let mut again = BytesMut::new();
    want.encode(&mut again);
    assert_eq!(again, bytes);
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

#[test]
fn every_type() {
    check(b"+OK\r\n", &Value::Simple(b"OK".to_vec()));
    check(b"-ERR no\r\n", &Value::Error(b"ERR no".to_vec()));
    check(b":-5\r\n", &Value::Int(-5));
    check(b"$2\r\nhi\r\n", &bulk("hi"));
    check(b"$0\r\n\r\n", &bulk(""));
    check(b"$-1\r\n", &Value::NullBulk);
    check(b"*-1\r\n", &Value::NullArray);
    check(b"_\r\n", &Value::Null);
    check(b",1.5\r\n", &Value::Double(1.5));
    check(b",-inf\r\n", &Value::Double(f64::NEG_INFINITY));
    check(b"#t\r\n", &Value::Boolean(true));
    check(
        b"(123456789012345678901234567890\r\n",
        &Value::BigNumber(b"123456789012345678901234567890".to_vec()),
    );
    check(b"=6\r\ntxt:hi\r\n", &Value::Verbatim(*b"txt", b"hi".to_vec()));
    check(b"!6\r\nERR\r\nx\r\n", &Value::BulkError(b"ERR\r\nx".to_vec()));
    check(b"*2\r\n:1\r\n*0\r\n", &Value::Array(vec![Value::Int(1), Value::Array(vec![])]));
    check(b"%1\r\n+a\r\n:1\r\n", &Value::Map(vec![(Value::Simple(b"a".to_vec()), Value::Int(1))]));
    check(b"~1\r\n:1\r\n", &Value::Set(vec![Value::Int(1)]));
    check(b">1\r\n:1\r\n", &Value::Push(vec![Value::Int(1)]));
    check(
        b"|1\r\n:1\r\n:2\r\n:3\r\n",
        &Value::Attribute(vec![(Value::Int(1), Value::Int(2))], Box::new(Value::Int(3))),
    );
}

#[test]
fn what_is_no_reply() {
    assert_eq!(parse(b"?1\r\n"), Err(ReplyError::Type(b'?')));
    assert_eq!(parse(b"$x\r\n"), Err(ReplyError::Length));
    assert_eq!(parse(b"*99999999999\r\n"), Err(ReplyError::Length));
    assert_eq!(parse(b"+OK\n"), Err(ReplyError::LineEnd));
    assert_eq!(parse(b"$1\r\nabc"), Err(ReplyError::LineEnd));
    assert_eq!(parse(b":x\r\n"), Err(ReplyError::Malformed));
    assert_eq!(parse(b"*1\r\n"), Err(ReplyError::Short));
    assert_eq!(parse(&b"*1\r\n".repeat(100)), Err(ReplyError::Depth));
}

fn value() -> impl Strategy<Value = Value> {
    let text = || prop::collection::vec(any::<u8>(), 0..20);
    let line = || "[ -~]{0,20}".prop_map(String::into_bytes);
    let leaf = prop_oneof![
        line().prop_map(Value::Simple),
        line().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Int),
        text().prop_map(Value::Bulk),
        text().prop_map(Value::BulkError),
        prop::num::f64::NORMAL.prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        "-?[0-9]{1,40}".prop_map(|digits| Value::BigNumber(digits.into_bytes())),
        text().prop_map(|text| Value::Verbatim(*b"txt", text)),
        Just(Value::Null),
        Just(Value::NullBulk),
        Just(Value::NullArray),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..5);
        let pairs = || prop::collection::vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            list().prop_map(Value::Array),
            list().prop_map(Value::Set),
            list().prop_map(Value::Push),
            pairs().prop_map(Value::Map),
            (pairs(), inner.clone()).prop_map(|(f, v)| Value::Attribute(f, Box::new(v))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(value in value()) {
        let mut bytes = BytesMut::new();
        value.encode(&mut bytes);
        prop_assert_eq!(parse(&bytes), Ok(value));
    }

    #[test]
    fn the_scanner_finds_the_end_in_any_pieces(value in value(), step in 1_usize..7) {
        let mut bytes = BytesMut::new();
        value.encode(&mut bytes);
        let whole = bytes.len();
        bytes.extend_from_slice(b"+next\r\n");
        let mut scanner = Scanner::default();
        let mut end = 0;
        let found = loop {
            let seen = bytes.get(..end).unwrap_or(&bytes);
            match scanner.scan(seen) {
                Ok(Some(found)) => break found,
                Ok(None) => prop_assert!(end < whole),
                Err(error) => prop_assert!(false, "{error}"),
            }
            end += step;
        };
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"+-:$*_,#(=!%~>|0123456789\r\n".to_vec())],
            0..300),
    ) {
        let scanned = Scanner::default().scan(&bytes);
        if let Ok(value) = parse(&bytes) {
            prop_assert_eq!(scanned, Ok(Some(bytes.len())));
            let mut again = BytesMut::new();
            value.encode(&mut again);
            // A double that is no number is unequal even to itself.
            if !format!("{value:?}").contains("NaN") {
                prop_assert_eq!(parse(&again), Ok(value));
            }
        }
    }
}
