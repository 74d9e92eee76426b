//! Writes that execute once however often they are sent: `XSESSION` and `XSEQ`.
//!
//! The table of sessions is the shard's. A connection only remembers which session it writes in;
//! at a replica that travels to the primary with the commands.

use antiphon::{Level, OnceError, OpenError, ProposeError};
use antiphon_kv::{Command, Runs, Session};
use antiphon_proto::{Executed, SessionId, SessionInfo, SessionRefusal, Ticket, Token};

use crate::core::{Call, Core, Flow};
use crate::keys::{NO_REPLICAS, NOT_SERVING, READ_ONLY};
use crate::replies::{Mark, Wait};
use crate::resp::{Proto, decimal};
use crate::shard::{Role, Shard};

/// How long a session is kept that does not say.
const TTL_MS: u64 = 3_600_000;

const BAD_TTL: &str = "ERR TTL is not from 1 ms to 30 days";
const BAD_ID: &str =
    "ERR not a session, expected the 32 hexadecimal digits that XSESSION OPEN gave";
const BAD_SEQ: &str = "ERR the number of a write is an integer from 1 on";
const UNBOUND: &str = "ERR no session, XSESSION USE comes first";
const NOT_ONCE: &str = "ERR XSEQ takes a command that writes, or EXEC in a transaction";
const QUEUED: &str = "ERR within MULTI, XSEQ stands before EXEC";
const CLOSED: &str = "XNOSESSION the session is not open or has expired, nothing was executed";
const FULL: &str = "TRYAGAIN too many sessions are open and none has expired";

/// `XSESSION OPEN [TTL ms]`, `USE id`, `CLOSE [id]`, `INFO [id]`.
pub(super) fn session<S: Shard>(
    core: &mut Core<S>,
    command: &'static Command,
    call: &Call<'_>,
) -> Flow {
    let words = call.args.get(2..).unwrap_or_default();
    match super::upper(call.arg(1)).as_str() {
        "USE" => {
            match words {
                [id] => bind(core, id),
                _ => super::subcommand_arity(core, command, call),
            }
            Flow::Done
        }
        "OPEN" => match ttl(words) {
            Ok(ttl_ms) => at_primary(core, call, |core| open(core, call, ttl_ms)),
            Err(text) => refused(core, text),
        },
        "CLOSE" => with_id(core, command, (call, words), |core, id| close(core, call, id)),
        "INFO" => with_id(core, command, (call, words), |core, id| {
            match core.server.shard.session(id) {
                Some(known) => info(core, id, &known),
                None => core.reply().error(CLOSED),
            }
            Flow::Done
        }),
        "HELP" if words.is_empty() => {
            super::help(core, command, &HELP);
            Flow::Done
        }
        _ => {
            super::no_subcommand(core, command, call);
            Flow::Done
        }
    }
}

const HELP: [&str; 8] = [
    "OPEN [TTL <ms>]",
    "    Open a session, kept for this time without a write. Default: an hour.",
    "USE <session>",
    "    Let XSEQ of this connection write in the session.",
    "CLOSE [<session>]",
    "    Close a session, or the one in use.",
    "INFO [<session>]",
    "    Tell about a session, or the one in use.",
];

/// `XSEQ number command ...`: executes a write unless the number was used.
pub(super) fn seq<S: Shard>(
    core: &mut Core<S>,
    command: &'static Command,
    call: &Call<'_>,
) -> Flow {
    let args = call.args.get(2..).unwrap_or_default();
    let exec = is_exec(args);
    if core.transaction.is_some() && !exec {
        return rejected(core, command, QUEUED);
    }
    if !exec && !writes(args) {
        return refused(core, NOT_ONCE);
    }
    let (seq, session) = match (number(call.arg(1)), core.bound) {
        (Some(seq), Some(session)) => (seq, session),
        (None, _) => return rejected(core, command, BAD_SEQ),
        (_, None) => return rejected(core, command, UNBOUND),
    };
    let ticket = Ticket { session, seq };
    match core.server.shard.view().role {
        Role::Replica { .. } if !exec => core.hand_on(call),
        Role::Replica { .. } => run(core, ticket, &Call { args, now: call.now }),
        Role::Primary { serving: false } => refused(core, NOT_SERVING),
        Role::Primary { serving: true } => admit(core, ticket, &Call { args, now: call.now }),
    }
}

