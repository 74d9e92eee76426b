//! Counters of the server: written by the owner thread alone, read by the pages' thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number with one writing thread, so that adding needs no locked instruction.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to the number. Called on the owner thread only.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// Sets the number. Called on the owner thread only.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a time fell under each of [`Times::BOUNDS_S`].
#[derive(Debug, Default)]
pub struct Times {
    buckets: [Count; Self::BOUNDS_S.len()],
    count: Count,
    sum_nanos: Count,
}

impl Times {
    /// Upper bounds of the buckets. Unit: seconds. From a fast disk's sync to a stuck one.
    pub const BOUNDS_S: [f64; 16] = [
        0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5,
        1.0, 2.0, 5.0,
    ];

    /// Adds one time. Called on the owner thread only.
    pub(crate) fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = Self::BOUNDS_S.iter().zip(&self.buckets).find(|(bound, _)| seconds <= **bound);
        if let Some((_, bucket)) = bucket {
            bucket.add(1);
        }
        self.count.add(1);
        self.sum_nanos.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The times so far, in cumulative buckets.
    #[must_use]
    pub fn distribution(&self) -> crate::status::Distribution {
        let mut below = 0;
        let buckets = Self::BOUNDS_S.iter().zip(&self.buckets).map(|(bound, bucket)| {
            below += bucket.get();
            (*bound, below)
        });
        crate::status::Distribution {
            buckets: buckets.collect(),
            count: self.count.get(),
            sum_s: Duration::from_nanos(self.sum_nanos.get()).as_secs_f64(),
        }
    }
}

/// Why a connection was turned away or closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// More connections than allowed.
    Clients,
    /// More connections that have not authenticated than allowed.
    Strangers,
    /// No authentication in time.
    AuthTimeout,
    /// Bytes that are no request.
    Protocol,
    /// A command over the limit.
    QueryTooLong,
    /// Replies not taken, over the limit.
    OutputTooLong,
    /// All connections together over the limit.
    Memory,
    /// Silent for too long.
    Idle,
    /// The TLS handshake failed.
    Handshake,
    /// Closed by `CLIENT KILL`.
    Killed,
}

impl Refusal {
    /// All reasons, with the words that the pages use.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Clients, "max_clients"),
        (Self::Strangers, "max_unauthenticated"),
        (Self::AuthTimeout, "auth_timeout"),
        (Self::Protocol, "protocol_error"),
        (Self::QueryTooLong, "query_too_long"),
        (Self::OutputTooLong, "output_too_long"),
        (Self::Memory, "memory"),
        (Self::Idle, "idle"),
        (Self::Handshake, "tls_handshake"),
        (Self::Killed, "killed"),
    ];
}

/// Calls of one command.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// Times it ran.
    pub calls: Count,
    /// Time it took. Unit: nanoseconds.
    pub nanos: Count,
    /// Times it was refused before it ran.
    pub rejected: Count,
    /// Times it answered with an error.
    pub failed: Count,
    /// Calls by the number of binary digits of their nanoseconds.
    spread: [Count; SPREAD],
}

const SPREAD: usize = 32; // the last one is a second and more

impl CommandStats {
    /// Adds the time of one call. Called on the owner thread only.
    pub(crate) fn took(&self, nanos: u64) {
        self.nanos.add(nanos);
        let digits = usize::try_from(u64::BITS - nanos.leading_zeros()).unwrap_or(0);
        if let Some(bucket) = self.spread.get(digits.min(SPREAD - 1)) {
            bucket.add(1);
        }
    }

    /// A time that `share` of the calls did not exceed, at most twice too long. Unit: seconds.
    #[must_use]
    pub fn percentile(&self, share: f64) -> f64 {
        let all: u64 = self.spread.iter().map(Count::get).sum();
        let mut below = 0;
        let mut bound = 1e-9;
        for bucket in &self.spread {
            below += bucket.get();
            if ratio(below, all) >= share {
                return bound;
            }
            bound *= 2.0;
        }
        bound
    }
}

/// A part of a whole; 1 when there is nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 1.0;
    }
    // Millionths are fine enough for a percentile, and exact as a double.
    let millionths = part.saturating_mul(1_000_000) / whole;
    f64::from(u32::try_from(millionths).unwrap_or(u32::MAX)) / 1e6
}

/// Everything that the server counts.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections accepted since the start.
    pub connections: Count,
    /// Connections now.
    pub clients: Count,
    /// Connections now that wait in a command.
    pub blocked: Count,
    /// Connections refused or closed by us, by [`Refusal`].
    pub refused: [Count; Refusal::ALL.len()],
    /// Commands run.
    pub commands: Count,
    /// Error replies.
    pub errors: Count,
    /// Bytes received.
    pub bytes_in: Count,
    /// Bytes sent.
    pub bytes_out: Count,
    /// Wrong passwords.
    pub wrong_passwords: Count,
    /// Reads that found their key.
    pub hits: Count,
    /// Reads that did not find their key.
    pub misses: Count,
    /// Keys removed because their time had come.
    pub expired: Count,
    /// Writes handed on to the primary.
    pub forwarded: Count,
    /// Replies whose policy was not met in time.
    pub policy_timeouts: Count,
    /// From running a write to its policy being met.
    pub commit_wait: Times,
    /// Memory of connections. Unit: bytes.
    pub client_bytes: Count,
    /// When the client port's certificate ends. Unit: seconds since 1970; 0 without one.
    pub certificate_end_s: Count,
    /// By place in the table of commands.
    pub by_command: Vec<CommandStats>,
}

impl Stats {
    /// Counters for a table of this many commands.
    #[must_use]
    pub fn new(commands: usize) -> Self {
        let by_command = std::iter::repeat_with(CommandStats::default).take(commands).collect();
        Self { by_command, ..Self::default() }
    }

    /// Counts a connection that was turned away or closed by us.
    pub(crate) fn refuse(&self, why: Refusal) {
        let counters = Refusal::ALL.iter().zip(&self.refused);
        if let Some((_, counter)) = counters.into_iter().find(|((reason, _), _)| *reason == why) {
            counter.add(1);
        }
    }

    /// What `CONFIG RESETSTAT` sets back.
    pub(crate) fn reset(&self) {
        for counter in [
            &self.connections,
            &self.commands,
            &self.errors,
            &self.bytes_in,
            &self.bytes_out,
            &self.hits,
            &self.misses,
            &self.expired,
        ] {
            counter.set(0);
        }
        for command in &self.by_command {
            for counter in [&command.calls, &command.nanos, &command.rejected, &command.failed] {
                counter.set(0);
            }
            command.spread.iter().for_each(|bucket| bucket.set(0));
        }
    }
}
