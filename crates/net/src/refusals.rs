//! Counts how often others were refused, and says so in the log without flooding it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use crate::error::Refusal;

/// How often others were refused, by kind.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Refusals {
    /// Refusals by kind ([`Refusal::kind`]); kinds that did not occur are absent.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often this kind occurred.
    #[must_use]
    pub fn count(&self, kind: &str) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(kind).copied().unwrap_or(0)
    }

    pub(crate) fn note(&self, refusal: &Refusal, from: Option<SocketAddr>) {
        let count = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(refusal.kind()).or_insert(0);
            *count = count.saturating_add(1);
            *count
        };
        // Strangers decide how often this happens, so the log grows with the logarithm only.
        if count.is_power_of_two() {
            warn!(%refusal, ?from, count, "refused a connection");
        }
    }
}
