//! `INFO`: the sections and fields that exporters, clients and people read.

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use antiphon_kv::{Command, Db};

use super::connection::{REDIS_VERSION, VERSION};
use super::upper;
use crate::core::{Call, Core};
use crate::server::Server;
use crate::shard::Shard;
use crate::status::Status;

/// One section: its title, and the function that writes its fields.
type Section<S> = (&'static str, fn(&mut Page<'_, S>));

/// Sections that `INFO` shows when it is not asked for others, in order.
const fn usual<S: Shard>() -> [Section<S>; 11] {
    [
        ("Server", server),
        ("Clients", clients),
        ("Memory", memory),
        ("Persistence", persistence),
        ("Stats", stats),
        ("Replication", replication),
        ("CPU", cpu),
        ("Errorstats", error_stats),
        ("Cluster", cluster),
        ("Keyspace", keyspace),
        ("x_replication", ours),
    ]
}

/// Sections that must be asked for.
const fn more<S: Shard>() -> [Section<S>; 3] {
    [("Modules", |_| {}), ("Commandstats", command_stats), ("Latencystats", latency_stats)]
}

/// What is written, and what it is written from.
struct Page<'a, S: Shard> {
    out: String,
    server: &'a Server<S>,
    status: &'a Status,
    now: Instant,
}

impl<S: Shard> Page<'_, S> {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        let written = write!(self.out, "{name}:{value}\r\n");
        assert!(written.is_ok(), "writing to a string does not fail");
    }
}

/// `INFO`.
pub(super) fn run<S: Shard>(core: &mut Core<S>, call: &Call<'_>) {
    let wanted: Vec<String> = call.args.iter().skip(1).map(|word| upper(word)).collect();
    let has = |word: &str| wanted.iter().any(|wanted| wanted == word);
    let everything = has("ALL") || has("EVERYTHING");
    let default = wanted.is_empty() || has("DEFAULT") || everything;
    let status = core.server.shard.status();
    core.server.mirror();
    let mut page =
        Page { out: String::new(), server: &core.server, status: &status, now: call.now };
    let sections = usual().into_iter().map(|section| (section, default));
    let sections = sections.chain(more().into_iter().map(|section| (section, everything)));
    for ((title, write), shown) in sections {
        if !shown && !has(&title.to_ascii_uppercase()) {
            continue;
        }
        if !page.out.is_empty() {
            page.out.push_str("\r\n");
        }
        page.out.push_str("# ");
        page.out.push_str(title);
        page.out.push_str("\r\n");
        write(&mut page);
    }
    let text = page.out;
    core.reply().verbatim("txt", text.as_bytes());
}

fn server<S: Shard>(page: &mut Page<'_, S>) {
    let uptime = page.now.saturating_duration_since(page.server.started).as_secs();
    page.line("redis_version", REDIS_VERSION);
    page.line("redis_mode", "standalone");
    page.line("x_version", VERSION);
    page.line("os", std::env::consts::OS);
    page.line("arch_bits", usize::BITS);
    page.line("process_id", std::process::id());
    page.line("run_id", &page.server.run_id);
    page.line("tcp_port", page.server.address.get().port());
    page.line("uptime_in_seconds", uptime);
    page.line("uptime_in_days", uptime / 86_400);
}

fn clients<S: Shard>(page: &mut Page<'_, S>) {
    let clients = page.server.clients.borrow();
    let blocked = clients.values().filter(|client| client.blocked.get()).count();
    page.line("connected_clients", clients.len());
    page.line("maxclients", page.server.live.clients_max.get());
    page.line("blocked_clients", blocked);
    page.line("x_unauthenticated_clients", page.server.strangers.get());
}

fn memory<S: Shard>(page: &mut Page<'_, S>) {
    let (used, max) = page
        .server
        .shard
        .with(|engine| (engine.memory_bytes(), engine.limits().memory_bytes_max.unwrap_or(0)));
    let used = used + page.server.memory.get();
    let peak = page.server.pulse.peak(used);
    let resident = resident_bytes().unwrap_or(used);
    page.line("used_memory", used);
    page.line("used_memory_human", human(used));
    page.line("used_memory_rss", resident);
    page.line("used_memory_rss_human", human(resident));
    page.line("used_memory_peak", peak);
    page.line("used_memory_peak_human", human(peak));
    page.line("maxmemory", max);
    page.line("maxmemory_human", human(max));
    page.line("maxmemory_policy", "noeviction");
    page.line("mem_fragmentation_ratio", hundredths(resident, used));
    page.line("mem_clients_normal", page.server.memory.get());
}

