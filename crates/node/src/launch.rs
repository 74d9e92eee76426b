//! Starting a node: its directory is opened, its state restored, its links made, its thread run.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as blocking;

use antiphon_net::{AnyTransport, Member, Peers, PeersConfig, Transport};
use antiphon_proto::{
    EntryId, Identity, LogEnd, Lsn, Recovered, Replica, Sessions, snapshot_has_sessions,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tracing::{error, info};

use crate::calls::Calls;
use crate::clock::Clock;
use crate::config::NodeConfig;
use crate::disk::{Disk, Done, Opened, Stored};
use crate::error::{Fatal, StartError};
use crate::local::Local;
use crate::machine::Machine;
use crate::mending::Mending;
use crate::owner::Owner;
use crate::status::{Progress, ReplicationCounts, SnapshotStatus};
use crate::waiters::Waiters;
use crate::{changes::LogSource, run};

/// A node that runs on its own thread.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<Result<(), Fatal>>,
    told: Started,
}

impl Running {
    /// Begins to stop the node. [`Self::ended`] says when it has.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// A handle that can stop the node from elsewhere: send `true`.
    #[must_use]
    pub fn stopper(&self) -> watch::Sender<bool> {
        self.stop.clone()
    }

    /// Waits until the node has stopped.
    ///
    /// # Errors
    /// Why it stopped by itself.
    pub async fn ended(self) -> Result<(), Fatal> {
        self.ended.await.unwrap_or(Err(Fatal::Front))
    }

    /// Positions, as they move.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.told.progress.clone()
    }

    /// Where other nodes reach this one.
    #[must_use]
    pub fn peer_address(&self) -> &str {
        &self.told.peer_address
    }

    /// The log, for reading.
    #[must_use]
    pub const fn log(&self) -> &LogSource {
        &self.told.log
    }

    /// The transport under the links, for showing other nodes a renewed certificate.
    #[must_use]
    pub fn links(&self) -> Arc<AnyTransport> {
        Arc::clone(&self.told.transport)
    }
}

/// What the shard's thread tells when it is up.
#[derive(Debug)]
struct Started {
    progress: watch::Receiver<Progress>,
    peer_address: String,
    log: LogSource,
    transport: Arc<AnyTransport>,
}

/// Starts a node on a thread of its own. `machine` makes the empty state there; `front` runs
/// there beside the shard until the node stops.
///
/// Waits until the directory is open and the links can be made, not until the node serves.
///
/// # Errors
/// Why it can't start.
pub fn launch<M, F>(
    config: NodeConfig,
    machine: impl FnOnce() -> M + Send + 'static,
    front: impl FnOnce(Local<M>) -> F + Send + 'static,
) -> Result<Running, StartError>
where
    M: Machine,
    F: Future<Output = ()> + 'static,
{
    let (stop, _) = watch::channel(false);
    let (started, starts) = blocking::sync_channel(1);
    let (ended_sender, ended) = oneshot::channel();
    let stopper = stop.clone();
    std::thread::Builder::new().name(format!("shard-0-{}", config.node)).spawn(move || {
        let outcome = thread(config, machine, front, (stopper, started));
        // Whoever started the node may not care how it ended.
        drop(ended_sender.send(outcome));
    })?;
    let told = starts.recv().unwrap_or_else(|_| {
        Err(StartError::State {
            what: "the shard's thread",
            why: "it ended before it had started".to_owned(),
        })
    })?;
    Ok(Running { stop, ended, told })
}

fn thread<M, F>(
    config: NodeConfig,
    machine: impl FnOnce() -> M,
    front: impl FnOnce(Local<M>) -> F,
    (stop, started): (watch::Sender<bool>, blocking::SyncSender<Result<Started, StartError>>),
) -> Result<(), Fatal>
where
    M: Machine,
    F: Future<Output = ()> + 'static,
{
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            drop(started.send(Err(error.into())));
            return Ok(());
        }
    };
    let local_set = LocalSet::new();
    let outcome = local_set.block_on(&runtime, async move {
        match open(&config, machine(), stop.clone()).await {
            Ok(node) => {
                let told = Started {
                    progress: node.progress.clone(),
                    peer_address: node.peer_address.clone(),
                    log: node.log.clone(),
                    transport: Arc::clone(&node.transport),
                };
                drop(started.send(Ok(told)));
                node.run(front, &stop).await
            }
            Err(error) => {
                drop(started.send(Err(error)));
                Ok(())
            }
        }
    });
    // Blocking reads of the log end by themselves and hold nothing that matters any more.
    runtime.shutdown_background();
    outcome
}

/// A node between its opening and its first event.
struct Node<M> {
    local: Local<M>,
    events: antiphon_net::PeerEvents,
    done: mpsc::UnboundedReceiver<Done>,
    progress: watch::Receiver<Progress>,
    peer_address: String,
    log: LogSource,
    transport: Arc<AnyTransport>,
}

