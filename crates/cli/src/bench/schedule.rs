//! When each operation of an open loop should be sent, whatever the server does.
//!
//! Latency is measured from that moment. A generator that waits for a slow server before it sends
//! would hide the wait of all who come meanwhile.

use crate::bench::clock::Nanos;

/// The arrivals of one thread: evenly spaced, those of all threads interleaved.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    rate: u64,
    threads: u64,
    next: u64,
}

impl Schedule {
    /// The share of thread `thread` of `threads` in `rate` arrivals a second, none of them 0.
    pub(crate) fn new(rate: u32, thread: u32, threads: u32) -> Self {
        Self { rate: rate.into(), threads: threads.into(), next: thread.into() }
    }

    /// When the next arrival is due.
    pub(crate) fn due(&self) -> Nanos {
        let nanos = u128::from(self.next) * 1_000_000_000 / u128::from(self.rate);
        Nanos::new(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Takes the next arrival if it is due at `now`; answers when it should have been sent.
    pub(crate) fn take(&mut self, now: Nanos) -> Option<Nanos> {
        let due = self.due();
        if due > now {
            return None;
        }
        self.next += self.threads;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    //! Arrivals keep their times.

    use super::*;

    #[test]
    fn threads_share_the_arrivals_evenly() {
        let second = Nanos::new(999_999_999);
        let mut all: Vec<u64> = Vec::new();
        for thread in 0..3 {
            let mut schedule = Schedule::new(1_000, thread, 3);
            all.extend(std::iter::from_fn(|| schedule.take(second)).map(Nanos::get));
        }
        all.sort_unstable();
        let want: Vec<u64> = (0..1_000).map(|at| at * 1_000_000).collect();
        assert_eq!(all, want);
    }

    #[test]
    fn an_arrival_that_was_taken_late_keeps_its_time() {
        let mut schedule = Schedule::new(10, 0, 1);
        assert_eq!(schedule.take(Nanos::new(950_000_000)), Some(Nanos::new(0)));
        assert_eq!(schedule.take(Nanos::new(950_000_000)), Some(Nanos::new(100_000_000)));
        assert_eq!(schedule.take(Nanos::new(150_000_000)), None);
    }
}
