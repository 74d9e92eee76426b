//! The shard that sessions stand before, when it is a real one: a node's, on its thread.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use antiphon::{
    ApplyError, Lane, Level, Local, Machine, NodeStatus, OnceError, OpenError, PeerStats, Placed,
    RoleStatus,
};
use antiphon_kv::{Cut, Engine};
use antiphon_proto::{
    ChildState, ChildStatus, EntryId, Executed, Frame, LoggedReply, Lsn, NodeId, SessionId,
    SessionInfo, SessionRefusal, Ticket, Token,
};
use bytes::{Bytes, BytesMut};

use crate::shard::{CallError, Counts, Fate, Lost, ProposeError, Role, Shard, View};
use crate::status::{Damage, Distribution, Link, LogFiles, Replica, Status, Upstream};

/// The keyspace as a node's state machine.
#[derive(Debug)]
pub struct Keyspace(pub Engine);

struct Picture(Cut);

impl antiphon::Cut for Picture {
    fn write(self: Box<Self>, out: &mut dyn io::Write) -> io::Result<()> {
        self.0.write(out)
    }
}

impl Machine for Keyspace {
    fn apply(&mut self, entry: &Frame<'_>) -> Result<(), ApplyError> {
        let header = entry.header;
        self.0
            .apply(header.id.lsn, header.hlc, entry.payload)
            .map_err(|error| ApplyError(error.to_string()))
    }

    fn forget_speculation(&mut self) {
        self.0.forget_speculation();
    }

    fn cut(&self) -> Box<dyn antiphon::Cut> {
        Box::new(Picture(self.0.cut()))
    }

    fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()> {
        self.0.restore(from)
    }

    fn digest(&self) -> [u8; 16] {
        self.0.digest()
    }
}

/// What is known of a member beyond the log: where its clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAddress {
    /// The member.
    pub node: NodeId,
    /// Host of its client port.
    pub host: String,
    /// That port.
    pub port: u16,
}

/// Names that pages show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The cluster's name.
    pub cluster: String,
    /// `star` or `chain`.
    pub shape: String,
    /// All members, this node among them.
    pub members: Vec<MemberAddress>,
}

/// A node's shard as sessions see it. A clone is another handle to the same shard.
#[derive(Debug, Clone)]
pub struct NodeShard {
    local: Local<Keyspace>,
    names: Rc<Names>,
}

impl NodeShard {
    /// The shard behind `local`.
    #[must_use]
    pub fn new(local: Local<Keyspace>, names: Names) -> Self {
        Self { local, names: Rc::new(names) }
    }

    /// The node's own handle.
    #[must_use]
    pub const fn local(&self) -> &Local<Keyspace> {
        &self.local
    }

    fn address(&self, node: NodeId) -> (String, u16) {
        let member = self.names.members.iter().find(|member| member.node == node);
        member.map(|member| (member.host.clone(), member.port)).unwrap_or_default()
    }
}

impl From<antiphon::ProposeError> for ProposeError {
    fn from(error: antiphon::ProposeError) -> Self {
        match error {
            antiphon::ProposeError::NotPrimary { primary } => Self::NotPrimary { primary },
            antiphon::ProposeError::NotReady => Self::NoReplicas,
            antiphon::ProposeError::Busy => Self::Busy,
            antiphon::ProposeError::TooLarge(_) => Self::TooLarge,
        }
    }
}

impl Shard for NodeShard {
    fn with<R>(&self, f: impl FnOnce(&mut Engine) -> R) -> R {
        self.local.with(|machine| f(&mut machine.0))
    }

    fn view(&self) -> View {
        let view = self.local.view();
        let role = if view.primary == view.me {
            Role::Primary { serving: view.serving }
        } else {
            let known = view.epoch > antiphon_proto::Epoch::ZERO;
            Role::Replica { primary: known.then_some(view.primary) }
        };
        View {
            role,
            me: view.me,
            shard: view.shard,
            epoch: view.epoch,
            last: view.last,
            durable: view.durable,
            stable: view.stable,
            applied: view.applied,
            now_ms: view.wall_ms,
            applied_hlc: view.applied_hlc,
        }
    }

    fn meets(&self, wanted: Level) -> bool {
        self.local.can_reach(wanted)
    }

