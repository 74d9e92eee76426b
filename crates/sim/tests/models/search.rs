//! Breadth-first search through all states of a model.

use std::collections::{HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A system small enough to visit all its states.
pub(crate) trait Model {
    type State: Copy + Eq + Hash;
    /// What leads from one state to the next, for the trace.
    type Step: Copy + Debug;

    fn start(&self) -> Self::State;

    /// Everything that can happen next. The order decides only which of several equally short
    /// traces is printed.
    fn steps(&self, state: &Self::State, next: &mut Vec<(Self::Step, Self::State)>);

    /// The promise that this state breaks.
    fn violation(&self, state: &Self::State) -> Option<&'static str>;
}

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No state breaks a promise, and there are no others.
    Holds { states: usize, depth: usize },
    /// None of the first `states` states breaks a promise.
    Capped { states: usize },
    /// A shortest way to a broken promise.
    Violated { what: &'static str, states: usize, trace: Vec<String> },
}

/// Visits the states of `model` in order of their distance from the start, at most about
/// `states_max` of them.
pub(crate) fn explore<M: Model>(model: &M, states_max: usize) -> Outcome {
    let start = model.start();
    let mut seen = HashSet::with_hasher(BuildHasherDefault::<Folded>::default());
    let mut way: Vec<Option<Arrival<M::Step>>> = vec![None];
    let mut open = VecDeque::from([(start, 0_usize)]);
    let mut next = Vec::new();
    let mut depth = 0;
    seen.insert(fingerprint(&start));
    while let Some((state, index)) = open.pop_front() {
        depth = way[index].map_or(0, |arrival| arrival.depth);
        if let Some(what) = model.violation(&state) {
            return Outcome::Violated { what, states: seen.len(), trace: trace(&way, index) };
        }
        model.steps(&state, &mut next);
        for (step, reached) in next.drain(..) {
            if seen.insert(fingerprint(&reached)) {
                open.push_back((reached, way.len()));
                way.push(Some(Arrival { from: index, step, depth: depth + 1 }));
            }
        }
        if seen.len() > states_max {
            return Outcome::Capped { states: seen.len() };
        }
    }
    Outcome::Holds { states: seen.len(), depth }
}

/// How a state was first reached.
#[derive(Clone, Copy)]
struct Arrival<S> {
    from: usize,
    step: S,
    depth: usize,
}

fn trace<S: Copy + Debug>(way: &[Option<Arrival<S>>], index: usize) -> Vec<String> {
    let arrivals = std::iter::successors(way[index], |arrival| way[arrival.from]);
    let mut steps: Vec<_> = arrivals.map(|arrival| format!("{:?}", arrival.step)).collect();
    steps.reverse();
    steps
}

/// Two states with one fingerprint would be taken for one. At 128 bits that is less likely than
/// a fault of the machine, and a fingerprint is a tenth of a state.
fn fingerprint(state: &impl Hash) -> (u64, u64) {
    let mut hasher = Folded::default();
    state.hash(&mut hasher);
    (hasher.left, hasher.right)
}

/// Two lanes of folded multiplication: much faster than the standard hasher on many small
/// fields, and not for hostile input.
#[derive(Default)]
struct Folded {
    left: u64,
    right: u64,
}

impl Folded {
    #[inline]
    fn take(&mut self, word: u64) {
        self.left = fold(self.left ^ word, 0x9E37_79B9_7F4A_7C15);
        self.right = fold(self.right.rotate_left(23) ^ word, 0xD6E8_FEB8_6659_FD93);
    }
}

#[inline]
fn fold(word: u64, by: u64) -> u64 {
    let product = u128::from(word ^ 0xA076_1D64_78BD_642F) * u128::from(by);
    let halves = product ^ (product >> 64);
    u64::try_from(halves & u128::from(u64::MAX)).expect("the lower half")
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.left ^ self.right
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.take(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        self.take(u64::from(byte));
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.take(word);
    }
}

/// Whether the bounds are those that the protocol was judged by.
pub(crate) fn full() -> bool {
    std::env::var("ANTIPHON_MODELS").is_ok_and(|bounds| bounds == "full")
}

/// Where a search without an end is stopped.
pub(crate) fn states_max() -> usize {
    if full() { 15_000_000 } else { 250_000 }
}
