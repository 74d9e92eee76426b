//! `antiphon status`: the cluster on one screen, asked from the pages of its nodes.

mod fetch;
mod page;
mod view;

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

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
  antiphon status --address 10.0.0.1:7201,10.0.0.2:7201,10.0.0.3:7201
  antiphon status --wait healthy --timeout 60s -o json

Not healthy ends with 3, and the lines that begin with ! say why.")]
pub(crate) struct StatusArgs {
    /// Pages of nodes, comma-separated, as in http.listen of their configurations
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:7201", value_name = "HOST:PORT")]
    address: Vec<String>,
    /// Look again until the cluster is so, or the time is over [default: look once]
    #[arg(long, value_enum, value_name = "STATE")]
    wait: Option<Awaited>,
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

/// Shows the cluster once, when what was waited for is there or the time is over.
///
/// # Errors
/// When stdout cannot be written. Nodes that do not answer are part of the picture.
pub(crate) fn run(args: &StatusArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
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
            match screen.format() {
                Format::Json => screen.answer_json(&view)?,
                Format::Table => screen.answer(&view.text())?,
            }
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

/// The picture of the cluster whose pages are at these addresses, as text. Pages follow the
/// nodes within moments, so a cluster that just became healthy is given one.
pub(crate) fn table_of(addresses: &[String]) -> String {
    let begun = Instant::now();
    loop {
        let view = look(addresses, LOOK_EVERY);
        if view.is_healthy() || begun.elapsed() >= MOMENT {
            return view.text();
        }
        std::thread::sleep(MOMENT / 20);
    }
}

fn look(addresses: &[String], patience: Duration) -> View {
    // One node may hang; the others are not kept waiting for it.
    let answers = std::thread::scope(|scope| {
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
    });
    View::of(answers)
}
