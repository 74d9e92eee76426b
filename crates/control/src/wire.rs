//! What the register asks of the links between nodes: carry a message, or say that you cannot.

use antiphon_proto::NodeId;
use bytes::Bytes;

/// The most bytes of a message in [`Class::Control`]: what the links' control lane takes.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Small and urgent: the links' control lane.
    Control,
    /// Part of a snapshot, which may be late: the links' bulk lane.
    Bulk,
}

/// There is no link to that node, or it takes nothing now. The message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not sent")]
pub struct NotSent;

/// Links to the other nodes, authenticated. Messages may be lost; those of one class that arrive
/// are in order and whole.
pub trait ControlWire: Send + Sync + 'static {
    /// Sends a message, without waiting.
    ///
    /// # Errors
    /// [`NotSent`]: it was not taken.
    fn send(&self, to: NodeId, class: Class, message: Bytes) -> Result<(), NotSent>;
}
