//! Every metric once: its name, what it is, its unit, its labels and what it says.
//!
//! On the page each name has the prefix `antiphon_` and its unit behind it; counters end with
//! `_total`. `docs/operations.md` lists them, which a test holds against a running cluster.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// One metric.
#[derive(Debug)]
pub(super) struct Metric {
    /// Without prefix and unit.
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) unit: Option<Unit>,
    /// Names of its labels, in the order in which their values are given.
    pub(super) labels: &'static [&'static str],
    /// What it says.
    pub(super) help: &'static str,
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal $(in $unit:ident)? $(by $($label:literal)+)? : $help:literal;)*) => {
        $(pub(super) static $id: Metric = Metric {
            name: $name,
            kind: MetricType::$kind,
            unit: metrics!(@unit $($unit)?),
            labels: &[$($($label),+)?],
            help: $help,
        };)*

        /// All of them.
        #[cfg(test)]
        pub(super) static ALL: &[&Metric] = &[$(&$id),*];
    };
    (@unit) => { None };
    (@unit $unit:ident) => { Some(Unit::$unit) };
}

metrics! {
    // Clients.
    CLIENTS = Gauge "clients": "Connections now";
    CONNECTIONS = Counter "connections": "Connections accepted";
    REFUSED_CONNECTIONS = Counter "refused_connections" by "reason":
        "Connections turned away or closed by us";
    CLIENT_BYTES = Gauge "client" in Bytes: "Memory of connections";
    RECEIVED_BYTES = Counter "received" in Bytes: "Bytes from clients";
    SENT_BYTES = Counter "sent" in Bytes: "Bytes to clients";
    WRONG_PASSWORDS = Counter "wrong_passwords": "Passwords that were wrong";
    CLIENT_CERTIFICATE = Gauge "client_certificate_expiry" in Seconds:
        "Until the client port's certificate ends";

    // Commands.
    COMMANDS = Counter "commands" by "command": "Commands run";
    COMMAND_NANOSECONDS = Counter "command_nanoseconds" by "command":
        "Time that commands took to run";
    FAILED_COMMANDS = Counter "failed_commands" by "command": "Commands answered with an error";
    REJECTED_COMMANDS = Counter "rejected_commands" by "command":
        "Commands refused before they ran";
    ERROR_REPLIES = Counter "error_replies": "Replies that are errors";
    KEYSPACE_HITS = Counter "keyspace_hits": "Reads that found their key";
    KEYSPACE_MISSES = Counter "keyspace_misses": "Reads that did not find their key";
    EXPIRED_KEYS = Counter "expired_keys": "Keys removed when their time had come";
    FORWARDED_WRITES = Counter "forwarded_writes": "Writes handed to the primary";
    POLICY_TIMEOUTS = Counter "policy_timeouts": "Replies whose policy was not met in time";
    COMMIT_WAIT = Histogram "commit_wait" in Seconds:
        "From running a write to its policy being met";

    // The node and its shard.
    NODE = Info "node": "Who this is";
    PRIMARY = Gauge "primary": "1 at the primary";
    SERVING = Gauge "serving": "1 when the node takes its traffic";
    EPOCH = Gauge "epoch": "The configuration obeyed";
    LAST_LSN = Gauge "last_lsn": "End of the log";
    DURABLE_LSN = Gauge "durable_lsn": "End of what is synced here";
    STABLE_LSN = Gauge "stable_lsn": "End of what can never be lost";
    APPLIED_LSN = Gauge "applied_lsn": "End of what readers see";
    RECONNECTS = Counter "reconnects": "Links to other nodes made anew";
    RESYNCS = Counter "resyncs": "Streams from its parent that this node opened";
    LOG_CUTS = Counter "log_cuts": "Ends of the log that another epoch did not keep";
    REPLICATION_ERRORS = Counter "replication_errors" by "kind":
        "What kept entries from getting on, at either end of a stream";
    SESSIONS = Gauge "sessions": "Sessions in which writes execute once";
    SESSION_REPLIES = Gauge "session_replies" in Bytes: "Replies kept for retries";
    SNAPSHOT_LSN = Gauge "snapshot_lsn": "Position of the last snapshot";
    SNAPSHOT_TIME = Gauge "snapshot_time" in Seconds: "When the last snapshot was finished";
    PEER_CERTIFICATE = Gauge "peer_certificate_expiry" in Seconds:
        "Until the certificate of the links ends";

    // The log.
    LOG_FIRST_LSN = Gauge "log_first_lsn": "The first entry that is kept";
    LOG_BYTES = Gauge "log" in Bytes: "Bytes of the log's files";
    APPENDED_ENTRIES = Counter "appended_entries": "Entries appended";
    APPENDED_BYTES = Counter "appended" in Bytes: "Bytes appended";
    APPLIED_ENTRIES = Counter "applied_entries": "Entries applied";
    APPLIED_BYTES = Counter "applied" in Bytes: "Bytes applied";
    LOG_DAMAGED = Gauge "log_damaged": "1 while entries can't be read";
    LOG_DAMAGE_FOUND = Counter "log_damage_found": "Damaged places found in the log";
    LOG_DAMAGE_MENDED = Counter "log_damage_mended": "Damaged places mended";
    FSYNC = Histogram "fsync" in Seconds: "Synchronisation of the log's file";
    UPSTREAM_CONNECTED = Gauge "upstream_connected": "1 while the link is up";
    UPSTREAM_LAG_ENTRIES = Gauge "upstream_lag_entries": "Entries known and not applied";
    UPSTREAM_LAG = Gauge "upstream_lag" in Seconds: "Age of what is applied, while behind";

    // Replicas, at the primary.
    REPLICAS = Gauge "replicas": "Replicas whose link is up";
    REPLICA_CONNECTED = Gauge "replica_connected" by "replica": "1 while the link is up";
    REPLICA_RECEIVED_LSN = Gauge "replica_received_lsn" by "replica": "End of its log in memory";
    REPLICA_DURABLE_LSN = Gauge "replica_durable_lsn" by "replica": "End of its log on disk";
    REPLICA_APPLIED_LSN = Gauge "replica_applied_lsn" by "replica": "End of what its readers see";
    REPLICA_LAG_ENTRIES = Gauge "replica_lag_entries" by "replica": "Entries it lacks on disk";
    REPLICA_LAG_BYTES = Gauge "replica_lag" in Bytes by "replica": "Bytes it lacks on disk";
    REPLICA_LAG = Gauge "replica_lag" in Seconds by "replica": "Time since it was level";

    // Links, one to each other node.
    LINK_CONNECTED = Gauge "link_connected" by "peer": "1 while the link is up";
    LINK_CONNECTS = Counter "link_connects" by "peer": "Links made";
    LINK_LOSSES = Counter "link_losses" by "peer": "Links lost";
    LINK_FAILED_ATTEMPTS = Counter "link_failed_attempts" by "peer":
        "Attempts to connect that failed";
    LINK_SENT_MESSAGES = Counter "link_sent_messages" by "peer": "Messages that links took";
    LINK_SENT_BYTES = Counter "link_sent" in Bytes by "peer":
        "Their bytes, before they were compressed";
    LINK_SENT_WIRE_BYTES = Counter "link_sent_wire" in Bytes by "peer":
        "Their bytes as the link took them";
    LINK_PACKED_MESSAGES = Counter "link_packed_messages" by "peer":
        "Messages among them that were compressed";
    LINK_SKIPPED_MESSAGES = Counter "link_skipped_messages" by "peer":
        "Messages long enough to compress that were sent as they are";
    LINK_RATIO = Gauge "link_compression_ratio" by "peer":
        "Bytes sent before compression by bytes on the wire";
    LINK_DROPPED_MESSAGES = Counter "link_dropped_messages" by "peer":
        "Messages dropped with a link that was lost";
    LINK_RECEIVED_MESSAGES = Counter "link_received_messages" by "peer": "Messages that came";
    LINK_RECEIVED_BYTES = Counter "link_received" in Bytes by "peer":
        "Their bytes, after they were unpacked";
    LINK_RECEIVED_WIRE_BYTES = Counter "link_received_wire" in Bytes by "peer":
        "Their bytes as the link brought them";
    LINK_QUEUED_BYTES = Gauge "link_queued" in Bytes by "peer" "lane":
        "Bytes that wait to be sent";
    REFUSED_LINKS = Counter "refused_links" by "reason": "Nodes that were refused a link";
}
