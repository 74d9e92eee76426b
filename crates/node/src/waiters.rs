//! Who waits for which position: woken in order, without looking at those whose time has not come.

use std::collections::BTreeMap;
use std::task::Waker;

use antiphon_proto::Lsn;

use crate::level::Level;

/// The waiting of one kind, by position.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    by_lsn: BTreeMap<Lsn, Vec<Waker>>,
}

impl Queue {
    /// Remembers whom to wake when `lsn` is reached. Asking again changes nothing.
    pub(crate) fn add(&mut self, lsn: Lsn, waker: &Waker) {
        let wakers = self.by_lsn.entry(lsn).or_default();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// Wakes all who wait for `reached` or less. O(log n) for each position that was reached.
    pub(crate) fn wake(&mut self, reached: Lsn) {
        while let Some(entry) = self.by_lsn.first_entry()
            && *entry.key() <= reached
        {
            for waker in entry.remove() {
                waker.wake();
            }
        }
    }

    /// Wakes everybody: what they wait for will not come.
    pub(crate) fn wake_all(&mut self) {
        for waker in std::mem::take(&mut self.by_lsn).into_values().flatten() {
            waker.wake();
        }
    }

    /// Whether anybody waits for `lsn` or less.
    fn awaits(&self, lsn: Lsn) -> bool {
        self.by_lsn.first_key_value().is_some_and(|(first, _)| *first <= lsn)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_lsn.is_empty()
    }
}

/// All waiting of a shard.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    levels: Vec<(Level, Queue)>, // a handful: levels are named by configuration and clients
    pub(crate) applied: Queue,
}

impl Waiters {
    pub(crate) fn level(&mut self, level: Level) -> &mut Queue {
        let at = self.levels.iter().position(|(known, _)| *known == level).unwrap_or_else(|| {
            self.levels.push((level, Queue::default()));
            self.levels.len() - 1
        });
        let (_, queue) = self.levels.get_mut(at).expect("found or just pushed");
        queue
    }

    /// Levels that somebody waits for.
    pub(crate) fn wake_levels(&mut self, mut reached: impl FnMut(Level) -> Lsn) {
        for (level, queue) in &mut self.levels {
            if !queue.is_empty() {
                queue.wake(reached(*level));
            }
        }
    }

    /// Whether anybody waits for a level of `lsn` or less.
    pub(crate) fn awaits(&self, lsn: Lsn) -> bool {
        self.levels.iter().any(|(_, queue)| queue.awaits(lsn))
    }

    pub(crate) fn wake_all(&mut self) {
        for (_, queue) in &mut self.levels {
            queue.wake_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_those_whose_position_is_reached_wake_and_only_once() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut queue = Queue::default();
        for raw in [3, 1, 2, 2] {
            queue.add(Lsn::new(raw), &waker);
        }
        queue.wake(Lsn::new(2));
        assert_eq!(count.0.load(Ordering::Relaxed), 2, "asking twice for 2 is one waiting");
        queue.wake(Lsn::new(2));
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        queue.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 3);
        assert!(queue.is_empty());
    }
}
