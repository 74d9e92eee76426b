//! How far writes must come before they are answered: `XPOLICY`, `XWITH`, `XTOKEN`, `XFATE`,
//! and Redis's own `WAIT` and `WAITAOF`.

use std::time::Duration;

use antiphon::{Level, LevelError};
use antiphon_proto::{EntryId, Token};

use crate::blocked::{Blocked, Copies};
use crate::core::{Call, Core, Flow};
use crate::resp::decimal;
use crate::shard::{Role, Shard};

const BAD_TIMEOUT: &str = "ERR timeout is not an integer or out of range";
const NESTED: &str = "ERR XWITH and XPOLICY are not allowed inside a transaction";
/// The longest time that a write may wait for its policy.
const TIMEOUT_MAX_MS: i64 = 3_600_000;

/// The level that a word names.
///
/// # Errors
/// What would be one.
pub(super) fn level(word: &[u8]) -> Result<Level, LevelError> {
    // A word that is no text names nothing, as an empty one.
    std::str::from_utf8(word).unwrap_or_default().parse()
}

/// A policy and its timeout from the words of a command, and how many words that were.
fn parse(words: &[&[u8]]) -> Result<(Level, Option<Duration>, usize), String> {
    let word = words.first().copied().unwrap_or_default();
    let level = level(word).map_err(|error| format!("ERR {error}"))?;
    match words {
        [_, word, ms, ..] if word.eq_ignore_ascii_case(b"TIMEOUT") => {
            let ms = decimal(ms).filter(|ms| (0..=TIMEOUT_MAX_MS).contains(ms));
            let ms = ms.and_then(|ms| u64::try_from(ms).ok()).ok_or(BAD_TIMEOUT)?;
            Ok((level, Some(Duration::from_millis(ms)), 3))
        }
        _ => Ok((level, None, 1)),
    }
}

/// `XPOLICY`: sets this connection's policy, or tells it.
pub(super) fn policy<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let words = call.args.get(1..).unwrap_or_default();
    if words.is_empty() {
        let level = core.level().to_string();
        let ms = i64::try_from(core.timeout().as_millis()).unwrap_or(i64::MAX);
        let mut reply = core.reply();
        reply.map(2);
        reply.bulk(b"policy");
        reply.bulk(level.as_bytes());
        reply.bulk(b"timeout_ms");
        reply.int(ms);
        return;
    }
    if core.executing.is_some() {
        return core.reply().error(NESTED);
    }
    match parse(words) {
        Ok((level, timeout, taken)) if taken == words.len() => {
            core.policy = Some(level);
            core.policy_timeout = timeout.or(core.policy_timeout);
            core.reply().ok();
        }
        Ok(_) => core.reply().error("ERR syntax error"),
        Err(text) => core.reply().error(&text),
    }
}

/// `XWITH`: runs one command under another policy.
pub(super) fn with<S: Shard>(core: &mut Core<S>, call: &Call<'_>) -> Flow {
    if core.executing.is_some() {
        core.reply().error(NESTED);
        return Flow::Done;
    }
    let words = call.args.get(1..).unwrap_or_default();
    let (level, timeout, taken) = match parse(words) {
        Ok(parsed) => parsed,
        Err(text) => {
            core.reply().error(&text);
            return Flow::Done;
        }
    };
    let args = words.get(taken..).unwrap_or_default();
    if args.is_empty() {
        core.reply().error("ERR wrong number of arguments for 'xwith' command");
        return Flow::Done;
    }
    if args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"XWITH")) {
        core.reply().error(NESTED);
        return Flow::Done;
    }
    let before = (core.policy, core.policy_timeout);
    core.policy = Some(level);
    core.policy_timeout = timeout.or(core.policy_timeout);
    let flow = core.execute(&Call { args, now: call.now });
    (core.policy, core.policy_timeout) = before;
    flow
}

/// `XTOKEN`: the token of this connection's last write.
pub(super) fn token<S: Shard>(core: &mut Core<S>) {
    match core.token {
        Some(token) => core.reply().bulk(token.to_string().as_bytes()),
        None => core.reply().null(),
    }
}

/// `XFATE`: what became of a write.
pub(super) fn fate<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let text = std::str::from_utf8(call.arg(1)).unwrap_or_default();
    match text.parse::<Token>() {
        Ok(token) => {
            let word = core.server.shard.fate(token).word();
            core.reply().bulk(word.as_bytes());
        }
        Err(error) => core.reply().error(&format!("ERR {error}")),
    }
}

/// `WAIT replicas timeout`.
pub(super) fn wait<S: Shard>(core: &mut Core<S>, call: &Call<'_>) -> Flow {
    let Some(replicas) = decimal(call.arg(1)).filter(|n| i32::try_from(*n).is_ok()) else {
        core.reply().error("ERR value is not an integer or out of range");
        return Flow::Done;
    };
    wait_for(core, call, (None, replicas, 2))
}

/// `WAITAOF local replicas timeout`.
pub(super) fn wait_aof<S: Shard>(core: &mut Core<S>, call: &Call<'_>) -> Flow {
    let text = match (decimal(call.arg(1)), decimal(call.arg(2))) {
        (Some(local @ 0..=1), Some(replicas @ 0..)) => {
            return wait_for(core, call, (Some(local == 1), replicas, 3));
        }
        (Some(..0 | 2..), Some(_)) => "ERR value is out of range, value must between 0 and 1",
        _ => "ERR value is out of range, must be positive",
    };
    core.reply().error(text);
    Flow::Done
}

/// Waits for copies of this connection's last write, wherever it was made.
fn wait_for<S: Shard>(
    core: &mut Core<S>,
    call: &Call<'_>,
    (local, replicas, timeout_at): (Option<bool>, i64, usize),
) -> Flow {
    let text = match decimal(call.arg(timeout_at)) {
        None => Some(BAD_TIMEOUT),
        Some(..0) => Some("ERR timeout is negative"),
        Some(_) => None,
    };
    if let Some(text) = text {
        core.reply().error(text);
        return Flow::Done;
    }
    if matches!(core.server.shard.view().role, Role::Replica { .. }) {
        return core.hand_on(call);
    }
    let ms = decimal(call.arg(timeout_at)).and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
    let until = (ms > 0).then(|| call.now + Duration::from_millis(ms));
    let want = Copies {
        entry: core.token.map_or(EntryId::ZERO, |token| token.entry),
        local,
        replicas: u8::try_from(replicas.max(0)).unwrap_or(u8::MAX),
    };
    if core.executing.is_some() {
        core.reply_copies(&want);
    } else {
        // When there are enough already, the wait is over before this turn is.
        core.blocked = Some(Blocked::Copies { want, until });
    }
    Flow::Done
}