/// At the primary: executes what is new, and answers for what is not.
fn admit<S: Shard>(core: &mut Core<S>, ticket: Ticket, call: &Call<'_>) -> Flow {
    let admitted = core.server.shard.admit(ticket);
    if admitted == Ok(None) {
        return run(core, ticket, call);
    }
    if is_exec(call.args) {
        core.discard();
    }
    match admitted {
        Ok(executed) => {
            if let Some(executed) = executed {
                repeat(core, &executed, call);
            }
            Flow::Done
        }
        Err(SessionRefusal::Unknown) => refused(core, CLOSED),
        Err(SessionRefusal::TooOld { floor }) => {
            let text = format!(
                "XTOOOLD floor={floor} the number is too far below the session's highest, nothing \
                 was executed"
            );
            refused(core, &text)
        }
    }
}

/// Refuses what is written wrongly; an open transaction will not execute any more.
fn rejected<S: Shard>(core: &mut Core<S>, command: &'static Command, text: &str) -> Flow {
    core.reject(text, Some(command));
    Flow::Done
}

/// Whether words are `XSEQ` before a command that can be handed on with others.
pub(crate) fn joins(args: &[&[u8]]) -> bool {
    let (Some(seq), Some(inner)) = (args.get(1), args.get(2..)) else { return false };
    number(seq).is_some() && writes(inner)
}

/// Whether words are a command of the engine that writes.
fn writes(args: &[&[u8]]) -> bool {
    args.first().and_then(|name| Command::find(name)).is_some_and(|command| {
        matches!(command.runs, Runs::Keys(_))
            && command.is_write()
            && command.check_arity(args.len()).is_ok()
    })
}

fn is_exec(args: &[&[u8]]) -> bool {
    let command = args.first().and_then(|name| Command::find(name));
    args.len() == 1 && command.is_some_and(|command| command.runs == Runs::Session(Session::Exec))
}

fn number(word: &[u8]) -> Option<u64> {
    decimal(word).and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

/// Runs a command under its ticket.
fn run<S: Shard>(core: &mut Core<S>, ticket: Ticket, call: &Call<'_>) -> Flow {
    core.once = Some(ticket);
    let flow = core.execute(call);
    core.once = None;
    flow
}

/// Answers as the first time, once the first write has come as far as this one asks.
fn repeat<S: Shard>(core: &mut Core<S>, executed: &Executed, call: &Call<'_>) {
    let mark = core.replies.begin();
    let token = Token { shard: core.server.shard.view().shard, entry: executed.at };
    let proto = core.client.proto.get();
    match executed.reply.as_deref().and_then(<[u8]>::split_first) {
        Some((first, reply)) if *first == proto.number() => core.reply().raw(reply),
        Some((first, _)) => {
            let text = format!(
                "XAPPLIED ticket={token} the write happened, its reply is kept in RESP{first}"
            );
            core.reply().error(&text);
        }
        None => {
            let text = format!("XAPPLIED ticket={token} the write happened, its reply is not kept");
            core.reply().error(&text);
        }
    }
    core.token = Some(token);
    let level = core.level();
    // What is stable has nothing to wait for, unless more is asked than the floor.
    if !executed.stable || level != Level::Floor {
        hold(core, mark, (token, level), call);
    }
}

fn hold<S: Shard>(core: &mut Core<S>, mark: Mark, (token, level): (Token, Level), call: &Call<'_>) {
    let deadline = call.now + core.timeout();
    core.replies.hold(mark, Wait { token, level, deadline, since: call.now, write: true });
}

fn bind<S: Shard>(core: &mut Core<S>, id: &[u8]) {
    match parse(id) {
        Some(session) => {
            core.bound = Some(session);
            core.reply().ok();
        }
        None => core.reply().error(BAD_ID),
    }
}

fn parse(id: &[u8]) -> Option<SessionId> {
    std::str::from_utf8(id).ok()?.parse().ok()
}

fn ttl(words: &[&[u8]]) -> Result<u64, &'static str> {
    match words {
        [] => Ok(TTL_MS),
        [word, ms] if word.eq_ignore_ascii_case(b"TTL") => number(ms).ok_or(BAD_TTL),
        _ => Err("ERR syntax error"),
    }
}

