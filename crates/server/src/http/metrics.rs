//! `/metrics`: counters as they are when asked, in the text format of `OpenMetrics`.

use std::fmt;
use std::sync::Arc;

use antiphon_kv::Command;
use antiphon_proto::Lsn;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use crate::pages::{Pages, Picture};
use crate::stats::{CommandStats, Count, Refusal, Stats};
use crate::status::{Distribution, Replica, Status};

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
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let encoder = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    fn gauge<V: EncodeGaugeValue + Copy>(
        &mut self,
        name: &str,
        help: &str,
        value: V,
    ) -> fmt::Result {
        let mut encoder = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        encoder.encode_gauge(&value)
    }

    fn position(&mut self, name: &str, help: &str, value: Lsn) -> fmt::Result {
        self.gauge(name, help, signed(value.get()))
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Distribution) -> fmt::Result {
        let mut encoder =
            self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
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

    fn counters<'a>(
        &mut self,
        (name, help, label): (&str, &str, &'static str),
        values: impl Iterator<Item = (&'a str, u64)>,
    ) -> fmt::Result {
        let mut encoder = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            let labels = [(label, of)];
            ConstCounter::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<V: EncodeGaugeValue + Copy>(
        &mut self,
        (name, help): (&str, &str),
        status: &Status,
        value: impl Fn(&Replica) -> V,
    ) -> fmt::Result {
        let mut encoder = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for replica in &status.replicas {
            let labels = [("replica", replica.node.to_string())];
            encoder.encode_family(&labels)?.encode_gauge(&value(replica))?;
        }
        Ok(())
    }
}

fn clients(out: &mut Out<'_>, stats: &Stats) -> fmt::Result {
    out.gauge("clients", "Connections now", signed(stats.clients.get()))?;
    out.counter("connections", "Connections accepted", stats.connections.get())?;
    let refused = Refusal::ALL.iter().zip(&stats.refused);
    out.counters(
        ("refused_connections", "Connections turned away or closed by us", "reason"),
        refused.map(|((_, word), count)| (*word, count.get())),
    )?;
    out.gauge("client_bytes", "Memory of connections", signed(stats.client_bytes.get()))?;
    out.counter("received_bytes", "Bytes from clients", stats.bytes_in.get())?;
    out.counter("sent_bytes", "Bytes to clients", stats.bytes_out.get())?;
    out.counter("wrong_passwords", "Passwords that were wrong", stats.wrong_passwords.get())
}

fn commands(out: &mut Out<'_>, stats: &Stats) -> fmt::Result {
    let ran = |value: fn(&CommandStats) -> &Count| {
        let all = Command::all().iter().zip(&stats.by_command);
        let ran = all.filter(|(_, held)| held.calls.get() + held.rejected.get() > 0);
        ran.map(move |(command, held)| (command.name, value(held).get()))
    };
    out.counters(("commands", "Commands run", "command"), ran(|held| &held.calls))?;
    out.counters(
        ("command_nanoseconds", "Time that commands took to run", "command"),
        ran(|held| &held.nanos),
    )?;
    out.counters(
        ("failed_commands", "Commands answered with an error", "command"),
        ran(|held| &held.failed),
    )?;
    out.counters(
        ("rejected_commands", "Commands refused before they ran", "command"),
        ran(|held| &held.rejected),
    )?;
    out.counter("error_replies", "Replies that are errors", stats.errors.get())?;
    out.counter("keyspace_hits", "Reads that found their key", stats.hits.get())?;
    out.counter("keyspace_misses", "Reads that did not find their key", stats.misses.get())?;
    out.counter("expired_keys", "Keys removed when their time had come", stats.expired.get())?;
    out.counter("forwarded_writes", "Writes handed to the primary", stats.forwarded.get())?;
    out.counter(
        "policy_timeouts",
        "Replies whose policy was not met in time",
        stats.policy_timeouts.get(),
    )?;
    let help = "From running a write to its policy being met";
    out.histogram("commit_wait_seconds", help, &stats.commit_wait.distribution())
}

fn certificate(out: &mut Out<'_>, stats: &Stats, now_s: i64) -> fmt::Result {
    let end_s = signed(stats.certificate_end_s.get());
    if end_s == 0 {
        return Ok(());
    }
    let help = "Until the client port's certificate ends";
    out.gauge("client_certificate_expiry_seconds", help, end_s.saturating_sub(now_s))
}

fn node(out: &mut Out<'_>, newest: &Picture) -> fmt::Result {
    let status = &newest.status;
    out.gauge("primary", "1 at the primary", i64::from(status.primary))?;
    out.gauge("serving", "1 when the node takes its traffic", i64::from(status.serving))?;
    out.gauge("epoch", "The configuration obeyed", signed(status.epoch.get()))?;
    out.position("last_lsn", "End of the log", status.last)?;
    out.position("durable_lsn", "End of what is synced here", status.durable)?;
    out.position("stable_lsn", "End of what can never be lost", status.stable)?;
    out.position("applied_lsn", "End of what readers see", status.applied)?;
    out.counter("reconnects", "Links to other nodes made anew", status.reconnects)?;
    out.position("snapshot_lsn", "Position of the last snapshot", status.snapshot_lsn)?;
    let at = signed(status.snapshot_at_s);
    out.gauge("snapshot_time_seconds", "When the last snapshot was finished", at)?;
    if let Some(seconds) = status.peer_certificate_seconds {
        let help = "Until the certificate of the links ends";
        out.gauge("peer_certificate_expiry_seconds", help, seconds)?;
    }
    let mut info = identity(out)?;
    info.encode_info(&vec![
        ("cluster", status.cluster.clone()),
        ("name", status.name.clone()),
        ("shape", status.shape.clone()),
        ("floor", status.floor.to_string()),
        ("policy", newest.policy.to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ])
}

fn identity<'a>(
    out: &'a mut Out<'_>,
) -> Result<prometheus_client::encoding::MetricEncoder<'a>, fmt::Error> {
    out.encoder.encode_descriptor("node", "Who this is", None, MetricType::Info)
}

fn log(out: &mut Out<'_>, status: &Status) -> fmt::Result {
    let log = &status.log;
    out.position("log_first_lsn", "The first entry that is kept", log.first)?;
    out.gauge("log_bytes", "Bytes of the log's files", signed(log.bytes))?;
    out.counter("appended_entries", "Entries appended", log.appended_entries)?;
    out.counter("appended_bytes", "Bytes appended", log.appended_bytes)?;
    out.counter("applied_entries", "Entries applied", log.applied_entries)?;
    let unreadable = i64::from(status.damage.open.is_some());
    out.gauge("log_damaged", "1 while entries can't be read", unreadable)?;
    out.counter("log_damage_found", "Damaged places found in the log", status.damage.found)?;
    out.counter("log_damage_mended", "Damaged places mended", status.damage.mended)?;
    out.histogram("fsync_seconds", "Synchronisation of the log's file", &status.fsync)?;
    let Some(upstream) = &status.upstream else { return Ok(()) };
    out.gauge("upstream_connected", "1 while the link is up", i64::from(upstream.connected))?;
    let behind = signed(upstream.lag_entries);
    out.gauge("upstream_lag_entries", "Entries known and not applied", behind)?;
    out.gauge("upstream_lag_seconds", "Age of what is applied, while behind", upstream.lag_s)
}

fn replicas(out: &mut Out<'_>, status: &Status) -> fmt::Result {
    if !status.primary {
        return Ok(());
    }
    let there = status.replicas.iter().filter(|replica| replica.connected).count();
    let there = i64::try_from(there).unwrap_or(i64::MAX);
    out.gauge("replicas", "Replicas whose link is up", there)?;
    out.gauges(("replica_connected", "1 while the link is up"), status, |replica| {
        i64::from(replica.connected)
    })?;
    out.gauges(("replica_received_lsn", "End of its log in memory"), status, |replica| {
        signed(replica.received.get())
    })?;
    out.gauges(("replica_durable_lsn", "End of its log on disk"), status, |replica| {
        signed(replica.durable.get())
    })?;
    out.gauges(("replica_lag_entries", "Entries it lacks on disk"), status, |replica| {
        signed(replica.lag_entries)
    })?;
    out.gauges(("replica_lag_bytes", "Bytes it lacks on disk"), status, |replica| {
        signed(replica.lag_bytes)
    })?;
    out.gauges(("replica_lag_seconds", "Time since it was level"), status, |replica| replica.lag_s)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
