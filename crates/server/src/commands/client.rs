//! `CLIENT` and its subcommands.

use std::rc::Rc;
use std::time::{Duration, Instant};

use antiphon_kv::Command;

use super::connection::{BAD_NAME, switch};
use super::{help, no_subcommand, subcommand_arity, upper};
use crate::client::{Client, is_plain};
use crate::core::{Answer, Call, Core};
use crate::resp::decimal;
use crate::server::Pause;
use crate::shard::Shard;

const SYNTAX: &str = "ERR syntax error";
/// The longest pause that is kept, so that a slip of the keyboard does not stop a node for years.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

const HELP: [&str; 28] = [
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections by ID, ADDR, LADDR, USER, TYPE or MAXAGE; SKIPME yes or no.",
    "LIST [TYPE NORMAL] [ID <id> ...]",
    "    Return information about client connections.",
    "NO-EVICT (ON|OFF)",
    "    Accepted; connections are never evicted here.",
    "NO-TOUCH (ON|OFF)",
    "    Accepted; reading keys changes nothing here.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Let commands wait for <timeout> milliseconds, at most an hour.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "SETINFO <option> <value>",
    "    Set the library's name (LIB-NAME) or version (LIB-VER).",
    "TRACKING OFF",
    "    Accepted; keys are not tracked.",
    "UNPAUSE",
    "    Let commands that wait go on.",
];

/// `CLIENT`.
pub(super) fn run<S: Shard>(core: &mut Core<S>, command: &'static Command, call: &Call<'_>) {
    let words = call.args.len();
    let subcommand = upper(call.arg(1));
    let right = match subcommand.as_str() {
        "ID" | "GETNAME" | "INFO" | "UNPAUSE" | "TRACKINGINFO" | "GETREDIR" | "HELP" => words == 2,
        "SETNAME" | "NO-EVICT" | "NO-TOUCH" | "REPLY" => words == 3,
        "SETINFO" => words == 4,
        "KILL" | "PAUSE" | "TRACKING" | "CACHING" => words >= 3,
        "UNBLOCK" => words >= 3,
        "LIST" => true,
        _ => return no_subcommand(core, command, call),
    };
    if !right {
        return subcommand_arity(core, command, call);
    }
    match subcommand.as_str() {
        "ID" => {
            let id = i64::try_from(core.client.id).unwrap_or(i64::MAX);
            core.reply().int(id);
        }
        "GETNAME" => get_name(core),
        "INFO" => {
            let line = core.client.line(call.now) + "\n";
            core.reply().verbatim("txt", line.as_bytes());
        }
        "LIST" => list(core, call),
        "SETNAME" => set_name(core, call),
        "SETINFO" => set_info(core, call),
        "NO-EVICT" => flag(core, call, |client| &client.no_evict),
        "NO-TOUCH" => flag(core, call, |client| &client.no_touch),
        "REPLY" => reply(core, call),
        "KILL" => kill(core, call),
        "PAUSE" => pause(core, call),
        "UNPAUSE" => {
            core.server.pause.set(None);
            core.server.wake_all();
            core.reply().ok();
        }
        "TRACKING" => tracking(core, call),
        "TRACKINGINFO" => tracking_info(core),
        "CACHING" => core.reply().error(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with \
             OPTIN or OPTOUT mode enabled",
        ),
        "GETREDIR" => core.reply().int(-1),
        "UNBLOCK" => core.reply().int(0),
        _ => help(core, command, &HELP),
    }
}

fn get_name<S: Shard>(core: &mut Core<S>) {
    let client = Rc::clone(&core.client);
    let name = client.name.borrow();
    if name.is_empty() { core.reply().null() } else { core.reply().bulk(&name) }
}

fn set_name<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    if !is_plain(call.arg(2)) {
        return core.reply().error(BAD_NAME);
    }
    core.client.name.replace(call.arg(2).to_vec());
    core.reply().ok();
}

fn set_info<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let (option, value) = (upper(call.arg(2)), call.arg(3));
    let field = match option.as_str() {
        "LIB-NAME" => &core.client.library,
        "LIB-VER" => &core.client.library_version,
        _ => {
            let option = String::from_utf8_lossy(call.arg(2)).into_owned();
            return core.reply().error(&format!("ERR Unrecognized option '{option}'"));
        }
    };
    if !is_plain(value) {
        let option = option.to_ascii_lowercase();
        let text = format!("ERR {option} cannot contain spaces, newlines or special characters.");
        return core.reply().error(&text);
    }
    field.replace(value.to_vec());
    core.reply().ok();
}

fn flag<S: Shard>(
    core: &mut Core<S>,
    call: &Call<'_>,
    field: impl Fn(&Client) -> &std::cell::Cell<bool>,
) {
    match switch(call.arg(2), "ON", "OFF") {
        Some(on) => {
            field(&core.client).set(on);
            core.reply().ok();
        }
        None => core.reply().error(SYNTAX),
    }
}

fn reply<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    match upper(call.arg(2)).as_str() {
        "ON" => {
            core.answer = Answer::On;
            core.reply().ok();
        }
        "OFF" => core.answer = Answer::Off,
        "SKIP" => {
            if core.answer != Answer::Off {
                core.answer = Answer::Skip;
            }
        }
        _ => core.reply().error(SYNTAX),
    }
}

