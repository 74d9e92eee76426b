//! The register on openraft: a few nodes vote, all others follow.
//!
//! Any node can be asked; whoever does not lead asks the leader. The consensus library decides
//! the order of commands and nothing else: bytes on disk and on links are ours.

mod ask;
mod calls;
mod codec;
mod handle;
mod members;
mod message;
mod network;
mod serve;
mod state;
mod storage;
mod types;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_proto::NodeId;
use bytes::Bytes;
use openraft::SnapshotPolicy;
use openraft::async_runtime::watch::WatchReceiver as _;
use redb::Database;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::wire::ControlWire;
use crate::{ClusterUuid, Machine, RegisterError};
use calls::Calls;
use handle::Partial;
use message::ENTRIES_MAX;
use network::{Network, Sending};
use state::State;
use storage::{LogStore, WriterThread};
use types::Raft;

pub use ask::RaftWatch;
pub use members::MemberError;
pub use storage::StorageError;

/// Operations of this node that may be under way at once.
const OPERATIONS_MAX: usize = 256;

/// When the register's nodes give up on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterTiming {
    /// The leader is heard of this often. Default 100 ms.
    pub heartbeat: Duration,
    /// Silence for this long and up to twice as long, drawn anew each time, begins an election.
    /// Default 400 ms: three heartbeats may be lost.
    pub election: Duration,
    /// The longest that an operation takes, before it says that it does not know. Default 3 s:
    /// an election that has to be repeated fits.
    pub answer: Duration,
    /// Commands from one snapshot to the next. Default 256: the log fits in memory however long
    /// the commands are.
    pub snapshot_after: u64,
}

impl Default for RegisterTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(400),
            answer: Duration::from_secs(3),
            snapshot_after: 256,
        }
    }
}

/// Where and how a node keeps its part of the register.
#[derive(Debug, Clone)]
pub struct RegisterConfig {
    /// This node.
    pub me: NodeId,
    /// The file, made if there is none. Its directory has to exist.
    pub file: PathBuf,
    /// When nodes give up on each other.
    pub timing: RegisterTiming,
}

/// Why a node's part of the register does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The times contradict each other.
    #[error("the register's times make no sense: {0}")]
    Timing(String),
    /// The consensus library refused what it found.
    #[error("the register does not start: {0}")]
    Start(String),
}

/// What a node knows of the register. Not linearizable: for people and figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterStatus {
    /// Which cluster, once that is known.
    pub cluster: Option<ClusterUuid>,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Number of the election that made it leader.
    pub term: u64,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who follows without a vote.
    pub learners: Vec<NodeId>,
    /// Changes that this node has applied.
    pub version: crate::Version,
    /// Digest of the state at that version.
    pub digest: u128,
    /// Why this node's part has stopped, if it has.
    pub stopped: Option<String>,
}

struct Shared {
    me: NodeId,
    timing: RegisterTiming,
    raft: Raft,
    state: State,
    log: LogStore,
    calls: Arc<Calls>,
    sending: Sending,
    requests: mpsc::Sender<(NodeId, calls::Frame)>,
    operations: Semaphore,
    member_change: tokio::sync::Mutex<()>,     // one at a time
    partial: Mutex<BTreeMap<NodeId, Partial>>, // snapshots on their way here
    stopped: watch::Sender<Option<String>>,
    parents: Mutex<Option<(JoinHandle<()>, WriterThread)>>,
}

/// A node's part of the register. Clones are the same.
#[derive(Clone)]
pub struct RaftRegister {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for RaftRegister {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftRegister").field("me", &self.shared.me).finish_non_exhaustive()
    }
}

impl RaftRegister {
    /// Starts a node's part of the register: what the file holds, or nothing yet. Must be called
    /// within a tokio runtime. A new one then founds a cluster or joins one.
    ///
    /// # Errors
    /// [`OpenError`], when the file cannot be used.
    pub async fn open(
        config: RegisterConfig,
        wire: Arc<dyn ControlWire>,
    ) -> Result<Self, OpenError> {
        let database = Database::create(&config.file)
            .map_err(|error| StorageError::File(error.to_string()))?;
        Self::start(config.me, config.timing, database, wire).await
    }