fn persistence<S: Shard>(page: &mut Page<'_, S>) {
    let status = page.status;
    page.line("loading", 0);
    page.line("rdb_changes_since_last_save", status.applied.since(status.snapshot_lsn));
    page.line("rdb_bgsave_in_progress", u8::from(status.snapshotting));
    page.line("rdb_last_save_time", status.snapshot_at_s);
    page.line("rdb_last_bgsave_status", "ok");
    page.line("aof_enabled", 1);
    page.line("aof_last_write_status", "ok");
    page.line("aof_current_size", status.log.bytes);
}

fn stats<S: Shard>(page: &mut Page<'_, S>) {
    let stats = &page.server.stats;
    page.line("total_connections_received", stats.connections.get());
    page.line("total_commands_processed", stats.commands.get());
    page.line("instantaneous_ops_per_sec", page.server.pulse.per_second());
    page.line("total_net_input_bytes", stats.bytes_in.get());
    page.line("total_net_output_bytes", stats.bytes_out.get());
    let refused = stats.refused.first().map_or(0, crate::stats::Count::get);
    page.line("rejected_connections", refused);
    page.line("sync_full", 0);
    page.line("sync_partial_ok", page.status.reconnects);
    page.line("sync_partial_err", 0);
    page.line("expired_keys", stats.expired.get());
    page.line("evicted_keys", 0);
    page.line("keyspace_hits", stats.hits.get());
    page.line("keyspace_misses", stats.misses.get());
    page.line("total_error_replies", stats.errors.get());
}

fn replication<S: Shard>(page: &mut Page<'_, S>) {
    let status = page.status;
    page.line("role", if status.primary { "master" } else { "slave" });
    if !status.primary {
        upstream(page);
    }
    let there: Vec<_> = status.replicas.iter().filter(|replica| replica.connected).collect();
    page.line("connected_slaves", there.len());
    for (place, replica) in there.iter().enumerate() {
        let value = format!(
            "ip={},port={},state=online,offset={},lag={:.0}",
            replica.host, replica.port, replica.received, replica.lag_s
        );
        page.line(&format!("slave{place}"), value);
    }
    page.line("master_failover_state", "no-failover");
    page.line("master_replid", &page.server.run_id);
    page.line("master_replid2", "0".repeat(40));
    page.line("master_repl_offset", status.last);
    page.line("second_repl_offset", -1);
    page.line("repl_backlog_active", 1);
    page.line("repl_backlog_size", status.log.bytes);
    page.line("repl_backlog_first_byte_offset", status.log.first);
    page.line("repl_backlog_histlen", status.last.since(status.log.first.prev()));
}

fn upstream<S: Shard>(page: &mut Page<'_, S>) {
    let upstream = page.status.upstream.clone().unwrap_or_default();
    page.line("master_host", &upstream.host);
    page.line("master_port", upstream.port);
    page.line("master_link_status", if upstream.connected { "up" } else { "down" });
    page.line("master_last_io_seconds_ago", upstream.silent_s);
    page.line("master_sync_in_progress", u8::from(upstream.loading));
    page.line("slave_read_repl_offset", page.status.last);
    page.line("slave_repl_offset", page.status.applied);
    page.line("slave_priority", 100);
    page.line("slave_read_only", 1);
    page.line("replica_announced", 1);
}

fn cpu<S: Shard>(page: &mut Page<'_, S>) {
    let (user, system) = cpu_seconds().unwrap_or((0.0, 0.0));
    page.line("used_cpu_sys", format_args!("{system:.6}"));
    page.line("used_cpu_user", format_args!("{user:.6}"));
}

fn cluster<S: Shard>(page: &mut Page<'_, S>) {
    page.line("cluster_enabled", 0);
}