fn list<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let mut ids: Option<Vec<u64>> = None;
    match call.args.get(2..).unwrap_or_default() {
        [] => {}
        [word, kind] if word.eq_ignore_ascii_case(b"TYPE") => match upper(kind).as_str() {
            "NORMAL" => {}
            "MASTER" | "REPLICA" | "SLAVE" | "PUBSUB" => ids = Some(Vec::new()),
            _ => {
                let kind = String::from_utf8_lossy(kind).into_owned();
                return core.reply().error(&format!("ERR Unknown client type '{kind}'"));
            }
        },
        [word, wanted @ ..] if word.eq_ignore_ascii_case(b"ID") && !wanted.is_empty() => {
            let parsed: Option<Vec<u64>> = wanted
                .iter()
                .map(|id| decimal(id).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0))
                .collect();
            if parsed.is_none() {
                return core.reply().error("ERR Invalid client ID");
            }
            ids = parsed;
        }
        _ => return core.reply().error(SYNTAX),
    }
    let mut text = String::new();
    let server = Rc::clone(&core.server);
    let clients = server.clients.borrow();
    for client in clients.values() {
        if ids.as_ref().is_none_or(|ids| ids.contains(&client.id)) {
            text.push_str(&client.line(call.now));
            text.push('\n');
        }
    }
    core.reply().verbatim("txt", text.as_bytes());
}

/// Whether a connection is meant.
type Test = Box<dyn Fn(&Client, Instant) -> bool>;

/// Which connections `CLIENT KILL` means.
struct Filter {
    skip_me: bool,
    tests: Vec<Test>,
}

fn kill<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    if let [_, _, address] = call.args {
        let address = String::from_utf8_lossy(address).into_owned();
        let killed = kill_all(
            core,
            call.now,
            &Filter {
                skip_me: false,
                tests: vec![Box::new(move |client, _| client.peer.to_string() == address)],
            },
        );
        return if killed == 0 {
            core.reply().error("ERR No such client");
        } else {
            core.reply().ok();
        };
    }
    match filter(call.args.get(2..).unwrap_or_default()) {
        Ok(filter) => {
            let killed = kill_all(core, call.now, &filter);
            core.reply().count(killed);
        }
        Err(text) => core.reply().error(&text),
    }
}

fn filter(words: &[&[u8]]) -> Result<Filter, String> {
    let mut filter = Filter { skip_me: true, tests: Vec::new() };
    let (pairs, odd) = words.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(SYNTAX.to_owned());
    }
    for [option, value] in pairs {
        let text = String::from_utf8_lossy(value).into_owned();
        let number = || decimal(value).and_then(|number| u64::try_from(number).ok());
        match upper(option).as_str() {
            "ID" => {
                let wrong = "ERR client-id should be greater than 0";
                let id = number().filter(|id| *id > 0).ok_or(wrong)?;
                filter.tests.push(Box::new(move |client, _| client.id == id));
            }
            "ADDR" => filter.tests.push(Box::new(move |c, _| c.peer.to_string() == text)),
            "LADDR" => filter.tests.push(Box::new(move |c, _| c.local.to_string() == text)),
            "USER" if text == "default" => {}
            "USER" => return Err(format!("ERR No such user '{text}'")),
            "TYPE" => match upper(value).as_str() {
                "NORMAL" => {}
                "MASTER" | "REPLICA" | "SLAVE" | "PUBSUB" => {
                    filter.tests.push(Box::new(|_, _| false));
                }
                _ => return Err(format!("ERR Unknown client type '{text}'")),
            },
            "MAXAGE" => {
                let age = number().ok_or("ERR maxage is not an integer or out of range")?;
                let age = Duration::from_secs(age);
                filter.tests.push(Box::new(move |client, now| {
                    now.saturating_duration_since(client.since) >= age
                }));
            }
            "SKIPME" => filter.skip_me = switch(value, "YES", "NO").ok_or(SYNTAX)?,
            _ => return Err(SYNTAX.to_owned()),
        }
    }
    Ok(filter)
}

/// Ends the connections that pass all tests; returns how many.
fn kill_all<S: Shard>(core: &mut Core<S>, now: Instant, filter: &Filter) -> usize {
    let mut killed = 0;
    let me = core.client.id;
    for client in core.server.clients.borrow().values() {
        let meant = filter.tests.iter().all(|test| test(client, now));
        if !meant || (filter.skip_me && client.id == me) {
            continue;
        }
        killed += 1;
        if client.id == me {
            // The reply about our own end still leaves.
            core.closing = true;
        } else {
            client.kill();
        }
    }
    killed
}

fn pause<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let writes_only = match call.args.get(3) {
        None => false,
        Some(word) => match switch(word, "WRITE", "ALL") {
            Some(writes_only) if call.args.len() == 4 => writes_only,
            _ => {
                let text = "ERR CLIENT PAUSE mode must be WRITE or ALL";
                return core.reply().error(text);
            }
        },
    };
    let Some(ms) = decimal(call.arg(2)) else {
        return core.reply().error("ERR timeout is not an integer or out of range");
    };
    let Ok(ms) = u64::try_from(ms) else {
        return core.reply().error("ERR timeout is negative");
    };
    let until = call.now + Duration::from_millis(ms).min(PAUSE_MAX);
    let before = core.server.paused(call.now);
    let until = before.map_or(until, |before| before.until.max(until));
    let writes_only = writes_only && before.is_none_or(|before| before.writes_only);
    core.server.pause.set(Some(Pause { until, writes_only }));
    core.reply().ok();
}

fn tracking<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    match switch(call.arg(2), "ON", "OFF") {
        Some(false) => core.reply().ok(),
        Some(true) => core.reply().error("ERR client side caching is not supported"),
        None => core.reply().error(SYNTAX),
    }
}

fn tracking_info<S: Shard>(core: &mut Core<S>) {
    let mut reply = core.reply();
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.int(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
}
