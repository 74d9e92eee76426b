//! Any words after any command: one whole reply, no panic, and no effects when it fails.

use antiphon_kv::{Command, Context, Db, Engine, Limits, Pending, ReplySink, Runs};
use antiphon_proto::{Hlc, Lsn};
use bytes::BytesMut;
use proptest::prelude::*;

/// Counts the values that a reply still owes.
struct Shape {
    owed: usize,
    errors: usize,
}

impl Shape {
    fn value(&mut self, then: usize) {
        assert!(self.owed > 0, "more values than were announced");
        self.owed = self.owed - 1 + then;
    }
}

impl ReplySink for Shape {
    fn simple(&mut self, _text: &str) {
        self.value(0);
    }
    fn error(&mut self, text: &str) {
        assert!(text.split(' ').next().is_some_and(|code| code == code.to_uppercase()), "{text}");
        assert!(!text.contains(['\r', '\n']), "{text:?}");
        self.errors += 1;
        self.value(0);
    }
    fn bulk(&mut self, _bytes: &[u8]) {
        self.value(0);
    }
    fn null(&mut self) {
        self.value(0);
    }
    fn null_array(&mut self) {
        self.value(0);
    }
    fn int(&mut self, _number: i64) {
        self.value(0);
    }
    fn double(&mut self, _number: f64) {
        self.value(0);
    }
    fn boolean(&mut self, _yes: bool) {
        self.value(0);
    }
    fn verbatim(&mut self, _format: &str, _text: &[u8]) {
        self.value(0);
    }
    fn array(&mut self, len: usize) {
        self.value(len);
    }
    fn map(&mut self, len: usize) {
        self.value(2 * len);
    }
    fn set(&mut self, len: usize) {
        self.value(len);
    }
}

const WORDS: [&str; 42] = [
    "a",
    "b",
    "c",
    "0",
    "1",
    "-1",
    "15",
    "16",
    "10.5",
    "9223372036854775807",
    "-9223372036854775808",
    "1e4932",
    "-inf",
    "",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "PERSIST",
    "NX",
    "XX",
    "GT",
    "LT",
    "GET",
    "IFEQ",
    "IFNE",
    "IFDEQ",
    "REPLACE",
    "DB",
    "COUNT",
    "MATCH",
    "TYPE",
    "string",
    "ASYNC",
    "ENCODING",
    "USAGE",
    "SAMPLES",
    "HELP",
    "LEN",
    "IDX",
    "*",
];

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0..WORDS.len()).prop_map(|at| WORDS[at].as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

fn line() -> impl Strategy<Value = (usize, Vec<Vec<u8>>)> {
    (any::<usize>(), proptest::collection::vec(word(), 0..7))
}

proptest! {
    #[test]
    fn any_words_get_one_reply(lines in proptest::collection::vec(line(), 1..60)) {
        let limits = Limits { value_bytes_max: 1 << 16, ..Limits::default() };
        let (mut engine, mut pending) = (Engine::new(3, limits), Pending::new());
        let commands: Vec<&Command> =
            Command::all().iter().filter(|command| matches!(command.runs, Runs::Keys(_))).collect();
        let mut lsn = Lsn::ZERO;
        for (which, words) in &lines {
            let command = commands[which % commands.len()];
            let mut args = vec![command.name.as_bytes()];
            args.extend(words.iter().map(Vec::as_slice));
            let mut random = || 5;
            let now_ms = 1_000 + lsn.get();
            let context =
                &mut Context { db: Db::default(), now_ms, random: &mut random, pending: &mut pending };
            let mut out = Shape { owed: 1, errors: 0 };
            let outcome = engine.execute(context, command, &args, &mut out);
            prop_assert_eq!(out.owed, 0, "{} {:?}", command.name, words);
            prop_assert_eq!(outcome.failed, out.errors == 1);
            prop_assert!(!outcome.failed || pending.is_empty());
            prop_assert_eq!(outcome.wrote, !pending.is_empty());
            prop_assert!(!outcome.wrote || command.is_write(), "{} wrote", command.name);
            if outcome.wrote {
                let mut payload = BytesMut::new();
                pending.write(&mut payload);
                lsn = lsn.next();
                engine.commit(lsn, &mut pending);
                engine.apply(lsn, Hlc::from_ms(now_ms), &payload).unwrap();
            }
        }
    }
}
