//! When to compress: not what does not shrink, and in `auto` only while more gets through so.

use std::time::Duration;

/// Messages in a row that did not shrink before some are let go untried.
const MISSES_MAX: u32 = 4;
/// Messages let go then; doubled with each further miss.
const SKIP_MIN: u32 = 16;
/// The most that are let go before one is tried again.
const SKIP_MAX: u32 = 4096;
const DOUBLINGS_MAX: u32 = 8;

const _: () = assert!(SKIP_MIN << DOUBLINGS_MAX == SKIP_MAX, "doubling ends at the most");

/// Whether the messages of a lane shrink.
#[derive(Debug, Default)]
pub(super) struct Shrinking {
    misses: u32,
    skip: u32,
}

impl Shrinking {
    /// Whether to try the next message.
    pub(super) const fn try_next(&mut self) -> bool {
        match self.skip.checked_sub(1) {
            Some(left) => {
                self.skip = left;
                false
            }
            None => true,
        }
    }

    /// What came of a message that was tried.
    pub(super) fn tried(&mut self, shrank: bool) {
        if shrank {
            self.misses = 0;
            return;
        }
        self.misses = self.misses.saturating_add(1);
        if let Some(over) = self.misses.checked_sub(MISSES_MAX) {
            self.skip = (SKIP_MIN << over.min(DOUBLINGS_MAX)).min(SKIP_MAX);
        }
    }
}

/// Every so many batches the other way is tried.
const TRIAL_EVERY: u32 = 64;
/// A rate looks this far back, roughly.
const MEMORY: Duration = Duration::from_millis(100);
/// Compressing must get this many percent more through to be worth the work of both sides.
const GAIN_PERCENT: u128 = 110;

/// Whether compressing gets more through.
///
/// Measured is what the link took for the time it took, compressing included. While the network is
/// faster than this node the link takes plain bytes at once, and compressing only costs; when its
/// window is full the link takes bytes at the speed of the network, and fewer bytes win. A
/// receiver without CPU to spare shows as a slow link too, and there compressing does not win.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    plain: Rate,
    packed: Rate,
    packing: bool,
    trial: bool, // this batch goes the other way
    batches: u32,
}

impl Pressure {
    /// Whether to compress the next batch.
    pub(super) const fn pack_next(&mut self) -> bool {
        self.batches = self.batches.wrapping_add(1);
        self.trial = self.batches.is_multiple_of(TRIAL_EVERY);
        self.packing != self.trial
    }

    /// The batch, of so many bytes before compression, was taken by the link after `took`.
    pub(super) fn sent(&mut self, bytes: usize, took: Duration) {
        let packed = self.packing != self.trial;
        let rate = if packed { &mut self.packed } else { &mut self.plain };
        if self.trial {
            *rate = Rate::default(); // what was measured long ago says nothing
        }
        rate.add(bytes, took);
        self.packing = self.packed.beats(&self.plain);
    }
}

/// Bytes and the time they took, the older ones counting less.
#[derive(Debug, Default)]
struct Rate {
    bytes: u128,
    nanos: u128,
}

impl Rate {
    fn add(&mut self, bytes: usize, took: Duration) {
        while self.nanos > MEMORY.as_nanos() {
            self.bytes /= 2;
            self.nanos /= 2;
        }
        let bytes = u128::try_from(bytes).unwrap_or(u128::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        self.nanos = self.nanos.saturating_add(took.as_nanos().max(1));
    }

    /// Whether this rate is known, and clearly above the other.
    fn beats(&self, other: &Self) -> bool {
        let ours = self.bytes.saturating_mul(other.nanos).saturating_mul(100);
        let theirs = other.bytes.saturating_mul(self.nanos).saturating_mul(GAIN_PERCENT);
        self.nanos > 0 && ours > theirs
    }
}

#[cfg(test)]
mod tests;
