//! Compares a run with an earlier one: a regression is more than noise.

use std::fmt::Write as _;
use std::path::Path;

use crate::bench::plan::Load;
use crate::bench::report::{Report, SCHEMA, duration, grouped};
use crate::errors::{Code, Coded, Problem};

/// The earlier report in `path`.
///
/// # Errors
/// When there is none, or it is of another kind.
pub(crate) fn load(path: &Path) -> anyhow::Result<Report> {
    let name = path.display();
    let text =
        std::fs::read_to_string(path).coded(Code::ReadFile, || format!("cannot read {name}"))?;
    let report: Report = serde_json::from_str(&text)
        .coded(Code::BenchReport, || format!("{name} is not a report of antiphon bench"))?;
    if report.schema != SCHEMA {
        let what = format!("{name} has schema {}, this version reads {SCHEMA}", report.schema);
        return Err(Problem::new(Code::BenchReport, what).into());
    }
    Ok(report)
}

/// A run beside an earlier one.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// A line for each figure.
    pub(crate) text: String,
    /// The figures that got worse by more than the tolerance.
    pub(crate) regressions: Vec<&'static str>,
}

/// Compares `now` with `then`; `tolerance` is the change that counts as noise, 0.1 for a tenth.
///
/// Throughput, p50 and p99 decide. The tail beyond is shown but too noisy to judge by.
///
/// # Errors
/// A [`Problem`] when the loads differ: their figures say nothing about each other.
pub(crate) fn compare(now: &Report, then: &Report, tolerance: f64) -> Result<Comparison, Problem> {
    refuse_other_load(&now.load, &then.load)?;
    let mut comparison = Comparison { text: String::new(), regressions: Vec::new() };
    let change = ratio(now.throughput, then.throughput);
    let figures = [grouped(then.throughput), grouped(now.throughput)];
    comparison.add("throughput", figures, change, Some(change < 1.0 - tolerance));
    for (name, of, decides) in [("p50", 0, true), ("p99", 1, true), ("p99.9", 2, false)] {
        let pick = |report: &Report| match of {
            0 => report.latency.p50_us,
            1 => report.latency.p99_us,
            _ => report.latency.p999_us,
        };
        let (new, old) = (pick(now), pick(then));
        let change = ratio(new, old);
        let worse = decides.then_some(change > 1.0 + tolerance);
        comparison.add(name, [duration(old), duration(new)], change, worse);
    }
    Ok(comparison)
}

impl Comparison {
    fn add(&mut self, name: &'static str, figures: [String; 2], change: f64, worse: Option<bool>) {
        let [old, new] = figures;
        let remark = if worse == Some(true) { "  worse" } else { "" };
        let percent = (change - 1.0) * 100.0;
        writeln!(self.text, "{name:<11} {old} -> {new} ({percent:+.1} %){remark}")
            .expect("a string takes all that is written to it");
        if worse == Some(true) {
            self.regressions.push(name);
        }
    }
}

fn ratio(new: f64, old: f64) -> f64 {
    if old > 0.0 { new / old } else { 1.0 }
}

fn refuse_other_load(now: &Load, then: &Load) -> Result<(), Problem> {
    if now == then {
        return Ok(());
    }
    let what = "the two runs had different loads, so their figures cannot be compared";
    Err(Problem::new(Code::BenchReport, format!("{what}\n  then: {then:?}\n  now:  {now:?}")))
}

#[cfg(test)]
mod tests;
