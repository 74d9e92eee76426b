//! The result of a run: the same four lines every time, or the same document.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::bench::cpu::Used;
use crate::bench::limit::Limit;
use crate::bench::plan::Load;
use crate::bench::tally::Tally;

/// Name and version of the document; fields are added, never renamed.
pub(crate) const SCHEMA: &str = "antiphon.bench/1";

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// Version of this program.
    pub(crate) version: String,
    /// When the run began, RFC 3339 in UTC.
    pub(crate) started_at: String,
    /// Servers.
    pub(crate) addresses: Vec<String>,
    /// The load.
    pub(crate) load: Load,
    /// Start of all random choices.
    pub(crate) seed: u64,
    /// Seconds that were counted.
    pub(crate) seconds: f64,
    /// Seconds before that were not.
    pub(crate) warmup_seconds: f64,
    /// Operations that were counted.
    pub(crate) operations: u64,
    /// Operations a second.
    pub(crate) throughput: f64,
    /// Of all operations.
    pub(crate) latency: Latency,
    /// Of the reads, when there were any.
    pub(crate) reads: Option<Latency>,
    /// Of the writes, when there were any.
    pub(crate) writes: Option<Latency>,
    /// Reads that found nothing.
    pub(crate) empty_reads: u64,
    /// Failures by kind, over the whole run.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Arrivals of an open loop that were due and not sent before the end.
    pub(crate) unsent: u64,
    /// Values that were checked; 0 when the run is not verified.
    pub(crate) verified: u64,
    /// Values that were wrong.
    pub(crate) wrong: u64,
    /// The first of them in words.
    pub(crate) complaints: Vec<String>,
    /// Processor time within the counted seconds.
    pub(crate) cpu: Used,
    /// What limited the run.
    pub(crate) limit: Limit,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Half are faster.
    pub(crate) p50_us: f64,
    /// 99 of 100 are faster.
    pub(crate) p99_us: f64,
    /// 999 of 1,000 are faster.
    pub(crate) p999_us: f64,
    /// The slowest.
    pub(crate) max_us: f64,
    /// The average.
    pub(crate) mean_us: f64,
    /// How many.
    pub(crate) count: u64,
}

impl Latency {
    /// Of what `histogram` holds in nanoseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| microseconds(histogram.value_at_quantile(quantile));
        Self {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: microseconds(histogram.max()),
            mean_us: histogram.mean() / 1e3,
            count: histogram.len(),
        }
    }

    /// The same, when there is anything.
    pub(crate) fn of_any(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self::of(histogram))
    }
}

