//! What stands behind a log: a state that stable entries change, on the shard's own thread.

use std::io;

use antiphon_proto::{Frame, SessionFault};
use bytes::Bytes;

/// A state behind a log, as the driver uses it. [`crate::StateMachine`] is the typed form for
/// embedders; a server that executes before it logs implements this one.
pub trait Machine: 'static {
    /// Changes the state by one stable entry. In log order, each entry once.
    ///
    /// # Errors
    /// When the entry's payload can't be understood: the node stops, since going on would make
    /// this copy differ from the others.
    fn apply(&mut self, entry: &Frame<'_>) -> Result<(), ApplyError>;

    /// As [`Self::apply`], for an entry whose reply the machine makes and a retry may ask for:
    /// returns its bytes, the same on every node. None by default, for a machine whose replies
    /// travel with its entries.
    ///
    /// # Errors
    /// As [`Self::apply`].
    fn apply_replying(&mut self, entry: &Frame<'_>) -> Result<Option<Bytes>, ApplyError> {
        self.apply(entry).map(|()| None)
    }

    /// This node is no longer the primary: whatever was executed and is not stable goes.
    fn forget_speculation(&mut self);

    /// A consistent picture of the stable state. Must be cheap; it is written on another thread
    /// while entries go on being applied.
    fn cut(&self) -> Box<dyn Cut>;

    /// Replaces the state by one that a cut wrote.
    ///
    /// # Errors
    /// When the bytes can't be read or are no such picture.
    fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()>;

    /// Equal states have equal digests, on every node.
    fn digest(&self) -> [u8; 16];
}

/// A picture of a state at one position.
pub trait Cut: Send {
    /// Writes it.
    ///
    /// # Errors
    /// What the writer says.
    fn write(self: Box<Self>, out: &mut dyn io::Write) -> io::Result<()>;
}

/// A stable entry that the state machine can't understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ApplyError(pub String);

impl From<SessionFault> for ApplyError {
    fn from(fault: SessionFault) -> Self {
        Self(fault.to_string())
    }
}
