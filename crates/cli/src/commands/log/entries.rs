//! `antiphon log read` and `log latest`: entries of a node that runs, or of a data directory.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use antiphon::data_of;
use antiphon_proto::{Lsn, ShardId};
use antiphon_server::ChangeJson;
use antiphon_store::inspect::{self, Inspection};
use antiphon_store::{Disk, RealDisk};
use clap::Args;

use crate::commands::changes::feed::{Feed, FeedArgs, Start};
use crate::commands::changes::print;
use crate::errors::{Code, Coded, Problem, store_problem};
use crate::exit::Exit;
use crate::output::Screen;

/// Changes asked for at once.
const PAGE: u64 = 1_000;
/// Positions beyond the wanted ones that are looked at first: entries that carry no data.
const SPARE: u64 = 16;
const COUNT_MAX: u64 = 1_000_000;

/// Where entries come from.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Data directory; without it the node at --address is asked
    #[arg(conflicts_with = "address")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    feed: FeedArgs,
}

/// Flags of `log read`.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// First position, or oldest for the first that is kept
    #[arg(long, default_value = "oldest", value_name = "LSN | oldest")]
    from: Start,
    /// Last position [default: --count decides]
    #[arg(long, value_name = "LSN", conflicts_with = "count")]
    to: Option<u64>,
    /// Entries at most
    #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    count: u64,
}

/// Flags of `log latest`.
#[derive(Debug, Args)]
pub(crate) struct LatestArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Entries at most
    #[arg(short = 'n', long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    count: u64,
}

/// Prints a range of entries.
///
/// # Errors
/// When the source can't be read, or does not go back that far.
pub(crate) fn read(args: &ReadArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let (to, mut left) = match args.to {
        Some(to) => (to, u64::MAX),
        None => (u64::MAX, args.count),
    };
    if let Some(dir) = &args.source.dir {
        let from = match args.from {
            Start::Oldest => 1,
            Start::At(lsn) => lsn,
            Start::Now => return Err(Problem::usage("nothing comes to a directory", NOW).into()),
        };
        print(&Offline::open(dir)?.range(from, to, left)?, screen)?;
        return Ok(Exit::Done);
    }
    let feed = Feed::of(&args.source.feed)?;
    let mut from = args.from;
    while left > 0 && !screen.is_alone() {
        let page = feed.page(from, left.min(PAGE), Duration::ZERO)?;
        let end = page.changes.is_empty() || page.next > to;
        let changes: Vec<_> = page.changes.into_iter().filter(|it| it.lsn <= to).collect();
        left -= u64::try_from(changes.len()).unwrap_or(u64::MAX).min(left);
        from = Start::At(page.next);
        print(&changes, screen)?;
        if end {
            break;
        }
    }
    Ok(Exit::Done)
}

const NOW: &str = "Give --from a position; `antiphon changes tail` follows a node.";

/// Prints the newest entries.
///
/// # Errors
/// When the source can't be read.
pub(crate) fn latest(args: &LatestArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let entries = match &args.source.dir {
        Some(dir) => {
            let found = Offline::open(dir)?;
            newest(found.last() + 1, args.count, |from| found.range(from, u64::MAX, u64::MAX))?
        }
        None => {
            let feed = Feed::of(&args.source.feed)?;
            let end = feed.page(Start::Now, 1, Duration::ZERO)?.next;
            newest(end, args.count, |from| all_from(&feed, from, end))?
        }
    };
    print(&entries, screen)?;
    Ok(Exit::Done)
}

/// The last `count` entries before `end`; goes back further until there are as many.
fn newest(
    end: u64,
    count: u64,
    read: impl Fn(u64) -> Result<Vec<ChangeJson>, Problem>,
) -> Result<Vec<ChangeJson>, Problem> {
    let mut back = count.saturating_add(SPARE);
    loop {
        let from = end.saturating_sub(back).max(1);
        let found = read(from);
        let trimmed = matches!(&found, Err(problem) if problem.code() == Code::Trimmed);
        let mut found = if trimmed { read(1)? } else { found? };
        let enough = u64::try_from(found.len()).is_ok_and(|length| length >= count);
        if enough || trimmed || from == 1 {
            let keep = usize::try_from(count).unwrap_or(usize::MAX);
            found.drain(..found.len().saturating_sub(keep));
            return Ok(found);
        }
        back = back.saturating_mul(8);
    }
}

/// Entries of a node from `from` on, before `end`. From 1 on means from the first one kept.
fn all_from(feed: &Feed, from: u64, end: u64) -> Result<Vec<ChangeJson>, Problem> {
    let mut all = Vec::new();
    let mut from = if from == 1 { Start::Oldest } else { Start::At(from) };
    loop {
        let page = feed.page(from, PAGE, Duration::ZERO)?;
        let over = page.changes.is_empty() || page.next >= end;
        all.extend(page.changes.into_iter().filter(|change| change.lsn < end));
        if over {
            return Ok(all);
        }
        from = Start::At(page.next);
    }
}

/// A data directory whose node runs or not.
struct Offline(Inspection);

impl Offline {
    fn open(dir: &Path) -> Result<Self, Problem> {
        // The store takes a directory that is not there for an empty one.
        std::fs::read_dir(dir)
            .coded(Code::ReadFile, || format!("cannot read {}", dir.display()))?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        inspect::open(&disk, dir).map(Self).map_err(|error| store_problem(&error))
    }

    fn last(&self) -> u64 {
        self.0.reader().bounds(ShardId::default()).last.id.lsn.get()
    }

    /// Entries with data from `from` to `to`, at most `count`.
    fn range(&self, from: u64, to: u64, count: u64) -> Result<Vec<ChangeJson>, Problem> {
        let shard = ShardId::default();
        let first = self.0.reader().bounds(shard).base.id.lsn.get() + 1;
        if from > 1 && from < first {
            let what = format!("entry {from} was trimmed, the log begins with {first}");
            return Err(Problem::new(Code::Trimmed, what));
        }
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let read = self.0.entries(shard, Lsn::new(from), |frame| {
            let header = frame.header;
            if header.id.lsn.get() > to || found.len() >= most {
                return ControlFlow::Break(());
            }
            let change = |data| ChangeJson::of(shard, header.id, header.hlc, data);
            found.extend(data_of(frame).map(change));
            ControlFlow::Continue(())
        });
        read.map(|()| found).map_err(|error| store_problem(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(lsn: u64) -> ChangeJson {
        let (token, at) = (format!("0-1-{lsn}"), String::new());
        ChangeJson { token, lsn, epoch: 1, at, effects: Vec::new(), omitted_bytes: None }
    }

    #[track_caller]
    fn check(count: u64, first: u64, with_data: impl Fn(u64) -> bool, want: &[u64]) {
        let read = |from| {
            if from > 1 && from < first {
                return Err(Problem::new(Code::Trimmed, "trimmed"));
            }
            Ok((first.max(from)..=1_000).filter(|lsn| with_data(*lsn)).map(change).collect())
        };
        let found = newest(1_001, count, read).expect("entries");
        assert_eq!(found.iter().map(|change| change.lsn).collect::<Vec<_>>(), want);
    }

    #[test]
    fn the_newest_are_found_behind_entries_without_data() {
        check(2, 1, |_| true, &[999, 1_000]);
        check(2, 1, |lsn| lsn < 500, &[498, 499]);
        check(2, 1, |lsn| lsn == 3, &[3]);
        check(2, 900, |lsn| lsn < 901, &[900]);
        check(1, 1, |_| false, &[]);
    }
}