impl Report {
    /// Takes over what was counted.
    pub(crate) fn count(&mut self, tally: &Tally) {
        self.operations = tally.done;
        self.throughput = tally.done as f64 / self.seconds.max(f64::MIN_POSITIVE);
        self.latency = Latency::of(&tally.all());
        self.reads = Latency::of_any(&tally.reads);
        self.writes = Latency::of_any(&tally.writes);
        self.empty_reads = tally.empty;
        self.errors = tally.errors.clone();
        self.unsent = tally.unsent;
        self.verified = tally.verified;
        self.wrong = tally.wrong;
        self.complaints = tally.complaints.clone();
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out).expect("a string takes all that is written to it");
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}", self.headline())?;
        writeln!(out, "throughput  {} op/s", grouped(self.throughput))?;
        writeln!(out, "p50         {}", duration(self.latency.p50_us))?;
        writeln!(out, "p99         {}", duration(self.latency.p99_us))?;
        let (p999, max) = (duration(self.latency.p999_us), duration(self.latency.max_us));
        writeln!(out, "p99.9       {p999}, max {max}")?;
        writeln!(out, "policy      {}", self.policy())?;
        writeln!(out, "limited by  {} ({})", self.limit.by.in_words(), self.limit.because)?;
        writeln!(out, "CPU per op  {}", self.cpu_per_operation())?;
        if let (Some(reads), Some(writes)) = (&self.reads, &self.writes) {
            for (name, of) in [("reads", reads), ("writes", writes)] {
                let (p50, p99) = (duration(of.p50_us), duration(of.p99_us));
                writeln!(out, "{name:<11} p50 {p50}, p99 {p99}")?;
            }
        }
        self.write_remarks(out)
    }

    fn write_remarks(&self, out: &mut String) -> std::fmt::Result {
        if self.load.read_share > 0.0 && self.empty_reads > 0 {
            writeln!(out, "empty       {} reads found no value", self.empty_reads)?;
        }
        if self.unsent > 0 {
            let unsent = self.unsent;
            writeln!(
                out,
                "unsent      {unsent} were due and found no free connection; they count"
            )?;
            writeln!(
                out,
                "            as waiting until the end: the server did not keep this rate"
            )?;
        }
        for (what, count) in &self.errors {
            writeln!(out, "error       {count} x {what}")?;
        }
        if self.load.verify {
            writeln!(out, "verified    {} values, {} wrong", self.verified, self.wrong)?;
        }
        for complaint in &self.complaints {
            writeln!(out, "wrong       {complaint}")?;
        }
        Ok(())
    }

    fn headline(&self) -> String {
        let load = &self.load;
        let verb = match load.read_share {
            share if share <= 0.0 => "SET".to_owned(),
            share if share >= 1.0 => "GET".to_owned(),
            share => format!("{:.0} % GET, the rest SET", share * 100.0),
        };
        let (value, key, keys) = (load.value_bytes, load.key_bytes, load.keys);
        let (clients, pipeline, seconds) = (load.clients, load.pipeline, self.seconds);
        let pace = match load.rate {
            Some(rate) => format!("open loop at {rate}/s"),
            None => "closed loop".to_owned(),
        };
        format!(
            "{verb} of {value} B at {keys} keys of {key} B; {clients} clients, pipeline {pipeline}; \
             {pace}, {seconds:.1} s"
        )
    }

    fn policy(&self) -> String {
        let policy = self.load.policy.as_deref().unwrap_or("the server's own");
        match self.load.wait {
            Some(wait) => format!("{policy}, WAIT {wait} after each batch"),
            None => policy.to_owned(),
        }
    }

    fn cpu_per_operation(&self) -> String {
        let each =
            |seconds: f64| format!("{:.2} us", seconds * 1e6 / (self.operations.max(1) as f64));
        let mut parts = vec![format!("client {}", each(self.cpu.client_seconds))];
        for server in &self.cpu.servers {
            parts.push(format!("{} ({}) {}", server.name, server.pid, each(server.seconds)));
        }
        parts.join(", ")
    }

    /// For a spreadsheet: a line of names and a line of figures.
    pub(crate) fn csv(&self) -> String {
        let load = &self.load;
        let servers: f64 = self.cpu.servers.iter().map(|server| server.seconds).sum();
        let policy = load.policy.clone().unwrap_or_default();
        let number = |count: Option<u32>| count.map(|count| count.to_string()).unwrap_or_default();
        let columns: [(&str, String); 22] = [
            ("started_at", self.started_at.clone()),
            ("clients", load.clients.to_string()),
            ("pipeline", load.pipeline.to_string()),
            ("threads", load.threads.to_string()),
            ("key_bytes", load.key_bytes.to_string()),
            ("value_bytes", load.value_bytes.to_string()),
            ("keys", load.keys.to_string()),
            ("read_share", load.read_share.to_string()),
            ("policy", format!("\"{}\"", policy.replace('"', "\"\""))),
            ("wait", number(load.wait)),
            ("rate", number(load.rate)),
            ("seconds", format!("{:.3}", self.seconds)),
            ("operations", self.operations.to_string()),
            ("throughput", format!("{:.1}", self.throughput)),
            ("p50_us", format!("{:.1}", self.latency.p50_us)),
            ("p99_us", format!("{:.1}", self.latency.p99_us)),
            ("p999_us", format!("{:.1}", self.latency.p999_us)),
            ("max_us", format!("{:.1}", self.latency.max_us)),
            ("errors", self.errors.values().sum::<u64>().to_string()),
            ("wrong", self.wrong.to_string()),
            ("client_cpu_seconds", format!("{:.3}", self.cpu.client_seconds)),
            ("servers_cpu_seconds", format!("{servers:.3}")),
        ];
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let figures: Vec<&str> = columns.iter().map(|(_, figure)| figure.as_str()).collect();
        format!("{}\n{}\n", names.join(","), figures.join(","))
    }
}

fn microseconds(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// A duration with the unit that keeps three digits.
pub(crate) fn duration(microseconds: f64) -> String {
    match microseconds {
        us if us < 1e3 => format!("{us:.0} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// A whole number with a comma after every third digit.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
pub(crate) mod tests;
