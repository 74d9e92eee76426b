//! `CONFIG`: the parameters that tools read, and the few that may change while we run.

use std::time::Duration;

use antiphon::{Level, LevelError};
use antiphon_kv::{Command, Limits};

use super::policy::level;
use super::{help, no_subcommand, subcommand_arity, upper};
use crate::core::{Call, Core};
use crate::listener::KEEP_ALIVE;
use crate::resp::decimal;
use crate::server::Server;
use crate::shard::Shard;

const HELP: [&str; 6] = [
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
];

/// `CONFIG`.
pub(super) fn run<S: Shard>(core: &mut Core<S>, command: &'static Command, call: &Call<'_>) {
    let words = call.args.len();
    let subcommand = upper(call.arg(1));
    let right = match subcommand.as_str() {
        "GET" => words >= 3,
        "SET" => words >= 4,
        "RESETSTAT" | "REWRITE" | "HELP" => words == 2,
        _ => return no_subcommand(core, command, call),
    };
    if !right {
        return subcommand_arity(core, command, call);
    }
    match subcommand.as_str() {
        "GET" => get(core, call),
        "SET" => set(core, call),
        "RESETSTAT" => {
            core.server.stats.reset();
            core.server.errors.borrow_mut().clear();
            core.reply().ok();
        }
        "REWRITE" => core.reply().error("ERR The server is running without a config file"),
        _ => help(core, command, &HELP),
    }
}

/// Every parameter with its value now, by name.
fn parameters<S: Shard>(server: &Server<S>) -> Vec<(&'static str, String)> {
    let (live, limits) = (&server.live, &server.config.limits);
    let memory = server.shard.with(|engine| engine.limits().memory_bytes_max.unwrap_or(0));
    let address = server.address.get();
    let no = || "no".to_owned();
    vec![
        ("appendfsync", "always".to_owned()),
        ("appendonly", "yes".to_owned()),
        ("bind", address.ip().to_string()),
        ("client-query-buffer-limit", limits.query_bytes_max.to_string()),
        ("cluster-enabled", no()),
        ("databases", antiphon_kv::DATABASES.to_string()),
        ("hash-max-listpack-entries", "128".to_owned()),
        ("lfu-decay-time", "1".to_owned()),
        ("lua-time-limit", "5000".to_owned()),
        ("maxclients", live.clients_max.get().to_string()),
        ("maxmemory", memory.to_string()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("notify-keyspace-events", String::new()),
        ("port", address.port().to_string()),
        ("proto-max-bulk-len", limits.bulk_bytes_max.to_string()),
        ("protected-mode", "yes".to_owned()),
        ("save", String::new()),
        ("slowlog-log-slower-than", live.slower_than_us.get().to_string()),
        ("slowlog-max-len", live.slow_entries_max.get().to_string()),
        ("tcp-keepalive", KEEP_ALIVE.as_secs().to_string()),
        ("timeout", live.idle_timeout.get().as_secs().to_string()),
        ("tls-port", if server.config.tls.is_some() { address.port() } else { 0 }.to_string()),
        ("x-policy", live.policy.get().to_string()),
        ("x-policy-timeout-ms", live.policy_timeout.get().as_millis().to_string()),
    ]
}

fn get<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let patterns: Vec<Vec<u8>> =
        call.args.iter().skip(2).map(|pattern| pattern.to_ascii_lowercase()).collect();
    let mut found = parameters(&core.server);
    found.retain(|(name, _)| patterns.iter().any(|pattern| matches(pattern, name.as_bytes())));
    let mut reply = core.reply();
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

/// Whether a name matches a pattern of plain bytes, `?` and `*`.
///
/// Goes back to the last star only, so the time is bounded by the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(seen) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at += 1;
                seen += 1;
            }
            _ => match &mut star {
                Some((star_at, taken)) => {
                    *taken += 1;
                    at = *star_at + 1;
                    seen = *taken;
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// A change that was understood and not made yet.
#[derive(Clone, Copy)]
enum Change {
    ClientsMax(usize),
    IdleTimeout(Duration),
    Memory(Option<usize>),
    Policy(Level),
    PolicyTimeout(Duration),
    SlowerThan(i64),
    SlowEntries(usize),
    /// Accepted because tools set it; it has no effect here, and the value is the only one.
    Nothing,
}

fn set<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let (pairs, odd) = call.args.get(2..).unwrap_or_default().as_chunks::<2>();
    if !odd.is_empty() {
        return core.reply().error("ERR wrong number of arguments for 'config|set' command");
    }
    let mut changes = Vec::new();
    for [name, value] in pairs {
        let name = String::from_utf8_lossy(name).into_owned();
        match parse(&name.to_ascii_lowercase(), value, &core.server) {
            Ok(change) => changes.push(change),
            Err(why) => return core.reply().error(&why.text(&name)),
        }
    }
    // All were understood: none is made without the others.
    changes.into_iter().for_each(|change| apply(&core.server, change));
    core.reply().ok();
}

/// Why a parameter is not set.
enum Refused {
    Unknown,
    Fixed,
    Value,
    Policy(LevelError),
}

impl Refused {
    fn text(&self, name: &str) -> String {
        match self {
            Self::Unknown => {
                format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            Self::Fixed => format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - can't set \
                 immutable config"
            ),
            Self::Policy(error) => {
                format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {error}")
            }
            Self::Value => format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - argument \
                 couldn't be parsed into an integer"
            ),
        }
    }
}

fn parse<S: Shard>(name: &str, value: &[u8], server: &Server<S>) -> Result<Change, Refused> {
    let int = || decimal(value).ok_or(Refused::Value);
    let count = || usize::try_from(int()?).map_err(|_negative| Refused::Value);
    let long = || u64::try_from(int()?).map_err(|_negative| Refused::Value);
    Ok(match name {
        "maxclients" => Change::ClientsMax(count()?.max(1)),
        "timeout" => Change::IdleTimeout(Duration::from_secs(long()?)),
        "maxmemory" => Change::Memory(Some(count()?).filter(|bytes| *bytes > 0)),
        "slowlog-log-slower-than" => Change::SlowerThan(int()?),
        "slowlog-max-len" => Change::SlowEntries(count()?.min(SLOW_ENTRIES_MAX)),
        "x-policy" => Change::Policy(level(value).map_err(Refused::Policy)?),
        "x-policy-timeout-ms" => {
            Change::PolicyTimeout(Duration::from_millis(long()?.min(3_600_000)))
        }
        _ => {
            let known = parameters(server).into_iter().find(|(known, _)| *known == name);
            let (_, held) = known.ok_or(Refused::Unknown)?;
            if held.as_bytes().eq_ignore_ascii_case(value) {
                Change::Nothing
            } else {
                return Err(Refused::Fixed);
            }
        }
    })
}

const SLOW_ENTRIES_MAX: usize = 10_000;

fn apply<S: Shard>(server: &Server<S>, change: Change) {
    let live = &server.live;
    match change {
        Change::ClientsMax(max) => live.clients_max.set(max),
        Change::IdleTimeout(timeout) => {
            live.idle_timeout.set(timeout);
            server.wake_all();
        }
        Change::Memory(max) => server.shard.with(|engine| {
            let limits = Limits { memory_bytes_max: max, ..*engine.limits() };
            engine.set_limits(limits);
        }),
        Change::Policy(level) => live.policy.set(level),
        Change::PolicyTimeout(timeout) => live.policy_timeout.set(timeout),
        Change::SlowerThan(us) => live.slower_than_us.set(us),
        Change::SlowEntries(max) => live.slow_entries_max.set(max),
        Change::Nothing => {}
    }
}
