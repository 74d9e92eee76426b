//! Requests of clients: what is cut does not depend on how the bytes arrive, and commands encode
//! to requests that read back the same.
#![no_main]

use antiphon_fuzz::within;
use antiphon_server::resp::request::{Cut, Limits, Parser, RequestError};

type Commands = Vec<Vec<Vec<u8>>>;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((options, input)) = input.split_first() else { return };
    let limits = Limits { bulk_bytes_max: 1 << 20, authenticated: options & 1 == 1 };
    let whole = within(input, 256, 4096, || cut(input, &limits, input.len().max(1)));
    let pieces = cut(input, &limits, usize::from(options >> 1).max(1));
    assert_eq!(whole, pieces, "a request is the same in one piece and in several");
    for command in &whole.0 {
        let request = encode(command);
        let all = Limits { authenticated: true, ..limits };
        assert_eq!(cut(&request, &all, request.len()), (vec![command.clone()], None));
    }
});

/// The commands in `input` when it arrives in pieces, up to the first error.
fn cut(input: &[u8], limits: &Limits, piece: usize) -> (Commands, Option<RequestError>) {
    let mut parser = Parser::default();
    let mut commands = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        let arrived = &input[start..end];
        match parser.cut(arrived, limits) {
            Ok(Cut::Command { bytes }) => {
                assert!(parser.args() > 0 && bytes <= arrived.len());
                commands.push(parser.iter(arrived).map(<[u8]>::to_vec).collect());
                start += bytes;
            }
            Ok(Cut::Nothing { bytes }) => {
                assert!((1..=arrived.len()).contains(&bytes), "something was passed");
                start += bytes;
            }
            Ok(Cut::More) if end == input.len() => return (commands, None),
            Ok(Cut::More) => end = input.len().min(end + piece),
            Err(error) => return (commands, Some(error)),
        }
    }
}

fn encode(command: &[Vec<u8>]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
    request
}
