//! The client of a node's `/changes`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use antiphon_server::ChangeJson;
use clap::Args;
use serde::Deserialize;

use crate::errors::{Code, Coded, Problem};
use crate::http::{Answer, Ask, get};

/// Longest page: a mebibyte of effects, each byte of which may take six, and their names.
const PAGE_BYTES_MAX: u64 = 32 << 20;

/// Where the changes are.
#[derive(Debug, Args)]
pub(crate) struct FeedArgs {
    /// Pages of a node, as in http.listen of its configuration
    #[arg(long, default_value = "127.0.0.1:7201", value_name = "HOST:PORT")]
    pub(crate) address: String,
    /// File with the password of the client port [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Longest time without the node
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the first entry that is kept.
    Oldest,
    /// With what comes.
    Now,
    /// With this position.
    At(u64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "oldest" => Ok(Self::Oldest),
            "now" => Ok(Self::Now),
            _ => match text.parse() {
                Ok(lsn) if lsn > 0 => Ok(Self::At(lsn)),
                Ok(_) | Err(_) => Err("write a position from 1, oldest, or now".to_owned()),
            },
        }
    }
}

/// A node's changes.
pub(crate) struct Feed {
    address: String,
    password: Option<String>,
    timeout: Duration,
}

/// Some changes, and where the next ones begin.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) changes: Vec<ChangeJson>,
    pub(crate) next: u64,
}

#[derive(Debug, Deserialize)]
struct End {
    schema: String,
    next: u64,
}

#[derive(Debug, Deserialize)]
struct Refused {
    error: String,
}

impl Feed {
    /// The one that the flags name.
    ///
    /// # Errors
    /// When the file of the password can't be read.
    pub(crate) fn of(args: &FeedArgs) -> Result<Self, Problem> {
        let password = args.password_file.as_deref().map(password_in).transpose()?;
        Ok(Self { address: args.address.clone(), password, timeout: args.timeout })
    }

    /// Up to `max` changes from `from` on; waits for the first one for `wait`.
    ///
    /// # Errors
    /// When the node does not answer, or says why it does not tell.
    pub(crate) fn page(&self, from: Start, max: u64, wait: Duration) -> Result<Page, Problem> {
        let from = match from {
            Start::Oldest => "oldest".to_owned(),
            Start::Now => "now".to_owned(),
            Start::At(lsn) => lsn.to_string(),
        };
        let path = format!("/changes?from={from}&max={max}&wait={}ms", wait.as_millis());
        let ask = Ask {
            address: &self.address,
            path: &path,
            password: self.password.as_deref(),
            patience: self.timeout + wait,
            bytes_max: PAGE_BYTES_MAX,
        };
        let answer = get(ask).map_err(|error| {
            let what = format!("{} does not answer: {error:#}", self.address);
            Problem::new(Code::NoAnswer, what)
        })?;
        self.understand(&answer)
    }

    fn understand(&self, answer: &Answer) -> Result<Page, Problem> {
        let address = &self.address;
        if answer.code != 200 {
            let code = match answer.code {
                401 => Code::Denied,
                403 => Code::ChangesOff,
                410 => Code::Trimmed,
                503 => Code::NoAnswer,
                _ => Code::NotAnAnswer,
            };
            let said = serde_json::from_str(&answer.body);
            let said = said.map_or(format!("HTTP {}", answer.code), |Refused { error }| error);
            return Err(Problem::new(code, format!("{address} says: {said}")));
        }
        let other = |why: &str| Problem::new(Code::NotAnAnswer, format!("{address}: {why}"));
        let (lines, end) = match answer.body.trim_end().rsplit_once('\n') {
            Some((lines, end)) => (lines, end),
            None => ("", answer.body.trim_end()),
        };
        let end: End = serde_json::from_str(end).map_err(|_other| other("it has no changes"))?;
        if !end.schema.starts_with("antiphon.changes/") {
            return Err(other("its changes are of another kind"));
        }
        let changes = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        let changes = changes.map_err(|error| other(&format!("a change is unclear: {error}")))?;
        Ok(Page { changes, next: end.next })
    }
}

/// The first line of a file with a password.
///
/// # Errors
/// When it can't be read.
pub(crate) fn password_in(path: &std::path::Path) -> Result<String, Problem> {
    let text = std::fs::read_to_string(path)
        .coded(Code::ReadFile, || format!("cannot read {}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
