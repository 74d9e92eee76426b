//! `antiphon status`: the cluster on one screen, asked from the pages of its nodes.

pub(crate) mod fetch;
pub(crate) mod page;
mod view;

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::commands::status::page::Page;
use crate::commands::status::view::View;
use crate::errors::{Code, Problem};
use crate::exit::Exit;
use crate::output::{Format, Screen};

/// Time between two looks while waiting for a state.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the pages of a node may lag behind it.
const MOMENT: Duration = Duration::from_secs(1);

/// Flags of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  antiphon status
  antiphon status --address 10.0.0.1:7201,10.0.0.2:7201 --wait healthy --timeout 60s -o json
  antiphon status --watch=1s -o wide

Not healthy ends with 3, and the lines that begin with ! say why.")]
pub(crate) struct StatusArgs {
    /// Pages of nodes, comma-separated, as in http.listen of their configurations
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:7201", value_name = "HOST:PORT")]
    address: Vec<String>,
    /// Look again until the cluster is so, or the time is over [default: look once]
    #[arg(long, value_enum, value_name = "STATE")]
    wait: Option<Awaited>,
    /// Look again and again, this far apart [default when given without a time: 2s]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "2s", conflicts_with = "wait", value_name = "EVERY", value_parser = humantime::parse_duration)]
    watch: Option<Duration>,
    /// Looks after which to end [default: never]
    #[arg(long, requires = "watch", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Longest wait for a state, and for the answer of a node
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Awaited {
    /// A primary serves and every replica is in sync.
    Healthy,
    /// A primary serves.
    Serving,
}

/// Shows the cluster: once, when what was waited for is there, or again and again.
///
/// # Errors
/// When what was waited for did not come. Nodes that do not answer are part of the picture.
pub(crate) fn run(args: &StatusArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    if let Some(every) = args.watch {
        return watch(args, every, screen);
    }
    let begun = Instant::now();
    loop {
        let left = args.timeout.saturating_sub(begun.elapsed());
        let view = look(&args.address, left.max(LOOK_EVERY));
        let there = match args.wait {
            Some(Awaited::Healthy) => view.is_healthy(),
            Some(Awaited::Serving) => view.is_serving(),
            None => true,
        };
        if there || begun.elapsed() >= args.timeout {
            let good = if args.wait == Some(Awaited::Serving) { there } else { view.is_healthy() };
            show(&view, screen)?;
            if !there {
                let waited = humantime::format_duration(args.timeout);
                let what = format!("what was waited for did not come within {waited}");
                return Err(Problem::new(Code::WaitOver, what).into());
            }
            return Ok(if good { Exit::Done } else { Exit::Unhealthy });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks again and again, until the reader goes away or `--count` is reached.
fn watch(args: &StatusArgs, every: Duration, screen: &mut Screen) -> anyhow::Result<Exit> {
    let mut left = args.count;
    loop {
        let view = look(&args.address, args.timeout);
        if !screen.format().is_json() {
            screen.wipe()?;
        }
        show(&view, screen)?;
        left = left.map(|left| left.saturating_sub(1));
        if left == Some(0) || screen.is_alone() {
            return Ok(if view.is_healthy() { Exit::Done } else { Exit::Unhealthy });
        }
        std::thread::sleep(every);
    }
}

fn show(view: &View, screen: &mut Screen) -> anyhow::Result<()> {
    match screen.format() {
        Format::Json | Format::Jsonl => screen.answer_json(view),
        Format::Table => Ok(screen.answer(&view.text(false))?),
        Format::Wide => Ok(screen.answer(&view.text(true))?),
    }
}

/// The picture of the cluster whose pages are at these addresses, as text. Pages follow the
/// nodes within moments, so a cluster that just became healthy is given one.
pub(crate) fn table_of(addresses: &[String]) -> String {
    let begun = Instant::now();
    loop {
        let view = look(addresses, LOOK_EVERY);
        if view.is_healthy() || begun.elapsed() >= MOMENT {
            return view.text(false);
        }
        std::thread::sleep(MOMENT / 20);
    }
}

// One node may hang; the others are not kept waiting for it.
fn look(addresses: &[String], patience: Duration) -> View {
    View::of(ask(addresses, patience))
}

/// What each node says of itself, all asked at once.
pub(crate) fn ask(addresses: &[String], patience: Duration) -> Vec<(String, anyhow::Result<Page>)> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = addresses
            .iter()
            .map(|address| (address, scope.spawn(move || fetch::status(address, patience))))
            .collect();
        asked
            .into_iter()
            .map(|(address, thread)| match thread.join() {
                Ok(answer) => (address.clone(), answer),
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}
