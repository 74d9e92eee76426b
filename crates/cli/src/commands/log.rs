//! `antiphon log`: entries of a node or of a data directory, and one more of them. A directory is
//! looked into without opening it, while its node runs or not.

mod append;
mod entries;

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use antiphon_proto::{Frame, Hlc, Kind, Lsn, ShardId};
use antiphon_store::inspect::{self, Inspection, Progress};
use antiphon_store::{Damage, Disk, RealDisk, StoreError};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::commands::changes::{TailArgs, tail};
use crate::errors::{Code, Coded, store_problem};
use crate::exit::Exit;
use crate::output::{Format, Screen};

/// Name and version of the document.
const SCHEMA: &str = "antiphon.log/1";
const SEGMENT_SCHEMA: &str = "antiphon.log-segment/1";
const SNAPSHOT_SCHEMA: &str = "antiphon.log-snapshot/1";
/// Bytes between two lines about progress: a few seconds of a slow disk.
const PROGRESS_BYTES: u64 = 1 << 30;

/// The actions of `log`.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Show whose a data directory is, what is in it, and its entries on request
    #[command(after_help = "Examples:
  antiphon log inspect /var/lib/antiphon
  antiphon log inspect /var/lib/antiphon --entries 20
  antiphon log inspect /var/lib/antiphon --entries 5 --from 1000 -o json")]
    Inspect(InspectArgs),
    /// Read every byte of a data directory and report all damage; any ends with 7
    #[command(after_help = "Examples:
  antiphon log verify /var/lib/antiphon
  antiphon log verify /var/lib/antiphon -o json
  antiphon log verify /var/lib/antiphon && echo sound")]
    Verify(VerifyArgs),
    /// List the segments and snapshots of a data directory
    #[command(after_help = "Examples:
  antiphon log list /var/lib/antiphon
  antiphon log list /var/lib/antiphon -o jsonl
  antiphon log list /var/lib/antiphon -o json")]
    List(ListArgs),
    /// Print entries from a position on
    #[command(after_help = "Examples:
  antiphon log read --from 1000 --to 1010
  antiphon log read --address 10.0.0.2:7201 --from oldest --count 100 -o jsonl
  antiphon log read /var/lib/antiphon --from 1000 -o jsonl

A node tells stable entries only. A directory may hold entries at its end that are not stable.")]
    Read(entries::ReadArgs),
    /// Print the newest entries
    #[command(after_help = "Examples:
  antiphon log latest
  antiphon log latest --count 10 -o jsonl
  antiphon log latest /var/lib/antiphon")]
    Latest(entries::LatestArgs),
    /// Print each entry when it is stable; the same as `changes tail`
    #[command(after_help = "Examples:
  antiphon log tail
  antiphon log tail --from 1000 -o jsonl
  antiphon log tail --address 10.0.0.2:7201 --count 5")]
    Tail(TailArgs),
    /// Append an entry that puts a key, and say where it is
    #[command(after_help = "Examples:
  antiphon log append greeting hello
  antiphon log append report - --policy all < report.txt
  antiphon log append greeting hello --address 10.0.0.1:7101 -o json

It is a SET: any other write of any client is an entry, too. The token it prints is the one that
XFATE asks about.")]
    Append(append::AppendArgs),
}

/// Flags of `log list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Data directory, as in `node.data_dir` of the configuration
    dir: PathBuf,
}

/// Flags of `log inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Data directory, as in `node.data_dir` of the configuration
    dir: PathBuf,
    /// Show this many entries, too
    #[arg(long, default_value_t = 0, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    entries: u32,
    /// First of these entries [default: the first that is kept]
    #[arg(long, value_name = "LSN")]
    from: Option<u64>,
    /// Whose entries
    #[arg(long, default_value_t = 0)]
    shard: u32,
}

/// Flags of `log verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Data directory, as in `node.data_dir` of the configuration
    dir: PathBuf,
}

/// Runs an action of `log`.
///
/// # Errors
/// When the directory cannot be read or is none of ours.
pub(crate) fn run(command: &LogCommand, screen: &mut Screen) -> anyhow::Result<Exit> {
    match command {
        LogCommand::Inspect(InspectArgs { dir, .. })
        | LogCommand::Verify(VerifyArgs { dir })
        | LogCommand::List(ListArgs { dir }) => look(command, dir, screen),
        LogCommand::Read(args) => entries::read(args, screen),
        LogCommand::Latest(args) => entries::latest(args, screen),
        LogCommand::Tail(args) => tail(args, screen),
        LogCommand::Append(args) => append::run(args, screen),
    }
}