/// Runs what is about one session, named or in use, at the primary.
fn with_id<S: Shard>(
    core: &mut Core<S>,
    command: &'static Command,
    (call, words): (&Call<'_>, &[&[u8]]),
    run: impl FnOnce(&mut Core<S>, SessionId) -> Flow,
) -> Flow {
    let id = match words {
        [] => core.bound.ok_or(UNBOUND),
        [id] => parse(id).ok_or(BAD_ID),
        _ => {
            super::subcommand_arity(core, command, call);
            return Flow::Done;
        }
    };
    match id {
        Ok(id) => at_primary(core, call, |core| run(core, id)),
        Err(text) => refused(core, text),
    }
}

/// Only the primary knows of sessions what is under way.
fn at_primary<S: Shard>(
    core: &mut Core<S>,
    call: &Call<'_>,
    run: impl FnOnce(&mut Core<S>) -> Flow,
) -> Flow {
    match core.server.shard.view().role {
        Role::Replica { .. } => core.hand_on(call),
        Role::Primary { serving: false } => refused(core, NOT_SERVING),
        Role::Primary { serving: true } => run(core),
    }
}

/// A session may be used when its opening can't be lost any more, whatever the policy.
fn open<S: Shard>(core: &mut Core<S>, call: &Call<'_>, ttl_ms: u64) -> Flow {
    let shard = core.server.shard.clone();
    if !shard.meets(Level::Floor) {
        return refused(core, NO_REPLICAS);
    }
    match shard.open_session(ttl_ms) {
        Ok(entry) => {
            let mark = core.replies.begin();
            core.reply().bulk(SessionId::opened_by(entry).to_string().as_bytes());
            let token = Token { shard: shard.view().shard, entry };
            core.token = Some(token);
            hold(core, mark, (token, Level::Floor), call);
            Flow::Done
        }
        Err(OpenError::Ttl) => refused(core, BAD_TTL),
        Err(OpenError::Full) => refused(core, FULL),
        Err(OpenError::Propose(error)) => refused(core, why(&error)),
    }
}

fn close<S: Shard>(core: &mut Core<S>, call: &Call<'_>, id: SessionId) -> Flow {
    let shard = core.server.shard.clone();
    if !shard.meets(Level::Floor) {
        return refused(core, NO_REPLICAS);
    }
    match shard.close_session(id) {
        Ok(entry) => {
            let mark = core.replies.begin();
            core.reply().ok();
            let token = Token { shard: shard.view().shard, entry };
            core.token = Some(token);
            hold(core, mark, (token, Level::Floor), call);
            Flow::Done
        }
        Err(OnceError::Refused(_)) => refused(core, CLOSED),
        Err(OnceError::Propose(error)) => refused(core, why(&error)),
    }
}

fn info<S: Shard>(core: &mut Core<S>, id: SessionId, known: &SessionInfo) {
    let token = Token { shard: core.server.shard.view().shard, entry: known.last };
    let numbers = [
        ("ttl_ms", known.ttl_ms),
        ("highest", known.top),
        ("lowest", known.floor),
        ("replies", u64::try_from(known.replies).unwrap_or(u64::MAX)),
        ("used_ms", known.used.ms()),
    ];
    let mut reply = core.reply();
    reply.map(numbers.len() + 2);
    reply.bulk(b"session");
    reply.bulk(id.to_string().as_bytes());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.int(i64::try_from(number).unwrap_or(i64::MAX));
    }
    reply.bulk(b"ticket");
    reply.bulk(token.to_string().as_bytes());
}

fn why(error: &ProposeError) -> &'static str {
    match error {
        ProposeError::NotPrimary { .. } => READ_ONLY,
        ProposeError::NotReady => NO_REPLICAS,
        ProposeError::Busy => "TRYAGAIN too many writes are in flight",
        ProposeError::TooLarge(_) => "ERR write exceeds maximum allowed size of one entry",
    }
}

fn refused<S: Shard>(core: &mut Core<S>, text: &str) -> Flow {
    core.reply().error(text);
    Flow::Done
}

/// A reply as it is kept for retries: the version of the protocol before it, since a retry in
/// another one could not read it.
pub(crate) fn kept(proto: Proto, reply: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(1 + reply.len());
    kept.push(proto.number());
    kept.extend_from_slice(reply);
    kept
}
