//! The library's face: a state machine of the embedder's own, with types instead of bytes.

mod builder;
mod codec;
mod front;
mod machine;
mod node;
mod outcome;
mod session;
mod wire;
mod write;

pub use builder::Builder;
pub use codec::{Codec, CodecError};
pub use machine::{Stamp, StateMachine};
pub use node::{Node, TypedChange, TypedChanges};
pub use outcome::{
    Commit, Consistency, Observed, Propose, ProposeFailure, ReadError, Reason, Receipt,
};
pub use session::Session;
