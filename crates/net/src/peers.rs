//! One link to every member: made, made again, and watched.
//!
//! Of two nodes the one with the greater id calls. The owner sends without waiting, into bounded
//! queues, and takes events in order: `Connected`, what was received, `Disconnected`, and so on.
//! When a link is lost, what was queued is dropped with it and the owner is told: what must
//! arrive is sent again by the protocol above.

mod backoff;
mod inbox;
mod outbox;
mod packer;
mod session;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use antiphon_proto::NodeId;
use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::codec::{Agreed, Codecs};
use crate::error::{CloseReason, Closed, Refusal};
use crate::lane::{Lane, PerLane};
use crate::message::Outgoing;
use crate::refusals::Refusals;
use crate::transport::{Link, Transport};
use inbox::Inbox;
use outbox::Outbox;
pub use packer::Compression;
use packer::Packer;
use session::Session;

/// What every queued message counts beside its bytes: its place in a queue.
const MESSAGE_COST_BYTES: usize = 64;

const fn cost(bytes: usize) -> usize {
    bytes.saturating_add(MESSAGE_COST_BYTES)
}

/// Another node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Where it may be found: tried in turn, names resolved anew each time.
    pub addresses: Vec<String>,
}

/// How links to members are kept.
#[derive(Debug, Clone)]
pub struct PeersConfig {
    /// The other nodes; this node may stand among them and is skipped.
    pub members: Vec<Member>,
    /// Bytes that may wait to be sent to one peer, by lane; 64 are added for each message. A
    /// message longer than that may wait alone. Default 4, 32 and 8 MiB.
    pub send_bytes_max: PerLane<usize>,
    /// Bytes received from one peer that may wait for the owner, by lane, counted likewise; past
    /// that the lane's stream is not read. Default 4, 16 and 8 MiB.
    pub receive_bytes_max: PerLane<usize>,
    /// The wait before the second attempt to connect; it doubles each time. Default 20 ms.
    pub retry_min: Duration,
    /// The longest wait between attempts. Default 800 ms, so that a peer that comes back is
    /// found within a second.
    pub retry_max: Duration,
    /// What is queued at shutdown may take this long to leave. Default 250 ms.
    pub flush_timeout: Duration,
    /// Whether messages are compressed. Default off: a local network is faster than compressing.
    pub compression: Compression,
    /// Bodies below this are not compressed. Default 512 bytes: the work for a message would be
    /// more than for the bytes it saves.
    pub compression_bytes_min: usize,
    /// What others may send compressed. Default all; they decide whether they do.
    pub decodes: Codecs,
}

impl PeersConfig {
    /// The defaults, for these members.
    #[must_use]
    pub const fn new(members: Vec<Member>) -> Self {
        Self {
            members,
            send_bytes_max: PerLane { control: 4 << 20, log: 32 << 20, bulk: 8 << 20 },
            receive_bytes_max: PerLane { control: 4 << 20, log: 16 << 20, bulk: 8 << 20 },
            retry_min: Duration::from_millis(20),
            retry_max: Duration::from_millis(800),
            flush_timeout: Duration::from_millis(250),
            compression: Compression::Off,
            compression_bytes_min: 512,
            decodes: Codecs::ALL,
        }
    }

    fn check(&self) -> Result<(), StartError> {
        if self.retry_min.is_zero() || self.retry_max < self.retry_min {
            return Err(StartError::Retry { min: self.retry_min, max: self.retry_max });
        }
        for (at, member) in self.members.iter().enumerate() {
            if member.addresses.is_empty() {
                return Err(StartError::NoAddress(member.id));
            }
            if self.members.iter().skip(at.saturating_add(1)).any(|other| other.id == member.id) {
                return Err(StartError::Twice(member.id));
            }
        }
        Ok(())
    }
}

/// Why links are not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A member has no address.
    #[error("node {0} has no address")]
    NoAddress(NodeId),
    /// A member stands twice.
    #[error("node {0} stands twice among the members")]
    Twice(NodeId),
    /// The waits between attempts make no sense.
    #[error("attempts would be {min:?} to {max:?} apart")]
    Retry {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
}

/// Why a message was not taken. It was not sent, and will not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no link now: wait for [`PeerEvent::Connected`].
    #[error("not connected")]
    NotConnected,
    /// Too much waits already: send later, or nothing.
    #[error("too much is waiting to be sent")]
    Full,
    /// The message is longer than the lane allows: send less.
    #[error("a message of {bytes} bytes is longer than the lane's limit of {limit}")]
    TooLarge {
        /// Bytes of the message.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No member has this id.
    #[error("not a member")]
    UnknownPeer,
}

