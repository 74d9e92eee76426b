//! Commands on the connection and the node, which the server runs itself.

use antiphon_kv::{Command, Runs, Session};

use crate::core::{Call, Core, Flow};
use crate::shard::Shard;
use crate::table;

mod acl;
mod client;
mod command;
mod config;
mod connection;
mod info;
mod observe;
pub(crate) mod once;
mod policy;
mod replication;

/// Whether a command runs although a transaction is open.
pub(crate) fn within_transaction(command: &Command) -> bool {
    let Runs::Session(session) = command.runs else { return false };
    matches!(
        session,
        Session::Exec
            | Session::Discard
            | Session::Multi
            | Session::Watch
            | Session::XSeq
            | Session::Quit
            | Session::Reset
    )
}

/// Runs a command.
pub(crate) fn run<S: Shard>(
    core: &mut Core<S>,
    session: Session,
    command: &'static Command,
    call: &Call<'_>,
) -> Flow {
    match session {
        Session::Exec => return core.exec(call),
        Session::Watch => return core.watch(call),
        Session::Wait => return policy::wait(core, call),
        Session::WaitAof => return policy::wait_aof(core, call),
        Session::XWith => return policy::with(core, call),
        Session::XSession => return once::session(core, command, call),
        Session::XSeq => return once::seq(core, command, call),
        Session::XPolicy => policy::policy(core, call),
        Session::XToken => policy::token(core),
        Session::XFate => policy::fate(core, call),
        Session::Multi => core.multi(),
        Session::Discard => core.discard_command(),
        Session::Unwatch => {
            core.unwatch();
            core.reply().ok();
        }
        Session::Hello => connection::hello(core, call),
        Session::Auth => connection::auth(core, call),
        Session::Ping => connection::ping(core, call),
        Session::Echo => core.reply().bulk(call.arg(1)),
        Session::Quit => {
            core.reply().ok();
            core.closing = true;
        }
        Session::Reset => {
            core.reset();
            core.reply().simple("RESET");
        }
        Session::Select => connection::select(core, call),
        Session::Client => client::run(core, command, call),
        Session::Command => command::run(core, command, call),
        Session::Info => info::run(core, call),
        Session::Config => config::run(core, command, call),
        Session::Acl => acl::run(core, command, call),
        Session::SlowLog => observe::slow_log(core, command, call),
        Session::Latency => observe::latency(core, command, call),
        Session::Module => observe::module(core, command, call),
        Session::Time => observe::time(core),
        Session::Lolwut => observe::lolwut(core),
        Session::Debug => core.reply().error(observe::NO_DEBUG),
        Session::Role => replication::role(core),
        Session::Failover => core.reply().error(replication::NO_FAILOVER),
        Session::ReplicaOf | Session::SlaveOf => core.reply().error(replication::NO_REPLICAOF),
        Session::Save | Session::BgSave => replication::save(core, session),
        Session::LastSave => replication::last_save(core),
        Session::Shutdown => replication::shutdown(core),
    }
    Flow::Done
}

/// Answers a subcommand that `command` does not have.
fn no_subcommand<S: Shard>(core: &mut Core<S>, command: &Command, call: &Call<'_>) {
    let text = table::unknown_subcommand(command, call.arg(1));
    core.reply().error_bytes(&text);
}

/// Answers a subcommand with the wrong number of words.
fn subcommand_arity<S: Shard>(core: &mut Core<S>, command: &Command, call: &Call<'_>) {
    let subcommand = String::from_utf8_lossy(call.arg(1)).to_ascii_lowercase();
    let name = command.name;
    core.reply().error(&format!("ERR wrong number of arguments for '{name}|{subcommand}' command"));
}

/// Answers `HELP` as Redis lays it out: a heading, the lines, and the line about itself.
fn help<S: Shard>(core: &mut Core<S>, command: &Command, lines: &[&str]) {
    let name = command.name.to_ascii_uppercase();
    let mut reply = core.reply();
    reply.array(lines.len() + 3);
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        reply.simple(line);
    }
    reply.simple("HELP");
    reply.simple("    Print this help.");
}

/// A word as upper case text, for matching options. Anything else than a word matches nothing.
fn upper(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_uppercase()
}
