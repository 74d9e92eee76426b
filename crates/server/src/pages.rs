//! What the owner thread publishes for the pages' thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use antiphon::Level;

use crate::stats::Stats;
use crate::status::Status;

/// Counters, which are read as they are, and the newest published picture of the node.
#[derive(Debug)]
pub struct Pages {
    stats: Arc<Stats>,
    newest: Mutex<Option<Picture>>,
}

/// A node at one moment.
#[derive(Debug, Clone)]
pub struct Picture {
    /// When it was taken.
    pub at: Instant,
    /// The node.
    pub status: Arc<Status>,
    /// The policy of connections that chose none.
    pub policy: Level,
}

impl Pages {
    /// An owner thread that did not publish for this long is stuck.
    pub const FRESH: Duration = Duration::from_secs(5);

    pub(crate) fn new(stats: Arc<Stats>) -> Self {
        Self { stats, newest: Mutex::new(None) }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The newest picture, if one was published yet.
    #[must_use]
    pub fn newest(&self) -> Option<Picture> {
        // A picture is replaced whole: one left by a thread that died is as good as any.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest picture, unless the owner thread is stuck.
    #[must_use]
    pub fn fresh(&self, now: Instant) -> Option<Picture> {
        self.newest().filter(|newest| now.saturating_duration_since(newest.at) < Self::FRESH)
    }

    pub(crate) fn publish(&self, picture: Picture) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(picture);
    }
}
