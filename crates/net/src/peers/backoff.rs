//! Waits between attempts: doubling, capped, and different for every node.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// The waits of one session.
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    random: RandomState, // seeded anew for each, by the standard library
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0, random: RandomState::new() }
    }

    /// Attempts that failed in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wait after another failure: from half of the doubled wait to all of it.
    pub(super) fn failed(&mut self) -> Duration {
        let doubled = self.min.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        let whole = doubled.min(self.max);
        let mut hasher = self.random.build_hasher();
        hasher.write_u32(self.failures);
        let thousandths = u32::try_from(hasher.finish() % 500).expect("less than 500");
        whole.saturating_mul(thousandths.saturating_add(500)) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_start_again() {
        let (min, max) = (Duration::from_millis(20), Duration::from_millis(800));
        let mut backoff = Backoff::new(min, max);
        for round in 0..100_u32 {
            let whole = min.saturating_mul(1 << round.min(10)).min(max);
            let wait = backoff.failed();
            assert!(whole / 2 <= wait && wait <= whole, "{wait:?} after {round} failures");
        }
        backoff.succeeded();
        assert!(backoff.failed() <= min);
    }
}
