//! Redis commands as effects: the keyspace that a shard's log replicates.
//!
//! [`Engine::execute`] turns a command into a reply and pending effects, and changes nothing.
//! [`Engine::commit`] makes the effects visible to later commands, speculatively;
//! [`Engine::apply`] brings a stable entry's effects into the stable state. Nothing here does
//! input or output, reads a clock, or draws a random number.

mod base;
mod command;
mod decimal;
mod engine;
mod exec;
mod glob;
mod hash;
mod item;
mod number;
mod overlay;
mod payload;
mod pending;
mod reply;
mod snapshot;
mod table;
mod watch;

pub use base::{DATABASES, Db};
pub use command::{Command, Flags, Group, KeyRange, Keys, Runs, Session};
pub use engine::{Context, Counts, DbStats, Engine, Limits, Outcome};
pub use glob::{Case, TooCostly, glob};
pub use payload::{DecodeError, Effect, Effects, PAYLOAD_VERSION, decode};
pub use pending::Pending;
pub use reply::{Fault, ReplySink};
pub use snapshot::{Cut, SNAPSHOT_VERSION, SnapshotError};
pub use watch::WatcherId;

#[cfg(test)]
mod testing;
