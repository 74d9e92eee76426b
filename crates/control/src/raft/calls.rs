//! Calls over messages: a request with a number, its reply with the same number, a deadline.
//!
//! | Offset | Bytes | Field |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32C of all that follows |
//! | 4 | 2 | `AR` |
//! | 6 | 1 | version, 1 |
//! | 7 | 1 | 1 request, 2 reply |
//! | 8 | 8 | the caller's number of the call |
//! | 16 | 16 | cluster; 0 of a node that is not of one yet |
//! | 32 | | protobuf |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use antiphon_proto::{NodeId, crc32c};
use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::sync::oneshot;

use crate::wire::{Class, ControlWire};
use crate::{ClusterUuid, RecordError};

/// Calls that may wait for replies.
const CALLS_MAX: usize = 1_024;

/// Bytes of the head.
pub(crate) const HEAD_BYTES: usize = 32;

const MAGIC: [u8; 2] = *b"AR";
const VERSION: u8 = 1;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// A message between two registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) is_reply: bool,
    pub(crate) call: u64,
    pub(crate) cluster: ClusterUuid,
    pub(crate) body: Bytes,
}

impl Frame {
    pub(crate) fn encode(&self) -> Bytes {
        let mut rest = BytesMut::with_capacity(HEAD_BYTES + self.body.len());
        rest.put_u32_le(0);
        rest.put_slice(&MAGIC);
        rest.put_u8(VERSION);
        rest.put_u8(if self.is_reply { REPLY } else { REQUEST });
        rest.put_u64_le(self.call);
        rest.put_u128_le(self.cluster.get());
        rest.put_slice(&self.body);
        let (crc, checked) = rest.split_at_mut(4);
        crc.copy_from_slice(&crc32c(checked).to_le_bytes());
        rest.freeze()
    }

    pub(crate) fn decode(message: &Bytes) -> Result<Self, RecordError> {
        let malformed = RecordError::Malformed("a register's message");
        let (head, _) = message.split_first_chunk::<HEAD_BYTES>().ok_or(malformed.clone())?;
        let [c0, c1, c2, c3, m0, m1, version, kind, rest @ ..] = *head;
        let checked = message.get(4..).unwrap_or_default();
        let whole = u32::from_le_bytes([c0, c1, c2, c3]) == crc32c(checked);
        if !whole || [m0, m1] != MAGIC || version != VERSION || !matches!(kind, REQUEST | REPLY) {
            return Err(malformed);
        }
        let (call, cluster) = rest.split_first_chunk::<8>().ok_or(malformed.clone())?;
        let cluster = cluster.try_into().map_err(|_other_length| malformed)?;
        Ok(Self {
            is_reply: kind == REPLY,
            call: u64::from_le_bytes(*call),
            cluster: ClusterUuid::new(u128::from_le_bytes(cluster)),
            body: message.slice(HEAD_BYTES..),
        })
    }
}

/// Why a call has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The request was not sent: it can be sent to somebody else.
    #[error("no link to node {0}")]
    NotSent(NodeId),
    /// It may have been executed.
    #[error("no reply from node {0} in time")]
    NoReply(NodeId),
}

#[derive(Default)]
struct Open {
    last: u64,
    waiting: BTreeMap<u64, (NodeId, oneshot::Sender<Bytes>)>,
}

/// The caller's side.
pub(crate) struct Calls {
    wire: Arc<dyn ControlWire>,
    open: Mutex<Open>,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

/// Forgets a call, however it ends.
struct Forget<'a>(&'a Calls, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting.remove(&self.1);
    }
}

impl Calls {
    pub(crate) fn new(wire: Arc<dyn ControlWire>) -> Self {
        Self { wire, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a node and waits for its reply, until the deadline or until the link is lost.
    pub(crate) async fn call(
        &self,
        (to, class): (NodeId, Class),
        cluster: ClusterUuid,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let (sender, reply) = oneshot::channel();
        let call = {
            let mut open = self.lock();
            if open.waiting.len() == CALLS_MAX {
                return Err(CallError::NotSent(to));
            }
            open.last = open.last.wrapping_add(1);
            let call = open.last;
            open.waiting.insert(call, (to, sender));
            call
        };
        let _forget = Forget(self, call);
        let frame = Frame { is_reply: false, call, cluster, body: body.into() };
        let sent = self.wire.send(to, class, frame.encode());
        sent.map_err(|_not_sent| CallError::NotSent(to))?;
        match tokio::time::timeout(deadline, reply).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(_)) | Err(_) => Err(CallError::NoReply(to)),
        }
    }

    /// A reply came. One that nobody waits for is late.
    pub(crate) fn replied(&self, from: NodeId, call: u64, body: Bytes) {
        let mut open = self.lock();
        if open.waiting.get(&call).is_some_and(|(to, _)| *to == from)
            && let Some((_, waiter)) = open.waiting.remove(&call)
        {
            // Whoever waited may have given up this instant.
            drop(waiter.send(body));
        }
    }

    /// A link was lost, and with it the replies that were to come over it.
    pub(crate) fn lost(&self, peer: NodeId) {
        self.lock().waiting.retain(|_, (to, _)| *to != peer);
    }

    /// Sends a reply, if the link is still there; the caller has a deadline.
    pub(crate) fn reply(&self, to: NodeId, class: Class, frame: &Frame) {
        if self.wire.send(to, class, frame.encode()).is_err() {
            tracing::debug!(peer = %to, "failed to send a reply of the register, its link is lost");
        }
    }
}
