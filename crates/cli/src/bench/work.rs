//! Chooses the next operation.

use std::ops::Range;

use crate::bench::plan::Plan;
use crate::bench::wire::Random;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `GET`.
    Read,
    /// `SET`.
    Write,
    /// The `WAIT` behind the writes of a batch.
    Wait,
}

/// The random choices of one thread.
#[derive(Debug)]
pub(crate) struct Work {
    random: Random,
    /// Of 2^32 operations, this many are reads.
    reads: u64,
}

impl Work {
    /// The choices of thread `thread` under `plan`.
    pub(crate) fn new(plan: &Plan, thread: u32) -> Self {
        let seed = Random::new(plan.seed ^ u64::from(thread).wrapping_mul(0x1_0000_0001)).next();
        Self { random: Random::new(seed), reads: of_two_to_the_32(plan.load.read_share) }
    }

    /// A read or a write.
    pub(crate) fn kind(&mut self) -> Kind {
        if self.reads > 0 && (self.random.next() >> 32) < self.reads {
            Kind::Read
        } else {
            Kind::Write
        }
    }

    /// One of `keys`, which are not empty.
    pub(crate) fn key(&mut self, keys: &Range<u32>) -> u32 {
        keys.start + self.random.below(keys.end - keys.start)
    }
}

/// `share` of 2^32, in steps of a millionth.
fn of_two_to_the_32(share: f64) -> u64 {
    // A share is between 0 and 1, so the millionths are at most seven digits: read them as text
    // rather than cast a float.
    let millionths = format!("{:.0}", share.clamp(0.0, 1.0) * 1e6).parse::<u64>();
    (millionths.expect("a share between 0 and 1 prints as digits") << 32) / 1_000_000
}

#[cfg(test)]
mod tests {
    //! The mix is the one that was asked for.

    use super::*;

    #[test]
    fn shares_become_thresholds() {
        for (share, want) in [(0.0, 0), (0.5, 1 << 31), (1.0, 1 << 32), (7.0, 1 << 32)] {
            assert_eq!(of_two_to_the_32(share), want, "{share}");
        }
    }
}
