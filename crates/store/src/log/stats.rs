//! What a log did: counts, sizes and how long syncs took.

use std::time::Duration;

/// Counts since the log was opened, and its size now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Groups written: one write and one sync each.
    pub groups: u64,
    /// Batches in them.
    pub batches: u64,
    /// Bytes written, with headers and padding.
    pub bytes: u64,
    /// Syncs of segments.
    pub syncs: u64,
    /// How long they took.
    pub sync_latency: Latencies,
    /// Segments there are.
    pub segments: u64,
    /// Their size together. Unit: bytes.
    pub segment_bytes: u64,
}

/// A histogram of durations: bucket `i` counts those under 2^i microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latencies {
    buckets: [u64; BUCKETS],
    sum: Duration,
}

const BUCKETS: usize = 32;

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bits = usize::try_from(u64::BITS - micros.leading_zeros()).expect("at most 64");
        if let Some(bucket) = self.buckets.get_mut(bits.min(BUCKETS - 1)) {
            *bucket += 1;
        }
        self.sum += took;
    }

    /// Each bucket's upper bound in microseconds and its count, not cumulative.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets.iter().enumerate().map(|(bits, count)| (1 << bits, *count))
    }

    /// All durations together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }
}
