//! Dice that give the same numbers in every version: one stream for each concern, so that more
//! draws in one do not shift the others.

/// A stream of numbers (`SplitMix64`).
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    state: u64,
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self { state: seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03) };
        Self { state: mixed.next() ^ stream }
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of a product of two 64-bit numbers")
    }

    /// A place in a list of `len`.
    pub(crate) fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length")
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in so many of 1,000 cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// A number from `low` to about `high`, each power of two as likely as the others.
    pub(crate) fn log_range(&mut self, low: u64, high: u64) -> u64 {
        let low = low.max(1);
        let octaves = u64::from((high.max(low) / low).ilog2());
        let base = low << self.below(octaves + 1);
        self.range(base, (base * 2).min(high.max(low)))
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        list.get(self.place(list.len())).expect("a list that is picked from has something")
    }

    /// A duration around `usual`, now and then very much longer.
    pub(crate) fn heavy(&mut self, usual: u64) -> u64 {
        let near = self.range(usual / 2, usual + usual / 2);
        match self.below(256) {
            0 => near.saturating_mul(self.range(16, 200)),
            1..=7 => near.saturating_mul(self.range(2, 16)),
            _ => near,
        }
        .max(1)
    }
}