    async fn start(
        me: NodeId,
        timing: RegisterTiming,
        database: Database,
        wire: Arc<dyn ControlWire>,
    ) -> Result<Self, OpenError> {
        let config = Arc::new(settings(timing)?);
        let (log, writer) = LogStore::open(database, me)?;
        let (calls, sending) = (Arc::new(Calls::new(wire)), Sending::default());
        let network = Network {
            me,
            calls: Arc::clone(&calls),
            log: log.clone(),
            sending: sending.clone(),
            append_timeout: timing.election.saturating_mul(2),
        };
        let state = State::new(log.clone());
        let raft = Raft::new(me.get(), config, network, log.clone(), state.clone()).await;
        let raft = raft.map_err(|error| OpenError::Start(error.to_string()))?;
        let (requests, queue) = mpsc::channel(serve::REQUESTS_MAX);
        let shared = Arc::new(Shared {
            me,
            timing,
            raft,
            state,
            log,
            calls,
            sending,
            requests,
            operations: Semaphore::new(OPERATIONS_MAX),
            member_change: tokio::sync::Mutex::default(),
            partial: Mutex::default(),
            stopped: watch::Sender::new(None),
            parents: Mutex::default(),
        });
        let server = tokio::spawn(serve::run(Arc::clone(&shared), queue));
        *shared.parents.lock().unwrap_or_else(PoisonError::into_inner) = Some((server, writer));
        Ok(Self { shared })
    }

    /// A message came over a link, in either class. Never waits.
    pub fn receive(&self, from: NodeId, message: &Bytes) {
        serve::receive(&self.shared, from, message);
    }

    /// A link was lost: whoever waits for a reply over it need not.
    pub fn lost(&self, peer: NodeId) {
        self.shared.calls.lost(peer);
    }

    /// What this node knows.
    #[must_use]
    pub fn status(&self) -> RegisterStatus {
        let metrics = self.shared.metrics();
        let nodes = |ids: &mut dyn Iterator<Item = u64>| ids.map(NodeId::new).collect();
        let machine = self.machine();
        RegisterStatus {
            cluster: self.shared.log.cluster(),
            leader: metrics.current_leader.map(NodeId::new),
            term: metrics.current_term,
            voters: nodes(&mut metrics.membership_config.voter_ids()),
            learners: nodes(&mut metrics.membership_config.membership().learner_ids()),
            version: machine.version(),
            digest: machine.digest(),
            stopped: self.shared.stopped(),
        }
    }

    /// What this node has applied, which others may be ahead of.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.shared.state.lock().machine.clone()
    }

    /// Ends this node's part: what it promised is on disk, and the file is closed.
    ///
    /// # Errors
    /// When a part of it had died.
    pub async fn shutdown(&self) -> Result<(), RegisterError> {
        let parents = self.shared.parents.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((server, writer)) = parents else { return Ok(()) };
        let died = |error: &dyn std::fmt::Display| RegisterError::Stopped(error.to_string());
        let raft = self.shared.raft.shutdown().await.map_err(|error| died(&error));
        self.shared.stop("shut down");
        let server = server.await.map_err(|error| died(&error));
        self.shared.log.close().await;
        let writer = tokio::task::spawn_blocking(move || writer.join()).await;
        let writer = writer.map_err(|error| died(&error))?.map_err(|error| died(&error));
        raft.and(server).and(writer)
    }
}

fn settings(timing: RegisterTiming) -> Result<openraft::Config, OpenError> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let entries = u64::try_from(ENTRIES_MAX).expect("a small constant");
    let config = openraft::Config {
        cluster_name: "register".to_owned(),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election),
        election_timeout_max: ms(timing.election).saturating_mul(2),
        install_snapshot_timeout: 30_000,
        max_payload_entries: entries,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timing.snapshot_after),
        max_in_snapshot_log_to_keep: timing.snapshot_after / 4,
        replication_lag_threshold: timing.snapshot_after.saturating_mul(2),
        api_channel_size: Some(1_024),
        notification_channel_size: Some(4_096),
        // A voter that comes back asks before it disturbs a leader that the others hear.
        enable_pre_vote: Some(true),
        // A restarted leader is elected again, or is none.
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    config.validate().map_err(|error| OpenError::Timing(error.to_string()))
}

impl Shared {
    fn metrics(&self) -> openraft::RaftMetrics<types::Types> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Why this node's part has stopped, if it has.
    fn stopped(&self) -> Option<String> {
        self.stopped.borrow().clone()
    }

    fn stop(&self, why: &str) {
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            if first {
                *stopped = Some(why.to_owned());
            }
            first
        });
    }
}

#[cfg(test)]
mod tests;
