//! The status page of a node, as far as this screen needs it. Unknown fields are passed over:
//! the page may be of a newer version.

use serde::{Deserialize, Serialize};

/// How the names of all versions of the page begin.
pub(crate) const SCHEMA: &str = "antiphon.status/";

/// What one node says of itself and, if it is the primary, of its replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    /// Name and version of the document.
    pub(crate) schema: String,
    /// The version that the node runs; empty if it is too old to say.
    #[serde(default)]
    pub(crate) version: String,
    /// The cluster.
    #[serde(default)]
    pub(crate) cluster: String,
    /// The node's number.
    pub(crate) node: u64,
    /// Where its clients connect; empty if it is too old to say.
    #[serde(default)]
    pub(crate) address: String,
    /// `primary` or `replica`.
    pub(crate) role: String,
    /// Whether it takes its role's traffic.
    pub(crate) serving: bool,
    /// For whom a primary waits before it serves.
    #[serde(default)]
    pub(crate) waiting: Option<String>,
    /// The configuration obeyed.
    pub(crate) epoch: u64,
    /// The shard's floor.
    pub(crate) floor: String,
    /// How the tree is drawn.
    #[serde(default)]
    pub(crate) shape: String,
    /// End of the log there.
    pub(crate) last: u64,
    /// End of what is synced there.
    pub(crate) durable: u64,
    /// End of what can never be lost.
    pub(crate) stable: u64,
    /// End of what readers there see.
    pub(crate) applied: u64,
    /// Digest of the stable state.
    #[serde(default)]
    pub(crate) digest: String,
    /// At a replica: where it follows.
    #[serde(default)]
    pub(crate) upstream: Option<Upstream>,
    /// At the primary: who follows.
    #[serde(default)]
    pub(crate) replicas: Vec<Replica>,
    /// The time that 99 of 100 syncs of the log did not exceed, in seconds.
    #[serde(default)]
    pub(crate) fsync_p99_seconds: Option<f64>,
    /// The link to each other node.
    #[serde(default)]
    pub(crate) links: Vec<Link>,
    /// Seconds until the certificate for links ends.
    #[serde(default)]
    pub(crate) peer_certificate_seconds: Option<i64>,
}

impl Page {
    /// Whether the node says that it is the primary.
    pub(crate) fn is_primary(&self) -> bool {
        self.role == "primary"
    }
}

/// A link to another node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The node.
    pub(crate) node: u64,
    /// Whether it stands.
    pub(crate) connected: bool,
    /// Links that were made since the start.
    pub(crate) connects: u64,
    /// Attempts to make one that failed.
    pub(crate) failed_attempts: u64,
    /// Bytes that a link took.
    pub(crate) sent_bytes: u64,
    /// Bytes that came.
    pub(crate) received_bytes: u64,
}

/// The node that a replica follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Upstream {
    /// The node.
    pub(crate) node: u64,
    /// Whether the link is up.
    pub(crate) connected: bool,
    /// Entries known to be there and not applied here.
    #[serde(default)]
    pub(crate) lag_entries: u64,
    /// Age of the last applied entry while some are not applied, in seconds.
    #[serde(default)]
    pub(crate) lag_seconds: f64,
}

/// A replica as the primary sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replica {
    /// The node.
    pub(crate) node: u64,
    /// Where its clients connect, as far as it is known.
    #[serde(default)]
    pub(crate) host: String,
    /// The port of that place.
    #[serde(default)]
    pub(crate) port: u16,
    /// Whether the link is up.
    pub(crate) connected: bool,
    /// Its state in a word.
    pub(crate) state: String,
    /// Where its entries come from.
    #[serde(default)]
    pub(crate) source: String,
    /// End of what it was sent.
    #[serde(default)]
    pub(crate) sent: u64,
    /// End of what its readers see.
    #[serde(default)]
    pub(crate) applied: Option<u64>,
    /// End of its log in memory.
    #[serde(default)]
    pub(crate) received: u64,
    /// End of its log on disk.
    pub(crate) durable: u64,
    /// Entries it does not have on disk.
    pub(crate) lag_entries: u64,
    /// Time since it was level, in seconds.
    #[serde(default)]
    pub(crate) lag_seconds: f64,
}

impl Replica {
    /// Whether it can take over without a loss right now.
    pub(crate) fn is_in_sync(&self) -> bool {
        self.connected && self.state == "in sync"
    }
}
