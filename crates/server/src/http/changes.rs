//! `/changes`: the log's stable entries as lines of JSON, a bounded page for each request.
//!
//! The last line of a page says where the next one begins, so a reader that was away goes on
//! without a gap; if retention was faster, it is told so (410) and never skipped silently.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use antiphon::{ChangesError, From, LogSource, Subscription};
use antiphon_proto::Lsn;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use crate::auth::Password;
use crate::http::change_json::ChangeJson;
use crate::http::query;

/// Changes on a page, when the reader does not say.
const CHANGES_USUAL: usize = 1_000;
/// Changes on a page at most.
const CHANGES_MAX: usize = 10_000;
/// Bytes of payloads after which a page ends.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// The longest wait for the first change.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Time to read entries that are there.
const READ_MAX: Duration = Duration::from_secs(1);
/// Readers at once, so that those who wait leave room for probes.
const READERS_MAX: usize = 16;
/// How long the answer to a wrong password takes.
const WRONG_DELAY: Duration = Duration::from_secs(1);
/// Name and version of the last line.
const SCHEMA: &str = "antiphon.changes/1";

/// The log for readers of the pages.
#[derive(Debug)]
pub struct Feed {
    log: LogSource,
    password: Option<Password>,
    readers: Semaphore,
}

impl Feed {
    /// Shows the entries of `log` to whoever knows the password, if there is one.
    #[must_use]
    pub fn new(log: LogSource, password: Option<Password>) -> Self {
        Self { log, password, readers: Semaphore::new(READERS_MAX) }
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(password) = &self.password else { return true };
        let given = headers.get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes);
        given
            .and_then(|given| given.strip_prefix(b"Bearer "))
            .is_some_and(|it| password.matches(it))
    }
}

/// What a reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    from: From,
    max: usize,
    wait: Duration,
}

/// Why nothing is told.
#[derive(Debug)]
enum Refused {
    Off,
    Password,
    Asked,
    Readers,
    Trimmed(Lsn),
    Log(ChangesError),
}

#[derive(Debug, Serialize)]
struct RefusedJson {
    schema: &'static str,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("changes are not served: set http.changes = true"),
            Self::Password => f.write_str("the password of the client port is asked for"),
            Self::Asked => f.write_str(
                "ask /changes?from=oldest|now|POSITION&max=1..10000&wait=TIME, up to 60s",
            ),
            Self::Readers => f.write_str("too many readers, try again later"),
            Self::Trimmed(first) => write!(f, "trimmed: the log begins with entry {first} now"),
            Self::Log(error) => error.fmt(f),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let code = match self {
            Self::Off => StatusCode::FORBIDDEN,
            Self::Password => StatusCode::UNAUTHORIZED,
            Self::Asked => StatusCode::BAD_REQUEST,
            Self::Readers | Self::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Trimmed(_) => StatusCode::GONE,
        };
        let first = if let Self::Trimmed(first) = self { Some(first.get()) } else { None };
        let json = RefusedJson { schema: SCHEMA, error: self.to_string(), first };
        // Strings and numbers always have a JSON form.
        let text = serde_json::to_string(&json).unwrap_or_default() + "\n";
        (code, [(header::CONTENT_TYPE, "application/json")], text).into_response()
    }
}

/// Where a page ends and the next one begins.
#[derive(Debug, Serialize)]
struct End {
    schema: &'static str,
    next: u64,
}

pub(super) async fn page(
    State(feed): State<Option<Arc<Feed>>>,
    RawQuery(asked): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(feed) = feed else { return Refused::Off.into_response() };
    if !feed.knows(&headers) {
        sleep(WRONG_DELAY).await;
        return Refused::Password.into_response();
    }
    match read(&feed, asked.as_deref()).await {
        Ok(text) => ([(header::CONTENT_TYPE, "application/jsonl")], text).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn read(feed: &Feed, asked: Option<&str>) -> Result<String, Refused> {
    let asked = parse(asked).ok_or(Refused::Asked)?;
    let Ok(_place) = feed.readers.try_acquire() else { return Err(Refused::Readers) };
    let mut changes = feed.log.changes(asked.from);
    let mut text = String::new();
    fill(&mut changes, asked, &mut text).await?;
    let end = End { schema: SCHEMA, next: changes.position().next().get() };
    push(&mut text, &end);
    Ok(text)
}

async fn fill(changes: &mut Subscription, asked: Asked, text: &mut String) -> Result<(), Refused> {
    let (mut count, mut bytes) = (0, 0);
    let now = Instant::now();
    let patience = if changes.is_behind() { asked.wait.max(READ_MAX) } else { asked.wait };
    while count < asked.max && bytes < PAYLOAD_BYTES_MAX && (count == 0 || changes.is_behind()) {
        let change = match timeout_at(now + patience, changes.next()).await {
            Ok(Ok(change)) => change,
            Ok(Err(ChangesError::Trimmed { first })) if count == 0 => {
                return Err(Refused::Trimmed(first));
            }
            Ok(Err(error)) if count == 0 => return Err(Refused::Log(error)),
            // What was read is told first; the next page says what is wrong.
            Ok(Err(_)) | Err(_) => break,
        };
        count += 1;
        bytes += change.payload.len();
        let entry = change.token.entry;
        push(text, &ChangeJson::of(change.token.shard, entry, change.at, &change.payload));
    }
    Ok(())
}

fn push(text: &mut String, line: &impl Serialize) {
    // Strings and numbers always have a JSON form.
    text.push_str(&serde_json::to_string(line).unwrap_or_default());
    text.push('\n');
}

fn parse(asked: Option<&str>) -> Option<Asked> {
    let mut parsed = Asked { from: From::Oldest, max: CHANGES_USUAL, wait: Duration::ZERO };
    for (name, value) in query::pairs(asked) {
        match name {
            "from" => parsed.from = from(value)?,
            "max" => {
                parsed.max = value.parse().ok().filter(|max| (1..=CHANGES_MAX).contains(max))?;
            }
            "wait" => parsed.wait = query::duration(value).filter(|wait| *wait <= WAIT_MAX)?,
            _ => return None,
        }
    }
    Some(parsed)
}

fn from(value: &str) -> Option<From> {
    match value {
        "oldest" => Some(From::Oldest),
        "now" => Some(From::Now),
        _ => {
            let first: u64 = value.parse().ok().filter(|first| *first > 0)?;
            Some(From::After(Lsn::new(first).prev()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_understood_or_refused() {
        let usual = Asked { from: From::Oldest, max: CHANGES_USUAL, wait: Duration::ZERO };
        assert_eq!(parse(None), Some(usual));
        assert_eq!(parse(Some("from=now&max=1")), Some(Asked { from: From::Now, max: 1, ..usual }));
        let after = Asked { from: From::After(Lsn::new(16)), ..usual };
        assert_eq!(parse(Some("from=17")), Some(after));
        let wait = |wait| Some(Asked { wait, ..usual });
        assert_eq!(parse(Some("wait=60s")), wait(WAIT_MAX));
        assert_eq!(parse(Some("max=10000")).map(|asked| asked.max), Some(CHANGES_MAX));
        for wrong in ["from=0", "from=-1", "max=0", "max=10001", "wait=60001ms", "wait=x", "x=1"] {
            assert_eq!(parse(Some(wrong)), None, "{wrong}");
        }
    }
}
