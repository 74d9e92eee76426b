//! How long entries gather before they are appended and sent as one batch.
//!
//! A batch costs each node a packet, a write, a sync and some wakings, whatever is in it. So
//! entries gather while somebody still waits for the batch before them, and then for as long as
//! clients are found that send more. Whoever is alone is not kept waiting.

use std::time::{Duration, Instant};

use antiphon_proto::Lsn;

/// The longest time that an entry gathers: what a batch saves is worth no more than this to a
/// client far away from the replicas. A batch on fast disks is through in less.
const GATHER_MAX: Duration = Duration::from_millis(2);
/// So many bytes do not wait for more: a write of this size is worth its sync.
const GATHER_BYTES_MAX: usize = 256 << 10;

/// What gathers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gathered {
    /// The last entry that was given a place.
    pub(crate) proposed: Lsn,
    /// Bytes of those that gather.
    pub(crate) bytes: usize,
    /// The last entry that was appended and sent.
    pub(crate) closed: Lsn,
    /// Whether somebody waits for an entry up to that one.
    pub(crate) awaited: bool,
}

/// The gathering of one batch after the other.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    since: Option<Instant>, // when its first entry was seen
    seen: Option<Lsn>,      // as of the last look at the clients; none while a batch is awaited
}

impl Gather {
    /// Whether the clients are to be looked at for more.
    pub(crate) const fn looks(&self) -> bool {
        self.seen.is_some()
    }

    /// When the batch is closed at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + GATHER_MAX)
    }

    /// After each turn: whether the batch is to be closed now. `looked` says that in this turn
    /// all clients were let run that had sent something.
    pub(crate) fn turn(&mut self, now: Instant, looked: bool, gathered: Gathered) -> bool {
        let Gathered { proposed, bytes, closed, awaited } = gathered;
        if proposed <= closed {
            *self = Self::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let enough = bytes >= GATHER_BYTES_MAX || now.duration_since(since) >= GATHER_MAX;
        let nobody_more = looked && self.seen == Some(proposed);
        if enough || (nobody_more && !awaited) {
            *self = Self::default();
            return true;
        }
        if awaited {
            self.seen = None;
        } else if looked || self.seen.is_none() {
            self.seen = Some(proposed);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(proposed: u64, awaited: bool) -> Gathered {
        Gathered { proposed: Lsn::new(proposed), bytes: 100, closed: Lsn::new(10), awaited }
    }

    #[test]
    fn nothing_that_gathers_is_nothing_to_close() {
        let (mut gather, now) = (Gather::default(), Instant::now());
        assert!(!gather.turn(now, false, gathered(10, false)));
        assert!(!gather.looks());
        assert_eq!(gather.deadline(), None);
    }

    #[test]
    fn a_batch_closes_when_a_look_finds_nobody_more() {
        let (mut gather, now) = (Gather::default(), Instant::now());
        assert!(!gather.turn(now, false, gathered(11, false)));
        assert!(gather.looks());
        assert!(!gather.turn(now, true, gathered(13, false)), "two more came");
        assert!(!gather.turn(now, false, gathered(13, false)), "that was no look");
        assert!(gather.turn(now, true, gathered(13, false)));
        assert!(!gather.looks(), "and begins anew");
    }

    #[test]
    fn a_batch_waits_for_the_one_before() {
        let (mut gather, now) = (Gather::default(), Instant::now());
        for looked in [false, true, true] {
            assert!(!gather.turn(now, looked, gathered(11, true)));
            assert!(!gather.looks(), "the answer wakes us, looking would not");
        }
        assert!(!gather.turn(now, false, gathered(11, false)));
        assert!(gather.turn(now, true, gathered(11, false)));
    }

    #[test]
    fn a_batch_waits_no_longer_than_its_limits() {
        let (mut gather, now) = (Gather::default(), Instant::now());
        assert!(!gather.turn(now, false, gathered(11, true)));
        let at = gather.deadline().expect("an entry gathers");
        assert!(!gather.turn(at - Duration::from_nanos(1), true, gathered(12, true)));
        assert!(gather.turn(at, true, gathered(13, true)));
        let large = Gathered { bytes: GATHER_BYTES_MAX, ..gathered(14, true) };
        assert!(gather.turn(at, false, large));
    }
}