async fn open<M: Machine>(
    config: &NodeConfig,
    mut machine: M,
    stop: watch::Sender<bool>,
) -> Result<Node<M>, StartError> {
    let initial = config.initial()?;
    let (completions, done) = mpsc::unbounded_channel();
    let Opened { disk, identity, hard, log, snapshot, acknowledged } =
        Disk::open(config, completions)?;
    let mut sessions = Sessions::new(config.sessions_max);
    let applied = restore((&mut machine, &mut sessions), log.base, snapshot)?;
    let at = applied.last;
    if at.lsn < log.base.lsn || at.lsn > log.end.last.lsn {
        let (base, last) = (log.base, log.end.last);
        return Err(StartError::State {
            what: "the log around the newest snapshot",
            why: format!(
                "the snapshot is at {at}, the log goes from {base} to {last}; move this directory \
                 away and start the node anew, other nodes have the entries"
            ),
        });
    }
    let me = Identity { node: config.node, incarnation: identity.0, store: identity.1 };
    info!(node = %me.node, incarnation = %me.incarnation, last = %log.end.last, %at, "opened");
    let recovered = Recovered { hard, log, applied: at.lsn, acknowledged };
    let replica = Replica::new(me, initial, recovered, config.limits);
    let transport = AnyTransport::bind(config.transport.clone()).await;
    let transport = Arc::new(transport.map_err(|error| StartError::Links(with_causes(&error)))?);
    let peer_address = transport.local_address();
    let (peers, events) = Peers::start(Arc::clone(&transport), links(config))
        .map_err(|error| StartError::Links(with_causes(&error)))?;
    let (progress, watched) = watch::channel(Progress::default());
    let log = LogSource::new(&disk, watched.clone());
    let owner = Owner {
        replica,
        machine,
        sessions,
        disk,
        peers,
        clock: Clock::start(),
        waiters: Waiters::default(),
        calls: Calls::default(),
        handler: None,
        left: Vec::new(),
        on_left: None,
        transport: Arc::clone(&transport),
        applied,
        applied_entries: 0,
        counts: ReplicationCounts::default(),
        snapshot: SnapshotStatus { lsn: at.lsn, ..SnapshotStatus::default() },
        progress,
        fatal: None,
        mending: Mending::default(),
        links: BTreeMap::new(),
        level_at: BTreeMap::new(),
        level_mark: Lsn::ZERO,
        waiting: None,
        snapshot_bytes: config.snapshot_bytes,
        snapshot_entries: config.snapshot_entries,
        retain_bytes: config.retain_bytes,
        turn: Rc::new(Notify::new()),
        requests: Vec::new(),
    };
    let local = Local::new(owner, stop);
    Ok(Node { local, events, done, progress: watched, peer_address, log, transport })
}

/// To whom links are kept, and how.
fn links(config: &NodeConfig) -> PeersConfig {
    let members = config.members.iter().filter(|member| member.node != config.node);
    let members = members
        .map(|member| Member { id: member.node, addresses: vec![member.peer.clone()] })
        .collect();
    PeersConfig {
        compression: config.compression,
        compression_bytes_min: config.compression_bytes_min,
        ..PeersConfig::new(members)
    }
}

/// An error and what was behind it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The state as of the newest snapshot, or empty when the log reaches back to the beginning.
fn restore<M: Machine>(
    (machine, sessions): (&mut M, &mut Sessions),
    base: EntryId,
    snapshot: Option<Stored>,
) -> Result<LogEnd, StartError> {
    match snapshot {
        Some(mut snapshot) => {
            let at = snapshot.position();
            let failed = |error| StartError::Restore { at: at.last, error };
            // Snapshots from before there were sessions begin with the state.
            if snapshot_has_sessions(snapshot.meta()).map_err(|error| failed(error.into()))? {
                sessions.restore(&mut snapshot).map_err(failed)?;
            }
            machine.restore(&mut snapshot).map_err(failed)?;
            Ok(at)
        }
        None if base.lsn == Lsn::ZERO => Ok(LogEnd::EMPTY),
        None => Err(StartError::State {
            what: "the state behind the log's first entry",
            why: format!("the log begins behind entry {base} and there is no snapshot of it"),
        }),
    }
}

impl<M: Machine> Node<M> {
    async fn run<F>(
        self,
        front: impl FnOnce(Local<M>) -> F,
        stop: &watch::Sender<bool>,
    ) -> Result<(), Fatal>
    where
        F: Future<Output = ()> + 'static,
    {
        let peers = self.local.inner().owner.borrow().peers.clone();
        let front = tokio::task::spawn_local(front(self.local.clone()));
        let fatal =
            run::run(self.local.clone(), self.events, self.done, (stop.subscribe(), front)).await;
        // Whatever still holds the shard learns that it is over.
        stop.send_replace(true);
        peers.shutdown().await;
        let mut owner = self.local.inner().owner.borrow_mut();
        // The front's handlers hold the shard, which holds them.
        owner.handler = None;
        owner.on_left = None;
        // After a failure the directory is left as it is.
        let closed = if fatal.is_none() { owner.disk.close() } else { Ok(()) };
        match (fatal, closed) {
            (Some(fatal), _) => Err(fatal),
            (None, Ok(())) => Ok(()),
            (None, Err(why)) => {
                error!(%why, "failed to close the data directory in order");
                Err(Fatal::from(&why))
            }
        }
    }
}

#[cfg(test)]
mod tests;
