//! `/metrics`: counters as they are when asked, in the text format of `OpenMetrics`.

mod table;

use std::fmt;
use std::sync::Arc;

use antiphon_kv::Command;
use antiphon_proto::Lsn;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use crate::pages::{Pages, Picture};
use crate::stats::{CommandStats, Count, Refusal, Stats};
use crate::status::{Distribution, Link, Replica, Status};
use table::Metric;

/// All metrics as text. `now_s` is the time in seconds since 1970.
pub(super) fn text(pages: Arc<Pages>, now_s: i64) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("antiphon");
    registry.register_collector(Box::new(Scrape { pages, now_s }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    pages: Arc<Pages>,
    now_s: i64,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out { encoder };
        let stats = self.pages.stats();
        clients(&mut out, stats)?;
        commands(&mut out, stats)?;
        certificate(&mut out, stats, self.now_s)?;
        match self.pages.newest() {
            Some(newest) => {
                node(&mut out, &newest)?;
                log(&mut out, &newest.status)?;
                links(&mut out, &newest.status)?;
                replicas(&mut out, &newest.status)
            }
            None => Ok(()),
        }
    }
}

/// Writes metrics, one family after another.
struct Out<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Out<'_> {
    fn begin(&mut self, of: &'static Metric) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.encoder.encode_descriptor(of.name, of.help, of.unit.as_ref(), of.kind)
    }

    fn counter(&mut self, of: &'static Metric, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.begin(of)?)
    }

    fn gauge<V: EncodeGaugeValue + Copy>(&mut self, of: &'static Metric, value: V) -> fmt::Result {
        self.begin(of)?.encode_gauge(&value)
    }

    fn position(&mut self, of: &'static Metric, value: Lsn) -> fmt::Result {
        self.gauge(of, signed(value.get()))
    }

    fn histogram(&mut self, of: &'static Metric, times: &Distribution) -> fmt::Result {
        let mut encoder = self.begin(of)?;
        // The encoder adds the buckets up itself.
        let mut before = 0;
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(times.buckets.len() + 1);
        for (bound, below) in &times.buckets {
            buckets.push((*bound, below.saturating_sub(before)));
            before = *below;
        }
        buckets.push((f64::INFINITY, times.count.saturating_sub(before)));
        encoder.encode_histogram::<NoLabelSet>(times.sum_s, times.count, &buckets, None)
    }

    /// One counter for each value of its label.
    fn counters<L: ToString>(
        &mut self,
        of: &'static Metric,
        values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut encoder = self.begin(of)?;
        for (label, value) in values {
            let labels = labelled(of, [label.to_string()]);
            ConstCounter::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// One gauge for each value of its labels.
    fn gauges<const LABELS: usize, V: EncodeGaugeValue>(
        &mut self,
        of: &'static Metric,
        values: impl Iterator<Item = ([String; LABELS], V)>,
    ) -> fmt::Result {
        let mut encoder = self.begin(of)?;
        for (labels, value) in values {
            let labels = labelled(of, labels);
            encoder.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

fn labelled<const LABELS: usize>(
    of: &'static Metric,
    values: [String; LABELS],
) -> Vec<(&'static str, String)> {
    assert_eq!(of.labels.len(), LABELS, "{} has other labels", of.name);
    of.labels.iter().copied().zip(values).collect()
}

fn clients(out: &mut Out<'_>, stats: &Stats) -> fmt::Result {
    out.gauge(&table::CLIENTS, signed(stats.clients.get()))?;
    out.counter(&table::CONNECTIONS, stats.connections.get())?;
    let refused = Refusal::ALL.iter().zip(&stats.refused);
    out.counters(
        &table::REFUSED_CONNECTIONS,
        refused.map(|((_, word), count)| (*word, count.get())),
    )?;
    out.gauge(&table::CLIENT_BYTES, signed(stats.client_bytes.get()))?;
    out.counter(&table::RECEIVED_BYTES, stats.bytes_in.get())?;
    out.counter(&table::SENT_BYTES, stats.bytes_out.get())?;
    out.counter(&table::WRONG_PASSWORDS, stats.wrong_passwords.get())
}

fn commands(out: &mut Out<'_>, stats: &Stats) -> fmt::Result {
    let ran = |value: fn(&CommandStats) -> &Count| {
        let all = Command::all().iter().zip(&stats.by_command);
        let ran = all.filter(|(_, held)| held.calls.get() + held.rejected.get() > 0);
        ran.map(move |(command, held)| (command.name, value(held).get()))
    };
    out.counters(&table::COMMANDS, ran(|held| &held.calls))?;
    out.counters(&table::COMMAND_NANOSECONDS, ran(|held| &held.nanos))?;
    out.counters(&table::FAILED_COMMANDS, ran(|held| &held.failed))?;
    out.counters(&table::REJECTED_COMMANDS, ran(|held| &held.rejected))?;
    out.counter(&table::ERROR_REPLIES, stats.errors.get())?;
    out.counter(&table::KEYSPACE_HITS, stats.hits.get())?;
    out.counter(&table::KEYSPACE_MISSES, stats.misses.get())?;
    out.counter(&table::EXPIRED_KEYS, stats.expired.get())?;
    out.counter(&table::FORWARDED_WRITES, stats.forwarded.get())?;
    out.counter(&table::POLICY_TIMEOUTS, stats.policy_timeouts.get())?;
    out.histogram(&table::COMMIT_WAIT, &stats.commit_wait.distribution())
}

fn certificate(out: &mut Out<'_>, stats: &Stats, now_s: i64) -> fmt::Result {
    let end_s = signed(stats.certificate_end_s.get());
    if end_s == 0 {
        return Ok(());
    }
    out.gauge(&table::CLIENT_CERTIFICATE, end_s.saturating_sub(now_s))
}

fn node(out: &mut Out<'_>, newest: &Picture) -> fmt::Result {
    let status = &newest.status;
    out.gauge(&table::PRIMARY, i64::from(status.primary))?;
    out.gauge(&table::SERVING, i64::from(status.serving))?;
    out.gauge(&table::EPOCH, signed(status.epoch.get()))?;
    out.position(&table::LAST_LSN, status.last)?;
    out.position(&table::DURABLE_LSN, status.durable)?;
    out.position(&table::STABLE_LSN, status.stable)?;
    out.position(&table::APPLIED_LSN, status.applied)?;
    out.counter(&table::RECONNECTS, status.reconnects)?;
    out.counter(&table::RESYNCS, status.resyncs)?;
    out.counter(&table::LOG_CUTS, status.log_cuts)?;
    let errors = status.replication_errors.iter();
    out.counters(&table::REPLICATION_ERRORS, errors.map(|(kind, count)| (*kind, *count)))?;
    let sessions = u64::try_from(status.sessions).unwrap_or(u64::MAX);
    out.gauge(&table::SESSIONS, signed(sessions))?;
    let bytes = u64::try_from(status.session_replies_bytes).unwrap_or(u64::MAX);
    out.gauge(&table::SESSION_REPLIES, signed(bytes))?;
    out.position(&table::SNAPSHOT_LSN, status.snapshot_lsn)?;
    out.gauge(&table::SNAPSHOT_TIME, signed(status.snapshot_at_s))?;
    if let Some(seconds) = status.peer_certificate_seconds {
        out.gauge(&table::PEER_CERTIFICATE, seconds)?;
    }
    out.begin(&table::NODE)?.encode_info(&vec![
        ("cluster", status.cluster.clone()),
        ("name", status.name.clone()),
        ("shape", status.shape.clone()),
        ("floor", status.floor.to_string()),
        ("policy", newest.policy.to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ])
}

fn log(out: &mut Out<'_>, status: &Status) -> fmt::Result {
    let log = &status.log;
    out.position(&table::LOG_FIRST_LSN, log.first)?;
    out.gauge(&table::LOG_BYTES, signed(log.bytes))?;
    out.counter(&table::APPENDED_ENTRIES, log.appended_entries)?;
    out.counter(&table::APPENDED_BYTES, log.appended_bytes)?;
    out.counter(&table::APPLIED_ENTRIES, log.applied_entries)?;
    out.counter(&table::APPLIED_BYTES, log.applied_bytes)?;
    let unreadable = i64::from(status.damage.open.is_some());
    out.gauge(&table::LOG_DAMAGED, unreadable)?;
    out.counter(&table::LOG_DAMAGE_FOUND, status.damage.found)?;
    out.counter(&table::LOG_DAMAGE_MENDED, status.damage.mended)?;
    out.histogram(&table::FSYNC, &status.fsync)?;
    let Some(upstream) = &status.upstream else { return Ok(()) };
    out.gauge(&table::UPSTREAM_CONNECTED, i64::from(upstream.connected))?;
    out.gauge(&table::UPSTREAM_LAG_ENTRIES, signed(upstream.lag_entries))?;
    out.gauge(&table::UPSTREAM_LAG, upstream.lag_s)
}

fn links(out: &mut Out<'_>, status: &Status) -> fmt::Result {
    let each =
        |value: fn(&Link) -> u64| status.links.iter().map(move |link| (link.node, value(link)));
    let peer = |link: &Link| [link.node.to_string()];
    let up = status.links.iter().map(|link| (peer(link), i64::from(link.connected)));
    out.gauges(&table::LINK_CONNECTED, up)?;
    out.counters(&table::LINK_CONNECTS, each(|link| link.connects))?;
    out.counters(&table::LINK_LOSSES, each(|link| link.losses))?;
    out.counters(&table::LINK_FAILED_ATTEMPTS, each(|link| link.failed_attempts))?;
    out.counters(&table::LINK_SENT_MESSAGES, each(|link| link.sent_messages))?;
    out.counters(&table::LINK_SENT_BYTES, each(|link| link.sent_bytes))?;
    out.counters(&table::LINK_SENT_WIRE_BYTES, each(|link| link.sent_wire_bytes))?;
    out.counters(&table::LINK_PACKED_MESSAGES, each(|link| link.packed_messages))?;
    out.counters(&table::LINK_SKIPPED_MESSAGES, each(|link| link.skipped_messages))?;
    out.gauges(&table::LINK_RATIO, status.links.iter().map(|link| (peer(link), link.ratio())))?;
    out.counters(&table::LINK_DROPPED_MESSAGES, each(|link| link.dropped_messages))?;
    out.counters(&table::LINK_RECEIVED_MESSAGES, each(|link| link.received_messages))?;
    out.counters(&table::LINK_RECEIVED_BYTES, each(|link| link.received_bytes))?;
    out.counters(&table::LINK_RECEIVED_WIRE_BYTES, each(|link| link.received_wire_bytes))?;
    let queued = status.links.iter().flat_map(|link| {
        let lanes = link.queued_bytes.iter();
        lanes.map(|(lane, bytes)| ([link.node.to_string(), (*lane).to_owned()], signed(*bytes)))
    });
    out.gauges(&table::LINK_QUEUED_BYTES, queued)?;
    let refused = status.refused_links.iter();
    out.counters(&table::REFUSED_LINKS, refused.map(|(reason, count)| (*reason, *count)))
}

fn replicas(out: &mut Out<'_>, status: &Status) -> fmt::Result {
    if !status.primary {
        return Ok(());
    }
    let there = status.replicas.iter().filter(|replica| replica.connected).count();
    out.gauge(&table::REPLICAS, i64::try_from(there).unwrap_or(i64::MAX))?;
    let each = |value: fn(&Replica) -> i64| {
        status.replicas.iter().map(move |replica| ([replica.node.to_string()], value(replica)))
    };
    out.gauges(&table::REPLICA_CONNECTED, each(|replica| i64::from(replica.connected)))?;
    out.gauges(&table::REPLICA_RECEIVED_LSN, each(|replica| signed(replica.received.get())))?;
    out.gauges(&table::REPLICA_DURABLE_LSN, each(|replica| signed(replica.durable.get())))?;
    out.gauges(&table::REPLICA_APPLIED_LSN, each(|replica| signed(replica.applied.get())))?;
    out.gauges(&table::REPLICA_LAG_ENTRIES, each(|replica| signed(replica.lag_entries)))?;
    out.gauges(&table::REPLICA_LAG_BYTES, each(|replica| signed(replica.lag_bytes)))?;
    let lags = status.replicas.iter().map(|replica| ([replica.node.to_string()], replica.lag_s));
    out.gauges(&table::REPLICA_LAG, lags)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
