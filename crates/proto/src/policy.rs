//! Commit policies: names for users, and the monotone predicates over sets of voters behind them.

use std::fmt;
use std::str::FromStr;

/// The most voters that a configuration may have. Every subset of them is enumerated when a
/// policy is explained or two rules are compared, so this also bounds that work (32,768 sets).
pub const VOTERS_MAX: usize = 15;

/// A set of voters, by their place in the configuration's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VoterSet(u16);

impl VoterSet {
    /// No voter.
    pub const EMPTY: Self = Self(0);

    /// The first `count` voters.
    ///
    /// # Panics
    /// When `count` is over [`VOTERS_MAX`].
    #[must_use]
    pub const fn first(count: usize) -> Self {
        assert!(count <= VOTERS_MAX, "a configuration holds at most VOTERS_MAX voters");
        Self((1 << count) - 1)
    }

    /// This set and the voter at `place`.
    ///
    /// # Panics
    /// When `place` is not below [`VOTERS_MAX`].
    #[must_use]
    pub const fn with(self, place: usize) -> Self {
        assert!(place < VOTERS_MAX, "a configuration holds at most VOTERS_MAX voters");
        Self(self.0 | 1 << place)
    }

    /// Whether the voter at `place` is in it.
    #[must_use]
    pub const fn has(self, place: usize) -> bool {
        place < VOTERS_MAX && self.0 & (1 << place) != 0
    }

    /// Voters in it.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether no voter is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The places of its voters, in order.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..VOTERS_MAX).filter(move |place| self.has(*place))
    }

    /// Every subset of this set, the empty one first.
    pub fn subsets(self) -> impl Iterator<Item = Self> {
        // The next subset of a mask: set all bits outside, add one, keep the inside.
        std::iter::successors(Some(Self::EMPTY), move |set| {
            (set.0 != self.0).then(|| Self((set.0 | !self.0).wrapping_add(1) & self.0))
        })
    }
}

/// How far a write must have come before it is acknowledged, as users name it.
///
/// Text form, in any case: `local`, `received(2)`, `ack(2)`, `quorum` (or `majority`), `all`,
/// `region(2)`, `prefix(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Policy {
    /// On the primary's disk.
    Local,
    /// In the memory of this many voters, the primary among them.
    Received(u8),
    /// On the disks of this many voters.
    Ack(u8),
    /// On the disks of a majority of the voters.
    #[default]
    Quorum,
    /// On the disks of all voters.
    All,
    /// On a majority of the disks in each of this many regions.
    Region(u8),
    /// On the disks of the first so many voters, in the configuration's order.
    Prefix(u8),
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Received(count) => write!(f, "received({count})"),
            Self::Ack(count) => write!(f, "ack({count})"),
            Self::Quorum => f.write_str("quorum"),
            Self::All => f.write_str("all"),
            Self::Region(count) => write!(f, "region({count})"),
            Self::Prefix(count) => write!(f, "prefix({count})"),
        }
    }
}

/// A text that names no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such policy: expected local, received(N), ack(N), quorum, all, region(N) or prefix(N), N from 1 to 15"
)]
pub struct PolicyError;

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let text = text.trim();
        for (name, policy) in [
            ("local", Self::Local),
            ("quorum", Self::Quorum),
            ("majority", Self::Quorum),
            ("all", Self::All),
        ] {
            if text.eq_ignore_ascii_case(name) {
                return Ok(policy);
            }
        }
        let (name, rest) = text.split_once('(').ok_or(PolicyError)?;
        let digits = rest.strip_suffix(')').ok_or(PolicyError)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let count = digits.parse::<u8>().ok().filter(|count| plain && (1..=15).contains(count));
        let count = count.ok_or(PolicyError)?;
        match name.to_ascii_lowercase().as_str() {
            "received" => Ok(Self::Received(count)),
            "ack" => Ok(Self::Ack(count)),
            "region" => Ok(Self::Region(count)),
            "prefix" => Ok(Self::Prefix(count)),
            _ => Err(PolicyError),
        }
    }
}

