//! Tests of the request parser: what is cut, what is refused, and that pieces change nothing.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { bulk_bytes_max: 1 << 20, authenticated: true };
const STRANGER: Limits = Limits { bulk_bytes_max: 1 << 20, authenticated: false };

/// All commands of a stream that arrives in the given pieces, and the error that ended it.
fn commands(pieces: &[&[u8]], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<RequestError>) {
    let mut parser = Parser::default();
    let (mut buffer, mut found) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.cut(&buffer, limits) {
                Ok(Cut::More) => break,
                Ok(Cut::Nothing { bytes }) => drop(buffer.drain(..bytes)),
                Ok(Cut::Command { bytes }) => {
                    assert!(bytes <= buffer.len());
                    found.push(parser.iter(&buffer).map(<[u8]>::to_vec).collect());
                    drop(buffer.drain(..bytes));
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

#[track_caller]
fn check(input: &[u8], want: &[&[&str]]) {
    let (found, error) = commands(&[input], &LIMITS);
    assert_eq!(error, None);
    let want: Vec<Vec<Vec<u8>>> =
        want.iter().map(|args| args.iter().map(|arg| arg.as_bytes().to_vec()).collect()).collect();
    assert_eq!(found, want);
}

#[track_caller]
fn refuse(input: &[u8], limits: &Limits, want: &str) {
    let (_, error) = commands(&[input], limits);
    assert_eq!(error.map(|error| error.to_string()).as_deref(), Some(want));
}

#[test]
fn arrays_and_lines_mix() {
    check(
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*0\r\n\r\n*-1\r\nset k v\n",
        &[&["GET", "k"], &["PING"], &["set", "k", "v"]],
    );
}

#[test]
fn inline_quotes_and_escapes() {
    check(b"set k \"a b\\x41\\n\\q\" 'it\\'s' \"\"\r\n", &[&["set", "k", "a bA\nq", "it's", ""]]);
    check(b"  a\t\x0b b  \r\n", &[&["a", "b"]]);
    check(b"a\"b\" c\r\n", &[&["ab", "c"]]);
    check(b"\"\\x4\"\r\n", &[&["x4"]]);
}

#[test]
fn texts_of_refusals() {
    refuse(b"*x\r\n", &LIMITS, "Protocol error: invalid multibulk length");
    refuse(b"*1048577\r\n", &LIMITS, "Protocol error: invalid multibulk length");
    refuse(b"*1\r\n:3\r\n", &LIMITS, "Protocol error: expected '$', got ':'");
    refuse(b"*1\r\n$-1\r\n", &LIMITS, "Protocol error: invalid bulk length");
    refuse(b"*1\r\n$1048577\r\n", &LIMITS, "Protocol error: invalid bulk length");
    refuse(b"*11\r\n", &STRANGER, "Protocol error: unauthenticated multibulk length");
    refuse(b"*1\r\n$16385\r\n", &STRANGER, "Protocol error: unauthenticated bulk length");
    refuse(b"set k \"v\r\n", &LIMITS, "Protocol error: unbalanced quotes in request");
    refuse(b"set k \"v\"x\r\n", &LIMITS, "Protocol error: unbalanced quotes in request");
    refuse(&[b'a'; 65_537], &LIMITS, "Protocol error: too big inline request");
    refuse(&[b"*".as_slice(), &[b'1'; 65_537]].concat(), &LIMITS, {
        "Protocol error: too big mbulk count string"
    });
    refuse(&[b"*1\r\n$".as_slice(), &[b'1'; 65_537]].concat(), &LIMITS, {
        "Protocol error: too big bulk count string"
    });
}

#[test]
fn limits_hold_to_the_byte() {
    let bulk = |length: usize| {
        [format!("*1\r\n${length}\r\n").as_bytes(), &vec![b'x'; length], b"\r\n"].concat()
    };
    for length in [LIMITS.bulk_bytes_max - 1, LIMITS.bulk_bytes_max] {
        assert_eq!(commands(&[&bulk(length)], &LIMITS).1, None);
    }
    assert_eq!(commands(&[&bulk(16_384)], &STRANGER).1, None);
    assert_eq!(commands(&[b"*1048576\r\n"], &LIMITS).1, None);
    assert_eq!(commands(&[b"*10\r\n"], &STRANGER).1, None);
    let line = [vec![b'a'; INLINE_BYTES_MAX - 1], b"\n".to_vec()].concat();
    assert_eq!(commands(&[&line], &LIMITS).0.len(), 1);
}

#[test]
fn announced_arguments_take_no_memory() {
    let mut parser = Parser::default();
    assert_eq!(parser.cut(b"*1048576\r\n", &LIMITS), Ok(Cut::More));
    assert!(parser.spans.capacity() < 1024);
}

fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Cuts `bytes` at the given places, taken modulo what is left.
fn pieces<'a>(mut bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for place in places {
        let (piece, rest) = bytes.split_at(place % (bytes.len() + 1));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

proptest! {
    #[test]
    fn any_split_gives_the_same_commands(
        sent in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), 0..8),
        inline in prop::collection::vec("[a-z]{1,9}( \"[ a-z]{0,5}\"| [a-z0-9]{1,5}){0,3}", 0..4),
        places in prop::collection::vec(any::<usize>(), 0..30),
    ) {
        let mut bytes: Vec<u8> = sent.iter().flat_map(|args| encode(args)).collect();
        for line in &inline {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        let whole = commands(&[&bytes], &LIMITS);
        prop_assert_eq!(whole.1, None);
        prop_assert_eq!(whole.0.len(), sent.len() + inline.len());
        prop_assert_eq!(&whole.0[..sent.len()], &sent[..]);
        prop_assert_eq!(commands(&pieces(&bytes, &places), &LIMITS), whole);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_alike_in_pieces(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"*$0123456789\r\n\"'\\ ".to_vec())], 0..200),
        places in prop::collection::vec(any::<usize>(), 0..10),
    ) {
        let whole = commands(&[&bytes], &STRANGER);
        prop_assert_eq!(commands(&pieces(&bytes, &places), &STRANGER), whole);
    }
}
