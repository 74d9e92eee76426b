//! A node's clocks: each runs at its own rate from its own origin; the wall clock also jumps.

use antiphon_proto::Time;

const MILLION: u64 = 1_000_000;

/// Clocks of one node. Simulated time is in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    origin: u64,  // reading at simulated time 0
    ppm: u64,     // nanoseconds that pass here while a million pass
    wall_ms: u64, // wall clock at simulated time 0
}

impl Clock {
    /// `skew` is the rate in millionths, 1,000,000 for a true clock.
    pub(crate) const fn new(origin: u64, ppm: u64, wall_ms: u64) -> Self {
        Self { origin, ppm, wall_ms }
    }

    fn passed(&self, now: u64) -> u64 {
        let wide = u128::from(now) * u128::from(self.ppm) / u128::from(MILLION);
        u64::try_from(wide).expect("a run is shorter than 584 years")
    }

    /// What the monotonic clock says.
    pub(crate) fn time(&self, now: u64) -> Time {
        Time::from_nanos(self.origin + self.passed(now))
    }

    /// When the monotonic clock will say `time`, rounded up.
    pub(crate) fn when(&self, time: Time) -> u64 {
        let ahead = u128::from(time.nanos().saturating_sub(self.origin)) * u128::from(MILLION);
        let wide = ahead.div_ceil(u128::from(self.ppm));
        u64::try_from(wide).unwrap_or(u64::MAX)
    }

    /// What the wall clock says.
    pub(crate) fn wall_ms(&self, now: u64) -> u64 {
        self.wall_ms + self.passed(now) / MILLION
    }

    /// The wall clock jumps.
    pub(crate) const fn step(&mut self, ms: u64, back: bool) {
        self.wall_ms =
            if back { self.wall_ms.saturating_sub(ms) } else { self.wall_ms.saturating_add(ms) };
    }
}
