//! What to run, resolved and checked: the same plan gives the same load.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::tls::Tls;

/// The load and how long it lasts.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where the connections go, in turn; never empty.
    pub(crate) addresses: Vec<SocketAddr>,
    /// How to speak TLS, if the connections do.
    pub(crate) tls: Option<Tls>,
    /// Sent with `AUTH` when there is one.
    pub(crate) password: Option<String>,
    /// When the run ends.
    pub(crate) length: Length,
    /// Longest wait for an answer, a connection, or the last replies after the end.
    pub(crate) patience: Duration,
    /// Whether all keys are written once before the warm-up.
    pub(crate) fill: bool,
    /// Start of all random choices.
    pub(crate) seed: u64,
    /// The load itself, as reports show it.
    pub(crate) load: Load,
}

/// The part of a plan that two runs must share for their figures to be compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Connections.
    pub(crate) clients: u32,
    /// Operations in flight on a connection.
    pub(crate) pipeline: u32,
    /// Threads of the generator.
    pub(crate) threads: u32,
    /// Size of a key.
    pub(crate) key_bytes: u32,
    /// Size of a value.
    pub(crate) value_bytes: u32,
    /// Distinct keys.
    pub(crate) keys: u32,
    /// Share of GET among the operations, 0 to 1.
    pub(crate) read_share: f64,
    /// Sent with `XPOLICY` on connecting; the server's own when absent.
    pub(crate) policy: Option<String>,
    /// Replicas of a `WAIT` after each batch that wrote.
    pub(crate) wait: Option<u32>,
    /// Operations a second of an open loop; a closed loop when absent.
    pub(crate) rate: Option<u32>,
    /// Whether values are checked.
    pub(crate) verify: bool,
}

/// When a run ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// After this many operations, all counted.
    Requests(u64),
    /// After a warm-up that is not counted and a time that is.
    Time {
        /// Not counted.
        warmup: Duration,
        /// Counted.
        counted: Duration,
    },
}

impl Plan {
    /// The connections of thread `thread`, as ordinals among all clients.
    pub(crate) fn clients_of(&self, thread: u32) -> impl Iterator<Item = u32> + use<> {
        let (clients, threads) = (self.load.clients, self.load.threads);
        (0..clients).filter(move |client| client % threads == thread)
    }

    /// Which of the addresses client number `client` connects to.
    pub(crate) fn server_of(&self, client: u32) -> usize {
        usize::try_from(client).unwrap_or_default() % self.addresses.len()
    }

    /// Where client number `client` connects.
    pub(crate) fn address_of(&self, client: u32) -> SocketAddr {
        let server = self.server_of(client);
        *self.addresses.get(server).expect("the plan refuses an empty list of addresses")
    }

    /// The keys that client number `client` writes when a run is verified, and fills before one.
    ///
    /// The slices of all clients are disjoint and cover all keys, so that a client knows what
    /// each of its keys must hold.
    pub(crate) fn slice_of(&self, client: u32) -> Range<u32> {
        let edge = |ordinal: u32| {
            let wide = u64::from(self.load.keys) * u64::from(ordinal);
            u32::try_from(wide / u64::from(self.load.clients)).unwrap_or(self.load.keys)
        };
        edge(client)..edge(client + 1)
    }

    /// Operations of thread `thread` when a number of requests ends the run.
    pub(crate) fn budget_of(&self, thread: u32) -> Option<u64> {
        match self.length {
            Length::Requests(all) => {
                let threads = u64::from(self.load.threads);
                Some(all / threads + u64::from(u64::from(thread) < all % threads))
            }
            Length::Time { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
