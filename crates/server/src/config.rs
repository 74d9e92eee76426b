//! What the server is told at its start, and what `CONFIG SET` may change while it runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use antiphon::Level;

use crate::auth::Password;

/// Settings of the client port and of the pages.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect. Default `127.0.0.1:7101`: loopback, until a password or TLS is set.
    pub listen: SocketAddr,
    /// Where the pages are served; nothing for none. Default `127.0.0.1:7201`.
    pub http: Option<SocketAddr>,
    /// Whether the pages hand out the changes of the log too. Default no: they are the data.
    pub changes: bool,
    /// TLS on the client port; nothing for plain TCP. Default none.
    pub tls: Option<TlsFiles>,
    /// Password of the user `default`; nothing for none. Default none.
    pub password: Option<Password>,
    /// Policy of connections that chose none. Default `quorum`.
    pub policy: Level,
    /// How long a write waits for its policy before its fate is unknown. Default 5 s.
    pub policy_timeout: Duration,
    /// Whether a replica forwards writes to the primary. Default yes; else `READONLY`.
    pub forward: bool,
    /// Whether `SHUTDOWN` stops the node. Default no: the service manager does that.
    pub allow_shutdown: bool,
    /// Bounds of what clients may take.
    pub limits: ClientLimits,
}

/// The certificate and key of the client port, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The key of the first certificate.
    pub key: PathBuf,
}

/// Bounds of what clients may take. Every one of them has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections at once. Default 10,000, as Redis.
    pub clients_max: usize,
    /// Connections at once that have not authenticated. Default 128.
    pub strangers_max: usize,
    /// Time to authenticate. Default 10 s.
    pub auth_timeout: Duration,
    /// Silence after which a connection is closed; zero for never. Default zero, as Redis.
    pub idle_timeout: Duration,
    /// The longest argument. Unit: bytes. Default 64 MiB: what an entry can hold.
    pub bulk_bytes_max: usize,
    /// The longest command. Unit: bytes. Default 65 MiB: an argument and its company.
    pub query_bytes_max: usize,
    /// Replies not yet taken at which a connection's commands wait. Unit: bytes. Default 1 MiB.
    pub output_soft_bytes: usize,
    /// Replies not yet taken at which a connection is closed. Unit: bytes. Default 256 MiB.
    pub output_hard_bytes: usize,
    /// Replies not yet taken by a connection that has not authenticated. Default 64 KiB.
    pub stranger_output_bytes: usize,
    /// Memory of all connections together. Unit: bytes. Default 1 GiB.
    pub memory_bytes_max: usize,
    /// Commands of one connection whose replies wait at once. Default 16,384.
    pub waiting_max: usize,
    /// Commands queued in one transaction. Default 65,536.
    pub queued_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            clients_max: 10_000,
            strangers_max: 128,
            auth_timeout: Duration::from_secs(10),
            idle_timeout: Duration::ZERO,
            bulk_bytes_max: 64 << 20,
            query_bytes_max: 65 << 20,
            output_soft_bytes: 1 << 20,
            output_hard_bytes: 256 << 20,
            stranger_output_bytes: 64 << 10,
            memory_bytes_max: 1 << 30,
            waiting_max: 16_384,
            queued_max: 65_536,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7101)),
            http: Some(SocketAddr::from(([127, 0, 0, 1], 7201))),
            changes: false,
            tls: None,
            password: None,
            policy: Level::Floor,
            policy_timeout: Duration::from_secs(5),
            forward: true,
            allow_shutdown: false,
            limits: ClientLimits::default(),
        }
    }
}

/// Why a configuration is refused before anything is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Anyone could write: the port is public and asks for nothing.
    #[error(
        "clients would reach {0} from other machines without a password or TLS: set one of them, \
         or listen on 127.0.0.1"
    )]
    Unprotected(SocketAddr),
    /// The longest argument would not fit in the longest command.
    #[error("the limit of a command ({query} bytes) is below that of an argument ({bulk} bytes)")]
    QueryBelowBulk {
        /// [`ClientLimits::query_bytes_max`].
        query: usize,
        /// [`ClientLimits::bulk_bytes_max`].
        bulk: usize,
    },
    /// A connection would be closed before its commands wait.
    #[error("the hard limit of replies ({hard} bytes) is below the soft one ({soft} bytes)")]
    HardBelowSoft {
        /// [`ClientLimits::output_hard_bytes`].
        hard: usize,
        /// [`ClientLimits::output_soft_bytes`].
        soft: usize,
    },
}

impl Config {
    /// Checks what can be checked without opening anything.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let public = !self.listen.ip().is_loopback();
        if public && self.password.is_none() && self.tls.is_none() {
            return Err(ConfigError::Unprotected(self.listen));
        }
        let limits = &self.limits;
        let (query, bulk) = (limits.query_bytes_max, limits.bulk_bytes_max);
        if query < bulk {
            return Err(ConfigError::QueryBelowBulk { query, bulk });
        }
        let (hard, soft) = (limits.output_hard_bytes, limits.output_soft_bytes);
        if hard < soft {
            return Err(ConfigError::HardBelowSoft { hard, soft });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
