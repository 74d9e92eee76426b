//! What can go wrong, one enum for each boundary; a variant is the caller's next move.

use std::io;

use antiphon_proto::NodeId;

use crate::certs::CertError;
use crate::lane::Lane;
use crate::packing::UnpackError;

/// Why a node refuses another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It showed no certificate.
    #[error("no certificate was shown")]
    NoCertificate,
    /// Its certificate's time is over.
    #[error("the certificate has expired")]
    Expired,
    /// Its certificate's time has not begun.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// Its certificate was signed by none of our authorities.
    #[error("the certificate is signed by an authority that is not ours")]
    UnknownAuthority,
    /// Its certificate does not hold for another reason.
    #[error("the certificate is not acceptable: {0}")]
    Invalid(String),
    /// Its certificate names no node.
    #[error("the certificate names no node (expected spiffe://<cluster>/node/<id> or node-<id>)")]
    NoIdentity,
    /// Its certificate names more than one node.
    #[error("the certificate names node {one} and node {other}")]
    Ambiguous {
        /// The one.
        one: NodeId,
        /// The other.
        other: NodeId,
    },
    /// Its certificate is of another cluster.
    #[error("the certificate is of cluster {found:?}")]
    WrongCluster {
        /// The cluster that it names.
        found: String,
    },
    /// Another node answered than the one that was called.
    #[error("node {found} answered where node {wanted} was called")]
    WrongNode {
        /// The node that was called.
        wanted: NodeId,
        /// The node that answered.
        found: NodeId,
    },
    /// It is not a member.
    #[error("node {0} is not a member")]
    UnknownNode(NodeId),
    /// It called although it is our turn to call it.
    #[error("node {0} called, but the node with the greater id calls")]
    Duplicate(NodeId),
    /// Too many connections are being made at once.
    #[error("too many connections are waiting to be accepted")]
    Busy,
    /// It speaks another version, or something else.
    #[error("it does not speak this protocol")]
    Foreign,
    /// It began a handshake and did not end it, as one who has no protocol in common with us.
    #[error("the handshake was not finished")]
    Unfinished,
    /// It refused us, and said why as well as it could.
    #[error("refused by the other side: {0}")]
    ByPeer(String),
}

impl Refusal {
    /// A short name for counting.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownAuthority => "unknown_authority",
            Self::Invalid(_) => "invalid",
            Self::NoIdentity => "no_identity",
            Self::Ambiguous { .. } => "ambiguous",
            Self::WrongCluster { .. } => "wrong_cluster",
            Self::WrongNode { .. } => "wrong_node",
            Self::UnknownNode(_) => "unknown_node",
            Self::Duplicate(_) => "duplicate",
            Self::Busy => "busy",
            Self::Foreign => "foreign",
            Self::Unfinished => "unfinished",
            Self::ByPeer(_) => "by_peer",
        }
    }
}

/// What one side tells the other when it closes a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The node stops.
    #[error("the node is stopping")]
    Shutdown,
    /// A newer link between the two nodes took its place.
    #[error("a newer link took its place")]
    Replaced,
    /// The owner gave the link up, to make a new one.
    #[error("the link was given up")]
    Dropped,
    /// What came did not keep the rules.
    #[error("the rules of the link were broken")]
    Violation,
    /// The identity was not accepted; the code tells which refusal it was.
    #[error("the identity was refused ({0})")]
    Refused(&'static str),
}

/// How the other side broke the rules of a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A message is announced that is longer than the lane's limit.
    #[error("a message of {bytes} bytes was announced on the {lane} lane, whose limit is {limit}")]
    TooLarge {
        /// The lane.
        lane: Lane,
        /// Bytes announced.
        bytes: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// A lane began with something else than its opening.
    #[error("a lane did not begin with its opening")]
    Opening,
    /// A message could not be read as the two sides agreed to send them.
    #[error("a message of the {lane} lane does not unpack: {error}")]
    Packed {
        /// The lane.
        lane: Lane,
        /// Why.
        error: UnpackError,
    },
    /// A lane ended while the link lives.
    #[error("the {0} lane ended")]
    Ended(Lane),
}

/// Why a link is over. Whatever was not yet received is gone with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// This side closed it.
    #[error("closed by this side: {0}")]
    Here(CloseReason),
    /// The other side closed it.
    #[error("closed by the other side: {0}")]
    There(CloseReason),
    /// Nothing was heard for too long.
    #[error("nothing was heard for too long")]
    Silent,
    /// The other side broke the rules; this side closed the link.
    #[error("{0}")]
    Violation(#[from] Violation),
    /// The network or the library gave up.
    #[error("the link broke: {0}")]
    Broken(String),
}

/// Why a message could not be sent on a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The link is over: make a new one.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The message is longer than the lane allows: send less. The link lives on.
    #[error("a message of {bytes} bytes on the {lane} lane, whose limit is {limit}")]
    TooLarge {
        /// The lane.
        lane: Lane,
        /// Bytes of the message.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// Why no link could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address does not name a place in the network.
    #[error("address {address:?} is not usable: {reason}")]
    Address {
        /// As configured.
        address: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody answered in time: try again later.
    #[error("node {0} did not answer in time")]
    Timeout(NodeId),
    /// One of the two sides refuses the other's identity: a person must act.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The link broke while it was being made: try again.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a transport could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address:?}")]
    Listen {
        /// As configured.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The node's id is taken in this network.
    #[error("node {0} is already there")]
    Taken(NodeId),
    /// The certificate is another node's.
    #[error("the certificate names node {found}, but this is node {me}")]
    Identity {
        /// This node.
        me: NodeId,
        /// The node in the certificate.
        found: NodeId,
    },
    /// The certificates are not usable.
    #[error(transparent)]
    Certificates(#[from] CertError),
    /// A setting is out of its range.
    #[error("setting {setting}: {reason}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The QUIC library refused to start.
    #[error("the QUIC endpoint did not start: {0}")]
    Start(String),
}
