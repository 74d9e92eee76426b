//! `antiphon lag`: how far each replica is behind, where it reads from, and when it is level.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::bench::report::grouped;
use crate::commands::status::ask;
use crate::commands::status::page::{Page, Replica};
use crate::errors::{Code, Problem};
use crate::exit::Exit;
use crate::output::{Format, Screen};

/// Name and version of the document.
const SCHEMA: &str = "antiphon.lag/1";

/// Flags of `lag`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  antiphon lag
  antiphon lag --address 10.0.0.1:7201,10.0.0.2:7201,10.0.0.3:7201 --over 5s
  antiphon lag --watch=1s -o jsonl

Positions count entries: sent to the replica, received in its memory, durable on its disk, applied
for its readers. SOURCE is where its entries come from: the primary's memory or disk, or another
node in a chain. Two looks, --over apart, tell when it is level.")]
pub(crate) struct LagArgs {
    /// Pages of nodes, comma-separated; the primary must be among them
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:7201", value_name = "HOST:PORT")]
    address: Vec<String>,
    /// Time between the two looks that tell speed
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    over: Duration,
    /// Look again and again, this far apart [default when given without a time: 2s]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "2s", value_name = "EVERY", value_parser = humantime::parse_duration)]
    watch: Option<Duration>,
    /// Looks after which to end [default: never]
    #[arg(long, requires = "watch", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Longest wait for the answer of a node
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Shows the lag of all replicas.
///
/// # Errors
/// When no primary answers.
pub(crate) fn run(args: &LagArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let mut before = Look::take(args)?;
    let mut left = args.count;
    loop {
        std::thread::sleep(args.watch.unwrap_or(args.over));
        let now = Look::take(args)?;
        let lag = Lag::between(&before, &now);
        if args.watch.is_some() && !screen.format().is_json() {
            screen.wipe()?;
        }
        match screen.format() {
            Format::Jsonl => screen.answer_lines(SCHEMA, &lag.replicas)?,
            Format::Json => screen.answer_json(&lag)?,
            Format::Table | Format::Wide => screen.answer(&lag.text())?,
        }
        left = left.map(|left| left.saturating_sub(1));
        if args.watch.is_none() || left == Some(0) || screen.is_alone() {
            return Ok(Exit::Done);
        }
        before = now;
    }
}

/// The primary's page at one moment.
struct Look {
    at: Instant,
    page: Page,
}

impl Look {
    fn take(args: &LagArgs) -> Result<Self, Problem> {
        let mut said = Vec::new();
        let mut newest: Option<Page> = None;
        for (address, answer) in ask(&args.address, args.timeout) {
            match answer {
                Ok(page) if !page.is_primary() => said.push(format!("{address} is a replica")),
                Ok(page) if newest.as_ref().is_some_and(|known| known.epoch > page.epoch) => {}
                Ok(page) => newest = Some(page),
                Err(error) => said.push(format!("{address} does not answer: {error:#}")),
            }
        }
        let none = || {
            let what = format!("no primary answers: {}", said.join("; "));
            Problem::new(Code::NoAnswer, what).or_do("Name the pages of all nodes by --address.")
        };
        Ok(Self { page: newest.ok_or_else(none)?, at: Instant::now() })
    }
}

/// All replicas of a cluster.
#[derive(Debug, Serialize)]
struct Lag {
    schema: &'static str,
    cluster: String,
    epoch: u64,
    primary: u64,
    last: u64,
    replicas: Vec<Row>,
}

/// One replica.
#[derive(Debug, Serialize)]
struct Row {
    node: u64,
    state: String,
    source: String,
    sent: u64,
    received: u64,
    durable: u64,
    applied: Option<u64>,
    lag_entries: u64,
    lag_seconds: f64,
    /// Until it has all, at the speed of the moment; absent when it comes no nearer.
    level_in_seconds: Option<f64>,
}

impl Lag {
    fn between(before: &Look, now: &Look) -> Self {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        let old: BTreeMap<u64, u64> = before
            .page
            .replicas
            .iter()
            .map(|replica| (replica.node, replica.lag_entries))
            .collect();
        let row = |replica: &Replica| Row {
            node: replica.node,
            state: replica.state.clone(),
            source: replica.source.clone(),
            sent: replica.sent,
            received: replica.received,
            durable: replica.durable,
            applied: replica.applied,
            lag_entries: replica.lag_entries,
            lag_seconds: replica.lag_seconds,
            level_in_seconds: level_in(old.get(&replica.node).copied(), replica, seconds),
        };
        Self {
            schema: SCHEMA,
            cluster: now.page.cluster.clone(),
            epoch: now.page.epoch,
            primary: now.page.node,
            last: now.page.last,
            replicas: now.page.replicas.iter().map(row).collect(),
        }
    }

    fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "NODE", "STATE", "SOURCE", "SENT", "RECEIVED", "DURABLE", "APPLIED", "LAG", "LEVEL IN",
        ]);
        for row in &self.replicas {
            table.add_row(row.cells());
        }
        for column in table.column_iter_mut().skip(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let (cluster, epoch, primary) = (&self.cluster, self.epoch, self.primary);
        let last = count(self.last);
        let head = format!("cluster {cluster}   epoch {epoch}   primary {primary}   last {last}");
        let table = table.to_string();
        let lines = table.lines().map(str::trim_end);
        let mut text: String =
            std::iter::once(head.as_str()).chain(lines).collect::<Vec<_>>().join("\n");
        text.push('\n');
        text
    }
}

impl Row {
    fn cells(&self) -> [String; 9] {
        let lag = match self.lag_entries {
            0 => "0".to_owned(),
            entries => format!("{} / {:.1} s", count(entries), self.lag_seconds),
        };
        let level = match self.level_in_seconds {
            Some(0.0) => "level".to_owned(),
            Some(seconds) => format!("{seconds:.1} s"),
            None => "-".to_owned(),
        };
        [
            self.node.to_string(),
            self.state.clone(),
            self.source.clone(),
            count(self.sent),
            count(self.received),
            count(self.durable),
            self.applied.map_or_else(|| "-".to_owned(), count),
            lag,
            level,
        ]
    }
}

fn count(entries: u64) -> String {
    // Exact up to 2^53, far beyond any log.
    grouped(entries as f64)
}

/// Seconds until a replica that was `old` entries behind `seconds` ago is level.
fn level_in(old: Option<u64>, replica: &Replica, seconds: f64) -> Option<f64> {
    if replica.lag_entries == 0 {
        return replica.connected.then_some(0.0);
    }
    let nearer = old?.checked_sub(replica.lag_entries).filter(|entries| *entries > 0)?;
    Some(replica.lag_entries as f64 / nearer as f64 * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(lag_entries: u64) -> Page {
        let page = serde_json::json!({
            "schema": "antiphon.status/1", "cluster": "shop", "node": 1, "role": "primary",
            "serving": true, "epoch": 7, "floor": "quorum", "last": 2_000, "durable": 2_000,
            "stable": 2_000, "applied": 2_000,
            "replicas": [{
                "node": 2, "connected": true, "state": "catching up", "source": "disk",
                "sent": 2_000 - lag_entries + 10, "received": 2_000 - lag_entries,
                "durable": 2_000 - lag_entries, "applied": 990, "lag_entries": lag_entries,
                "lag_seconds": 4.25,
            }],
        });
        serde_json::from_value(page).expect("a page")
    }

    #[track_caller]
    fn check(before: u64, now: u64, want: Option<f64>) {
        let at = Instant::now();
        let look = |lag, at| Look { at, page: page(lag) };
        let lag = Lag::between(&look(before, at), &look(now, at + Duration::from_secs(2)));
        assert_eq!(lag.replicas.first().expect("one").level_in_seconds, want, "{before} {now}");
    }

    #[test]
    fn the_time_to_level_comes_from_two_looks() {
        check(1_500, 1_000, Some(4.0));
        check(1_000, 1_000, None);
        check(900, 1_000, None);
        check(900, 0, Some(0.0));
    }

    #[test]
    fn the_table() {
        let at = Instant::now();
        let look = |lag, at| Look { at, page: page(lag) };
        let lag = Lag::between(&look(1_500, at), &look(1_000, at + Duration::from_secs(2)));
        let want = "\
cluster shop   epoch 7   primary 1   last 2,000
NODE  STATE        SOURCE   SENT  RECEIVED  DURABLE  APPLIED            LAG  LEVEL IN
2     catching up  disk    1,010     1,000    1,000      990  1,000 / 4.2 s     4.0 s
";
        assert_eq!(lag.text(), want);
    }
}
