//! Antiphon, embedded: replicate your own state machine with a durable log.
//!
//! Bring a [`StateMachine`], choose members, transport and floor with a [`Builder`], and use the
//! [`Node`]: `propose` writes, `read` asks, `changes` follows. A write that was acknowledged at
//! the floor is never lost.
//!
//! Underneath, [`launch`] runs any [`Machine`] on a thread of its own, where a server can work
//! on the shard directly through [`Local`].

mod calls;
mod changes;
mod clock;
mod config;
mod disk;
mod error;
mod gather;
mod launch;
mod level;
mod local;
mod machine;
mod mending;
mod owner;
mod run;
mod status;
mod typed;
mod waiters;

pub use antiphon_net::{
    Compression, Lane, MemoryNetwork, PeerStats, QuicConfig, TransportConfig, certs,
};
pub use antiphon_proto::{
    EntryId, Epoch, Executed, Fate, Frame, Hlc, Limits, LoggedReply, Lsn, NodeId, Policy,
    ProposeError, RoleStatus, SESSION_WINDOW, SessionId, SessionInfo, SessionRefusal, Shape,
    ShardId, Ticket, Token,
};

pub use calls::CallError;
pub use changes::{Change, ChangesError, From, LogSource, Subscription, data_of};
pub use config::{MemberConfig, MemberRole, NodeConfig};
pub use disk::DiskStats;
pub use error::{Fatal, StartError};
pub use launch::{Running, launch};
pub use level::{Level, LevelError};
pub use local::{Local, Lost, OnceError, OpenError, Placed, View};
pub use machine::{ApplyError, Cut, Machine};
pub use owner::LocalAnswer;
pub use status::{
    DamageStatus, NodeStatus, Progress, ReplicationCounts, SessionsStatus, SnapshotStatus,
};
pub use typed::{
    Builder, Codec, CodecError, Commit, Consistency, Node, Observed, Propose, ProposeFailure,
    ReadError, Reason, Receipt, Session, Stamp, StateMachine, TypedChange, TypedChanges,
};

/// The programs of the pages, run as tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;

    #[doc = include_str!("../../../docs/library.md")]
    struct Library;
}
