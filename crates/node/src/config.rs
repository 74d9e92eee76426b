//! How a node is set up.

use std::path::PathBuf;

use antiphon_net::{Compression, TransportConfig};
use antiphon_proto::{Config, Limits, Member, NodeId, Policy, SESSIONS_MAX, Shape, ShardId};

use crate::error::StartError;

/// A member of the cluster, as the operator writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberConfig {
    /// Who. The first member of the list is the primary.
    pub node: NodeId,
    /// Where its links end, `host:port`; names are resolved at each attempt.
    pub peer: String,
    /// Where it stands, for `region` policies.
    pub region: String,
    /// Whether it counts.
    pub role: MemberRole,
}

/// What a member is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberRole {
    /// It counts for policies and in a recovery. At most 15 members do.
    #[default]
    Voter,
    /// It receives, and serves readers of its own state.
    Learner {
        /// From whom; none for whom there is room.
        parent: Option<NodeId>,
    },
}

/// Everything that a node needs to start.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// This node.
    pub node: NodeId,
    /// The cluster's name: nodes, certificates and directories of another are refused.
    pub cluster: String,
    /// Where its files are. Made if it is not there.
    pub data_dir: PathBuf,
    /// All members, this node among them.
    pub members: Vec<MemberConfig>,
    /// How the replication tree is drawn. Default star.
    pub shape: Shape,
    /// Learners that one node sends to at most, where the tree is drawn for them. Default 8: a
    /// thousand nodes are four steps from the primary.
    pub fan_out: usize,
    /// The policy whose acknowledgements are never lost. Default quorum.
    pub floor: Policy,
    /// How nodes talk.
    pub transport: TransportConfig,
    /// Whether links compress what they carry. Default off.
    pub compression: Compression,
    /// Bodies of messages below this are not compressed. Default 512 bytes.
    pub compression_bytes_min: usize,
    /// Bounds on memory and on what is sent ahead.
    pub limits: Limits,
    /// Bytes of one file of the log. Default 64 MiB: rolled every few seconds at full speed, and
    /// prepared ahead.
    pub segment_bytes: u64,
    /// A snapshot is begun when the log grew by this many bytes since the last one. Default
    /// 256 MiB: a restart replays at most some seconds of full speed.
    pub snapshot_bytes: u64,
    /// The same by entries. Default 4 million: replayed in seconds.
    pub snapshot_entries: u64,
    /// Bytes of the log that are kept behind the last snapshot for replicas that are away.
    /// Default 1 GiB.
    pub retain_bytes: u64,
    /// Client sessions at a time. Opening one more is refused unless one has expired. Counts at
    /// the primary. Default 100,000: some 20 MiB without their replies.
    pub sessions_max: usize,
}

impl NodeConfig {
    /// The defaults for a node of `cluster` with its files in `data_dir`.
    #[must_use]
    pub fn new(
        cluster: &str,
        node: NodeId,
        data_dir: impl Into<PathBuf>,
        transport: TransportConfig,
    ) -> Self {
        Self {
            node,
            cluster: cluster.to_owned(),
            data_dir: data_dir.into(),
            members: Vec::new(),
            shape: Shape::Star,
            fan_out: 8,
            floor: Policy::Quorum,
            transport,
            compression: Compression::Off,
            compression_bytes_min: 512,
            limits: Limits::default(),
            segment_bytes: 64 << 20,
            snapshot_bytes: 256 << 20,
            snapshot_entries: 4_000_000,
            retain_bytes: 1 << 30,
            sessions_max: SESSIONS_MAX,
        }
    }

    /// The configuration of epoch 0.
    pub(crate) fn initial(&self) -> Result<Config, StartError> {
        let wrong = |why: String| StartError::Config(why);
        if !self.members.iter().any(|member| member.node == self.node) {
            return Err(wrong(format!("node {} is not among the members", self.node)));
        }
        let voters = self.members.iter().filter(|member| member.role == MemberRole::Voter);
        let voters = voters
            .map(|member| Member { node: member.node, region: member.region.clone() })
            .collect();
        let learners = self.members.iter().filter_map(|member| match member.role {
            MemberRole::Learner { parent } => Some((member.node, parent)),
            MemberRole::Voter => None,
        });
        let learners: Vec<_> = learners.collect();
        Config::initial(ShardId::default(), voters, self.shape, self.floor)
            .and_then(|config| config.with_learners(&learners, self.fan_out))
            .map_err(|error| wrong(error.to_string()))
    }
}
