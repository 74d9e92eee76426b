//! Every option of a node with its effect, unit, default and the sum behind the default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use antiphon::Level;
use antiphon_net::Compression;
use antiphon_proto::{NodeId, Policy};

use crate::config::Presence::{Default, Optional, Required};
use crate::config::schema::section;
use crate::config::{
    ByteLen, Complaint, Endpoint, Layers, Listen, Member, Refused, Section, ShapeKind,
    TransportKind,
};

/// All sections, in the order in which a reader wants them.
pub(super) static SECTIONS: [Section; 7] = [
    NodeOptions::SECTION,
    ClusterOptions::SECTION,
    RespOptions::SECTION,
    PeerOptions::SECTION,
    HttpOptions::SECTION,
    LogOptions::SECTION,
    LimitOptions::SECTION,
];

/// What a node is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Which node this is.
    pub node: NodeOptions,
    /// Which cluster it belongs to.
    pub cluster: ClusterOptions,
    /// Where clients come in.
    pub resp: RespOptions,
    /// Links to the other nodes.
    pub peer: PeerOptions,
    /// Pages for people and monitors.
    pub http: HttpOptions,
    /// The log on disk.
    pub log: LogOptions,
    /// What clients may take.
    pub limits: LimitOptions,
}

impl NodeConfig {
    /// What `layers` say.
    ///
    /// # Errors
    /// All values that are missing or cannot be what their key needs.
    pub fn read(layers: &Layers) -> Result<Self, Refused> {
        let mut complaints: Vec<Complaint> = Vec::new();
        let node = NodeOptions::read(layers, &mut complaints);
        let cluster = ClusterOptions::read(layers, &mut complaints);
        let resp = RespOptions::read(layers, &mut complaints);
        let peer = PeerOptions::read(layers, &mut complaints);
        let http = HttpOptions::read(layers, &mut complaints);
        let log = LogOptions::read(layers, &mut complaints);
        let limits = LimitOptions::read(layers, &mut complaints);
        match (node, cluster, resp, peer, http, log, limits) {
            (
                Some(node),
                Some(cluster),
                Some(resp),
                Some(peer),
                Some(http),
                Some(log),
                Some(limits),
            ) if complaints.is_empty() => Ok(Self { node, cluster, resp, peer, http, log, limits }),
            _ => Err(Refused(complaints)),
        }
    }

    /// The entry of this node among the members.
    #[must_use]
    pub fn own_member(&self) -> Option<&Member> {
        self.cluster.members.iter().find(|member| member.id == self.node.id)
    }
}

section! {
    /// Which node this is and where it keeps its files.
    NodeOptions = "node" {
        /// Number of this node, from 1, for all time; its certificate says the same. Required.
        id: NodeId = Required("1");
        /// Directory of the log, the hard state and the snapshots; made if it is not there.
        /// Required. Relative paths here and below start at the working directory.
        data_dir: PathBuf = Required("\"/var/lib/antiphon\"");
    }
}

