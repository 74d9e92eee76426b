//! The configuration of a node: defaults, then a file, then the environment, then flags.
//!
//! [`Layers`] merges the four and remembers where each value came from; [`NodeConfig`] is what
//! they say, each value parsed straight into its type. Unknown keys are errors and name the
//! nearest known one. Nothing is expanded inside a file, and secrets are only ever named by file.

mod check;
mod layers;
mod nearest;
mod options;
mod schema;
mod show;
mod value;

pub use check::{Scope, check};
pub use layers::{Complaint, Layers, Origin, Refused, Sources};
pub use nearest::nearest;
pub use options::{
    ClusterOptions, HttpOptions, LimitOptions, LogOptions, NodeConfig, NodeOptions, PeerOptions,
    RespOptions,
};
pub use schema::{Key, Kind, Presence, Section, key_at, sections};
pub use show::{annotated, with_origins};
pub use value::{ByteLen, Endpoint, Listen, Member, Setting, ShapeKind, TransportKind};

#[cfg(test)]
mod tests;