/// What happened to the links. For each peer: `Connected`, any number of `Received`,
/// `Disconnected`, all of one generation; then the same of a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// A link stands.
    Connected {
        /// To whom.
        peer: NodeId,
        /// Number of this link; greater than those before it.
        generation: u64,
    },
    /// A link is lost. What was queued for it was dropped.
    Disconnected {
        /// To whom.
        peer: NodeId,
        /// Number of the link.
        generation: u64,
        /// Why.
        why: Closed,
    },
    /// A message came.
    Received {
        /// From whom; authenticated by the transport.
        peer: NodeId,
        /// Number of the link that brought it.
        generation: u64,
        /// In which lane.
        lane: Lane,
        /// Head and body as one piece.
        message: Bytes,
    },
}

/// Figures of one peer, for metrics and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStats {
    /// Whose.
    pub peer: NodeId,
    /// Number of the link that stands, if one does.
    pub generation: Option<u64>,
    /// Links that were made.
    pub connects: u64,
    /// Links that were lost.
    pub disconnects: u64,
    /// Attempts to connect that failed.
    pub failed_attempts: u64,
    /// Messages that a link took.
    pub sent_messages: u64,
    /// Their bytes, as the owner gave them.
    pub sent_bytes: u64,
    /// Their bytes, as the link took them.
    pub sent_wire_bytes: u64,
    /// Messages among them that were compressed.
    pub packed_messages: u64,
    /// Messages among them that were long enough to compress and were not, since they do not
    /// shrink or the link is fast.
    pub skipped_messages: u64,
    /// Messages that were dropped when a link was lost before it took them.
    pub dropped_messages: u64,
    /// Messages that came.
    pub received_messages: u64,
    /// Their bytes, as the owner is given them.
    pub received_bytes: u64,
    /// Their bytes, as the link brought them.
    pub received_wire_bytes: u64,
    /// Messages among them that were compressed.
    pub unpacked_messages: u64,
    /// What is compressed on the link that stands.
    pub agreed: Agreed,
    /// Bytes that wait to be sent, by lane, 64 added for each message.
    pub queued_bytes: PerLane<usize>,
}

/// What sessions, owner and statistics share.
struct Core {
    me: NodeId,
    config: PeersConfig,
    peers: Vec<Outbox>, // by id, ascending; `inbox` has the same order
    inbox: Inbox,
    packer: Arc<Packer>,
    refusals: Arc<Refusals>,
}

impl Core {
    fn index(&self, peer: NodeId) -> Option<usize> {
        self.peers.binary_search_by_key(&peer, Outbox::peer).ok()
    }

    fn find(&self, peer: NodeId) -> Option<&Outbox> {
        self.index(peer).and_then(|index| self.peers.get(index))
    }
}

/// The root task, ended with the last handle.
struct Root {
    core: Arc<Core>,
    task: Mutex<Option<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
}

impl Drop for Root {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
            // The sessions die where they are, so the owner hears the end from here.
            self.core.inbox.finish();
        }
    }
}

/// Sends to peers. Clones are the same; with the last one the links end.
#[derive(Clone)]
pub struct Peers {
    core: Arc<Core>,
    root: Arc<Root>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("me", &self.core.me).finish_non_exhaustive()
    }
}