/// Looks into a directory.
fn look(command: &LogCommand, dir: &Path, screen: &mut Screen) -> anyhow::Result<Exit> {
    // The store takes a directory that is not there for an empty one.
    std::fs::read_dir(dir).coded(Code::ReadFile, || format!("cannot read {}", dir.display()))?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (mut shown, damaged) = if let LogCommand::Verify(_) = command {
        let mut next = PROGRESS_BYTES;
        let progress = |at: Progress| {
            if at.bytes >= next {
                screen.note(&format!("read {} of {} bytes", at.bytes, at.of));
                next = at.bytes + PROGRESS_BYTES;
            }
        };
        let found = inspect::verify(&disk, dir, progress).map_err(|error| store_problem(&error))?;
        let damaged = !found.damage.is_empty() || found.recovery.amnesia;
        (Shown::of(&found), damaged)
    } else {
        let found = inspect::open(&disk, dir).map_err(|error| store_problem(&error))?;
        let mut shown = Shown::of(&found);
        if let LogCommand::Inspect(args) = command {
            shown.entries = entries(&found, args).map_err(|error| store_problem(&error))?;
        }
        (shown, false)
    };
    shown.verified = matches!(command, LogCommand::Verify(_));
    match (command, screen.format()) {
        (LogCommand::List(_), Format::Jsonl) => {
            screen.answer_lines(SEGMENT_SCHEMA, &shown.segments)?;
            screen.answer_lines(SNAPSHOT_SCHEMA, &shown.snapshots)?;
        }
        (LogCommand::List(_), Format::Table | Format::Wide) => screen.answer(&shown.files())?,
        (_, format) if format.is_json() => screen.answer_json(&shown)?,
        _ => screen.answer(&shown.text())?,
    }
    Ok(if damaged { Exit::Integrity } else { Exit::Done })
}

