//! The protocol of Antiphon, pure: vocabulary, codec, the replica machine, policies.
//!
//! Nothing here does input or output, reads a clock, draws a random number, or knows what a
//! payload means. Time comes in as an argument; what is to be done comes out as effects.

mod config;
mod frame;
mod ids;
mod message;
mod mutation;
mod policy;
mod replica;
mod rounds;
mod session;
mod watermark;

pub use config::{Config, ConfigError, Cut, HISTORY_ROWS_MAX, Member, NODES_MAX, Shape};
pub use frame::{
    Batch, BatchBuilder, BatchError, Chain, FRAME_BYTES_MAX, FRAME_VERSION, Frame, FrameError,
    HEADER_BYTES, Header, Kind, PAYLOAD_BYTES_MAX, crc32c, encode, frame_bytes,
};
pub use ids::{
    EntryId, Epoch, Hlc, Incarnation, Lsn, NodeId, ShardId, StoreUuid, Time, Token, TokenError,
};
pub use message::{
    Ack, Append, BELOW_MAX, Closed, Encoded, Envelope, HEAD_BYTES_MAX, Message, MessageLane, Open,
    Positions, Sealed, WIRE_VERSION, WireError,
};
pub use mutation::Mutation;
pub use policy::{Explained, Policy, PolicyError, Rule, VOTERS_MAX, VoterSet};
pub use replica::{
    ChildState, ChildStatus, Effect, Event, Fate, Halt, HardState, Identity, Limits, Load, LoadFor,
    LogEnd, LogStart, Missing, ProposeError, Recovered, Replica, RoleStatus, Status, Waiting,
};
pub use rounds::{FENCED_MAX, Round, RoundAck, RoundEvent, RoundLimits, RoundMessage, Rounds};
pub use session::{
    ALL_REPLIES_BYTES_MAX, CLOSED_AT_ONCE_MAX, Closing, Executed, LoggedReply, REPLY_BYTES_MAX,
    SESSION_REPLIES_BYTES_MAX, SESSION_TTL_MS_MAX, SESSION_WINDOW, SESSIONS_MAX, SESSIONS_VERSION,
    SessionEntry, SessionEntryError, SessionFault, SessionId, SessionIdError, SessionInfo,
    SessionList, SessionRefusal, SessionWrite, Sessions, SessionsCut, SessionsError, Ticket,
    snapshot_has_sessions, snapshot_meta,
};
pub use watermark::Watermark;
