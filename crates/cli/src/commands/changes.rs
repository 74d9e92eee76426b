//! `antiphon changes`: the stable writes of a node, as they come.

pub(crate) mod feed;

use std::time::{Duration, Instant};

use antiphon_server::{ChangeJson, EffectJson};
use clap::{Args, Subcommand};

use crate::commands::changes::feed::{Feed, FeedArgs, Start};
use crate::exit::Exit;
use crate::output::Screen;

/// Name and version of a line.
pub(crate) const SCHEMA: &str = "antiphon.change/1";
/// The longest wait of one request: what a node allows.
const WAIT: Duration = Duration::from_secs(30);
/// Changes of one request.
const PAGE: u64 = 1_000;
/// Between two tries to reach a node that is away.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// The actions of `changes`.
#[derive(Debug, Subcommand)]
pub(crate) enum ChangesCommand {
    /// Print each write when it is stable, until interrupted
    #[command(after_help = "Examples:
  antiphon changes tail
  antiphon changes tail --address 10.0.0.2:7201 --from 4812078 -o jsonl
  antiphon changes tail --from oldest --count 100 -o jsonl

A reader that was away goes on behind the last position that it has seen: --from LSN + 1. If the
log does not go back that far any more it is told so (X0308), and never skips silently.")]
    Tail(TailArgs),
}

/// Flags of `changes tail`.
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    feed: FeedArgs,
    /// The first position, oldest for all that is kept, or now for what comes
    #[arg(long, default_value = "now", value_name = "LSN | oldest | now")]
    from: Start,
    /// Changes after which to end [default: never]
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Runs an action of `changes`.
///
/// # Errors
/// When the node does not answer for longer than --timeout, or can't tell.
pub(crate) fn run(command: &ChangesCommand, screen: &mut Screen) -> anyhow::Result<Exit> {
    let ChangesCommand::Tail(args) = command;
    tail(args, screen)
}

/// Prints changes as they come.
///
/// # Errors
/// When the node does not answer for longer than --timeout, or can't tell.
pub(crate) fn tail(args: &TailArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let feed = Feed::of(&args.feed)?;
    let mut from = args.from;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut heard = Instant::now();
    while left > 0 && !screen.is_alone() {
        let page = match feed.page(from, left.min(PAGE), WAIT) {
            // A node that restarts goes on where it was.
            Err(problem) if problem.is_passing() && heard.elapsed() < args.feed.timeout => {
                std::thread::sleep(RETRY_EVERY);
                continue;
            }
            page => page?,
        };
        heard = Instant::now();
        from = Start::At(page.next);
        left -= u64::try_from(page.changes.len()).unwrap_or(u64::MAX).min(left);
        print(&page.changes, screen)?;
    }
    Ok(Exit::Done)
}

/// Writes changes as was asked for: a line each.
pub(crate) fn print(changes: &[ChangeJson], screen: &mut Screen) -> anyhow::Result<()> {
    if screen.format().is_json() {
        return screen.answer_lines(SCHEMA, changes);
    }
    let lines: String = changes.iter().map(|change| line(change) + "\n").collect();
    Ok(screen.answer(&lines)?)
}

/// A change on one line, for people.
pub(crate) fn line(change: &ChangeJson) -> String {
    let effects: Vec<String> = change.effects.iter().map(words).collect();
    let omitted = change.omitted_bytes.map(|bytes| format!("{bytes} bytes of effects"));
    let did = effects.into_iter().chain(omitted).collect::<Vec<_>>().join("; ");
    format!("{:<16} {} {did}", change.token, change.at)
}

/// Characters of a value that are shown.
const VALUE_SHOWN: usize = 60;

fn words(effect: &EffectJson) -> String {
    let until =
        |at: &Option<String>| at.as_ref().map_or(String::new(), |at| format!(" until {at}"));
    let name = |text: &Option<String>, hex: &Option<String>| match (text, hex) {
        (Some(text), _) if text.chars().count() > VALUE_SHOWN => {
            let begin: String = text.chars().take(VALUE_SHOWN).collect();
            format!("{begin:?}... ({} bytes)", text.len())
        }
        (Some(text), _) => format!("{text:?}"),
        (None, hex) => format!("0x{}", hex.as_deref().unwrap_or_default()),
    };
    match effect {
        EffectJson::Put { key, key_hex, value, value_hex, expire_at, .. } => {
            let (key, value) = (name(key, key_hex), name(value, value_hex));
            format!("put {key} {value}{}", until(expire_at))
        }
        EffectJson::Delete { key, key_hex, .. } => format!("delete {}", name(key, key_hex)),
        EffectJson::Expire { key, key_hex, expire_at: None, .. } => {
            format!("persist {}", name(key, key_hex))
        }
        EffectJson::Expire { key, key_hex, expire_at, .. } => {
            format!("expire {}{}", name(key, key_hex), until(expire_at))
        }
        EffectJson::Flush { db } => format!("flush database {db}"),
        EffectJson::Swap { db, with } => format!("swap databases {db} and {with}"),
        EffectJson::Unknown { why } => format!("unknown: {why}"),
    }
}
