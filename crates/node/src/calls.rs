//! Requests from node to node: each has an answer, a refusal, or a stated doubt.

use std::collections::BTreeMap;

use antiphon_proto::NodeId;
use bytes::Bytes;
use tokio::sync::oneshot;

/// Calls that may wait for their answers at a time. More are refused at once.
pub(crate) const CALLS_MAX: usize = 65_536;
/// Calls of others that are worked on at a time. More are refused.
pub(crate) const SERVED_MAX: usize = 16_384;

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent, so nothing happened.
    #[error("the node is not connected, or too many calls wait already")]
    NotSent,
    /// It was sent. Whether it happened is not known.
    #[error("no answer from the node")]
    NoAnswer,
    /// The node has nothing that answers calls, or too many to answer.
    #[error("the node refused the call")]
    Refused,
}

/// Calls that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    next: u64,
    waiting: BTreeMap<u64, (NodeId, oneshot::Sender<Result<Bytes, CallError>>)>,
}

impl Calls {
    /// Names a new call; none when too many wait.
    pub(crate) fn begin(
        &mut self,
        to: NodeId,
    ) -> Option<(u64, oneshot::Receiver<Result<Bytes, CallError>>)> {
        if self.waiting.len() >= CALLS_MAX {
            return None;
        }
        self.next += 1;
        let (answer, waits) = oneshot::channel();
        self.waiting.insert(self.next, (to, answer));
        Some((self.next, waits))
    }

    /// Nobody waits any more.
    pub(crate) fn end(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    /// An answer came. Late ones and those of others are dropped: their caller knows that it
    /// does not know.
    pub(crate) fn answer(&mut self, from: NodeId, id: u64, answer: Option<Bytes>) {
        if self.waiting.get(&id).is_none_or(|(to, _)| *to != from) {
            return;
        }
        if let Some((_, waits)) = self.waiting.remove(&id) {
            // A caller that went away has no use for it.
            drop(waits.send(answer.ok_or(CallError::Refused)));
        }
    }

    /// The link to a node is down: its answers will not come.
    pub(crate) fn disconnected(&mut self, node: NodeId) {
        let gone = self.waiting.extract_if(.., |_, (to, _)| *to == node);
        for (_, (_, waits)) in gone {
            drop(waits.send(Err(CallError::NoAnswer)));
        }
    }
}
