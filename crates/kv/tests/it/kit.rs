//! A primary and a replica without a network, and scripts that run on them.

use antiphon_kv::{Command, Context, Db, Engine, Limits, Outcome, Pending, ReplySink};
use antiphon_proto::{Hlc, Lsn};
use bytes::BytesMut;

/// Writes a reply as words: `OK`, `"bytes"`, `(nil)`, `7`, `*2` before two values, and so on.
#[derive(Default)]
pub(crate) struct Words(pub(crate) Vec<String>);

impl ReplySink for Words {
    fn simple(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
    fn error(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.0.push(format!("\"{}\"", bytes.escape_ascii()));
    }
    fn null(&mut self) {
        self.0.push("(nil)".to_owned());
    }
    fn null_array(&mut self) {
        self.0.push("(none)".to_owned());
    }
    fn int(&mut self, number: i64) {
        self.0.push(number.to_string());
    }
    fn double(&mut self, number: f64) {
        self.0.push(format!(",{number}"));
    }
    fn boolean(&mut self, yes: bool) {
        self.0.push(format!("#{yes}"));
    }
    fn verbatim(&mut self, format: &str, text: &[u8]) {
        self.0.push(format!("={format}:{}", text.escape_ascii()));
    }
    fn array(&mut self, len: usize) {
        self.0.push(format!("*{len}"));
    }
    fn map(&mut self, len: usize) {
        self.0.push(format!("%{len}"));
    }
    fn set(&mut self, len: usize) {
        self.0.push(format!("~{len}"));
    }
}

struct Entry {
    lsn: Lsn,
    hlc: Hlc,
    payload: Vec<u8>,
}

/// A primary, a replica, and the log between them.
pub(crate) struct Pair {
    pub(crate) primary: Engine,
    pub(crate) replica: Engine,
    pub(crate) db: Db,
    pub(crate) now_ms: u64,
    pub(crate) pending: Pending,
    pub(crate) outcome: Outcome,
    log: Vec<Entry>, // entries that are not yet stable
    last: Lsn,
    dice: u64,
}

impl Default for Pair {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Pair {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            primary: Engine::new(1, limits),
            replica: Engine::new(2, limits),
            db: Db::default(),
            now_ms: 1_000_000,
            pending: Pending::new(),
            outcome: Outcome { wrote: false, failed: false, dirty: Lsn::ZERO },
            log: Vec::new(),
            last: Lsn::ZERO,
            dice: 1,
        }
    }

    /// Executes at the primary; effects stay pending.
    pub(crate) fn execute(&mut self, args: &[&[u8]]) -> String {
        let (reply, outcome) = execute(
            &self.primary,
            (self.db, self.now_ms),
            args,
            (&mut self.pending, &mut self.dice),
        );
        self.outcome = outcome;
        reply
    }

    /// Appends what is pending as one entry.
    pub(crate) fn propose(&mut self) -> Option<Lsn> {
        if self.pending.is_empty() {
            return None;
        }
        let mut payload = BytesMut::new();
        self.pending.write(&mut payload);
        assert_eq!(payload.len(), self.pending.payload_bytes());
        self.last = self.last.next();
        let hlc = Hlc::from_ms(self.now_ms);
        self.log.push(Entry { lsn: self.last, hlc, payload: payload.to_vec() });
        self.primary.commit(self.last, &mut self.pending);
        assert!(self.pending.is_empty());
        Some(self.last)
    }

    /// Executes a command and appends its effects.
    pub(crate) fn run(&mut self, args: &[&[u8]]) -> String {
        let reply = self.execute(args);
        assert_eq!(self.outcome.wrote, !self.pending.is_empty());
        self.propose();
        reply
    }

    /// As [`Pair::run`], with words that are separated by spaces.
    pub(crate) fn say(&mut self, line: &str) -> String {
        self.run(&words(line))
    }

    /// Executes at the replica, against its stable state and time.
    pub(crate) fn ask_replica(&self, line: &str) -> String {
        let context = (self.db, self.replica.applied_hlc().ms());
        let (mut pending, mut dice) = (Pending::new(), 1);
        execute(&self.replica, context, &words(line), (&mut pending, &mut dice)).0
    }

    pub(crate) fn unstable(&self) -> usize {
        self.log.len()
    }

    /// The next entries become stable on both.
    pub(crate) fn stabilise(&mut self, entries: usize) {
        for entry in self.log.drain(..entries.min(self.log.len())) {
            for engine in [&mut self.primary, &mut self.replica] {
                engine.apply(entry.lsn, entry.hlc, &entry.payload).unwrap();
            }
            assert_eq!(self.primary.digest(), self.replica.digest());
        }
        if self.log.is_empty() {
            assert_eq!(self.primary.all_dirty_until(), Lsn::ZERO);
            assert_eq!(self.primary.speculative_keys(), 0);
        }
    }

    /// The primary is deposed: the unstable entries are lost.
    pub(crate) fn depose(&mut self) {
        self.primary.forget_speculation();
        self.log.clear();
        self.last = self.primary.applied();
    }
}

fn execute(
    engine: &Engine,
    (db, now_ms): (Db, u64),
    args: &[&[u8]],
    (pending, dice): (&mut Pending, &mut u64),
) -> (String, Outcome) {
    let mut random = || {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *dice ^ (*dice >> 29)
    };
    let mut context = Context { db, now_ms, random: &mut random, pending };
    let command = Command::find(args[0]).expect("the table has the command");
    let mut out = Words::default();
    let outcome = engine.execute(&mut context, command, args, &mut out);
    (out.0.join(" "), outcome)
}

/// Splits a line at its spaces; `''` is an empty word.
pub(crate) fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(|word| if word == "''" { "" } else { word }.as_bytes()).collect()
}

/// Runs a script: lines of `command => reply`; `at 5` sets the clock to 5 ms after the start.
/// Once while everything stays unstable, once with every entry stable at once.
#[track_caller]
pub(crate) fn check(script: &str) {
    for stable_at_once in [false, true] {
        let mut pair = Pair::default();
        let start = pair.now_ms;
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(ms) = line.strip_prefix("at ") {
                pair.now_ms = start + ms.parse::<u64>().unwrap();
                continue;
            }
            let (command, want) = line.split_once(" => ").expect("a command and its reply");
            assert_eq!(pair.say(command), want, "{command} (stable: {stable_at_once})");
            if stable_at_once {
                pair.stabilise(usize::MAX);
            }
        }
        pair.stabilise(usize::MAX);
    }
}
