//! What is sent: a head of its own for each peer, and a body that peers may share.

use bytes::{Bytes, BytesMut};

/// A message to send. The other side receives head and body as one piece.
///
/// The body is sent by reference: the same buffer may be on its way to every peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The part made for this peer; small.
    pub head: Bytes,
    /// The part that may be shared with other peers; of any size up to the lane's limit.
    pub body: Bytes,
}

impl Outgoing {
    /// A message of a head and a shared body.
    #[must_use]
    pub const fn new(head: Bytes, body: Bytes) -> Self {
        Self { head, body }
    }

    /// Bytes of head and body together.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.head.len().saturating_add(self.body.len())
    }

    /// Whether there is nothing in it; an empty message is sent like any other.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Head and body as one piece; copies only when there is something in both.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.body.is_empty() {
            return self.head;
        }
        if self.head.is_empty() {
            return self.body;
        }
        let mut whole = BytesMut::with_capacity(self.len());
        whole.extend_from_slice(&self.head);
        whole.extend_from_slice(&self.body);
        whole.freeze()
    }
}

impl From<Bytes> for Outgoing {
    fn from(body: Bytes) -> Self {
        Self { head: Bytes::new(), body }
    }
}