/// A monotone predicate over sets of voters: once true, more voters keep it true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// At least `need` of the voters in `of`.
    Count {
        /// How many.
        need: usize,
        /// Of which.
        of: VoterSet,
    },
    /// At least `need` of these rules.
    AtLeast {
        /// How many.
        need: usize,
        /// Of which.
        of: Vec<Self>,
    },
}

impl Rule {
    /// Whether `holders` of an entry satisfy the rule.
    #[must_use]
    pub fn sat(&self, holders: VoterSet) -> bool {
        match self {
            Self::Count { need, of } => holders.and(*of).len() >= *need,
            Self::AtLeast { need, of } => {
                of.iter().filter(|rule| rule.sat(holders)).count() >= *need
            }
        }
    }

    /// Whether sealing `sealed` of `voters` is enough: the others could not have satisfied the
    /// rule by themselves, so each acknowledged entry is on a sealed voter.
    #[must_use]
    pub fn safe(&self, voters: VoterSet, sealed: VoterSet) -> bool {
        !self.sat(voters.without(sealed))
    }

    /// Whether every set of `voters` that satisfies this satisfies `other` too. Enumerates them.
    #[must_use]
    pub fn implies(&self, other: &Self, voters: VoterSet) -> bool {
        voters.subsets().all(|set| !self.sat(set) || other.sat(set))
    }

    /// The highest position that the rule holds for, when the voter at place `i` holds its log
    /// up to `held(i)`.
    pub fn mark<T: Ord + Copy + Default>(&self, held: &impl Fn(usize) -> T) -> T {
        match self {
            Self::Count { need, of } => nth(*need, of.places().map(held)),
            Self::AtLeast { need, of } => nth(*need, of.iter().map(|rule| rule.mark(held))),
        }
    }

    /// What the rule tolerates, by trying every set of failed voters.
    #[must_use]
    pub fn explain(&self, voters: VoterSet) -> Explained {
        let all = |size: usize, good: &dyn Fn(VoterSet) -> bool| {
            voters.subsets().filter(|set| set.len() == size).all(good)
        };
        let most = |good: &dyn Fn(VoterSet) -> bool| {
            (0..=voters.len()).take_while(|size| all(*size, good)).last()
        };
        // An acknowledged entry survives the loss of `dead` when no acknowledging set lies
        // within `dead`. Service goes on when those left can still satisfy the rule.
        Explained {
            lossless: most(&|dead| !self.sat(dead)),
            stall_free: most(&|dead| self.sat(voters.without(dead))),
            stalls: voters
                .subsets()
                .filter(|dead| !self.sat(voters.without(*dead)))
                .filter(|dead| {
                    dead.places().all(|place| {
                        let fewer = dead.without(VoterSet::EMPTY.with(place));
                        self.sat(voters.without(fewer))
                    })
                })
                .collect(),
            seal: voters
                .subsets()
                .filter(|sealed| self.safe(voters, *sealed))
                .map(VoterSet::len)
                .min(),
        }
    }
}

/// The `need`-th greatest of `values`, 0 counting as satisfied by all.
fn nth<T: Ord + Copy + Default>(need: usize, values: impl Iterator<Item = T>) -> T {
    let mut best = [T::default(); VOTERS_MAX];
    // Insertion keeps the array sorted, greatest first; sets are at most VOTERS_MAX.
    for (count, value) in values.take(VOTERS_MAX).enumerate() {
        let at = best.iter().take(count).position(|other| *other < value).unwrap_or(count);
        if let Some(tail) = best.get_mut(at..=count) {
            tail.rotate_right(1);
            if let Some(slot) = tail.first_mut() {
                *slot = value;
            }
        }
    }
    need.checked_sub(1).and_then(|index| best.get(index)).copied().unwrap_or_default()
}

/// What a policy tolerates. Source: [`Rule::explain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Any so many voters may be lost for ever and no acknowledged entry is.
    pub lossless: Option<usize>,
    /// Any so many voters may be down and writes are still acknowledged.
    pub stall_free: Option<usize>,
    /// The smallest sets of voters whose failure stops acknowledgements.
    pub stalls: Vec<VoterSet>,
    /// The fewest voters that a lossless failover must hear from.
    pub seal: Option<usize>,
}

#[cfg(test)]
mod tests;
