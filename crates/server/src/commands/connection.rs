//! `HELLO`, `AUTH`, `PING`, `SELECT`.

use antiphon_kv::Db;

use super::upper;
use crate::blocked::Blocked;
use crate::client::is_plain;
use crate::core::{Call, Core};
use crate::resp::{Proto, decimal};
use crate::shard::Shard;

/// The version of Redis whose behaviour we match. Clients switch on it.
pub(crate) const REDIS_VERSION: &str = "7.4.0";
/// Our own version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the \
                           default user. Are you sure your configuration is correct?";
const HELLO_NOAUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, \
                            otherwise the HELLO <proto> AUTH <user> <pass> option can be used to \
                            authenticate the client and select the RESP protocol version at the \
                            same time";
pub(super) const BAD_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

/// What `HELLO` was asked for beyond the version.
#[derive(Default)]
struct Greeting<'a> {
    auth: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

/// `HELLO`.
pub(super) fn hello<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let mut proto = core.client.proto.get();
    if call.args.len() > 1 {
        let Some(number) = decimal(call.arg(1)) else {
            core.reply().error("ERR Protocol version is not an integer or out of range");
            return;
        };
        let Some(asked) = Proto::from_number(number) else {
            core.reply().error("NOPROTO unsupported protocol version");
            return;
        };
        proto = asked;
    }
    let greeting = match greeting(call) {
        Ok(greeting) => greeting,
        Err(text) => return core.reply().error(&text),
    };
    if let Some((user, password)) = greeting.auth
        && !authenticate(core, user, password, call)
    {
        return;
    }
    if !core.client.known.get() {
        return core.reply().error(HELLO_NOAUTH);
    }
    if let Some(name) = greeting.name {
        core.client.name.replace(name.to_vec());
    }
    core.client.proto.set(proto);
    welcome(core);
}

fn greeting<'a>(call: &Call<'a>) -> Result<Greeting<'a>, String> {
    let mut greeting = Greeting::default();
    let mut rest = call.args.get(2..).unwrap_or_default();
    loop {
        rest = match rest {
            [] => return Ok(greeting),
            [word, user, password, rest @ ..] if word.eq_ignore_ascii_case(b"AUTH") => {
                greeting.auth = Some((user, password));
                rest
            }
            [word, name, rest @ ..] if word.eq_ignore_ascii_case(b"SETNAME") => {
                if !is_plain(name) {
                    return Err(BAD_NAME.to_owned());
                }
                greeting.name = Some(name);
                rest
            }
            [word, ..] => {
                let word = String::from_utf8_lossy(word);
                return Err(format!("ERR Syntax error in HELLO option '{word}'"));
            }
        };
    }
}

fn welcome<S: Shard>(core: &mut Core<S>) {
    let role = if core.is_primary() { "master" } else { "replica" };
    let id = i64::try_from(core.client.id).unwrap_or(i64::MAX);
    let proto = i64::from(core.client.proto.get().number());
    let mut reply = core.reply();
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(proto);
    reply.bulk(b"id");
    reply.int(id);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(role.as_bytes());
    reply.bulk(b"modules");
    reply.array(0);
}

/// `AUTH`.
pub(super) fn auth<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let (user, password): (&[u8], &[u8]) = match call.args {
        [_, password] => {
            if core.server.config.password.is_none() {
                return core.reply().error(NO_PASSWORD);
            }
            (b"default", password)
        }
        [_, user, password] => (user, password),
        _ => return core.reply().error("ERR syntax error"),
    };
    if authenticate(core, user, password, call) {
        core.reply().ok();
    }
}

/// Checks a password. When it is wrong the answer is written, late.
fn authenticate<S: Shard>(
    core: &mut Core<S>,
    user: &[u8],
    password: &[u8],
    call: &Call<'_>,
) -> bool {
    let server = &core.server;
    let known_user = user == b"default";
    let right = server.config.password.as_ref().is_none_or(|kept| kept.matches(password));
    if known_user && right {
        server.guesses.right(core.client.peer.ip());
        server.now_known(&core.client);
        return true;
    }
    server.stats.wrong_passwords.add(1);
    let delay = server.guesses.wrong(core.client.peer.ip(), call.now);
    if core.executing.is_some() {
        // Within a transaction nothing waits; the connection had to authenticate to open it.
        core.reply().error(WRONG_PASSWORD);
    } else {
        core.blocked = Some(Blocked::Delay { until: call.now + delay, text: WRONG_PASSWORD });
    }
    false
}

/// `PING`.
pub(super) fn ping<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    match call.args {
        [_] => core.reply().simple("PONG"),
        [_, text] => core.reply().bulk(text),
        _ => core.reply().error("ERR wrong number of arguments for 'ping' command"),
    }
}

/// `SELECT`.
pub(super) fn select<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let Some(number) = decimal(call.arg(1)).filter(|n| i32::try_from(*n).is_ok()) else {
        // The one text of Redis for a database that is no number.
        let text = "ERR value is not an integer or out of range";
        return core.reply().error(text);
    };
    match u64::try_from(number).ok().and_then(Db::new) {
        Some(db) => {
            core.client.db.set(db);
            core.reply().ok();
        }
        None => core.reply().error("ERR DB index is out of range"),
    }
}

/// `YES` or `NO`, or `ON` or `OFF`, as a word of the client.
pub(super) fn switch(word: &[u8], on: &str, off: &str) -> Option<bool> {
    match upper(word) {
        word if word == on => Some(true),
        word if word == off => Some(false),
        _ => None,
    }
}