fn keyspace<S: Shard>(page: &mut Page<'_, S>) {
    let now_ms = page.server.shard.view().now_ms;
    for db in Db::all() {
        let held = page.server.shard.with(|engine| engine.db_stats(db, now_ms));
        if held.keys > 0 {
            let value =
                format!("keys={},expires={},avg_ttl={}", held.keys, held.expires, held.avg_ttl_ms);
            page.line(&format!("db{}", db.get()), value);
        }
    }
}

fn error_stats<S: Shard>(page: &mut Page<'_, S>) {
    let errors = page.server.errors.borrow().clone();
    for (prefix, count) in errors {
        page.line(&format!("errorstat_{prefix}"), format_args!("count={count}"));
    }
}

fn command_stats<S: Shard>(page: &mut Page<'_, S>) {
    let stats = page.server.stats();
    for (command, held) in Command::all().iter().zip(&stats.by_command) {
        let (calls, usec) = (held.calls.get(), held.nanos.get() / 1000);
        if calls == 0 && held.rejected.get() == 0 {
            continue;
        }
        let value = format!(
            "calls={calls},usec={usec},usec_per_call={}.00,rejected_calls={},failed_calls={}",
            usec.checked_div(calls).unwrap_or(0),
            held.rejected.get(),
            held.failed.get()
        );
        page.line(&format!("cmdstat_{}", command.name), value);
    }
}

fn latency_stats<S: Shard>(page: &mut Page<'_, S>) {
    let stats = page.server.stats();
    for (command, held) in Command::all().iter().zip(&stats.by_command) {
        if held.calls.get() > 0 {
            let at = |share| held.percentile(share) * 1e6;
            let value = format!("p50={:.3},p99={:.3},p99.9={:.3}", at(0.5), at(0.99), at(0.999));
            page.line(&format!("latency_percentiles_usec_{}", command.name), value);
        }
    }
}

fn ours<S: Shard>(page: &mut Page<'_, S>) {
    let status = page.status;
    page.line("x_cluster", &status.cluster);
    page.line("x_node", status.node);
    page.line("x_node_name", &status.name);
    page.line("x_epoch", status.epoch);
    page.line("x_shape", &status.shape);
    page.line("x_floor", status.floor);
    page.line("x_serving", u8::from(status.serving));
    page.line("x_last", status.last);
    page.line("x_durable", status.durable);
    page.line("x_stable", status.stable);
    page.line("x_applied", status.applied);
    page.line("x_digest", &status.digest);
    page.line("x_default_policy", page.server.live.policy.get());
    page.line("x_policy_timeouts", page.server.stats.policy_timeouts.get());
    page.line("x_forwarded", page.server.stats.forwarded.get());
    page.line("x_reconnects", status.reconnects);
    if let Some(upstream) = &status.upstream {
        page.line("x_lag_entries", upstream.lag_entries);
        page.line("x_lag_seconds", format_args!("{:.3}", upstream.lag_s));
    }
    for replica in &status.replicas {
        let value = format!(
            "state={},received={},durable={},lag_entries={},lag_bytes={},lag_seconds={:.3}",
            replica.state,
            replica.received,
            replica.durable,
            replica.lag_entries,
            replica.lag_bytes,
            replica.lag_s
        );
        page.line(&format!("x_replica_{}", replica.node), value);
    }
}

/// Bytes as Redis writes them for people.
fn human(bytes: usize) -> String {
    const UNITS: [(usize, &str); 4] =
        [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    for (unit, letter) in UNITS {
        if bytes >= unit {
            return format!("{}{letter}", hundredths(bytes, unit));
        }
    }
    format!("{bytes}B")
}

/// A quotient with two decimals.
fn hundredths(part: usize, whole: usize) -> String {
    let hundredths = part.saturating_mul(100) / whole.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Resident memory of this process, where the system tells it. Unit: bytes.
fn resident_bytes() -> Option<usize> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Processor time of this process, in user and in system mode. Unit: seconds.
fn cpu_seconds() -> Option<(f64, f64)> {
    const TICKS_PER_SECOND: f64 = 100.0; // fixed for what /proc shows, whatever the kernel runs at
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold spaces: the fields are counted from behind it.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) / TICKS_PER_SECOND, f64::from(system) / TICKS_PER_SECOND))
}
