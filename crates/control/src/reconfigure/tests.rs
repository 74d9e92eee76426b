//! The reconfigurator against voters that are models, in stories and by chance.

mod random;
mod stories;
mod tree;
mod voter;
mod world;

use std::sync::Arc;

use antiphon_proto::{Config, Cut, EntryId, Epoch, Incarnation, Lsn, NodeId, Sealed, Time};

use super::{Probed, Promise, Reconfigurator, ReconfigureEffect, ReconfigureEvent};
use crate::samples::{id, shard};
use crate::{Appointment, ShardRecord, Version, WallMs};

/// Shard 7 in epoch 4, with node 1 as the primary of three.
fn record() -> ShardRecord {
    let run = Appointment { node: NodeId::new(1), incarnation: Incarnation::new(2), end: id(3, 5) };
    ShardRecord { appointed: Some(run), ..shard(7, 4) }
}

fn shard_event(version: u64, record: &ShardRecord) -> ReconfigureEvent {
    let record = Arc::new(record.clone());
    ReconfigureEvent::Shard { version: Version::new(version), record }
}

/// What a voter says whose log ends at `last` and is of one epoch.
fn sealed(node: u64, last: EntryId, config: Config) -> Sealed {
    Sealed {
        last,
        base: EntryId::ZERO,
        runs: vec![Cut { epoch: last.epoch, end: last.lsn }],
        incarnation: Incarnation::new(2),
        store: antiphon_proto::StoreUuid::new(node.into()),
        amnesiac: false,
        blank: false,
        config,
    }
}

fn promise(node: u64, last: EntryId) -> Promise {
    Promise { sealed: sealed(node, last, record().active), head: last.lsn }
}

fn probed(node: u64, confirmed_ms: Option<u64>, last: EntryId) -> Probed {
    Probed {
        epoch: Epoch::new(4),
        confirmed_ms,
        promised: Epoch::new(4),
        last,
        head: last.lsn,
        store: antiphon_proto::StoreUuid::new(node.into()),
        amnesiac: false,
    }
}

/// A machine with a clock.
struct Desk {
    machine: Reconfigurator,
    now: Time,
}

impl Desk {
    fn step(&mut self, event: ReconfigureEvent) -> Vec<ReconfigureEffect> {
        let wall = WallMs::new(self.now.nanos() / 1_000_000);
        self.machine.step(self.now, wall, event)
    }

    fn after(&mut self, ms: u64) -> Vec<ReconfigureEffect> {
        self.now = self.now.plus_ms(ms);
        self.step(ReconfigureEvent::Tick)
    }
}

fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw)
}
