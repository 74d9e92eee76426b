//! What limited a run: only what the counters show.

use serde::{Deserialize, Serialize};

use crate::bench::cpu::Used;

/// A thread this busy has nothing left to give.
const THREAD_FULL: f64 = 0.9;
/// A machine this busy has nothing left to give.
const MACHINE_FULL: f64 = 0.95;
/// Other processes that take less of the machine are not worth a word.
const OTHERS_NOTED: f64 = 0.1;

/// The verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// One word for programs.
    pub(crate) by: LimitedBy,
    /// The figures behind it, for people.
    pub(crate) because: String,
}

/// What limited a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitedBy {
    /// The rate that was asked for; it was kept.
    Rate,
    /// This load generator.
    Client,
    /// A thread of a server.
    Server,
    /// The cores of the machine, shared by all.
    Machine,
    /// None of these: answers were awaited, from a disk, a network or another thread.
    Waiting,
}

/// What a run looked like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// Counted seconds.
    pub(crate) seconds: f64,
    /// Threads of the generator.
    pub(crate) threads: u32,
    /// Cores of the machine.
    pub(crate) cores: usize,
    /// Whether an open loop kept its rate.
    pub(crate) kept_rate: bool,
    /// Processor time.
    pub(crate) used: &'a Used,
}

/// The verdict on a run.
pub(crate) fn verdict(seen: Seen<'_>) -> Limit {
    let used = seen.used;
    let seconds = seen.seconds.max(f64::MIN_POSITIVE);
    let client = used.client_seconds / (seconds * f64::from(seen.threads));
    let shares = used.servers.iter().map(|server| server.busiest_thread_seconds / seconds);
    let busiest = used.servers.iter().zip(shares).max_by(|one, other| one.1.total_cmp(&other.1));
    let mut facts = vec![format!("client {} busy", percent(client))];
    match busiest {
        Some((server, share)) => {
            let (name, pid, share) = (&server.name, server.pid, percent(share));
            facts.push(format!("busiest thread of {name} ({pid}) {share}"));
        }
        None => facts.push("the server's CPU is not visible from here".to_owned()),
    }
    facts.extend(used.machine_share.map(|share| machine(share, used, seen)));
    let by = if seen.kept_rate {
        LimitedBy::Rate
    } else if client >= THREAD_FULL {
        LimitedBy::Client
    } else if busiest.is_some_and(|(_, share)| share >= THREAD_FULL) {
        LimitedBy::Server
    } else if used.machine_share.is_some_and(|share| share >= MACHINE_FULL) {
        LimitedBy::Machine
    } else {
        LimitedBy::Waiting
    };
    Limit { by, because: facts.join(", ") }
}

/// How busy the machine was, and how much of that was none of this run's doing.
fn machine(share: f64, used: &Used, seen: Seen<'_>) -> String {
    let ours: f64 = used.servers.iter().map(|server| server.seconds).sum();
    let whole = seen.seconds.max(f64::MIN_POSITIVE) * seen.cores as f64;
    let others = share - (ours + used.client_seconds) / whole;
    // A server that is not visible is not told from others.
    if used.servers.is_empty() || others < OTHERS_NOTED {
        return format!("machine {}", percent(share));
    }
    format!("machine {}, {} of it by other processes", percent(share), percent(others))
}

impl LimitedBy {
    /// The verdict in words.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Rate => "the rate asked for",
            Self::Client => "the CPU of this load generator",
            Self::Server => "the CPU of a server thread",
            Self::Machine => "the CPU of this machine",
            Self::Waiting => "waiting for answers, not CPU",
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests;
