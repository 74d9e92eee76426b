//! `SLOWLOG`, `LATENCY`, `MODULE`, `TIME`, `LOLWUT`.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use antiphon_kv::Command;

use super::connection::VERSION;
use super::{help, no_subcommand, subcommand_arity, upper};
use crate::core::{Call, Core};
use crate::resp::{Writer, decimal};
use crate::shard::Shard;
use crate::slowlog::Slow;

/// The answer to `DEBUG`.
pub(super) const NO_DEBUG: &str = "ERR DEBUG command not allowed.";

const SLOW_LOG_HELP: [&str; 10] = [
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
    "    The numbers of entries go on.",
];
const SHOWN: usize = 10;

/// `SLOWLOG`.
pub(super) fn slow_log<S: Shard>(core: &mut Core<S>, command: &'static Command, call: &Call<'_>) {
    let words = call.args.len();
    let subcommand = upper(call.arg(1));
    let right = match subcommand.as_str() {
        "GET" => words <= 3,
        "LEN" | "RESET" | "HELP" => words == 2,
        _ => return no_subcommand(core, command, call),
    };
    if !right {
        return subcommand_arity(core, command, call);
    }
    let server = Rc::clone(&core.server);
    match subcommand.as_str() {
        "LEN" => core.reply().count(server.slow.borrow().len()),
        "RESET" => {
            server.slow.borrow_mut().clear();
            core.reply().ok();
        }
        "GET" => {
            let count = match call.args.get(2).map(|count| decimal(count)) {
                None => SHOWN,
                Some(Some(-1)) => usize::MAX,
                Some(Some(count @ 0..)) => usize::try_from(count).unwrap_or(usize::MAX),
                Some(_) => {
                    let text = "ERR count should be greater than or equal to -1";
                    return core.reply().error(text);
                }
            };
            let slow = server.slow.borrow();
            let entries = slow.newest(count);
            let mut reply = core.reply();
            reply.array(entries.len());
            entries.for_each(|entry| slow_entry(&mut reply, entry));
        }
        _ => help(core, command, &SLOW_LOG_HELP),
    }
}

fn slow_entry(reply: &mut Writer<'_>, slow: &Slow) {
    reply.array(6);
    reply.int(slow.id);
    reply.int(i64::try_from(slow.at_s).unwrap_or(i64::MAX));
    reply.int(i64::try_from(slow.took.as_micros()).unwrap_or(i64::MAX));
    reply.array(slow.args.len());
    slow.args.iter().for_each(|arg| reply.bulk(arg));
    reply.bulk(slow.peer.as_bytes());
    reply.bulk(&slow.name);
}

/// `LATENCY`: the event `command` is the slowest command that the slow log holds.
pub(super) fn latency<S: Shard>(core: &mut Core<S>, command: &'static Command, call: &Call<'_>) {
    let words = call.args.len();
    let server = Rc::clone(&core.server);
    match upper(call.arg(1)).as_str() {
        "LATEST" if words == 2 => {
            let slow = server.slow.borrow();
            let newest = slow.newest(1).next();
            let worst = slow.newest(usize::MAX).map(|entry| entry.took.as_millis()).max();
            let mut reply = core.reply();
            let Some((newest, worst)) = newest.zip(worst) else { return reply.array(0) };
            reply.array(1);
            reply.array(4);
            reply.bulk(b"command");
            reply.int(i64::try_from(newest.at_s).unwrap_or(i64::MAX));
            reply.int(i64::try_from(newest.took.as_millis()).unwrap_or(i64::MAX));
            reply.int(i64::try_from(worst).unwrap_or(i64::MAX));
        }
        "HISTORY" if words == 3 => {
            let slow = server.slow.borrow();
            let known = call.arg(2) == b"command";
            let entries: Vec<&Slow> = slow.newest(if known { usize::MAX } else { 0 }).collect();
            let mut reply = core.reply();
            reply.array(entries.len());
            for entry in entries.iter().rev() {
                reply.array(2);
                reply.int(i64::try_from(entry.at_s).unwrap_or(i64::MAX));
                reply.int(i64::try_from(entry.took.as_millis()).unwrap_or(i64::MAX));
            }
        }
        "RESET" => {
            let events = i64::from(server.slow.borrow().len() > 0);
            server.slow.borrow_mut().clear();
            core.reply().int(events);
        }
        "DOCTOR" if words == 2 => {
            let slow = server.slow.borrow().len();
            let text = format!("{slow} slow commands are noted; SLOWLOG GET shows them.\n");
            core.reply().verbatim("txt", text.as_bytes());
        }
        "HELP" if words == 2 => help(
            core,
            command,
            &[
                "LATEST",
                "    Return the latest slow command's time and the worst one's.",
                "HISTORY command",
                "    Return the times of slow commands.",
                "RESET",
                "    Forget slow commands.",
            ],
        ),
        "LATEST" | "HISTORY" | "DOCTOR" | "HELP" => subcommand_arity(core, command, call),
        _ => no_subcommand(core, command, call),
    }
}

/// `MODULE`: there are none, and none can be loaded.
pub(super) fn module<S: Shard>(core: &mut Core<S>, command: &'static Command, call: &Call<'_>) {
    match (upper(call.arg(1)).as_str(), call.args.len()) {
        ("LIST", 2) => core.reply().array(0),
        ("HELP", 2) => help(core, command, &["LIST", "    Return a list of loaded modules."]),
        ("LIST" | "HELP", _) => subcommand_arity(core, command, call),
        _ => no_subcommand(core, command, call),
    }
}

/// `TIME`.
pub(super) fn time<S: Shard>(core: &mut Core<S>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut reply = core.reply();
    reply.array(2);
    reply.bulk(now.as_secs().to_string().as_bytes());
    reply.bulk(now.subsec_micros().to_string().as_bytes());
}

/// `LOLWUT`.
pub(super) fn lolwut<S: Shard>(core: &mut Core<S>) {
    let text = format!("One choir calls, the other answers.\nAntiphon ver. {VERSION}\n");
    core.reply().verbatim("txt", text.as_bytes());
}