    fn propose(
        &self,
        bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<EntryId, ProposeError> {
        self.local.propose(bytes, write).map_err(ProposeError::from)
    }

    fn admit(&self, ticket: Ticket) -> Result<Option<Executed>, SessionRefusal> {
        self.local.admit(ticket)
    }

    fn propose_once(
        &self,
        (ticket, reply): (Ticket, LoggedReply<'_>),
        bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<EntryId, ProposeError> {
        match self.local.propose_once(ticket, reply, bytes, write) {
            Ok(Placed::New(entry)) => Ok(entry),
            Err(OnceError::Propose(error)) => Err(error.into()),
            Ok(Placed::Before(_)) | Err(OnceError::Refused(_)) => {
                unreachable!("the write was admitted in this turn, and nothing ran in between")
            }
        }
    }

    fn open_session(&self, ttl_ms: u64) -> Result<EntryId, OpenError> {
        self.local.open_session(ttl_ms)
    }

    fn close_session(&self, session: SessionId) -> Result<EntryId, OnceError> {
        self.local.close_session(session)
    }

    fn session(&self, session: SessionId) -> Option<SessionInfo> {
        self.local.session(session)
    }

    fn poll_reached(
        &self,
        cx: &mut Context<'_>,
        entry: EntryId,
        wanted: Level,
    ) -> Poll<Result<(), Lost>> {
        self.local.poll_reached(cx, entry, wanted).map_err(|_lost| Lost)
    }

    fn poll_applied(&self, cx: &mut Context<'_>, lsn: Lsn) -> Poll<()> {
        self.local.poll_applied(cx, lsn)
    }

    fn fate(&self, token: Token) -> Fate {
        match self.local.fate(token) {
            antiphon::Fate::Pending => Fate::Pending,
            antiphon::Fate::Stable => Fate::Stable,
            antiphon::Fate::Lost => Fate::Lost,
            antiphon::Fate::Unknown => Fate::Unknown,
        }
    }

    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Bytes, CallError>> + 'static {
        let local = self.local.clone();
        async move {
            local.call(to, request, deadline).await.map_err(|error| match error {
                antiphon::CallError::NotSent => CallError::NotSent,
                antiphon::CallError::NoAnswer => CallError::NoAnswer,
                antiphon::CallError::Refused => CallError::Refused,
            })
        }
    }

    fn counts(&self, entry: EntryId) -> Counts {
        let (received, durable) = self.local.copies(entry.lsn);
        Counts { received, durable }
    }

    fn status(&self) -> Status {
        status(self, &self.local.status())
    }

    fn snapshot(&self) -> bool {
        self.local.snapshot()
    }

    fn shutdown(&self) {
        self.local.shutdown();
    }
}

fn status(shard: &NodeShard, node: &NodeStatus) -> Status {
    let replica = &node.replica;
    let (primary, serving) = match replica.role {
        // A primary that can't acknowledge at the floor does not take its role's traffic.
        RoleStatus::Primary { serving } => (true, serving && shard.local.can_reach(Level::Floor)),
        RoleStatus::Recovering { .. } => (true, false),
        RoleStatus::Follower { synced } => (false, synced),
        RoleStatus::Halted => (false, false),
    };
    let config = &replica.config;
    let (host, port) = shard.address(node.node);
    let voters = config.voters.iter().filter(|member| member.node != node.node);
    let replicas = voters.map(|member| self::replica(shard, node, member.node)).collect();
    Status {
        cluster: shard.names.cluster.clone(),
        node: node.node,
        name: format!("node-{}", node.node),
        address: format!("{host}:{port}"),
        primary,
        serving,
        waiting: replica.waiting.as_ref().map(ToString::to_string),
        epoch: config.epoch,
        floor: config.floor,
        shape: shard.names.shape.clone(),
        last: replica.last.lsn,
        durable: replica.durable,
        stable: replica.stable,
        applied: replica.applied,
        digest: node.digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        upstream: (!primary).then(|| upstream(shard, node)),
        replicas: if primary { replicas } else { Vec::new() },
        log: LogFiles {
            first: node.disk.base.next(),
            bytes: node.disk.log.segment_bytes,
            appended_entries: node.disk.appended_entries,
            appended_bytes: node.disk.appended_bytes,
            applied_entries: node.applied_entries,
            applied_bytes: node.counts.applied_bytes,
        },
        fsync: fsync(node),
        peer_certificate_seconds: node.certificate_ends.map(seconds_until),
        links: node.peers.iter().map(link).collect(),
        refused_links: node.refused_links.iter().map(|(reason, count)| (*reason, *count)).collect(),
        resyncs: node.counts.resyncs,
        log_cuts: node.counts.log_cuts,
        replication_errors: node.counts.errors().to_vec(),
        reconnects: node.peers.iter().map(|peer| peer.connects.saturating_sub(1)).sum(),
        snapshot_at_s: node.snapshot.at_ms / 1_000,
        snapshot_lsn: node.snapshot.lsn,
        snapshotting: node.snapshot.running,
        sessions: node.sessions.open,
        session_replies_bytes: node.sessions.replies_bytes,
        damage: Damage {
            open: node.damage.open.clone(),
            found: node.damage.found,
            mended: node.damage.mended,
        },
    }
}

fn link(peer: &PeerStats) -> Link {
    let queued =
        |lane: Lane| (lane.name(), u64::try_from(*peer.queued_bytes.of(lane)).unwrap_or(u64::MAX));
    Link {
        node: peer.peer,
        connected: peer.generation.is_some(),
        compression: peer.agreed.send.to_string(),
        connects: peer.connects,
        losses: peer.disconnects,
        failed_attempts: peer.failed_attempts,
        sent_messages: peer.sent_messages,
        sent_bytes: peer.sent_bytes,
        sent_wire_bytes: peer.sent_wire_bytes,
        packed_messages: peer.packed_messages,
        skipped_messages: peer.skipped_messages,
        dropped_messages: peer.dropped_messages,
        received_messages: peer.received_messages,
        received_bytes: peer.received_bytes,
        received_wire_bytes: peer.received_wire_bytes,
        queued_bytes: Lane::ALL.map(queued),
    }
}

/// Seconds from now until then; negative when it is over.
fn seconds_until(then: std::time::SystemTime) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match then.duration_since(std::time::SystemTime::now()) {
        Ok(left) => whole(left),
        Err(over) => -whole(over.duration()),
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn upstream(shard: &NodeShard, node: &NodeStatus) -> Upstream {
    let replica = &node.replica;
    let parent = replica.config.parent(node.node).unwrap_or(replica.config.primary);
    let (host, port) = shard.address(parent);
    let lag = replica.head.since(replica.applied);
    let age_ms = now_ms().saturating_sub(node.applied_ms);
    Upstream {
        node: parent,
        host,
        port,
        connected: node.linked.contains(&parent),
        silent_s: node.heard_ms / 1_000,
        loading: false,
        lag_entries: lag,
        // Before the first entry there is no age to tell.
        lag_s: if lag == 0 || node.applied_ms == 0 {
            0.0
        } else {
            Duration::from_millis(age_ms).as_secs_f64()
        },
    }
}

fn replica(shard: &NodeShard, node: &NodeStatus, of: NodeId) -> Replica {
    let known = &node.replica;
    let child = known.children.iter().find(|child| child.node == of);
    // In a chain the primary hears of those further down from their parents.
    let told = known.below.iter().find(|(below, _)| *below == of).map(|(_, at)| *at);
    let positions = child.map(|child| child.positions).or(told).unwrap_or_default();
    let lag_entries = known.last.lsn.since(positions.durable);
    let (host, port) = shard.address(of);
    Replica {
        node: of,
        host,
        port,
        connected: if child.is_some() { node.linked.contains(&of) } else { told.is_some() },
        state: state(child, told.is_some(), lag_entries).to_owned(),
        source: source(child, told.and_then(|_| known.config.parent(of))),
        sent: child.map_or(positions.received, |child| child.sent),
        received: positions.received,
        durable: positions.durable,
        applied: positions.applied,
        lag_entries,
        lag_bytes: child
            .map_or(0, |child| u64::try_from(child.in_flight_bytes).unwrap_or(u64::MAX)),
        lag_s: match node.behind_ms.get(&of) {
            Some(ms) if lag_entries > 0 => Duration::from_millis(*ms).as_secs_f64(),
            Some(_) | None => 0.0,
        },
    }
}

/// Entries that a replica may lack and still be called in sync: what is on its way under load.
const IN_SYNC_ENTRIES: u64 = 10_000;

fn state(child: Option<&ChildStatus>, told: bool, lag_entries: u64) -> &'static str {
    let state = child.map(|child| child.state);
    match state.or(told.then_some(ChildState::Streaming)) {
        Some(ChildState::Streaming) if lag_entries <= IN_SYNC_ENTRIES => "in sync",
        Some(ChildState::Streaming | ChildState::Loading) => "catching up",
        Some(ChildState::NeedsSnapshot) => "needs a snapshot",
        Some(ChildState::Closed) | None => "away",
    }
}

/// Where a replica's entries come from.
fn source(child: Option<&ChildStatus>, parent: Option<NodeId>) -> String {
    match (child.map(|child| child.state), parent) {
        (Some(ChildState::Streaming), _) => "memory".to_owned(),
        (Some(ChildState::Loading), _) => "disk".to_owned(),
        (None, Some(parent)) => format!("node {parent}"),
        (Some(ChildState::Closed | ChildState::NeedsSnapshot) | None, _) => "-".to_owned(),
    }
}

fn fsync(node: &NodeStatus) -> Distribution {
    let latency = &node.disk.log.sync_latency;
    let mut count = 0;
    let buckets = latency
        .buckets()
        .map(|(micros, observed)| {
            count += observed;
            (Duration::from_micros(micros).as_secs_f64(), count)
        })
        .collect();
    Distribution { buckets, count, sum_s: latency.sum().as_secs_f64() }
}

/// The client address of a member, for configurations that name it as `host:port`.
#[must_use]
pub fn member_address(node: NodeId, address: &str) -> MemberAddress {
    let parsed: Option<SocketAddr> = address.parse().ok();
    let (host, port) = match (parsed, address.rsplit_once(':')) {
        (Some(address), _) => (address.ip().to_string(), address.port()),
        (None, Some((host, port))) => (host.to_owned(), port.parse().unwrap_or_default()),
        (None, None) => (address.to_owned(), 0),
    };
    MemberAddress { node, host, port }
}
