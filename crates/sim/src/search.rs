//! Many seeds, on all processors, added up.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::plan::{Plan, Profile};
use crate::{Outcome, PlanError, run};

/// Which runs to make.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// The first seed.
    pub from: u64,
    /// How many seeds.
    pub count: u64,
    /// A profile for all, in place of what each seed draws.
    pub profile: Option<Profile>,
    /// A bug to plant.
    pub mutation: Option<String>,
    /// Threads; none for all processors.
    pub threads: Option<usize>,
}

/// A run that broke a rule.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The plan.
    pub plan: Plan,
    /// Its outcome.
    pub outcome: Outcome,
}

/// What a search added up to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Runs made.
    pub runs: u64,
    /// Events handled.
    pub events: u64,
    /// Simulated time. Unit: nanoseconds.
    pub simulated: u64,
    /// Faults, by class.
    pub faults: BTreeMap<&'static str, u64>,
    /// Rare branches.
    pub marks: BTreeMap<&'static str, u64>,
    /// The failing run of the lowest seed, if one failed.
    pub failure: Option<Failure>,
}

impl Tally {
    fn add(&mut self, plan: &Plan, outcome: Outcome) {
        self.runs += 1;
        self.events += outcome.events;
        self.simulated += outcome.simulated;
        for (class, count) in &outcome.faults {
            *self.faults.entry(class).or_default() += count;
        }
        for (mark, count) in &outcome.marks {
            *self.marks.entry(mark).or_default() += count;
        }
        let lower = self.failure.as_ref().is_none_or(|known| plan.seed < known.plan.seed);
        if outcome.violation.is_some() && lower {
            self.failure = Some(Failure { plan: plan.clone(), outcome });
        }
    }
}

/// Runs seeds in order until one fails or all are done. `progress` is told of each run.
///
/// # Errors
/// When a plan can't be run.
pub fn search(range: &Range, progress: &(dyn Fn(u64) + Sync)) -> Result<Tally, PlanError> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = range.threads.unwrap_or(processors);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let tally = Mutex::new(Ok(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= range.count {
                        return;
                    }
                    let ran = one(range, range.from + number);
                    let mut tally = tally.lock().expect("no thread panics while it holds it");
                    match (ran, &mut *tally) {
                        (Ok((plan, outcome)), Ok(tally)) => {
                            stop.fetch_or(outcome.violation.is_some(), Ordering::Relaxed);
                            tally.add(&plan, outcome);
                        }
                        (Err(error), tally) => {
                            stop.store(true, Ordering::Relaxed);
                            *tally = Err(error);
                        }
                        (Ok(_), Err(_)) => return,
                    }
                    progress(number + 1);
                }
            });
        }
    });
    tally.into_inner().expect("no thread panics while it holds it")
}

fn one(range: &Range, seed: u64) -> Result<(Plan, Outcome), PlanError> {
    let mut plan = Plan::draw(seed, range.profile);
    if let Some(name) = &range.mutation {
        plan.plant(name)?;
    }
    let outcome = run(&plan, 0)?;
    Ok((plan, outcome))
}
