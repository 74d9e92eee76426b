//! One run from the first connection to the report.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::bench::clock::{Clock, Nanos, Window};
use crate::bench::cpu::{Sample, Server, Used};
use crate::bench::driver::{Driver, Ready, dial};
use crate::bench::limit::{Seen, verdict};
use crate::bench::plan::{Length, Plan};
use crate::bench::report::{Latency, Report, SCHEMA};
use crate::bench::tally::Tally;
use crate::bench::wire::Requests;

/// An open loop that answered this share of what was due kept its rate.
const RATE_KEPT: f64 = 0.99;

/// Runs `plan` and reports; `pids` are further servers whose processor time counts.
///
/// # Errors
/// When a server cannot be reached or refuses, or the system gives no threads or polls.
pub(crate) fn execute(plan: &Plan, pids: &[u32]) -> anyhow::Result<Report> {
    // The server must give up on a WAIT before we give up on the server.
    let wait_ms = u64::try_from(plan.patience.as_millis() / 2).unwrap_or(u64::MAX).max(1);
    let requests = Requests::new(&plan.load, plan.seed, wait_ms);
    let started_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let ready = dial_all(plan, &requests)?;
    let servers = Server::find(&plan.addresses, pids);
    let clock = Clock::start();
    let window = window(plan.length);
    let (tally, used) = drive_all(plan, &requests, (clock, window), ready, &servers)?;
    let mut report = blank(plan, started_at, used);
    report.seconds = match plan.length {
        Length::Time { counted, .. } => counted.as_secs_f64(),
        // A run without an answer lasted until it was given up.
        Length::Requests(_) if tally.done == 0 => Duration::from(clock.now()).as_secs_f64(),
        Length::Requests(_) => Duration::from(tally.last).as_secs_f64(),
    };
    report.count(&tally);
    report.limit = verdict(Seen {
        seconds: report.seconds,
        threads: plan.load.threads,
        cores: cores(),
        kept_rate: kept_rate(&report),
        used: &report.cpu,
    });
    Ok(report)
}

fn window(length: Length) -> Window {
    match length {
        Length::Requests(_) => Window { from: Nanos::default(), until: Nanos::new(u64::MAX) },
        Length::Time { warmup, counted } => {
            let from = Nanos::from(warmup);
            Window { from, until: from.plus(Nanos::from(counted).get()) }
        }
    }
}

fn dial_all(plan: &Plan, requests: &Requests) -> anyhow::Result<Vec<Vec<Ready>>> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.load.threads)
            .map(|thread| scope.spawn(move || dial(plan, requests, thread)))
            .collect();
        threads.into_iter().map(join).collect()
    })
}

/// Runs all threads to their end; the processor time is that of the counted part.
fn drive_all(
    plan: &Plan,
    requests: &Requests,
    clocked: (Clock, Window),
    ready: Vec<Vec<Ready>>,
    servers: &[Server],
) -> anyhow::Result<(Tally, Used)> {
    thread::scope(|scope| {
        // Nothing is sent; the channel closes when the last thread has done its load.
        let (running, ended) = channel();
        let threads: Vec<_> = (0..plan.load.threads)
            .zip(ready)
            .map(|(thread, ready)| {
                let running = running.clone();
                scope.spawn(move || {
                    let driver = Driver::new(plan, requests, clocked, thread, ready)?;
                    drive(driver, running)
                })
            })
            .collect();
        drop(running);
        let used = measure(plan.length, &ended, servers);
        let mut all = Tally::new(clocked.1, plan.load.rate.is_some());
        for thread in threads {
            all.add(&join(thread)?);
        }
        Ok((all, used))
    })
}

fn drive(mut driver: Driver<'_>, running: Sender<()>) -> anyhow::Result<Tally> {
    driver.run()?;
    drop(running);
    driver.finish()
}

fn measure(length: Length, ended: &Receiver<()>, servers: &[Server]) -> Used {
    let before = match length {
        Length::Requests(_) => Sample::take(servers),
        Length::Time { warmup, .. } => {
            pause(ended, warmup);
            Sample::take(servers)
        }
    };
    match length {
        // The answer is always an error: nobody sends, all hang up.
        Length::Requests(_) => drop(ended.recv()),
        Length::Time { counted, .. } => pause(ended, counted),
    }
    Sample::take(servers).since(&before, servers)
}

/// Waits for `time`, or until all threads have ended, which a run without a server does early.
fn pause(ended: &Receiver<()>, time: Duration) {
    match ended.recv_timeout(time) {
        Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
    }
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    match thread.join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn kept_rate(report: &Report) -> bool {
    report
        .load
        .rate
        .is_some_and(|rate| report.unsent == 0 && report.throughput >= f64::from(rate) * RATE_KEPT)
}

/// A report of `plan` before anything is counted.
fn blank(plan: &Plan, started_at: String, used: Used) -> Report {
    let nothing = Tally::new(window(plan.length), false);
    let threads = plan.load.threads;
    let seen = Seen { seconds: 0.0, threads, cores: cores(), kept_rate: false, used: &used };
    Report {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at,
        addresses: plan.addresses.iter().map(ToString::to_string).collect(),
        load: plan.load.clone(),
        seed: plan.seed,
        seconds: 0.0,
        warmup_seconds: match plan.length {
            Length::Requests(_) => 0.0,
            Length::Time { warmup, .. } => warmup.as_secs_f64(),
        },
        operations: 0,
        throughput: 0.0,
        latency: Latency::of(&nothing.writes),
        reads: None,
        writes: None,
        empty_reads: 0,
        errors: nothing.errors,
        unsent: 0,
        verified: 0,
        wrong: 0,
        complaints: Vec::new(),
        limit: verdict(seen),
        cpu: used,
    }
}
