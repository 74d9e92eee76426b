//! RESP and HTTP in front of an Antiphon node: the only crate that knows RESP, HTTP and JSON.
//!
//! [`resp`] is the codec; a [`Server`] stands before one [`shard::Shard`], on its owner thread,
//! and a [`Listener`] gives each client a session.

mod auth;
mod blocked;
mod client;
mod commands;
mod config;
mod core;
mod forward;
mod http;
mod keys;
mod listener;
pub mod node;
mod pages;
mod replies;
pub mod resp;
mod serve;
mod server;
mod session;
pub mod shard;
mod slowlog;
mod stats;
pub mod status;
mod table;
mod timer;
mod tls;
mod transaction;

pub use antiphon::{Level, LevelError};
pub use auth::Password;
pub use config::{ClientLimits, Config, ConfigError, TlsFiles};
pub use forward::GuestError;
pub use http::{
    ChangeJson, EffectJson, Feed, Http, HttpError, LinkJson, ReplicaJson, StatusJson, UpstreamJson,
};
pub use listener::{ListenError, Listener};
pub use pages::{Pages, Picture};
pub use serve::{ServeError, Serving, Setup};
pub use server::Server;
pub use stats::{CommandStats, Count, Refusal, Stats, Times};
pub use tls::{Tls, TlsError};
