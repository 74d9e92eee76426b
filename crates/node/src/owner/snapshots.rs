//! Snapshots of the stable state, and the log behind them: so that neither grows for ever.

use std::io;

use antiphon_proto::{ChildState, Lsn, SessionsCut, snapshot_meta};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::disk::SnapshotDone;
use crate::machine::{Cut, Machine};
use crate::owner::Owner;

/// The sessions and the state at one position.
struct Picture {
    sessions: SessionsCut,
    state: Box<dyn Cut>,
}

impl Cut for Picture {
    fn write(self: Box<Self>, out: &mut dyn io::Write) -> io::Result<()> {
        self.sessions.write(out)?;
        self.state.write(out)
    }
}

impl<M: Machine> Owner<M> {
    /// Begins a snapshot of what is applied; false when one is being written already, or when
    /// nothing was applied since the last one.
    pub(crate) fn begin_snapshot(&mut self) -> bool {
        if self.snapshot.running || self.applied.last.lsn <= self.snapshot.lsn {
            return false;
        }
        self.snapshot.running = true;
        let meta = snapshot_meta(self.replica.config());
        let picture = Picture { sessions: self.sessions.cut(), state: self.machine.cut() };
        self.disk.snapshot(self.applied, meta, Box::new(picture));
        true
    }

    /// Begins one when the log grew enough since the last.
    pub(crate) fn snapshot_if_due(&mut self) {
        let entries = self.applied.last.lsn.since(self.snapshot.lsn);
        let due = self.disk.bytes_since_snapshot() >= self.snapshot_bytes
            || entries >= self.snapshot_entries;
        if due {
            self.begin_snapshot();
        }
    }

    pub(super) fn on_snapshot(&mut self, outcome: SnapshotDone) {
        self.snapshot.running = false;
        match outcome {
            Ok(lsn) => {
                info!(%lsn, "wrote a snapshot");
                self.snapshot.lsn = lsn;
                self.snapshot.at_ms = Clock::wall_ms();
                let keep = self.keep_from(lsn);
                self.disk.trim(keep, self.retain_bytes);
            }
            Err(error) => {
                // The log is still whole, so nothing is lost; the next attempt may succeed.
                warn!(%error, "failed to write a snapshot");
                self.snapshot.failed += 1;
            }
        }
    }

    /// Entries behind this position are covered by the snapshot and needed by no child that is
    /// being served. Children that are away are covered by the retained bytes.
    fn keep_from(&self, snapshot: Lsn) -> Lsn {
        let status = self.replica.status();
        let served = status
            .children
            .iter()
            .filter(|child| matches!(child.state, ChildState::Streaming | ChildState::Loading));
        served.map(|child| child.positions.durable).chain([snapshot]).min().unwrap_or(snapshot)
    }
}
