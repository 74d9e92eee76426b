//! Deterministic simulator: the real machine, log and keyspace in one thread, under faults.
//!
//! A seed expands to a [`Plan`], which says all that a run is made of; [`run`] plays it and
//! checks the protocol's invariants after every step. The same plan gives the same run, event
//! by event. What fails is shrunk and written as a plan, which survives changes of the code
//! better than its seed.

mod clock;
mod linear;
mod link;
mod mutation;
mod node;
mod oracle;
mod plan;
mod queue;
mod rng;
mod search;
mod shrink;
mod storage;
mod work;
mod world;

pub use mutation::mutations;
pub use oracle::Violation;
pub use plan::{CrashPoint, DiskPlan, Fault, Knobs, Net, Plan, PlanError, Profile, Timed, Work};
pub use search::{Failure, Range, Tally, search};
pub use shrink::shrink;
pub use world::Outcome;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Whether this thread plays a plan, whose panics are kept.
    static PLAYING: Cell<bool> = const { Cell::new(false) };
    /// What the newest panic of this thread said.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Plays a plan to its end or to the first violation. The outcome has the last `lines`
/// events in words. A broken assertion of the code under test is a violation too.
///
/// # Errors
/// When the plan can't be run.
pub fn run(plan: &Plan, lines: usize) -> Result<Outcome, PlanError> {
    let world = world::World::new(plan, lines)?;
    PLAYING.set(true);
    let played = catch_unwind(AssertUnwindSafe(|| world.run()));
    PLAYING.set(false);
    match played {
        Ok(outcome) => Ok(outcome),
        Err(_panic) => {
            let said = PANIC.with(RefCell::take).unwrap_or_else(|| "a panic".to_owned());
            Ok(Outcome::panicked(said))
        }
    }
}

/// From now on what panics of played plans say is kept for the report, in place of printing it.
pub fn keep_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if PLAYING.get() {
            PANIC.with(|panic| *panic.borrow_mut() = Some(info.to_string()));
        } else {
            before(info);
        }
    }));
}
