//! `ACL`, as far as one user with all rights needs it.

use antiphon_kv::Command;

use super::{help, no_subcommand, subcommand_arity, upper};
use crate::core::{Call, Core};
use crate::shard::Shard;

const HELP: [&str; 8] = [
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "LIST",
    "    Show users details in config file format.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
];

const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// `ACL`.
pub(super) fn run<S: Shard>(core: &mut Core<S>, command: &'static Command, call: &Call<'_>) {
    let words = call.args.len();
    let subcommand = upper(call.arg(1));
    let right = match subcommand.as_str() {
        "WHOAMI" | "LIST" | "USERS" | "HELP" => words == 2,
        "CAT" => words <= 3,
        _ => return no_subcommand(core, command, call),
    };
    if !right {
        return subcommand_arity(core, command, call);
    }
    match subcommand.as_str() {
        "WHOAMI" => core.reply().bulk(b"default"),
        "USERS" => {
            let mut reply = core.reply();
            reply.array(1);
            reply.bulk(b"default");
        }
        "LIST" => list(core),
        "CAT" => categories(core, call),
        _ => help(core, command, &HELP),
    }
}

fn list<S: Shard>(core: &mut Core<S>) {
    // The digest is left out: knowing it would be enough to guess without us.
    let word = if core.server.config.password.is_some() { "#********" } else { "nopass" };
    let line = format!("user default on {word} ~* &* +@all");
    let mut reply = core.reply();
    reply.array(1);
    reply.bulk(line.as_bytes());
}

fn categories<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let Some(wanted) = call.args.get(2) else {
        let mut reply = core.reply();
        reply.array(CATEGORIES.len());
        return CATEGORIES.iter().for_each(|category| reply.simple(category));
    };
    let name = String::from_utf8_lossy(wanted).to_ascii_lowercase();
    if !CATEGORIES.contains(&name.as_str()) {
        let shown = String::from_utf8_lossy(wanted).into_owned();
        return core.reply().error(&format!("ERR Unknown category '{shown}'"));
    }
    let category = format!("@{name}");
    let within = |command: &&Command| command.categories().any(|held| held == category);
    let found: Vec<&str> =
        Command::all().iter().filter(within).map(|command| command.name).collect();
    let mut reply = core.reply();
    reply.array(found.len());
    found.iter().for_each(|name| reply.bulk(name.as_bytes()));
}
