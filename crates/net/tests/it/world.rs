//! Nodes of one cluster over either transport.

use std::time::Duration;

use antiphon_net::certs::{Authority, Credentials, IssueRequest};
use antiphon_net::{AnyLink, AnyTransport, MemoryNetwork, QuicConfig, Transport, TransportConfig};
use antiphon_proto::NodeId;
use bytes::Bytes;

pub(crate) const CLUSTER: &str = "test";

/// How long anything may take before the test counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bounds a wait; being stuck fails the test.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test is stuck")
}

/// Gives way until a condition holds.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

pub(crate) const fn node(id: u64) -> NodeId {
    NodeId::new(id)
}

pub(crate) struct World {
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Memory(MemoryNetwork),
    Quic(Box<Authority>),
}

impl World {
    pub(crate) fn memory() -> Self {
        Self { kind: Kind::Memory(MemoryNetwork::new()) }
    }

    pub(crate) fn quic() -> Self {
        let (authority, _key) = Authority::create(CLUSTER, 1).unwrap();
        Self { kind: Kind::Quic(Box::new(authority)) }
    }

    /// The configuration of a node that listens at a free port.
    pub(crate) fn config(&self, id: u64) -> TransportConfig {
        match &self.kind {
            Kind::Memory(network) => {
                TransportConfig::Memory { network: network.clone(), me: node(id) }
            }
            Kind::Quic(authority) => {
                let credentials = credentials(authority, id);
                let config = QuicConfig::new(node(id), "127.0.0.1:0", credentials);
                TransportConfig::Quic(Box::new(config))
            }
        }
    }

    pub(crate) async fn bind(&self, id: u64) -> AnyTransport {
        AnyTransport::bind(self.config(id)).await.unwrap()
    }

    /// Nodes 1 and 2 with a link that node 2 made: transports, then node 1's end and node 2's.
    pub(crate) async fn pair(&self) -> ([AnyTransport; 2], AnyLink, AnyLink) {
        let (one, two) = (self.bind(1).await, self.bind(2).await);
        one.admit(&[node(2)]);
        let address = one.local_address();
        let (called, caller) = tokio::join!(one.accept(), two.connect(node(1), &address));
        ([one, two], called.unwrap(), caller.unwrap())
    }
}

pub(crate) fn credentials(authority: &Authority, id: u64) -> Credentials {
    let (certificate, key) = authority.issue(&IssueRequest::new(node(id))).unwrap();
    Credentials::from_pem(&certificate, &key, authority.certificate_pem(), CLUSTER).unwrap()
}

/// A message that says which one it is, of a given length.
pub(crate) fn numbered(number: u64, bytes: usize) -> Bytes {
    let mut message = vec![number.to_le_bytes()[0]; bytes];
    let prefix = bytes.min(8);
    message[..prefix].copy_from_slice(&number.to_le_bytes()[..prefix]);
    message.into()
}
