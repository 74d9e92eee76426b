//! The cluster that a run without an address starts for itself.

use std::net::SocketAddr;

use crate::exit::{Exit, Problem};

/// A cluster that lives as long as this value.
#[derive(Debug)]
pub(crate) struct OwnCluster {
    /// The client port of each node, the primary's first.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The process of each node that is not this one.
    pub(crate) pids: Vec<u32>,
}

/// Starts a cluster on this machine and returns once it accepts writes.
///
/// # Errors
/// A [`Problem`] when no cluster can be started.
pub(crate) fn start_cluster() -> Result<OwnCluster, Problem> {
    Err(Problem::new(
        Exit::Refused,
        "this build cannot start a cluster of its own",
        "name a server: antiphon bench --address 127.0.0.1:6379",
    ))
}
