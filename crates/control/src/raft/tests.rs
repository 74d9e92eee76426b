//! Registers in one process over links that can be cut, each with its file in a directory.

mod cluster;
mod faults;
mod members;
mod partitions;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use antiphon_proto::{Epoch, NodeId};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{RaftRegister, RegisterConfig, RegisterTiming};
use crate::samples::{cluster, row, shard};
use crate::wire::{Class, ControlWire, NotSent};
use crate::{
    Command, ConfigRegister as _, HistoryRow, Key, Outcome, Record, RegisterError, Role, Version,
    WallMs,
};

/// The pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(5);

/// The longest that a condition may take.
const LIMIT: Duration = Duration::from_secs(60);

const TIMING: RegisterTiming = RegisterTiming {
    heartbeat: Duration::from_millis(60),
    election: Duration::from_millis(400),
    answer: Duration::from_secs(2),
    snapshot_after: 1_000,
};

/// Waits until `good`, with a limit.
#[track_caller]
fn eventually(what: &'static str, mut good: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let until = Instant::now() + LIMIT;
        while !good() {
            assert!(Instant::now() < until, "{what}, at {place}");
            sleep(POLL).await;
        }
    }
}

#[derive(Default)]
struct Links {
    nodes: BTreeMap<NodeId, RaftRegister>,
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// All links of a test.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<Links>>);

impl Network {
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing passes between `one` and any other node.
    fn cut_off(&self, one: u64) {
        let one = NodeId::new(one);
        let mut links = self.lock();
        let others: Vec<_> = links.nodes.keys().copied().filter(|node| *node != one).collect();
        links.cut.extend(others.into_iter().flat_map(|other| [(one, other), (other, one)]));
    }

    fn heal(&self) {
        self.lock().cut.clear();
    }
}

struct Wire {
    me: NodeId,
    network: Network,
}

impl ControlWire for Wire {
    fn send(&self, to: NodeId, _class: Class, message: Bytes) -> Result<(), NotSent> {
        let (peer, cut) = {
            let links = self.network.lock();
            (links.nodes.get(&to).cloned(), links.cut.contains(&(self.me, to)))
        };
        let peer = peer.ok_or(NotSent)?;
        if !cut {
            peer.receive(self.me, &message);
        }
        Ok(())
    }
}

/// Some registers of one cluster.
struct Cluster {
    network: Network,
    timing: RegisterTiming,
    directory: TempDir,
}

impl Cluster {
    fn file(&self, node: u64) -> PathBuf {
        self.directory.path().join(format!("register-{node}"))
    }

    /// Starts a node from its file.
    async fn open(&self, node: u64) -> RaftRegister {
        let me = NodeId::new(node);
        let wire = Arc::new(Wire { me, network: self.network.clone() });
        let config = RegisterConfig { me, file: self.file(node), timing: self.timing };
        let register = RaftRegister::open(config, wire).await.expect("the file is good");
        self.network.lock().nodes.insert(me, register.clone());
        register
    }

    /// Stops a node in good order; its file stays.
    async fn stop(&self, node: u64) {
        let register = self.network.lock().nodes.remove(&NodeId::new(node));
        register.expect("a node that runs").shutdown().await.expect("in good order");
    }

    fn get(&self, node: u64) -> RaftRegister {
        self.network.lock().nodes.get(&NodeId::new(node)).expect("a node that runs").clone()
    }

    fn all(&self) -> Vec<RaftRegister> {
        self.network.lock().nodes.values().cloned().collect()
    }

    /// One node that votes alone.
    async fn of_one(timing: RegisterTiming) -> Self {
        let directory = TempDir::new().expect("a directory");
        let this = Self { network: Network::default(), timing, directory };
        this.open(1).await.found(cluster()).await.expect("founded");
        this
    }

    /// So many nodes that vote.
    async fn of(voters: u64, timing: RegisterTiming) -> Self {
        let this = Self::of_one(timing).await;
        for node in 2..=voters {
            this.add(node).await;
            this.set_role(node, Role::Voter).await;
        }
        this
    }

    /// A new node joins through node 1.
    async fn add(&self, node: u64) {
        let register = self.open(node).await;
        register.join(&[NodeId::new(1)]).await.expect("joined");
    }

    async fn set_role(&self, node: u64, role: Role) {
        let changed = self.get(1).set_role(NodeId::new(node), role, by()).await;
        changed.expect("the members allow it");
    }

    /// Who leads, by the word of all that are linked to it.
    async fn leader(&self) -> u64 {
        let mut found = None;
        eventually("all agree on a leader", || {
            let said: BTreeSet<_> = self.all().iter().map(|one| one.status().leader).collect();
            found = said.first().copied().flatten().filter(|_| said.len() == 1);
            found.is_some()
        })
        .await;
        found.expect("all agree").get()
    }

    /// All nodes have the same state, at this version or later.
    async fn converged(&self, version: Version) {
        eventually("all have the same state", || {
            let states: BTreeSet<_> = self
                .all()
                .iter()
                .map(|one| one.status())
                .map(|status| (status.version, status.digest))
                .collect();
            states.len() == 1 && states.first().is_some_and(|(at, _)| *at >= version)
        })
        .await;
    }

    async fn shutdown(self) {
        for register in self.all() {
            register.shutdown().await.expect("in good order");
        }
    }
}

fn by() -> (WallMs, &'static str) {
    (WallMs::new(3_000), "test")
}

/// A change of shard 7: the next epoch of it, signed.
fn next_epoch(expect: Version, epoch: u64, who: &str) -> Command {
    let row = HistoryRow { who: who.to_owned(), ..row() };
    Command::one(expect, Record::Shard(Box::new(shard(7, epoch))), Some(row))
}

/// Reads shard 7 and writes its next epoch, whatever it takes.
async fn advance(register: &RaftRegister, who: &str) -> Version {
    let until = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < until, "a majority is there");
        if let Ok(Outcome::Done(version)) = try_advance(register, who).await {
            return version;
        }
    }
}

async fn try_advance(register: &RaftRegister, who: &str) -> Result<Outcome, RegisterError> {
    let (_, records) = register.read(&[key()]).await?;
    let before = records.into_iter().next().flatten();
    let epoch = before.as_ref().and_then(|it| it.record.as_shard()).map(|it| it.active.epoch);
    let expect = before.as_ref().map_or(Version::ZERO, |before| before.version);
    let epoch = epoch.map_or(1, |epoch: Epoch| epoch.get() + 1);
    register.swap(next_epoch(expect, epoch, who)).await
}

fn key() -> Key {
    Key::Shard(shard(7, 1).active.shard)
}

fn exists(path: &Path) -> bool {
    path.try_exists().expect("the directory can be read")
}
