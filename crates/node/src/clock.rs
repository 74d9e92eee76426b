//! The two clocks of a node: one that only moves forward, and the one on the wall.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use antiphon_proto::Time;

/// Reads both clocks. The protocol gets its time from here and from nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Time since this run began.
    pub(crate) fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// When a reading of this clock comes, as a deadline for a timer.
    pub(crate) fn instant(&self, at: Time) -> Instant {
        self.origin + std::time::Duration::from_nanos(at.nanos())
    }

    /// Milliseconds since 1970; 0 on a machine that believes to be before that.
    pub(crate) fn wall_ms() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