impl Peers {
    /// Begins to keep links to every member over `transport`, which admits the members from now
    /// on. Must be called within a tokio runtime. Keep a clone of the transport to reload its
    /// certificates; it listens until the last one is gone.
    ///
    /// # Errors
    /// [`StartError`] when the configuration makes no sense.
    pub fn start<T: Transport>(
        transport: Arc<T>,
        config: PeersConfig,
    ) -> Result<(Self, PeerEvents), StartError> {
        config.check()?;
        let me = transport.me();
        let mut members: Vec<Member> =
            config.members.iter().filter(|member| member.id != me).cloned().collect();
        members.sort_by_key(|member| member.id);
        let ids: Vec<NodeId> = members.iter().map(|member| member.id).collect();
        let packer = Packer::new(config.compression, config.compression_bytes_min, config.decodes);
        transport.offer(packer.offer());
        transport.admit(&ids);
        let core = Arc::new(Core {
            me,
            peers: ids.iter().map(|id| Outbox::new(*id, config.send_bytes_max)).collect(),
            inbox: Inbox::new(&ids, config.receive_bytes_max),
            packer: Arc::new(packer),
            refusals: transport.refusals(),
            config,
        });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(transport, Arc::clone(&core), members, stopped));
        let root = Arc::new(Root { core: Arc::clone(&core), task: Mutex::new(Some(task)), stop });
        let events = PeerEvents { core: Arc::clone(&core), stop: root.stop.clone() };
        Ok((Self { core, root }, events))
    }

    /// Queues a message for a peer; never waits. It leaves with whatever else is queued when the
    /// caller's task gives way.
    ///
    /// # Errors
    /// [`SendError`]: the message was not taken.
    pub fn try_send(&self, peer: NodeId, lane: Lane, message: Outgoing) -> Result<(), SendError> {
        let outbox = self.core.find(peer).ok_or(SendError::UnknownPeer)?;
        outbox.push(lane, message)
    }

    /// Waits until less than half of a lane's room is taken, or the link is lost.
    pub async fn room(&self, peer: NodeId, lane: Lane) {
        if let Some(outbox) = self.core.find(peer) {
            outbox.room(lane).await;
        }
    }

    /// Number of the link to a peer, if one stands.
    #[must_use]
    pub fn generation(&self, peer: NodeId) -> Option<u64> {
        self.core.find(peer)?.generation()
    }

    /// Gives up the link to a peer, if one stands, and makes a new one.
    pub fn drop_link(&self, peer: NodeId) {
        if let Some(outbox) = self.core.find(peer) {
            outbox.ask_to_drop();
        }
    }

    /// Figures of every peer, by ascending id.
    #[must_use]
    pub fn stats(&self) -> Vec<PeerStats> {
        let outboxes = self.core.peers.iter().enumerate();
        outboxes
            .map(|(index, outbox)| {
                let mut stats = outbox.stats();
                self.core.inbox.count(index, &mut stats);
                stats
            })
            .collect()
    }

    /// How often others were refused, and why.
    #[must_use]
    pub fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.core.refusals)
    }

    /// Sends what is queued, within the flush timeout, and ends every link. The owner's events
    /// end after what was still there.
    pub async fn shutdown(&self) {
        self.root.stop.send_replace(true);
        let task = self.root.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "failed to end the links in order");
        }
    }
}

/// The owner's side: what happened, in order. Dropping it ends the links.
pub struct PeerEvents {
    core: Arc<Core>,
    stop: watch::Sender<bool>,
}

impl std::fmt::Debug for PeerEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerEvents").field("me", &self.core.me).finish_non_exhaustive()
    }
}

impl PeerEvents {
    /// The next event; `None` after shutdown. New links and the control lane come first, bulk
    /// last but never not at all. May be cancelled.
    pub async fn next(&mut self) -> Option<PeerEvent> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`Self::next`] for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<PeerEvent>> {
        self.core.inbox.poll_next(cx)
    }

    /// The next event, if it is there already.
    pub fn try_next(&mut self) -> Option<PeerEvent> {
        self.core.inbox.try_next()
    }

    /// Holds a lane back, or lets it go again: while it is held its messages stay where they
    /// are, and soon the senders wait. A lost link takes its held messages with it.
    pub fn hold(&mut self, lane: Lane, held: bool) {
        self.core.inbox.hold(lane, held);
    }
}

impl Drop for PeerEvents {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.core.inbox.abandon();
    }
}

/// The parent of all tasks: sessions, one for each member, and the one that accepts.
async fn run<T: Transport>(
    transport: Arc<T>,
    core: Arc<Core>,
    members: Vec<Member>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut sessions = JoinSet::new();
    let mut doors = Vec::new();
    for (index, member) in members.into_iter().enumerate() {
        let (door, incoming) = mpsc::channel(1);
        doors.push(door);
        let session = Session::new(index, member, Arc::clone(&core), stopped.clone());
        sessions.spawn(session.run(Arc::clone(&transport), incoming));
    }
    tokio::select! {
        () = admit(&*transport, &core, &doors) => {}
        () = session::stop(&mut stopped) => {}
    }
    while let Some(ended) = sessions.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "failed to end a session in order");
        }
    }
    core.inbox.finish();
}

/// Hands links that others made to their sessions, until the transport listens no more.
async fn admit<T: Transport>(transport: &T, core: &Core, doors: &[mpsc::Sender<T::Link>]) {
    while let Ok(link) = transport.accept().await {
        let peer = link.peer();
        let door = core.index(peer).and_then(|index| doors.get(index));
        let Some(door) = door else {
            refuse(core, &link, &Refusal::UnknownNode(peer));
            continue;
        };
        if core.me > peer {
            refuse(core, &link, &Refusal::Duplicate(peer));
            continue;
        }
        match door.try_send(link) {
            Ok(()) => {}
            Err(TrySendError::Full(link) | TrySendError::Closed(link)) => {
                refuse(core, &link, &Refusal::Busy);
            }
        }
    }
}

fn refuse<L: Link>(core: &Core, link: &L, refusal: &Refusal) {
    link.close(CloseReason::Refused(refusal.kind()));
    core.refusals.note(refusal, None);
}
