//! The transport that the configuration names.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_proto::NodeId;
use bytes::Bytes;

use crate::certs::{CertInfo, Credentials};
use crate::codec::{Agreed, Offer};
use crate::error::{BindError, CloseReason, Closed, ConnectError, LinkError};
use crate::lane::{Lane, PerLane};
use crate::memory::{MemoryLink, MemoryNetwork, MemoryTransport};
use crate::message::Outgoing;
use crate::quic::{QuicConfig, QuicLink, QuicTransport, ReloadError};
use crate::refusals::Refusals;
use crate::transport::{Link, Transport};

/// Which transport, and how.
#[derive(Debug, Clone)]
pub enum TransportConfig {
    /// Within this process.
    Memory {
        /// The network that the nodes share.
        network: MemoryNetwork,
        /// This node.
        me: NodeId,
    },
    /// Over QUIC.
    Quic(Box<QuicConfig>),
}

/// A transport of either kind.
#[derive(Debug)]
pub enum AnyTransport {
    /// Within this process.
    Memory(MemoryTransport),
    /// Over QUIC.
    Quic(QuicTransport),
}

/// A link of either kind.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one link for each peer, none is moved")]
pub enum AnyLink {
    /// Within this process.
    Memory(MemoryLink),
    /// Over QUIC.
    Quic(QuicLink),
}

impl AnyTransport {
    /// Starts the transport that the configuration names. QUIC needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`BindError`]
    pub async fn bind(config: TransportConfig) -> Result<Self, BindError> {
        match config {
            TransportConfig::Memory { network, me } => network.bind(me).map(Self::Memory),
            TransportConfig::Quic(config) => QuicTransport::bind(*config).await.map(Self::Quic),
        }
    }

    /// Shows another certificate from the next handshake on; without certificates, nothing.
    ///
    /// # Errors
    /// [`ReloadError`]; the old certificates stay in use then.
    pub fn reload(&self, credentials: &Credentials) -> Result<(), ReloadError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Quic(transport) => transport.reload(credentials),
        }
    }

    /// The certificate that is shown, if there are certificates.
    #[must_use]
    pub fn certificate(&self) -> Option<CertInfo> {
        match self {
            Self::Memory(_) => None,
            Self::Quic(transport) => Some(transport.certificate()),
        }
    }
}

impl Transport for AnyTransport {
    type Link = AnyLink;

    fn me(&self) -> NodeId {
        match self {
            Self::Memory(transport) => transport.me(),
            Self::Quic(transport) => transport.me(),
        }
    }

    fn local_address(&self) -> String {
        match self {
            Self::Memory(transport) => transport.local_address(),
            Self::Quic(transport) => transport.local_address(),
        }
    }

    fn admit(&self, members: &[NodeId]) {
        match self {
            Self::Memory(transport) => transport.admit(members),
            Self::Quic(transport) => transport.admit(members),
        }
    }

    fn offer(&self, offer: Offer) {
        match self {
            Self::Memory(transport) => transport.offer(offer),
            Self::Quic(transport) => transport.offer(offer),
        }
    }

    fn refusals(&self) -> Arc<Refusals> {
        match self {
            Self::Memory(transport) => transport.refusals(),
            Self::Quic(transport) => transport.refusals(),
        }
    }

    async fn connect(&self, peer: NodeId, address: &str) -> Result<AnyLink, ConnectError> {
        match self {
            Self::Memory(transport) => transport.connect(peer, address).await.map(AnyLink::Memory),
            Self::Quic(transport) => transport.connect(peer, address).await.map(AnyLink::Quic),
        }
    }

    async fn accept(&self) -> Result<AnyLink, Closed> {
        match self {
            Self::Memory(transport) => transport.accept().await.map(AnyLink::Memory),
            Self::Quic(transport) => transport.accept().await.map(AnyLink::Quic),
        }
    }
}

impl Link for AnyLink {
    fn peer(&self) -> NodeId {
        match self {
            Self::Memory(link) => link.peer(),
            Self::Quic(link) => link.peer(),
        }
    }

    fn agreed(&self) -> Agreed {
        match self {
            Self::Memory(link) => link.agreed(),
            Self::Quic(link) => link.agreed(),
        }
    }

    fn message_bytes_max(&self) -> PerLane<usize> {
        match self {
            Self::Memory(link) => link.message_bytes_max(),
            Self::Quic(link) => link.message_bytes_max(),
        }
    }

    async fn send_batch(
        &self,
        lane: Lane,
        batch: &mut VecDeque<Outgoing>,
    ) -> Result<(), LinkError> {
        match self {
            Self::Memory(link) => link.send_batch(lane, batch).await,
            Self::Quic(link) => link.send_batch(lane, batch).await,
        }
    }

    async fn receive_batch(&self, lane: Lane, into: &mut VecDeque<Bytes>) -> Result<(), Closed> {
        match self {
            Self::Memory(link) => link.receive_batch(lane, into).await,
            Self::Quic(link) => link.receive_batch(lane, into).await,
        }
    }

    async fn send(&self, lane: Lane, message: Outgoing) -> Result<(), LinkError> {
        match self {
            Self::Memory(link) => link.send(lane, message).await,
            Self::Quic(link) => link.send(lane, message).await,
        }
    }

    async fn receive(&self, lane: Lane) -> Result<Bytes, Closed> {
        match self {
            Self::Memory(link) => link.receive(lane).await,
            Self::Quic(link) => link.receive(lane).await,
        }
    }

    async fn flush(&self, lane: Lane) -> Result<(), Closed> {
        match self {
            Self::Memory(link) => link.flush(lane).await,
            Self::Quic(link) => link.flush(lane).await,
        }
    }

    fn close(&self, reason: CloseReason) {
        match self {
            Self::Memory(link) => link.close(reason),
            Self::Quic(link) => link.close(reason),
        }
    }
}