section! {
    /// Which cluster it belongs to, the same on all its nodes.
    ClusterOptions = "cluster" {
        /// Name of the cluster; certificates of nodes carry it. Required.
        name: String = Required("\"shop\"");
        /// All nodes: number, address for the other nodes, address for clients, and a region if
        /// there are several. Addresses may be names; they are looked up at every dial. Required.
        members: Vec<Member> = Required("[
  { id = 1, peer = \"127.0.0.1:7301\", resp = \"127.0.0.1:7101\" },
  { id = 2, peer = \"127.0.0.1:7302\", resp = \"127.0.0.1:7102\" },
  { id = 3, peer = \"127.0.0.1:7303\", resp = \"127.0.0.1:7103\" },
]");
        /// How the replication tree is drawn: star, or chain where each node sends to the next.
        /// Default star: no write waits for more than the fastest majority.
        shape: ShapeKind = Default("\"star\"");
        /// Policy whose acknowledgements survive every automatic failover: local, ack(n), quorum,
        /// all, region(n) or prefix(n). Default quorum: of three nodes any one may be lost without loss or stop.
        floor: Policy = Default("\"quorum\"");
        /// Policy of connections that chose none: floor, or as for `floor`, or received(n).
        /// Default: the floor.
        default_policy: Option<Level> = Optional("\"quorum\"");
    }
}

section! {
    /// Where clients of the Redis protocol come in.
    RespOptions = "resp" {
        /// Address of the client port. Default 127.0.0.1:7101: loopback, since another address
        /// needs a password or TLS.
        listen: SocketAddr = Default("\"127.0.0.1:7101\"");
        /// File with the password of the user `default`. Default: none is asked for.
        password_file: Option<PathBuf> = Optional("\"/etc/antiphon/password\"");
        /// Certificate chain of the client port in PEM, the server's own first. Default: no TLS.
        tls_cert: Option<PathBuf> = Optional("\"/etc/antiphon/client-port.pem\"");
        /// Private key of that certificate in PEM. Default: no TLS.
        tls_key: Option<PathBuf> = Optional("\"/etc/antiphon/client-port.key\"");
        /// Connections of clients at once. Default 10000, as Redis.
        max_clients: u32 = Default("10000");
        /// Sessions at a time, in which writes execute once. Opening one more is refused unless one
        /// has expired. Default 100000: some 20 MiB without their replies.
        max_sessions: u32 = Default("100000");
        /// Longest value, and longest argument of any command. Default 64 MiB, also the most:
        /// what one log entry holds.
        value_bytes_max: ByteLen = Default("\"64 MiB\"");
        /// Whether a replica forwards writes to the primary; otherwise it answers READONLY.
        /// Default true: a client may talk to any node.
        forward_writes: bool = Default("true");
        /// How long a write waits for its policy before its outcome is reported as unknown.
        /// Default 5s: longer than a failover takes, shorter than clients wait.
        policy_timeout: Duration = Default("\"5s\"");
    }
}

section! {
    /// Links to the other nodes.
    PeerOptions = "peer" {
        /// Address where other nodes connect. Default 127.0.0.1:7301.
        listen: Endpoint = Default("\"127.0.0.1:7301\"");
        /// What carries the links: quic between processes, memory inside one. Default quic.
        transport: TransportKind = Default("\"quic\"");
        /// Authorities to believe, in PEM; two while one replaces the other. Needed for quic.
        ca: Option<PathBuf> = Optional("\"/etc/antiphon/ca.pem\"");
        /// Certificate chain of this node in PEM. Needed for quic.
        cert: Option<PathBuf> = Optional("\"/etc/antiphon/node-1.pem\"");
        /// Private key of that certificate in PEM. Needed for quic.
        key: Option<PathBuf> = Optional("\"/etc/antiphon/node-1.key\"");
        /// Largest packet tried, in bytes, 1228 to 9000. Default 1500: every Ethernet carries it;
        /// 9000 doubles the throughput where every hop carries that.
        mtu: u16 = Default("1500");
        /// Bytes a second that one link shall be able to carry. Default 1.25 GB: 10 Gbit/s.
        bandwidth: ByteLen = Default("\"1.25 GB\"");
        /// Longest usual round trip to another node. Default 10ms: with the bandwidth it makes
        /// 12.5 MB on the way in each lane, enough between data centres of one region.
        round_trip: Duration = Default("\"10ms\"");
        /// Bytes sent ahead to one replica that it has not acknowledged. Default 16 MiB: the
        /// bandwidth times the round trip, and room for its fsync.
        window_bytes: ByteLen = Default("\"16 MiB\"");
        /// Silence after which a link counts as lost, 500ms to 1m; of two nodes the smaller value
        /// counts. Default 2s: of the four signs of life that a link gives in it, three may be lost.
        idle_timeout: Duration = Default("\"2s\"");
        /// What this node compresses before it sends it: off, lz4, zstd, or auto, which does it
        /// while that gets more through. Default off: a local network is faster than compressing.
        compression: Compression = Default("\"off\"");
        /// Messages below this are not compressed. Default 512 B: below, the work for a message
        /// is more than for the bytes it saves.
        compression_bytes_min: ByteLen = Default("\"512 B\"");
    }
}

section! {
    /// Pages for people and monitors: /status, /metrics, /livez, /readyz, /changes.
    HttpOptions = "http" {
        /// Address of the pages, or "off". Default 127.0.0.1:7201: they ask for no password.
        listen: Listen = Default("\"127.0.0.1:7201\"");
        /// Whether /changes hands out the writes, with keys and values, in clear text. Default
        /// false. Asks for the password of the client port, if there is one.
        changes: bool = Default("false");
    }
}

section! {
    /// The log on disk.
    LogOptions = "log" {
        /// Bytes of one segment file, prewritten before use. Default 64 MiB: half a second of
        /// full load, and small beside the log kept.
        segment_bytes: ByteLen = Default("\"64 MiB\"");
        /// Bytes of log kept behind the newest snapshot for replicas that are late. Default 4 GiB:
        /// an outage of ten minutes at 70,000 writes of 100 B a second.
        retain_bytes: ByteLen = Default("\"4 GiB\"");
        /// Bytes of log after which a snapshot is made. Default 1 GiB: replayed in seconds.
        snapshot_bytes: ByteLen = Default("\"1 GiB\"");
        /// Entries after which a snapshot is made, if the bytes do not come first. Default
        /// 4,000,000: replayed in seconds.
        snapshot_entries: u64 = Default("4000000");
    }
}

section! {
    /// What clients may take; every limit has a counter on the metrics page.
    LimitOptions = "limits" {
        /// Connections at once that have not authenticated. Default 128.
        unauthenticated_clients: u32 = Default("128");
        /// Time to authenticate. Default 10s.
        authenticate_within: Duration = Default("\"10s\"");
        /// Silence after which a connection is closed; 0s for never. Default 0s, as Redis.
        idle_timeout: Duration = Default("\"0s\"");
        /// Replies not yet taken at which a connection's commands wait. Default 1 MiB.
        output_soft_bytes: ByteLen = Default("\"1 MiB\"");
        /// Replies not yet taken at which a connection is closed. Default 256 MiB: four of the
        /// longest values.
        output_hard_bytes: ByteLen = Default("\"256 MiB\"");
        /// Memory of all connections together. Default 1 GiB.
        connection_bytes_max: ByteLen = Default("\"1 GiB\"");
    }
}
