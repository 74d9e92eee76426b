//! What one thread counted; the tallies of all threads add up to the result.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::bench::clock::{Nanos, Window};

/// Distinct kinds of error that are told apart; the rest is counted together.
const ERROR_KINDS_MAX: usize = 16;
/// Sentences about wrong values that are kept; the rest is only counted.
const COMPLAINTS_MAX: usize = 5;
/// Significant digits of a latency: 0.1 %.
const DIGITS: u8 = 3;
/// Longest latency that is told apart: ten minutes.
const LATENCY_NANOS_MAX: u64 = 600_000_000_000;

/// An operation as it is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished {
    /// A read, else a write.
    pub(crate) read: bool,
    /// When it was sent, or in an open loop when it should have been.
    pub(crate) from: Nanos,
    /// When its answer was there.
    pub(crate) at: Nanos,
}

/// Counts and latencies.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    window: Window,
    /// Whether the moment of sending decides if a latency counts, else that of the answer.
    by_intention: bool,
    /// Latencies of reads, in nanoseconds.
    pub(crate) reads: Histogram<u64>,
    /// Latencies of writes, in nanoseconds.
    pub(crate) writes: Histogram<u64>,
    /// Operations answered within the window.
    pub(crate) done: u64,
    /// Reads that found nothing.
    pub(crate) empty: u64,
    /// Error replies and broken connections, by their first word.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Arrivals of an open loop that were due and could not be sent before its end.
    pub(crate) unsent: u64,
    /// Values that were checked.
    pub(crate) verified: u64,
    /// Values that were wrong.
    pub(crate) wrong: u64,
    /// The first of them in words.
    pub(crate) complaints: Vec<String>,
    /// When the last counted answer came.
    pub(crate) last: Nanos,
}

impl Tally {
    /// Nothing counted yet.
    pub(crate) fn new(window: Window, by_intention: bool) -> Self {
        let histogram = Histogram::new_with_max(LATENCY_NANOS_MAX, DIGITS)
            .expect("the constants above make a valid histogram");
        Self {
            window,
            by_intention,
            reads: histogram.clone(),
            writes: histogram,
            done: 0,
            empty: 0,
            errors: BTreeMap::new(),
            unsent: 0,
            verified: 0,
            wrong: 0,
            complaints: Vec::new(),
            last: Nanos::default(),
        }
    }

    /// Counts an answered operation, if it belongs to the window.
    pub(crate) fn finish(&mut self, operation: Finished) {
        if self.window.holds(operation.at) {
            self.done += 1;
            self.last = self.last.max(operation.at);
        }
        let moment = if self.by_intention { operation.from } else { operation.at };
        if self.window.holds(moment) {
            let histogram = if operation.read { &mut self.reads } else { &mut self.writes };
            histogram.saturating_record(operation.at.since(operation.from));
        }
    }

    /// Counts an arrival that was due at `from` and never sent: it waited at least until the end.
    pub(crate) fn never_sent(&mut self, read: bool, from: Nanos) {
        if self.window.holds(from) {
            self.unsent += 1;
            let histogram = if read { &mut self.reads } else { &mut self.writes };
            histogram.saturating_record(self.window.until.since(from));
        }
    }

    /// Counts `count` failures of kind `what`, whenever they happen.
    pub(crate) fn fail(&mut self, what: &str, count: u64) {
        let known = self.errors.contains_key(what) || self.errors.len() < ERROR_KINDS_MAX;
        let kind = if known { what } else { "other" };
        *self.errors.entry(kind.to_owned()).or_default() += count;
    }

    /// Counts a checked value; `complaint` says what is wrong with it.
    pub(crate) fn verify(&mut self, complaint: Option<String>) {
        self.verified += 1;
        if let Some(complaint) = complaint {
            self.wrong += 1;
            if self.complaints.len() < COMPLAINTS_MAX {
                self.complaints.push(complaint);
            }
        }
    }

    /// Latencies of reads and writes together.
    pub(crate) fn all(&self) -> Histogram<u64> {
        let mut all = self.reads.clone();
        all.add(&self.writes).expect("both histograms are made with the same bounds");
        all
    }

    /// Adds what another thread counted.
    pub(crate) fn add(&mut self, other: &Self) {
        let same = "all tallies are made with the same bounds";
        self.reads.add(&other.reads).expect(same);
        self.writes.add(&other.writes).expect(same);
        self.done += other.done;
        self.empty += other.empty;
        self.unsent += other.unsent;
        self.verified += other.verified;
        self.wrong += other.wrong;
        self.last = self.last.max(other.last);
        for (what, count) in &other.errors {
            self.fail(what, *count);
        }
        let room = COMPLAINTS_MAX.saturating_sub(self.complaints.len());
        self.complaints.extend(other.complaints.iter().take(room).cloned());
    }
}

#[cfg(test)]
mod tests;
