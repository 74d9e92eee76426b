//! What `INFO`, `ROLE` and the pages know of the node beyond this crate's own counters.

use antiphon_proto::{Epoch, Lsn, NodeId, Policy};

/// A node and its shard at one moment, as its operators see it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// This node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where its clients connect, as `host:port`.
    pub address: String,
    /// Whether it is the primary.
    pub primary: bool,
    /// Whether it takes its role's traffic.
    pub serving: bool,
    /// For whom a primary waits before it serves, in words.
    pub waiting: Option<String>,
    /// The configuration obeyed.
    pub epoch: Epoch,
    /// The shard's floor.
    pub floor: Policy,
    /// How the tree is drawn: `star` or `chain`.
    pub shape: String,
    /// End of the log here.
    pub last: Lsn,
    /// End of what is synced here.
    pub durable: Lsn,
    /// End of what can never be lost.
    pub stable: Lsn,
    /// End of what readers here see.
    pub applied: Lsn,
    /// Digest of the stable state, as 32 hexadecimal digits.
    pub digest: String,
    /// At a replica: where it follows.
    pub upstream: Option<Upstream>,
    /// At the primary: who follows.
    pub replicas: Vec<Replica>,
    /// The log's files.
    pub log: LogFiles,
    /// Synchronisation of the log's file.
    pub fsync: Distribution,
    /// Seconds until the certificate for links ends; nothing without one.
    pub peer_certificate_seconds: Option<i64>,
    /// Links to other nodes made anew since the start.
    pub reconnects: u64,
    /// The link to each other node.
    pub links: Vec<Link>,
    /// Nodes that were refused a link since the start, by reason.
    pub refused_links: Vec<(&'static str, u64)>,
    /// Streams that this node opened from its parent since the start.
    pub resyncs: u64,
    /// Ends of the log that were cut since the start.
    pub log_cuts: u64,
    /// What kept entries from getting on since the start, by kind; all kinds are there.
    pub replication_errors: Vec<(&'static str, u64)>,
    /// When the last snapshot was finished. Unit: seconds since 1970; 0 for never.
    pub snapshot_at_s: u64,
    /// The position of the last snapshot.
    pub snapshot_lsn: Lsn,
    /// Whether a snapshot is being written.
    pub snapshotting: bool,
    /// Damage in the log, found while the node runs.
    pub damage: Damage,
    /// Client sessions that are open.
    pub sessions: usize,
    /// What the replies kept for their retries take. Unit: bytes.
    pub session_replies_bytes: usize,
}

/// The node that a replica follows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Upstream {
    /// The node.
    pub node: NodeId,
    /// Where its clients connect, as far as it is known.
    pub host: String,
    /// The port of that place.
    pub port: u16,
    /// Whether the link is up.
    pub connected: bool,
    /// Since something came from it. Unit: seconds.
    pub silent_s: u64,
    /// Whether a snapshot is being loaded from it.
    pub loading: bool,
    /// Entries known to be in its log and not applied here.
    pub lag_entries: u64,
    /// Age of the last applied entry while some are not applied. Unit: seconds.
    pub lag_s: f64,
}

/// A replica as the primary sees it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Replica {
    /// The node.
    pub node: NodeId,
    /// Where its clients connect, as far as it is known.
    pub host: String,
    /// The port of that place.
    pub port: u16,
    /// Whether the link is up.
    pub connected: bool,
    /// Its state in a word: `in sync`, `catching up`, `away`.
    pub state: String,
    /// Where its entries come from: `memory`, `disk`, `node 2` in a chain, or `-` without a stream.
    pub source: String,
    /// End of what it was sent.
    pub sent: Lsn,
    /// End of its log in memory, as it said last.
    pub received: Lsn,
    /// End of its log on disk, as it said last.
    pub durable: Lsn,
    /// End of what its readers see, as it said last.
    pub applied: Lsn,
    /// Entries it does not have on disk.
    pub lag_entries: u64,
    /// Bytes it does not have on disk.
    pub lag_bytes: u64,
    /// Time since it was level. Unit: seconds.
    pub lag_s: f64,
}

/// The log's files here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFiles {
    /// The first entry that is kept.
    pub first: Lsn,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Entries appended since the start.
    pub appended_entries: u64,
    /// Bytes appended since the start.
    pub appended_bytes: u64,
    /// Entries applied since the start.
    pub applied_entries: u64,
    /// Their bytes.
    pub applied_bytes: u64,
}

/// The link to another node. Counts are of this run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// The other node.
    pub node: NodeId,
    /// Whether it is up.
    pub connected: bool,
    /// What is compressed on its way there: `off`, `lz4`, `zstd`, or `lz4,zstd` where either may
    /// be used.
    pub compression: String,
    /// Links that were made.
    pub connects: u64,
    /// Links that were lost.
    pub losses: u64,
    /// Attempts to connect that failed.
    pub failed_attempts: u64,
    /// Messages that links took.
    pub sent_messages: u64,
    /// Their bytes before they were compressed.
    pub sent_bytes: u64,
    /// Their bytes as the link took them.
    pub sent_wire_bytes: u64,
    /// Messages among them that were compressed.
    pub packed_messages: u64,
    /// Messages among them that were long enough to compress and sent as they are.
    pub skipped_messages: u64,
    /// Messages that were dropped when a link was lost.
    pub dropped_messages: u64,
    /// Messages that came.
    pub received_messages: u64,
    /// Their bytes after they were unpacked.
    pub received_bytes: u64,
    /// Their bytes as the link brought them.
    pub received_wire_bytes: u64,
    /// Bytes that wait to be sent, by lane.
    pub queued_bytes: [(&'static str, u64); 3],
}

impl Link {
    /// Bytes before compression by bytes on the wire; 1 before anything was sent.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        // Thousandths are enough, and are exact.
        let thousandths = self.sent_bytes.saturating_mul(1000).checked_div(self.sent_wire_bytes);
        f64::from(u32::try_from(thousandths.unwrap_or(1000)).unwrap_or(u32::MAX)) / 1000.0
    }
}

/// Damage in the log, found while the node runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Damage {
    /// What can't be read now; nothing when all can.
    pub open: Option<String>,
    /// Places found since the start.
    pub found: u64,
    /// Places mended since the start with what other nodes hold.
    pub mended: u64,
}

/// A distribution of times in cumulative buckets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distribution {
    /// Upper bound in seconds, and observations up to it; ascending.
    pub buckets: Vec<(f64, u64)>,
    /// Observations.
    pub count: u64,
    /// Their sum. Unit: seconds.
    pub sum_s: f64,
}

impl Distribution {
    /// The time that `share` of the observations did not exceed, as far as buckets tell: the
    /// upper bound of the bucket it lies in. None without observations. Unit: seconds.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        // Exact up to 2^53 observations.
        let wanted = share * self.count as f64;
        let reached = |(_, below): &&(f64, u64)| *below > 0 && *below as f64 >= wanted;
        self.buckets.iter().find(reached).map(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::Distribution;

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let times = |buckets: &[(f64, u64)]| Distribution {
            buckets: buckets.to_vec(),
            count: buckets.last().map_or(0, |(_, count)| *count),
            sum_s: 0.0,
        };
        let some = times(&[(0.001, 0), (0.002, 98), (0.004, 99), (0.008, 100)]);
        assert_eq!(some.quantile(0.5), Some(0.002));
        assert_eq!(some.quantile(0.99), Some(0.004));
        assert_eq!(some.quantile(1.0), Some(0.008));
        assert_eq!(times(&[(0.001, 0)]).quantile(0.99), None);
    }
}
