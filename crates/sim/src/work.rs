//! What clients ask, and what came of it.

use antiphon_kv::ReplySink;
use antiphon_proto::{EntryId, Policy, Ticket};

use crate::plan::Plan;
use crate::rng::Rng;

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Reads one key.
    Get,
    /// Writes one key.
    Set,
    /// Adds one to one key.
    Incr,
    /// Deletes one key.
    Del,
    /// Writes the same to two keys, in one transaction.
    SetPair,
    /// Reads two keys in one transaction.
    GetPair,
    /// Opens a session.
    Open,
}

impl Deed {
    pub(crate) const fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::GetPair)
    }
}

/// A reply, as far as checks look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Nothing,
    Status,
    Bytes(Vec<u8>),
    Number(i64),
    Error(String),
}

/// What a client knows of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It waits.
    Pending,
    /// It was answered.
    Done(Vec<Reply>),
    /// It was refused: it never happened.
    Refused,
    /// Nobody can say yet.
    Unknown,
}

/// A command with its history.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) client: usize,
    pub(crate) deed: Deed,
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) policy: Policy,
    pub(crate) weak: bool, // acknowledged before it was stable
    pub(crate) started: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) outcome: Outcome,
    pub(crate) entry: Option<EntryId>, // where it was executed, the last time if that was lost
    pub(crate) ticket: Option<Ticket>,
    pub(crate) attempts: u32, // to send it again in its session
}

impl Op {
    /// The commands to execute, in one transaction.
    pub(crate) fn commands(&self) -> Vec<Vec<Vec<u8>>> {
        let words = |list: &[&[u8]]| list.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
        let key = self.key.as_bytes();
        let other = format!("{}'", self.key);
        match self.deed {
            Deed::Get => vec![words(&[b"get", key])],
            Deed::Set => vec![words(&[b"set", key, &self.value])],
            Deed::Incr => vec![words(&[b"incr", key])],
            Deed::Del => vec![words(&[b"del", key])],
            Deed::SetPair => vec![
                words(&[b"set", key, &self.value]),
                words(&[b"set", other.as_bytes(), &self.value]),
            ],
            Deed::GetPair => vec![words(&[b"get", key]), words(&[b"get", other.as_bytes()])],
            Deed::Open => Vec::new(),
        }
    }

    /// Draws what a client asks next. `number` makes the value unlike all others.
    pub(crate) fn draw(rng: &mut Rng, plan: &Plan, client: usize, number: usize) -> Self {
        let reads = rng.chance(plan.work.reads);
        let (kind, deed) = match (rng.below(8), reads) {
            (0..=2, true) => ("r", Deed::Get),
            (0..=2, false) => ("r", Deed::Set),
            (3..=4, true) => ("c", Deed::Get),
            (3..=4, false) => ("c", Deed::Incr),
            (5..=6, true) => ("m", Deed::Get),
            (5..=6, false) => ("m", if rng.chance(300) { Deed::Del } else { Deed::Set }),
            (_, true) => ("p", Deed::GetPair),
            (_, false) => ("p", Deed::SetPair),
        };
        let key = format!("{kind}{}", rng.below(plan.work.keys));
        let mut value = format!("v{number}.").into_bytes();
        let bytes = usize::try_from(rng.range(1, plan.work.value_bytes)).unwrap_or(1);
        value.resize(value.len().max(bytes), b'x');
        Self {
            client,
            deed,
            key,
            value,
            policy: policy(rng, plan),
            weak: false,
            started: 0,
            ended: None,
            outcome: Outcome::Pending,
            entry: None,
            ticket: None,
            attempts: 0,
        }
    }
}

/// A policy that this cluster can satisfy.
fn policy(rng: &mut Rng, plan: &Plan) -> Policy {
    let count = u8::try_from(rng.range(1, plan.nodes)).unwrap_or(1);
    match rng.below(10) {
        0 => Policy::Local,
        1..=2 => Policy::Received(count),
        3 => Policy::Ack(count),
        4 => Policy::Quorum,
        5 => Policy::All,
        _ => plan.floor().unwrap_or(Policy::Quorum),
    }
}

/// Gathers replies.
#[derive(Debug, Default)]
pub(crate) struct Replies(pub(crate) Vec<Reply>);

impl ReplySink for Replies {
    fn simple(&mut self, _text: &str) {
        self.0.push(Reply::Status);
    }
    fn error(&mut self, text: &str) {
        self.0.push(Reply::Error(text.to_owned()));
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.0.push(Reply::Bytes(bytes.to_vec()));
    }
    fn null(&mut self) {
        self.0.push(Reply::Nothing);
    }
    fn null_array(&mut self) {
        self.0.push(Reply::Nothing);
    }
    fn int(&mut self, number: i64) {
        self.0.push(Reply::Number(number));
    }
    fn double(&mut self, _number: f64) {
        self.0.push(Reply::Status);
    }
    fn boolean(&mut self, yes: bool) {
        self.0.push(Reply::Number(i64::from(yes)));
    }
    fn verbatim(&mut self, _format: &str, text: &[u8]) {
        self.bulk(text);
    }
    fn array(&mut self, _len: usize) {}
    fn map(&mut self, _len: usize) {}
    fn set(&mut self, _len: usize) {}
}
