//! The protocol of Antiphon, pure: vocabulary, codec, the replica machine, policies.
//!
//! Nothing here does input or output, reads a clock, draws a random number, or knows what a
//! payload means. Time comes in as an argument; what is to be done comes out as effects.

mod frame;
mod ids;

pub use frame::{
    Batch, BatchBuilder, BatchError, Chain, FRAME_BYTES_MAX, FRAME_VERSION, Frame, FrameError,
    HEADER_BYTES, Header, Kind, PAYLOAD_BYTES_MAX, crc32c, encode, frame_bytes,
};
pub use ids::{
    EntryId, Epoch, Hlc, Incarnation, Lsn, NodeId, ShardId, StoreUuid, Time, Token, TokenError,
};
