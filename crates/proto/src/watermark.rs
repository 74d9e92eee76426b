//! The highest position for which a rule holds, kept while voters advance.

use crate::policy::Rule;
use crate::{Lsn, VOTERS_MAX};

/// A rule with the positions of its voters, ranked.
///
/// An advance of one voter costs a binary search in each group that it belongs to, and a move of
/// at most [`VOTERS_MAX`] numbers.
#[derive(Debug, Clone)]
pub struct Watermark {
    held: [Lsn; VOTERS_MAX],
    group: Group,
}

#[derive(Debug, Clone)]
struct Group {
    need: usize,
    ranked: Vec<Lsn>, // greatest first
    of: Of,
}

#[derive(Debug, Clone)]
enum Of {
    Voters(crate::VoterSet),
    Groups(Vec<Group>),
}

impl Watermark {
    /// Starts with every voter at 0.
    #[must_use]
    pub fn new(rule: &Rule) -> Self {
        Self { held: [Lsn::ZERO; VOTERS_MAX], group: Group::new(rule) }
    }

    /// Voter `place` holds its log up to `lsn`. Positions never fall within an epoch; a lower
    /// one is ignored. Returns the watermark.
    ///
    /// # Panics
    /// When `place` is not below [`VOTERS_MAX`].
    pub fn advance(&mut self, place: usize, lsn: Lsn) -> Lsn {
        let held = self.held.get_mut(place).expect("a place of the configuration");
        let before = std::mem::replace(held, lsn.max(*held));
        if *held > before {
            self.group.advance(place, before, *held);
        }
        self.mark()
    }

    /// The highest position for which the rule holds.
    #[must_use]
    pub fn mark(&self) -> Lsn {
        self.group.mark()
    }
}

impl Group {
    fn new(rule: &Rule) -> Self {
        match rule {
            Rule::Count { need, of } => {
                let ranked = vec![Lsn::ZERO; of.len()];
                Self { need: *need, ranked, of: Of::Voters(*of) }
            }
            Rule::AtLeast { need, of } => {
                let ranked = vec![Lsn::ZERO; of.len()];
                let groups = of.iter().map(Self::new).collect();
                Self { need: *need, ranked, of: Of::Groups(groups) }
            }
        }
    }

    fn mark(&self) -> Lsn {
        let rank = self.need.checked_sub(1);
        rank.and_then(|rank| self.ranked.get(rank)).copied().unwrap_or_default()
    }

    fn advance(&mut self, place: usize, before: Lsn, now: Lsn) {
        match &mut self.of {
            Of::Voters(of) => {
                if of.has(place) {
                    rerank(&mut self.ranked, before, now);
                }
            }
            Of::Groups(groups) => {
                for group in groups {
                    let mark_before = group.mark();
                    group.advance(place, before, now);
                    let mark = group.mark();
                    if mark > mark_before {
                        rerank(&mut self.ranked, mark_before, mark);
                    }
                }
            }
        }
    }
}

/// Moves one number of a ranking, greatest first, from `before` up to `now`.
fn rerank(ranked: &mut [Lsn], before: Lsn, now: Lsn) {
    let to = ranked.partition_point(|lsn| *lsn >= now);
    let from = ranked.partition_point(|lsn| *lsn > before);
    assert_eq!(ranked.get(from), Some(&before), "a ranking holds what its voters held");
    let moved = ranked.get_mut(to..=from).expect("a number that grows moves towards the front");
    moved.rotate_right(1);
    *moved.first_mut().expect("the range holds at least its end") = now;
}

#[cfg(test)]
mod tests;
