//! Time inside a run: nanoseconds since its origin, the same for all its threads.

use std::time::{Duration, Instant};

/// Nanoseconds since the origin of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Nanos(u64);

impl Nanos {
    /// Wraps a count of nanoseconds.
    pub(crate) const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The count.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; 0 when it is not after.
    pub(crate) const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This much later.
    pub(crate) const fn plus(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        // 584 years fit; a longer run may as well never end.
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

/// A monotonic clock with the run's origin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts at 0 now.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now.
    pub(crate) fn now(&self) -> Nanos {
        self.origin.elapsed().into()
    }
}

/// The part of a run that counts: after the warm-up, until the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Counting begins here.
    pub(crate) from: Nanos,
    /// Nothing is sent from here on; `Nanos(u64::MAX)` when a number of requests ends the run.
    pub(crate) until: Nanos,
}

impl Window {
    /// Whether something at `at` counts.
    pub(crate) fn holds(&self, at: Nanos) -> bool {
        self.from <= at && at < self.until
    }
}
