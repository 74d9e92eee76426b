//! `sim`: plays many seeds, or one, or a plan; prints what a failure needs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use antiphon_sim::{Failure, Plan, Profile, Range, Tally, keep_panics, run, search, shrink};
use clap::Parser;

/// Runs that shrinking may take.
const SHRINK_TRIES: usize = 300;

/// Plays simulated clusters under faults until a rule breaks.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Args {
    /// How many seeds to play.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Plays this seed alone, and prints its events.
    #[arg(long)]
    seed: Option<u64>,
    /// Plays the plan in this file, and prints its events.
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Draws all plans for this profile.
    #[arg(long)]
    profile: Option<String>,
    /// Plants this bug.
    #[arg(long)]
    mutation: Option<String>,
    /// How many of the last events are printed.
    #[arg(long, default_value_t = 200)]
    lines: usize,
    /// Where plans of failures are written.
    #[arg(long, default_value = "target/sim")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let mut err = io::stderr();
    match start(&Args::parse(), &mut err) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            drop(writeln!(err, "sim: {error}"));
            ExitCode::from(2)
        }
    }
}

type Failing<T> = Result<T, Box<dyn std::error::Error>>;

fn start(args: &Args, err: &mut dyn Write) -> Failing<bool> {
    keep_panics();
    let profile = match &args.profile {
        Some(name) => {
            let known = Profile::ALL.map(Profile::name).join(", ");
            Some(Profile::named(name).ok_or(format!("no such profile; there are {known}"))?)
        }
        None => None,
    };
    if let Some(path) = &args.plan {
        return play(args, &Plan::parse(&std::fs::read_to_string(path)?)?, err);
    }
    if let Some(seed) = args.seed {
        let mut plan = Plan::draw(seed, profile);
        if let Some(name) = &args.mutation {
            plan.plant(name)?;
        }
        return play(args, &plan, err);
    }
    let range = Range {
        from: args.from,
        count: args.seeds,
        profile,
        mutation: args.mutation.clone(),
        threads: None,
    };
    let began = Instant::now();
    let step = (args.seeds / 20).max(1);
    let total = args.seeds;
    let tally = search(&range, &|done| {
        if done % step == 0 {
            drop(writeln!(io::stderr(), "{done} of {total} seeds"));
        }
    });
    let tally = tally?;
    summary(&tally, began.elapsed().as_millis(), err)?;
    match tally.failure {
        Some(failure) => report(args, &failure, err).map(|()| false),
        None => Ok(true),
    }
}

fn play(args: &Args, plan: &Plan, err: &mut dyn Write) -> Failing<bool> {
    let outcome = run(plan, args.lines)?;
    for line in &outcome.lines {
        writeln!(err, "{line}")?;
    }
    for line in &outcome.nodes {
        writeln!(err, "{line}")?;
    }
    writeln!(err, "{} events, trace {:016x}", outcome.events, outcome.trace)?;
    if outcome.violation.is_none() {
        return Ok(true);
    }
    report(args, &Failure { plan: plan.clone(), outcome }, err).map(|()| false)
}

fn summary(tally: &Tally, took_ms: u128, err: &mut dyn Write) -> Failing<()> {
    let per_second = |count: u64| u128::from(count) * 1_000 / took_ms.max(1);
    let faults: u64 = tally.faults.values().sum();
    writeln!(err, "{} runs in {took_ms} ms", tally.runs)?;
    writeln!(
        err,
        "{} events, {} a second; {} faults, {} a second; {} times real time",
        tally.events,
        per_second(tally.events),
        faults,
        per_second(faults),
        u128::from(tally.simulated) / 1_000_000 / took_ms.max(1)
    )?;
    for (name, counts) in [("faults", &tally.faults), ("branches", &tally.marks)] {
        writeln!(err, "{name}:")?;
        for (what, count) in counts {
            writeln!(err, "  {count:>9} {what}")?;
        }
    }
    Ok(())
}

/// Plays the failure again, makes it small, and prints what it takes to see it.
fn report(args: &Args, failure: &Failure, err: &mut dyn Write) -> Failing<()> {
    let Some(violation) = &failure.outcome.violation else { return Ok(()) };
    writeln!(err, "FAILED: {}\n  {}", violation.rule, violation.what)?;
    let seed = failure.plan.seed;
    let again = run(&failure.plan, 0)?;
    let same = again.violation.as_ref() == Some(violation);
    writeln!(err, "played again: {}", if same { "the same" } else { "NOT the same" })?;
    let full = write_plan(&args.out, &format!("{seed}.json"), &failure.plan)?;
    let small = shrink(&failure.plan, violation.rule, SHRINK_TRIES);
    let path = write_plan(&args.out, &format!("{seed}.small.json"), &small)?;
    let shown = run(&small, args.lines)?;
    writeln!(err, "the last events of the shrunk plan, {} faults:", small.faults.len())?;
    for line in shown.lines.iter().chain(&shown.nodes) {
        writeln!(err, "{line}")?;
    }
    if let Some(violation) = &shown.violation {
        writeln!(err, "FAILED: {}\n  {}", violation.rule, violation.what)?;
    }
    let feature = if failure.plan.mutation.is_some() { "--features mutations " } else { "" };
    let command = format!("cargo run -p sim {feature}--");
    writeln!(err, "plan: {}\nagain: {command} --plan {}", full.display(), full.display())?;
    writeln!(err, "shrunk: {command} --plan {}", path.display())?;
    let planted = failure.plan.mutation.as_ref().map(|name| format!(" --mutation {name}"));
    let profile = args.profile.as_ref().map(|name| format!(" --profile {name}"));
    let flags = [planted, profile].into_iter().flatten().collect::<String>();
    writeln!(err, "seed: {command} --seed {seed}{flags}")?;
    Ok(())
}

fn write_plan(out: &Path, name: &str, plan: &Plan) -> Failing<PathBuf> {
    std::fs::create_dir_all(out)?;
    let path = out.join(name);
    std::fs::write(&path, plan.to_text())?;
    Ok(path)
}