fn entries(found: &Inspection, args: &InspectArgs) -> Result<Vec<EntryShown>, StoreError> {
    let mut shown = Vec::new();
    let left = usize::try_from(args.entries).unwrap_or(usize::MAX);
    if left == 0 {
        return Ok(shown);
    }
    let from = Lsn::new(args.from.unwrap_or(1));
    found.entries(ShardId::new(args.shard), from, |frame| {
        shown.push(EntryShown::of(frame));
        if shown.len() < left { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(shown)
}

/// What a data directory holds.
#[derive(Debug, Serialize)]
struct Shown {
    schema: &'static str,
    store: String,
    node: u64,
    cluster: String,
    incarnation: u64,
    clean: bool,
    shards: Vec<ShardShown>,
    segments: Vec<SegmentShown>,
    snapshots: Vec<SnapshotShown>,
    /// A group at the end that was never acknowledged and is not whole.
    torn: Option<String>,
    /// The log ends before what it had acknowledged.
    amnesia: bool,
    damage: Vec<String>,
    /// Whether every byte was read.
    verified: bool,
    entries: Vec<EntryShown>,
}

#[derive(Debug, Serialize)]
struct ShardShown {
    shard: u32,
    /// The first entry that is kept; absent when there is none.
    first: Option<String>,
    last: String,
    hard_state_bytes: Option<usize>,
    epochs: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SegmentShown {
    number: u64,
    path: String,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct SnapshotShown {
    shard: u32,
    at: String,
    bytes: u64,
    path: String,
}

#[derive(Debug, Serialize)]
struct EntryShown {
    id: String,
    kind: &'static str,
    at: String,
    payload_bytes: usize,
    chain: String,
}

impl EntryShown {
    fn of(frame: &Frame<'_>) -> Self {
        Self {
            id: frame.header.id.to_string(),
            kind: match frame.header.kind {
                Kind::Data => "data",
                Kind::EpochStart => "epoch-start",
                Kind::Noop => "noop",
                Kind::SessionOpen => "session-open",
                Kind::SessionClose => "session-close",
                Kind::SessionData => "session-data",
            },
            at: time(frame.header.hlc),
            payload_bytes: frame.payload.len(),
            chain: format!("{:032x}", frame.chain.get()),
        }
    }
}

/// The last millisecond of the year 9999, where RFC 3339 ends.
const SPELLED_MS_MAX: u64 = 253_402_300_799_999;

fn time(hlc: Hlc) -> String {
    let ms = hlc.ms();
    if ms > SPELLED_MS_MAX {
        return format!("{ms} ms");
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
    humantime::format_rfc3339_millis(at).to_string()
}

impl Shown {
    fn of(found: &Inspection) -> Self {
        let superblock = &found.superblock;
        let torn = found.recovery.torn.as_ref().map(|torn| {
            format!("{} at byte {}, {} bytes", torn.path.display(), torn.offset, torn.bytes)
        });
        Self {
            schema: SCHEMA,
            store: superblock.store.to_string(),
            node: superblock.identity.node.get(),
            cluster: superblock.identity.cluster_name.clone(),
            incarnation: superblock.incarnation.get(),
            clean: superblock.clean,
            shards: shards(found),
            segments: found
                .segments
                .iter()
                .map(|segment| SegmentShown {
                    number: segment.number,
                    path: segment.path.display().to_string(),
                    bytes: segment.bytes,
                })
                .collect(),
            snapshots: found
                .snapshots
                .iter()
                .map(|snapshot| SnapshotShown {
                    shard: snapshot.shard.get(),
                    at: snapshot.position.id.to_string(),
                    bytes: snapshot.bytes,
                    path: snapshot.path.display().to_string(),
                })
                .collect(),
            torn,
            amnesia: found.recovery.amnesia,
            damage: found.damage.iter().map(Damage::to_string).collect(),
            verified: false,
            entries: Vec::new(),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out).expect("a string takes all that is written to it");
        out
    }

    /// The files of the log.
    fn files(&self) -> String {
        let segments = self.segments.iter().map(|segment| {
            format!("segment {}: {} bytes, {}\n", segment.number, segment.bytes, segment.path)
        });
        let snapshots = self.snapshots.iter().map(|snapshot| {
            let (shard, at) = (snapshot.shard, &snapshot.at);
            let (bytes, path) = (snapshot.bytes, &snapshot.path);
            format!("snapshot of shard {shard} at {at}: {bytes} bytes, {path}\n")
        });
        segments.chain(snapshots).collect()
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let run = self.incarnation;
        let state = if self.clean { "closed cleanly" } else { "running, or not closed cleanly" };
        writeln!(out, "node {} of cluster {}, store {}", self.node, self.cluster, self.store)?;
        writeln!(out, "run {run}, {state}")?;
        for shard in &self.shards {
            let first = shard.first.as_deref().unwrap_or("none");
            writeln!(out, "shard {}: entries {first} to {}", shard.shard, shard.last)?;
            writeln!(out, "  epochs (epoch/first entry): {}", shard.epochs.join(", "))?;
        }
        out.push_str(&self.files());
        for entry in &self.entries {
            let (id, kind, at) = (&entry.id, entry.kind, &entry.at);
            writeln!(out, "{id:<16} {kind:<12} {at} {:>9} B {}", entry.payload_bytes, entry.chain)?;
        }
        if let Some(torn) = &self.torn {
            writeln!(out, "torn, never acknowledged, cut at the next start: {torn}")?;
        }
        if self.amnesia {
            writeln!(
                out,
                "! entries that it had acknowledged are missing: the node fetches them from the others when it starts"
            )?;
        }
        for damage in &self.damage {
            writeln!(out, "! {damage}")?;
        }
        match (self.damage.is_empty(), self.verified) {
            (true, true) => writeln!(out, "every byte was read, nothing is damaged"),
            (true, false) => {
                writeln!(out, "no damage seen; `antiphon log verify` reads every byte")
            }
            (false, _) => writeln!(out, "{} damaged places; keep the files", self.damage.len()),
        }
    }
}

fn shards(found: &Inspection) -> Vec<ShardShown> {
    let reader = found.reader();
    let hard = |shard| found.hard.iter().find(|(of, _)| *of == shard).and_then(|(_, bytes)| *bytes);
    let each = reader.shards().into_iter().map(|shard| {
        let bounds = reader.bounds(shard);
        let epochs = reader.epochs(shard);
        ShardShown {
            shard: shard.get(),
            first: bounds.first.map(|first| first.to_string()),
            last: bounds.last.id.to_string(),
            hard_state_bytes: hard(shard),
            epochs: epochs.iter().map(|(epoch, first)| format!("{epoch}/{first}")).collect(),
        }
    });
    each.collect()
}
