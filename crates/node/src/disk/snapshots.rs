//! Snapshots on disk: written on other threads, restored at the start, and what they make of the
//! log behind them superfluous.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;

use antiphon_proto::{LogEnd, Lsn, ShardId};
use antiphon_store::{Position, SnapshotReader, Snapshots, Store};
use tracing::warn;

use crate::disk::{Disk, Done, log_end};
use crate::error::StartError;
use crate::machine::Cut;

/// The position of a finished snapshot, or why there is none.
pub(crate) type SnapshotDone = Result<Lsn, String>;

/// A picture is written in pieces of this size.
const BUFFER_BYTES: usize = 256 << 10;
/// Snapshots whose place in the log is remembered.
const MARKS_MAX: usize = 64;

/// The snapshots of a data directory.
#[derive(Debug)]
pub(crate) struct Shelf {
    snapshots: Arc<Snapshots>,
    marks: VecDeque<Mark>, // oldest first
}

/// How much of the log lay before a snapshot when it was begun.
#[derive(Debug, Clone, Copy)]
struct Mark {
    lsn: Lsn,
    at_bytes: u64, // of what was appended in this run
}

/// A snapshot to restore from.
pub(crate) struct Stored {
    position: Position,
    body: SnapshotReader,
}

impl Stored {
    /// Where the state is, in the store's words.
    pub(crate) const fn at(&self) -> Position {
        self.position
    }

    pub(crate) const fn position(&self) -> LogEnd {
        log_end(self.position)
    }

    /// What was written into its header.
    pub(crate) fn meta(&self) -> &[u8] {
        &self.body.info().meta
    }
}

impl Read for Stored {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.body.read(into)
    }
}

impl Shelf {
    pub(crate) fn open(store: &Store, shard: ShardId) -> Self {
        let snapshots = store.snapshots();
        for broken in snapshots.broken() {
            warn!(%broken, "found a broken snapshot, an older one or the log is used");
        }
        let newest = snapshots.latest(shard);
        let mark = newest.map(|info| Mark { lsn: info.position.id.lsn, at_bytes: 0 });
        Self { snapshots, marks: mark.into_iter().collect() }
    }

    /// The newest good snapshot.
    pub(crate) fn newest(&self, shard: ShardId) -> Result<Option<Stored>, StartError> {
        let Some(info) = self.snapshots.latest(shard) else { return Ok(None) };
        let body = self.snapshots.read(&info)?;
        Ok(Some(Stored { position: info.position, body }))
    }
}

impl Disk {
    /// Writes a picture of the state at `at` on another thread.
    pub(crate) fn snapshot(&mut self, at: LogEnd, meta: Vec<u8>, cut: Box<dyn Cut>) {
        self.snapshot_at_bytes = self.appended_bytes;
        let mark = Mark { lsn: at.last.lsn, at_bytes: self.appended_bytes };
        self.shelf.marks.push_back(mark);
        if self.shelf.marks.len() > MARKS_MAX {
            self.shelf.marks.pop_front();
        }
        let (snapshots, done, shard) =
            (Arc::clone(&self.shelf.snapshots), self.done.clone(), self.shard);
        let position = Position { id: at.last, chain: at.chain, hlc: at.hlc };
        tokio::task::spawn_blocking(move || {
            let written = write(&snapshots, (shard, position), meta, cut);
            drop(done.send(Done::Snapshot(written.map(|()| position.id.lsn))));
        });
    }

    /// Up to where the log may be removed: behind a snapshot that `retain` bytes were appended
    /// since, or behind `keep` itself when the log is over twice that.
    pub(super) fn trim_point(&self, keep: Lsn, retain: u64) -> Option<Lsn> {
        if self.stats().log.segment_bytes > retain.saturating_mul(2) {
            return Some(keep);
        }
        let old = |mark: &&Mark| {
            mark.lsn <= keep && self.appended_bytes.saturating_sub(mark.at_bytes) >= retain
        };
        self.shelf.marks.iter().rev().find(old).map(|mark| mark.lsn)
    }
}

fn write(
    snapshots: &Arc<Snapshots>,
    (shard, position): (ShardId, Position),
    meta: Vec<u8>,
    cut: Box<dyn Cut>,
) -> Result<(), String> {
    let body = snapshots.begin(shard, position, meta.into()).map_err(|error| error.to_string())?;
    let mut body = BufWriter::with_capacity(BUFFER_BYTES, body);
    cut.write(&mut body).and_then(|()| body.flush()).map_err(|error| error.to_string())?;
    let body = body.into_inner().map_err(|error| error.to_string())?;
    body.finish().map(|_info| ()).map_err(|error| error.to_string())
}
