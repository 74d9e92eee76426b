//! Which of a session's last numbers were used.

use super::SESSION_WINDOW;

const WORD_BITS: u64 = 64;
const WORDS: usize = 4;
const _: () = assert!(SESSION_WINDOW == WORD_BITS * 4, "a bit for each number of the window");

/// The lowest number that a window with this highest one still covers.
pub(super) const fn floor(top: u64) -> u64 {
    let floor = top.saturating_sub(SESSION_WINDOW - 1);
    if floor == 0 { 1 } else { floor }
}

/// The numbers used, from the highest one down. The bit of a number is at its remainder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    top: u64, // 0: none was used
    bits: [u64; WORDS],
}

impl Window {
    /// No number was used.
    pub(super) const fn new() -> Self {
        Self { top: 0, bits: [0; WORDS] }
    }

    /// From its parts, if they can be a window's.
    pub(super) fn from_parts(top: u64, bits: [u64; WORDS]) -> Option<Self> {
        let window = Self { top, bits };
        let sound = if top == 0 { bits == [0; WORDS] } else { window.bit(top) };
        // Without these numbers being in reach, their bits can't have been set.
        let beyond = (top.saturating_add(1)..SESSION_WINDOW).any(|seq| window.bit(seq));
        (sound && !(top < SESSION_WINDOW && (window.bit(0) || beyond))).then_some(window)
    }

    pub(super) const fn top(&self) -> u64 {
        self.top
    }

    pub(super) const fn bits(&self) -> [u64; WORDS] {
        self.bits
    }

    /// Whether the number was used, as far as the window reaches.
    pub(super) fn has(&self, seq: u64) -> bool {
        (floor(self.top)..=self.top).contains(&seq) && self.bit(seq)
    }

    /// Notes that the number was used.
    ///
    /// # Panics
    /// When it lies below the window.
    pub(super) fn put(&mut self, seq: u64) {
        assert!(seq >= floor(self.top), "a number below the window is not used any more");
        if seq > self.top {
            if seq - self.top >= SESSION_WINDOW {
                self.bits = [0; WORDS];
            } else {
                for passed in self.top + 1..seq {
                    self.set(passed, false);
                }
            }
            self.top = seq;
        }
        self.set(seq, true);
    }

    fn bit(&self, seq: u64) -> bool {
        let (word, bit) = place(seq);
        self.bits.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn set(&mut self, seq: u64, on: bool) {
        let (word, bit) = place(seq);
        if let Some(word) = self.bits.get_mut(word) {
            *word = (*word & !(1 << bit)) | (u64::from(on) << bit);
        }
    }
}

fn place(seq: u64) -> (usize, u64) {
    let at = seq % SESSION_WINDOW;
    (usize::try_from(at / WORD_BITS).unwrap_or(0), at % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_window_is_the_set_of_the_last_numbers(
            steps in prop::collection::vec((any::<bool>(), 0_u64..600), 1..200),
        ) {
            let (mut window, mut used) = (Window::new(), BTreeSet::new());
            for (down, by) in steps {
                let top = window.top();
                let seq = if down { top.saturating_sub(by % 256).max(floor(top)) } else { top + by.max(1) };
                window.put(seq);
                used.insert(seq);
                let reach = floor(window.top());
                for seq in reach.saturating_sub(3)..window.top() + 3 {
                    prop_assert_eq!(window.has(seq), seq >= reach && used.contains(&seq));
                }
                prop_assert_eq!(Window::from_parts(window.top(), window.bits()), Some(window));
            }
        }
    }

    #[test]
    fn the_window_begins_255_below_its_top() {
        let cases = [(0, 1), (1, 1), (255, 1), (256, 1), (257, 2), (u64::MAX, u64::MAX - 255)];
        for (top, want) in cases {
            assert_eq!(floor(top), want, "{top}");
        }
        let mut window = Window::new();
        window.put(1);
        window.put(256);
        assert!(window.has(1), "256 numbers are remembered");
        window.put(257);
        assert!(!window.has(1) && window.has(257), "and not one more");
        window.put(u64::MAX);
        assert!(window.has(u64::MAX) && !window.has(257));
    }

    #[test]
    fn bits_that_no_use_could_set_are_refused() {
        assert_eq!(Window::from_parts(0, [1, 0, 0, 0]), None);
        assert_eq!(Window::from_parts(3, [0b1, 0, 0, 0]), None, "the top was used");
        assert_eq!(Window::from_parts(3, [0b1_1000, 0, 0, 0]), None, "4 is above the top");
        assert_eq!(Window::from_parts(3, [0b1001, 0, 0, 0]), None, "there is no number 0");
        assert!(Window::from_parts(3, [0b1010, 0, 0, 0]).is_some());
        assert!(Window::from_parts(u64::MAX, [u64::MAX; WORDS]).is_some(), "nothing is above it");
    }
}
