//! A typed state machine behind the driver's machine of bytes.

use std::collections::BTreeMap;
use std::io;

use antiphon_proto::{Frame, Hlc, Lsn, ShardId, Token};
use bytes::{Bytes, BytesMut};

use crate::machine::{ApplyError, Cut, Machine};
use crate::typed::codec::Codec;

/// When and where a command stands in the log: the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The entry.
    pub token: Token,
    /// The primary's time when it was appended.
    pub hlc: Hlc,
}

/// A state that commands change, the same way on every node.
///
/// Deterministic: no clock, no randomness, no input or output, no iteration in an order that
/// differs between processes. `at` carries the primary's time.
pub trait StateMachine: Send + 'static {
    /// What changes the state.
    type Command: Codec;
    /// What a change answers.
    type Reply: Codec;
    /// What is asked without changing anything.
    type Query: Send + 'static;
    /// What a query answers.
    type Answer: Send + 'static;

    /// Changes the state. Only stable commands come here, in the same order on every node. The
    /// reply, too, is the same everywhere: a session's is kept for retries.
    fn apply(&mut self, at: Stamp, command: Self::Command) -> Self::Reply;

    /// Answers from the state.
    fn query(&self, query: Self::Query) -> Self::Answer;

    /// A consistent picture; must be cheap (copy on write), it is written elsewhere.
    fn snapshot(&self) -> Box<dyn Cut>;

    /// Replaces the state by a picture's.
    ///
    /// # Errors
    /// When the bytes can't be read or are no picture of this state.
    fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()>;

    /// Same state, same digest, on every node.
    fn digest(&self) -> [u8; 16];
}

/// The driver's view of a typed state, with the replies that somebody waits for.
pub(crate) struct Typed<S: StateMachine> {
    pub(crate) state: S,
    waiting: BTreeMap<Lsn, Option<S::Reply>>,
}

impl<S: StateMachine> Typed<S> {
    pub(crate) const fn new(state: S) -> Self {
        Self { state, waiting: BTreeMap::new() }
    }

    /// Keep the reply of the entry at `lsn`: its writer waits.
    pub(crate) fn expect(&mut self, lsn: Lsn) {
        self.waiting.insert(lsn, None);
    }

    fn execute(&mut self, entry: &Frame<'_>) -> Result<S::Reply, ApplyError> {
        let payload = Bytes::copy_from_slice(entry.payload);
        let command =
            S::Command::decode(&payload).map_err(|error| ApplyError(error.to_string()))?;
        let token = Token { shard: ShardId::default(), entry: entry.header.id };
        Ok(self.state.apply(Stamp { token, hlc: entry.header.hlc }, command))
    }

    /// Gives a reply to the writer that waits for it, if one does.
    fn hand_out(&mut self, lsn: Lsn, reply: S::Reply) {
        if let Some(waits) = self.waiting.get_mut(&lsn) {
            *waits = Some(reply);
        }
    }

    /// The reply, if the entry was applied. Nobody waits for it any more.
    pub(crate) fn take(&mut self, lsn: Lsn) -> Option<S::Reply> {
        self.waiting.remove(&lsn).flatten()
    }
}

impl<S: StateMachine> Machine for Typed<S> {
    fn apply(&mut self, entry: &Frame<'_>) -> Result<(), ApplyError> {
        let reply = self.execute(entry)?;
        self.hand_out(entry.header.id.lsn, reply);
        Ok(())
    }

    fn apply_replying(&mut self, entry: &Frame<'_>) -> Result<Option<Bytes>, ApplyError> {
        let reply = self.execute(entry)?;
        let mut encoded = BytesMut::new();
        reply.encode(&mut encoded);
        self.hand_out(entry.header.id.lsn, reply);
        Ok(Some(encoded.freeze()))
    }

    /// Nothing is executed before it is stable. Writers that wait learn it from their wait.
    fn forget_speculation(&mut self) {}

    fn cut(&self) -> Box<dyn Cut> {
        self.state.snapshot()
    }

    fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()> {
        self.state.restore(from)
    }

    fn digest(&self) -> [u8; 16] {
        self.state.digest()
    }
}
