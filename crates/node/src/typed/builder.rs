//! Setting up an embedded node.

use std::path::PathBuf;

use antiphon_net::{Compression, MemoryNetwork, QuicConfig, TransportConfig};
use antiphon_proto::{Limits, NodeId, Policy, Shape};
use tokio::sync::mpsc;

use crate::config::{MemberConfig, MemberRole, NodeConfig};
use crate::error::StartError;
use crate::launch::launch;
use crate::typed::front;
use crate::typed::machine::{StateMachine, Typed};
use crate::typed::node::Node;

/// Requests that may wait for the shard. More are answered with "busy".
const INBOX: usize = 16_384;

/// Sets up a node around a state machine.
#[derive(Debug)]
pub struct Builder<S> {
    state: S,
    node: NodeId,
    cluster: String,
    data_dir: Option<PathBuf>,
    members: Vec<MemberConfig>,
    shape: Shape,
    floor: Policy,
    transport: Option<TransportConfig>,
    compression: Compression,
    limits: Limits,
    sizes: Sizes,
    sessions_max: Option<usize>,
}

/// Bytes of the log's parts; none for the defaults of [`NodeConfig`].
#[derive(Debug, Default)]
struct Sizes {
    segment: Option<u64>,
    snapshot: Option<u64>,
    retain: Option<u64>,
}

impl<S: StateMachine> Builder<S> {
    /// Begins with an empty state, as every node of the cluster does.
    #[must_use]
    pub fn new(state: S) -> Self {
        Self {
            state,
            node: NodeId::new(1),
            cluster: "antiphon".to_owned(),
            data_dir: None,
            members: Vec::new(),
            shape: Shape::Star,
            floor: Policy::Quorum,
            transport: None,
            compression: Compression::Off,
            limits: Limits::default(),
            sizes: Sizes::default(),
            sessions_max: None,
        }
    }

    /// Which member this is. Default 1.
    #[must_use]
    pub fn id(mut self, id: u64) -> Self {
        self.node = NodeId::new(id);
        self
    }

    /// The cluster's name. Default `antiphon`.
    #[must_use]
    pub fn cluster(mut self, name: &str) -> Self {
        name.clone_into(&mut self.cluster);
        self
    }

    /// Where the node's files are. Required.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Adds a member of the cluster and where its links end. The first one is the primary.
    /// Without any, the node is alone.
    #[must_use]
    pub fn member(mut self, id: u64, address: &str) -> Self {
        let (node, peer) = (NodeId::new(id), address.to_owned());
        let role = MemberRole::Voter;
        self.members.push(MemberConfig { node, peer, region: String::new(), role });
        self
    }

    /// Adds a member that receives and never counts, below one that has room. There may be
    /// hundreds: the primary sends to the other members only.
    #[must_use]
    pub fn learner(mut self, id: u64, address: &str) -> Self {
        let (node, peer) = (NodeId::new(id), address.to_owned());
        let role = MemberRole::Learner { parent: None };
        self.members.push(MemberConfig { node, peer, region: String::new(), role });
        self
    }

    /// How the replication tree is drawn. Default star.
    #[must_use]
    pub const fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// The policy whose acknowledgements are never lost. Default quorum.
    #[must_use]
    pub const fn floor(mut self, floor: Policy) -> Self {
        self.floor = floor;
        self
    }

    /// Links over QUIC.
    #[must_use]
    pub fn quic(mut self, config: QuicConfig) -> Self {
        self.transport = Some(TransportConfig::Quic(Box::new(config)));
        self
    }

    /// Links within this process.
    #[must_use]
    pub fn memory(mut self, network: &MemoryNetwork) -> Self {
        self.transport = Some(TransportConfig::Memory { network: network.clone(), me: self.node });
        self
    }

    /// Whether links compress what they carry. Default off: a local network is faster than that.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Bounds on memory and on what is sent ahead.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Bytes of one file of the log.
    #[must_use]
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.sizes.segment = Some(bytes);
        self
    }

    /// A snapshot is begun when the log grew by so many bytes since the last.
    #[must_use]
    pub const fn snapshot_bytes(mut self, bytes: u64) -> Self {
        self.sizes.snapshot = Some(bytes);
        self
    }

    /// Bytes of the log that are kept behind a snapshot for replicas that are away.
    #[must_use]
    pub const fn retain_bytes(mut self, bytes: u64) -> Self {
        self.sizes.retain = Some(bytes);
        self
    }

    /// Client sessions at a time, as far as this node decides as the primary.
    #[must_use]
    pub const fn sessions_max(mut self, sessions: usize) -> Self {
        self.sessions_max = Some(sessions);
        self
    }

    fn config(&self) -> Result<NodeConfig, StartError> {
        let wrong = |why: &str| StartError::Config(why.to_owned());
        let dir = self.data_dir.clone().ok_or_else(|| wrong("a data directory is needed"))?;
        let alone = self.members.is_empty();
        let transport = match &self.transport {
            Some(TransportConfig::Memory { network, .. }) => {
                TransportConfig::Memory { network: network.clone(), me: self.node }
            }
            Some(quic @ TransportConfig::Quic(_)) => quic.clone(),
            None if alone => {
                TransportConfig::Memory { network: MemoryNetwork::new(), me: self.node }
            }
            None => return Err(wrong("with other members, a transport is needed")),
        };
        let mut config = NodeConfig::new(&self.cluster, self.node, dir, transport);
        config.members.clone_from(&self.members);
        if alone {
            let (peer, region) = ("alone".to_owned(), String::new());
            let role = MemberRole::Voter;
            config.members.push(MemberConfig { node: self.node, peer, region, role });
        }
        config.shape = self.shape;
        config.floor = self.floor;
        config.compression = self.compression;
        config.limits = self.limits;
        config.segment_bytes = self.sizes.segment.unwrap_or(config.segment_bytes);
        config.snapshot_bytes = self.sizes.snapshot.unwrap_or(config.snapshot_bytes);
        config.retain_bytes = self.sizes.retain.unwrap_or(config.retain_bytes);
        config.sessions_max = self.sessions_max.unwrap_or(config.sessions_max);
        Ok(config)
    }

    /// Opens the data directory and starts the node on a thread of its own.
    ///
    /// # Errors
    /// Why it can't start.
    pub async fn start(self) -> Result<Node<S>, StartError> {
        let config = self.config()?;
        let (requests, inbox) = mpsc::channel(INBOX);
        let state = self.state;
        let launched = tokio::task::spawn_blocking(move || {
            launch(config, move || Typed::new(state), move |local| front::serve(local, inbox))
        });
        let running =
            launched.await.map_err(|error| StartError::Thread(std::io::Error::other(error)))??;
        Ok(Node::new(requests, running))
    }
}
