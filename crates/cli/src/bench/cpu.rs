//! Processor time: ours, that of servers on this machine, and that of the machine.
//!
//! Everything comes from the kernel's own counters. Where there are none, nothing is claimed.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Processes that are looked at to find a server; far more than a machine for measuring runs.
const PROCESSES_MAX: usize = 100_000;

/// A server process on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pid: u32,
    name: String,
}

/// All counters at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    own: Duration,
    servers: Vec<BTreeMap<u32, Duration>>,
    machine: Option<Machine>,
}

#[derive(Debug, Clone, Copy)]
struct Machine {
    all: u64,
    idle: u64,
}

/// What was used between two samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Used {
    /// Processor seconds of this process.
    pub(crate) client_seconds: f64,
    /// Each server that was found.
    pub(crate) servers: Vec<ServerUsed>,
    /// Share of all cores that was busy, by anyone, 0 to 1.
    pub(crate) machine_share: Option<f64>,
}

/// What one server used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerUsed {
    /// Its process.
    pub(crate) pid: u32,
    /// The name of its program.
    pub(crate) name: String,
    /// Processor seconds of all its threads.
    pub(crate) seconds: f64,
    /// Processor seconds of its busiest thread.
    pub(crate) busiest_thread_seconds: f64,
}

impl Server {
    /// The server with process number `pid`, if there is one that may be looked at.
    pub(crate) fn of_pid(pid: u32) -> Option<Self> {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(Self { pid, name: name.trim_end().to_owned() })
    }

    /// The processes of this machine that listen at loopback `addresses`, and those of `pids`.
    pub(crate) fn find(addresses: &[SocketAddr], pids: &[u32]) -> Vec<Self> {
        let local = addresses.iter().filter(|address| address.ip().is_loopback());
        let ports: Vec<u16> = local.map(SocketAddr::port).collect();
        let sockets = listening_sockets(&ports);
        let mut found: Vec<u32> = pids.to_vec();
        if !sockets.is_empty() {
            found.extend(all_pids().filter(|&pid| holds_any(pid, &sockets)));
        }
        found.sort_unstable();
        found.dedup();
        found
            .into_iter()
            .filter(|&pid| pid != std::process::id())
            .filter_map(Self::of_pid)
            .collect()
    }

    fn thread_times(&self) -> BTreeMap<u32, Duration> {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            return BTreeMap::new();
        };
        let tids = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok());
        tids.filter_map(|tid: u32| {
            let stat = fs::read_to_string(format!("/proc/{}/task/{tid}/stat", self.pid)).ok()?;
            Some((tid, ticks_in(&stat)?))
        })
        .collect()
    }
}

impl Sample {
    /// Reads all counters now.
    pub(crate) fn take(servers: &[Server]) -> Self {
        Self {
            own: own(),
            servers: servers.iter().map(Server::thread_times).collect(),
            machine: fs::read_to_string("/proc/stat").ok().and_then(|stat| machine_in(&stat)),
        }
    }

    /// What was used since `earlier`, a sample of the same `servers`.
    pub(crate) fn since(&self, earlier: &Self, servers: &[Server]) -> Used {
        let each = servers.iter().zip(self.servers.iter().zip(&earlier.servers));
        Used {
            client_seconds: self.own.saturating_sub(earlier.own).as_secs_f64(),
            servers: each.filter_map(|(server, (now, then))| used(server, now, then)).collect(),
            machine_share: self.machine.zip(earlier.machine).and_then(|(now, then)| {
                let all = now.all.checked_sub(then.all).filter(|&all| all > 0)?;
                let idle = now.idle.saturating_sub(then.idle);
                Some(1.0 - ratio(idle, all))
            }),
        }
    }
}

fn used(
    server: &Server,
    now: &BTreeMap<u32, Duration>,
    then: &BTreeMap<u32, Duration>,
) -> Option<ServerUsed> {
    if now.is_empty() {
        return None;
    }
    let each = now.iter().map(|(tid, &time)| {
        time.saturating_sub(then.get(tid).copied().unwrap_or_default()).as_secs_f64()
    });
    Some(ServerUsed {
        pid: server.pid,
        name: server.name.clone(),
        seconds: each.clone().sum(),
        busiest_thread_seconds: each.fold(0.0, f64::max),
    })
}

/// Processor time of this process so far.
fn own() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// User and system time in a `stat` line of a process or thread.
fn ticks_in(stat: &str) -> Option<Duration> {
    // The second field is a name in brackets, which may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_nanos((user + system).checked_mul(1_000_000_000)? / a_second))
}

fn machine_in(stat: &str) -> Option<Machine> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> =
        fields.split_ascii_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    // The fourth counts idling, the fifth idling while a disk works.
    let idle = fields.iter().skip(3).take(2).sum();
    Some(Machine { all: fields.iter().sum(), idle })
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Inodes of the sockets that listen at any of `ports`.
fn listening_sockets(ports: &[u16]) -> Vec<u64> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let tables = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
    tables.flat_map(|table| listening_in(&table, ports)).collect()
}

fn listening_in(table: &str, ports: &[u16]) -> Vec<u64> {
    let lines = table.lines().skip(1);
    lines
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (_, port) = fields.nth(1)?.rsplit_once(':')?;
            let port = u16::from_str_radix(port, 16).ok()?;
            let listens = fields.nth(1)? == "0A";
            let inode = fields.nth(5)?.parse().ok()?;
            (listens && ports.contains(&port)).then_some(inode)
        })
        .collect()
}

fn all_pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten().take(PROCESSES_MAX);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether process `pid` has one of `sockets` open; false when it may not be looked at.
fn holds_any(pid: u32, sockets: &[u64]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).any(|target| {
        let inode = target.to_str().and_then(|text| text.strip_prefix("socket:["));
        let inode = inode.and_then(|text| text.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode| sockets.contains(&inode))
    })
}

#[cfg(test)]
mod tests;
