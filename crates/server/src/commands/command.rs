//! `COMMAND` and its subcommands, from the one table of commands.

use antiphon_kv::Command;

use super::{help, no_subcommand, subcommand_arity, upper};
use crate::core::{Call, Core};
use crate::resp::Writer;
use crate::shard::Shard;

const HELP: [&str; 14] = [
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "LIST",
    "    Return a list of all commands in this server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple commands.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
];

/// `COMMAND`.
pub(super) fn run<S: Shard>(core: &mut Core<S>, command: &'static Command, call: &Call<'_>) {
    let words = call.args.len();
    if words == 1 {
        let mut reply = core.reply();
        reply.array(Command::all().len());
        Command::all().iter().for_each(|command| details(&mut reply, command));
        return;
    }
    let subcommand = upper(call.arg(1));
    let right = match subcommand.as_str() {
        "COUNT" | "HELP" => words == 2,
        "GETKEYS" | "GETKEYSANDFLAGS" => words >= 4,
        "LIST" | "INFO" | "DOCS" => true,
        _ => return no_subcommand(core, command, call),
    };
    if !right {
        return subcommand_arity(core, command, call);
    }
    let names = call.args.get(2..).unwrap_or_default();
    match subcommand.as_str() {
        "COUNT" => core.reply().count(Command::all().len()),
        "LIST" => list(core, names),
        "INFO" => info(core, names),
        "DOCS" => docs(core, names),
        "GETKEYS" => keys(core, names),
        "GETKEYSANDFLAGS" => keys_and_flags(core, names),
        _ => help(core, command, &HELP),
    }
}

fn list<S: Shard>(core: &mut Core<S>, options: &[&[u8]]) {
    let wanted: Box<dyn Fn(&Command) -> bool> = match options {
        [] => Box::new(|_| true),
        [filter, kind, what] if filter.eq_ignore_ascii_case(b"FILTERBY") => {
            let what = String::from_utf8_lossy(what).to_ascii_lowercase();
            match upper(kind).as_str() {
                "MODULE" => Box::new(|_| false),
                "ACLCAT" => {
                    let category = format!("@{what}");
                    Box::new(move |command| command.categories().any(|held| held == category))
                }
                "PATTERN" => {
                    // Names are plain words: a star at the end is the pattern people use.
                    let start = what.strip_suffix('*').map(ToOwned::to_owned);
                    Box::new(move |command| match &start {
                        Some(start) => command.name.starts_with(start.as_str()),
                        None => command.name == what,
                    })
                }
                _ => return core.reply().error("ERR syntax error"),
            }
        }
        _ => return core.reply().error("ERR syntax error"),
    };
    let found: Vec<&str> = Command::all()
        .iter()
        .filter(|command| wanted(command))
        .map(|command| command.name)
        .collect();
    let mut reply = core.reply();
    reply.array(found.len());
    found.iter().for_each(|name| reply.bulk(name.as_bytes()));
}

fn info<S: Shard>(core: &mut Core<S>, names: &[&[u8]]) {
    let mut reply = core.reply();
    if names.is_empty() {
        reply.array(Command::all().len());
        return Command::all().iter().for_each(|command| details(&mut reply, command));
    }
    reply.array(names.len());
    for name in names {
        match Command::find(name) {
            Some(command) => details(&mut reply, command),
            None => reply.null(),
        }
    }
}

fn details(reply: &mut Writer<'_>, command: &Command) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.int(i64::from(command.arity));
    let flags: Vec<&str> = command.flags.names().collect();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.simple(flag));
    reply.count(command.keys.first);
    reply.int(i64::from(command.keys.last));
    reply.count(command.keys.step);
    let categories: Vec<&str> = command.categories().collect();
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(category));
    reply.array(0); // tips
    reply.array(0); // key specifications
    reply.array(0); // subcommands
}

fn docs<S: Shard>(core: &mut Core<S>, names: &[&[u8]]) {
    let found: Vec<&Command> = if names.is_empty() {
        Command::all().iter().collect()
    } else {
        names.iter().filter_map(|name| Command::find(name)).collect()
    };
    let mut reply = core.reply();
    reply.map(found.len());
    for command in found {
        reply.bulk(command.name.as_bytes());
        reply.map(3);
        reply.bulk(b"summary");
        reply.bulk(command.summary.as_bytes());
        reply.bulk(b"since");
        reply.bulk(command.since.as_bytes());
        reply.bulk(b"group");
        reply.bulk(command.group.name().as_bytes());
    }
}

/// The keys of a full command, or the text that says why there are none.
fn found_keys<'a>(
    words: &'a [&'a [u8]],
) -> Result<(&'static Command, Vec<&'a [u8]>), &'static str> {
    let command = words.first().and_then(|name| Command::find(name));
    let command = command.ok_or("ERR Invalid command specified")?;
    if command.check_arity(words.len()).is_err() {
        return Err("ERR Invalid number of arguments specified for command");
    }
    let keys: Vec<&[u8]> =
        command.key_positions(words).filter_map(|at| words.get(at).copied()).collect();
    if keys.is_empty() {
        return Err("ERR The command has no key arguments");
    }
    Ok((command, keys))
}

fn keys<S: Shard>(core: &mut Core<S>, words: &[&[u8]]) {
    match found_keys(words) {
        Ok((_, keys)) => {
            let mut reply = core.reply();
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
        Err(text) => core.reply().error(text),
    }
}

fn keys_and_flags<S: Shard>(core: &mut Core<S>, words: &[&[u8]]) {
    match found_keys(words) {
        Ok((command, keys)) => {
            let flag = if command.is_write() { "RW" } else { "RO" };
            let mut reply = core.reply();
            reply.array(keys.len());
            for key in keys {
                reply.array(2);
                reply.bulk(key);
                reply.set(1);
                reply.simple(flag);
            }
        }
        Err(text) => core.reply().error(text),
    }
}
