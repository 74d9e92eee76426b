//! `/status`: the node as JSON. Fields are added, never renamed; `schema` says which set it is.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::status::{Link, Replica, Status, Upstream};

/// A node at one moment. Positions count entries.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the status, which documents them")]
pub struct StatusJson {
    pub schema: &'static str,
    pub version: &'static str,
    pub cluster: String,
    pub node: u64,
    pub name: String,
    pub address: String,
    pub role: &'static str,
    pub serving: bool,
    pub waiting: Option<String>,
    pub epoch: u64,
    pub shape: String,
    pub floor: String,
    pub last: u64,
    pub durable: u64,
    pub stable: u64,
    pub applied: u64,
    pub digest: String,
    pub upstream: Option<UpstreamJson>,
    pub replicas: Vec<ReplicaJson>,
    pub log_first: u64,
    pub log_bytes: u64,
    pub appended_entries: u64,
    pub appended_bytes: u64,
    pub applied_entries: u64,
    pub fsync_p99_seconds: Option<f64>,
    pub applied_bytes: u64,
    pub replicas_connected: usize,
    pub replicas_lag_seconds_mean: f64,
    pub replicas_lag_seconds_max: f64,
    pub reconnects: u64,
    pub resyncs: u64,
    pub log_cuts: u64,
    pub replication_errors: BTreeMap<&'static str, u64>,
    pub refused_links: BTreeMap<&'static str, u64>,
    pub links: Vec<LinkJson>,
    pub peer_certificate_seconds: Option<i64>,
    pub snapshot_lsn: u64,
    pub snapshot_at_s: u64,
    pub snapshotting: bool,
    pub damage: Option<String>,
    pub damage_found: u64,
    pub damage_mended: u64,
}

/// The node that a replica follows.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the status, which documents them")]
pub struct UpstreamJson {
    pub node: u64,
    pub host: String,
    pub port: u16,
    pub connected: bool,
    pub silent_seconds: u64,
    pub loading: bool,
    pub lag_entries: u64,
    pub lag_seconds: f64,
}

/// A replica as the primary sees it.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the status, which documents them")]
pub struct ReplicaJson {
    pub node: u64,
    pub host: String,
    pub port: u16,
    pub connected: bool,
    pub state: String,
    pub source: String,
    pub sent: u64,
    pub received: u64,
    pub durable: u64,
    pub applied: u64,
    pub lag_entries: u64,
    pub lag_bytes: u64,
    pub lag_seconds: f64,
}

/// The link to another node, in this run.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the status, which documents them")]
pub struct LinkJson {
    pub node: u64,
    pub connected: bool,
    pub compression: String,
    pub compression_ratio: f64,
    pub connects: u64,
    pub losses: u64,
    pub failed_attempts: u64,
    pub sent_messages: u64,
    pub sent_bytes: u64,
    pub sent_wire_bytes: u64,
    pub packed_messages: u64,
    pub skipped_messages: u64,
    pub dropped_messages: u64,
    pub received_messages: u64,
    pub received_bytes: u64,
    pub received_wire_bytes: u64,
    pub queued_bytes: BTreeMap<&'static str, u64>,
}

/// The set of fields that this build writes.
const SCHEMA: &str = "antiphon.status/1";

impl From<&Status> for StatusJson {
    fn from(status: &Status) -> Self {
        let lags = status.replicas.iter().map(|replica| replica.lag_s);
        let count = u32::try_from(status.replicas.len().max(1)).unwrap_or(u32::MAX);
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            cluster: status.cluster.clone(),
            node: status.node.get(),
            name: status.name.clone(),
            address: status.address.clone(),
            role: if status.primary { "primary" } else { "replica" },
            serving: status.serving,
            waiting: status.waiting.clone(),
            epoch: status.epoch.get(),
            shape: status.shape.clone(),
            floor: status.floor.to_string(),
            last: status.last.get(),
            durable: status.durable.get(),
            stable: status.stable.get(),
            applied: status.applied.get(),
            digest: status.digest.clone(),
            upstream: status.upstream.as_ref().map(UpstreamJson::from),
            replicas: status.replicas.iter().map(ReplicaJson::from).collect(),
            log_first: status.log.first.get(),
            log_bytes: status.log.bytes,
            appended_entries: status.log.appended_entries,
            appended_bytes: status.log.appended_bytes,
            applied_entries: status.log.applied_entries,
            fsync_p99_seconds: status.fsync.quantile(0.99),
            applied_bytes: status.log.applied_bytes,
            replicas_connected: status.replicas.iter().filter(|it| it.connected).count(),
            replicas_lag_seconds_mean: lags.clone().sum::<f64>() / f64::from(count),
            replicas_lag_seconds_max: lags.fold(0.0, f64::max),
            reconnects: status.reconnects,
            resyncs: status.resyncs,
            log_cuts: status.log_cuts,
            replication_errors: status.replication_errors.iter().copied().collect(),
            refused_links: status.refused_links.iter().copied().collect(),
            links: status.links.iter().map(LinkJson::from).collect(),
            peer_certificate_seconds: status.peer_certificate_seconds,
            snapshot_lsn: status.snapshot_lsn.get(),
            snapshot_at_s: status.snapshot_at_s,
            snapshotting: status.snapshotting,
            damage: status.damage.open.clone(),
            damage_found: status.damage.found,
            damage_mended: status.damage.mended,
        }
    }
}

impl From<&Upstream> for UpstreamJson {
    fn from(upstream: &Upstream) -> Self {
        Self {
            node: upstream.node.get(),
            host: upstream.host.clone(),
            port: upstream.port,
            connected: upstream.connected,
            silent_seconds: upstream.silent_s,
            loading: upstream.loading,
            lag_entries: upstream.lag_entries,
            lag_seconds: upstream.lag_s,
        }
    }
}

impl From<&Replica> for ReplicaJson {
    fn from(replica: &Replica) -> Self {
        Self {
            node: replica.node.get(),
            host: replica.host.clone(),
            port: replica.port,
            connected: replica.connected,
            state: replica.state.clone(),
            source: replica.source.clone(),
            sent: replica.sent.get(),
            received: replica.received.get(),
            durable: replica.durable.get(),
            applied: replica.applied.get(),
            lag_entries: replica.lag_entries,
            lag_bytes: replica.lag_bytes,
            lag_seconds: replica.lag_s,
        }
    }
}

impl From<&Link> for LinkJson {
    fn from(link: &Link) -> Self {
        Self {
            node: link.node.get(),
            connected: link.connected,
            compression: link.compression.clone(),
            compression_ratio: link.ratio(),
            connects: link.connects,
            losses: link.losses,
            failed_attempts: link.failed_attempts,
            sent_messages: link.sent_messages,
            sent_bytes: link.sent_bytes,
            sent_wire_bytes: link.sent_wire_bytes,
            packed_messages: link.packed_messages,
            skipped_messages: link.skipped_messages,
            dropped_messages: link.dropped_messages,
            received_messages: link.received_messages,
            received_bytes: link.received_bytes,
            received_wire_bytes: link.received_wire_bytes,
            queued_bytes: link.queued_bytes.into_iter().collect(),
        }
    }
}
