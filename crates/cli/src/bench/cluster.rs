//! The cluster that a run without an address starts for itself: a demo without load, on free
//! ports, in a directory that goes with it.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::commands::demo::{Cluster, DemoArgs};
use crate::errors::{Code, Problem};

/// Where a place for the ports is looked for.
const PORTS: std::ops::Range<u16> = 20_000..29_000;
/// Distance between two places that are tried.
const STEP: usize = 30;
/// Nodes of the cluster.
const NODES: u16 = 3;

/// A cluster that lives as long as this value.
pub(crate) struct OwnCluster {
    /// The client port of each node, the primary's first.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The process of each node.
    pub(crate) pids: Vec<u32>,
    _cluster: Cluster,
}

/// Starts a cluster on this machine and returns once it accepts writes.
///
/// # Errors
/// A [`Problem`] when no cluster can be started.
pub(crate) fn start_cluster() -> Result<OwnCluster, Problem> {
    let failed = |error: anyhow::Error| {
        Problem::new(Code::BenchCluster, format!("cannot start a cluster: {error:#}"))
    };
    let first = PORTS.step_by(STEP).find(|first| are_free(*first)).ok_or_else(|| {
        failed(anyhow::anyhow!("no {} free ports in a row from {}", 3 * NODES, PORTS.start))
    })?;
    let cluster = Cluster::start(&DemoArgs::quiet(NODES, first)).map_err(failed)?;
    Ok(OwnCluster { addresses: cluster.addresses(), pids: cluster.pids(), _cluster: cluster })
}

/// Whether the ports of all nodes can be had, for clients, pages and links.
fn are_free(first: u16) -> bool {
    (first..first + 3 * NODES).all(|port| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    })
}
