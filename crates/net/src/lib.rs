//! Transports of Antiphon: in memory and QUIC, with certificates. Never what a message means.
//!
//! A [`Transport`] connects this node to others and authenticates them; a [`Link`] carries
//! messages between two nodes in three [`Lane`]s, none of which blocks another; [`Peers`] keeps
//! one link to every member and tells its owner what came and what was lost. Which transport it
//! is, is configuration only: [`TransportConfig`].

mod any;
pub mod certs;
mod codec;
mod error;
mod framing;
mod lane;
mod memory;
mod message;
mod packing;
mod peers;
mod quic;
mod refusals;
mod transport;

pub use any::{AnyLink, AnyTransport, TransportConfig};
pub use codec::{Agreed, Codec, Codecs, Offer};
pub use error::{BindError, CloseReason, Closed, ConnectError, LinkError, Refusal, Violation};
pub use lane::{Lane, PerLane};
pub use memory::{MemoryLink, MemoryNetwork, MemoryTransport};
pub use message::Outgoing;
pub use packing::{UnpackError, pack, plain, unpack};
pub use peers::{
    Compression, Member, PeerEvent, PeerEvents, PeerStats, Peers, PeersConfig, SendError,
    StartError,
};
pub use quic::{QuicConfig, QuicLink, QuicTransport, ReloadError};
pub use refusals::Refusals;
pub use transport::{Link, Transport};
