//! Crashes at every change of the disk, with every set of survivors where they can be counted.

mod scripts;

use std::sync::Arc;

use super::model::{Driver, Model, Step};
use crate::testing::{Maker, OTHER, SHARD, dir, options, run, try_open};
use crate::{Op, Options, SimDisk, Store, Survivors};
pub(super) use scripts::{Script, scripts};

/// Pending pieces up to which every set of survivors is tried.
const EVERY_SET_UP_TO: usize = 10;

/// How many sets are tried at random where there are too many.
fn samples() -> u64 {
    match std::env::var("ANTIPHON_CRASH_SAMPLES") {
        Ok(text) => text.parse().expect("ANTIPHON_CRASH_SAMPLES is a number"),
        Err(_) => 24,
    }
}

/// Sets of survivors to try for so many pending pieces.
fn survivors(pending: usize, seed: u64) -> Vec<Survivors> {
    let mut sets = Vec::new();
    if pending <= EVERY_SET_UP_TO {
        for set in 0_u32..1 << pending {
            sets.push((0..pending).map(|bit| set >> bit & 1 == 1).collect::<Vec<_>>());
        }
    } else {
        sets.push(vec![false; pending]);
        sets.push(vec![true; pending]);
        for one in 0..pending {
            sets.push((0..pending).map(|at| at == one).collect());
            sets.push((0..pending).map(|at| at != one).collect());
            sets.push((0..pending).map(|at| at < one).collect());
        }
        let mut random = seed;
        for _ in 0..samples() {
            sets.push((0..pending).map(|_| draw(&mut random) & 1 == 1).collect());
        }
    }
    let last = pending.checked_sub(1);
    let whole = |keep: &Vec<bool>| Survivors { keep: keep.clone(), torn: None, zeroed: None };
    let mut all: Vec<Survivors> = sets.iter().map(whole).collect();
    if last.is_some() {
        all.extend(sets.iter().map(|keep| Survivors { torn: last, ..whole(keep) }));
        all.extend(sets.iter().map(|keep| Survivors { zeroed: last, ..whole(keep) }));
        all.extend(sets.iter().map(|keep| Survivors { zeroed: Some(0), ..whole(keep) }));
    }
    all
}

/// A number under `under`.
fn pick(state: &mut u64, under: usize) -> usize {
    usize::try_from(draw(state)).unwrap() % under
}

fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Runs a script and tries every crash; the number of crashed states, or what was violated.
pub(super) fn enumerate(script: &Script, options: &Options) -> Result<u64, String> {
    let mut driver = Driver::new(SimDisk::new(1), options.clone());
    if script.from_nothing {
        driver.disk.record();
    }
    driver.open();
    if let Some(survivors) = &script.crash_between {
        driver.disk.record();
        driver.run(&script.before);
        driver = crashed_before_last_sync(&driver, survivors);
        driver.disk.record();
        driver.open();
    } else {
        driver.run(&script.before);
    }
    if !script.from_nothing && script.crash_between.is_none() {
        driver.forget();
        driver.disk.record();
    }
    let disk = driver.disk.clone();
    for (operation, nth, fault) in &script.faults {
        disk.fail(*operation, *nth, *fault);
    }
    driver.run(&script.steps);
    let mut states = 0;
    for (at, crashed) in disk.take_recording().into_iter().enumerate() {
        let changes = at + 1;
        let done = driver.done.iter().filter(|when| **when <= changes).count();
        let submitted = driver.submitted.iter().filter(|when| **when < changes).count();
        let allowed = &driver.states[done..=submitted.max(done)];
        for survivors in survivors(crashed.pending(), at as u64) {
            states += 1;
            check(&crashed, &survivors, allowed, options).map_err(|why| {
                format!("{}: crash after change {changes}, {survivors:?}: {why}", script.name)
            })?;
        }
        states += 1;
        check_killed(&crashed, allowed, options)
            .map_err(|why| format!("{}: kill after change {changes}: {why}", script.name))?;
    }
    Ok(states)
}

/// The store as a crash leaves it between the last write and its sync.
fn crashed_before_last_sync(driver: &Driver, survivors: &Survivors) -> Driver {
    let copies = driver.disk.take_recording();
    let disk = copies[copies.len() - 2].clone();
    disk.crash(survivors);
    let mut next = Driver::new(disk, driver.options.clone());
    next.states = vec![driver.states[driver.states.len() - 2].clone()];
    next
}

/// Crashes a copy of the disk and looks at what comes back.
fn check(
    disk: &SimDisk,
    survivors: &Survivors,
    allowed: &[Model],
    options: &Options,
) -> Result<(), String> {
    let disk = disk.fork();
    disk.crash(survivors);
    let open = || -> Result<Store, String> {
        let store = try_open(Arc::new(disk.clone()), &dir(), options);
        store.map_err(|error| format!("refused to open: {error}"))
    };
    let store = open()?;
    let recovery = store.recovery().clone();
    if !recovery.damage.is_empty() || recovery.amnesia {
        return Err(format!("took a crash for damage: {:?}", recovery.damage));
    }
    if let Some(broken) = store.snapshots().broken().first() {
        return Err(format!("a snapshot got its name too early: {broken}"));
    }
    let matching = allowed.iter().find(|model| model.compare(&store).is_ok());
    let model = matching.ok_or_else(|| {
        let why: Vec<String> =
            allowed.iter().filter_map(|model| model.compare(&store).err()).collect();
        format!("none of {} allowed states: {why:?}", allowed.len())
    })?;
    for aside in &model.asides {
        let found = crate::inspect::diverged(&disk, &aside.path)
            .map_err(|error| format!("cut entries are not aside: {error}"))?;
        let frames = found.entries.map(|batch| batch.bytes().to_vec()).unwrap_or_default();
        if frames != aside.frames {
            return Err("other entries are aside than were cut".to_owned());
        }
    }
    goes_on(store, model, open)
}

/// Only the process ends, and another run reads what the cache holds; then the power fails.
/// What the run has seen must not be gone.
fn check_killed(disk: &SimDisk, allowed: &[Model], options: &Options) -> Result<(), String> {
    let disk = disk.fork();
    disk.kill();
    let open = || -> Result<Store, String> {
        let store = try_open(Arc::new(disk.clone()), &dir(), options);
        store.map_err(|error| format!("refused to open: {error}"))
    };
    let store = open()?;
    let seen = allowed.iter().find(|model| model.compare(&store).is_ok());
    let mut seen = seen.ok_or("none of the allowed states")?.clone();
    let mut committer = store.into_committer();
    let mut maker = Maker::after(SHARD, seen.end(SHARD));
    // Enough for the segment that was ready.
    for bytes in [5_000, 5_000] {
        let batch = maker.batch(1, bytes);
        let shard = seen.shards.entry(SHARD).or_default();
        shard.frames.push((maker.position(), batch.bytes().clone()));
        run(&mut committer, [Op::Append { shard: SHARD, batch, ticket: 0 }]);
    }
    drop(committer);
    disk.crash(&Survivors::default());
    seen.compare(&open()?).map_err(|why| format!("after a power failure: {why}"))
}

/// The recovered log takes entries, and holds the same after another opening.
fn goes_on(
    store: Store,
    model: &Model,
    open: impl Fn() -> Result<Store, String>,
) -> Result<(), String> {
    let mut model = model.clone();
    let mut committer = store.into_committer();
    let mut maker = Maker::after(SHARD, model.end(SHARD));
    let batch = maker.batch(1, 40);
    let shard = model.shards.entry(SHARD).or_default();
    shard.frames.push((maker.position(), batch.bytes().clone()));
    run(&mut committer, [Op::Append { shard: SHARD, batch, ticket: 0 }]);
    drop(committer);
    let store = open()?;
    if !store.recovery().damage.is_empty() {
        return Err(format!("damage after going on: {:?}", store.recovery().damage));
    }
    model.compare(&store).map_err(|why| format!("after going on: {why}"))
}

/// Tries every crash of every fourth script: four tests, so that they run side by side.
#[track_caller]
fn every_fourth(from: usize) {
    let mut total = 0;
    for script in scripts().iter().skip(from).step_by(4) {
        let states = enumerate(script, &options()).unwrap_or_else(|why| panic!("{why}"));
        println!("{:32} {states:8} crashed states", script.name);
        assert!(states > 0, "{} reached no state", script.name);
        total += states;
    }
    println!("{total} crashed states, no violation");
}

#[test]
fn every_crash_leaves_what_was_acknowledged_1() {
    every_fourth(0);
}

#[test]
fn every_crash_leaves_what_was_acknowledged_2() {
    every_fourth(1);
}

#[test]
fn every_crash_leaves_what_was_acknowledged_3() {
    every_fourth(2);
}

#[test]
fn every_crash_leaves_what_was_acknowledged_4() {
    every_fourth(3);
}

/// Random steps on two shards.
fn random_steps(seed: u64) -> Vec<Step> {
    let mut random = seed.wrapping_mul(0x9e37_79b9).wrapping_add(seed);
    let mut ends = [0_u64; 2];
    let mut floors = [0_u64; 2];
    let mut epoch = 1;
    let mut steps = Vec::new();
    for _ in 0..60 {
        let which = usize::from(draw(&mut random).is_multiple_of(3));
        let shard = [SHARD, OTHER][which];
        match draw(&mut random) % 16 {
            0 => steps.push(Step::Hard(shard, vec![7; pick(&mut random, 700)])),
            // Nobody cuts what was stable enough to be trimmed.
            1 if ends[which] > floors[which].max(2) => {
                ends[which] -= draw(&mut random) % ends[which].min(9);
                ends[which] = ends[which].max(floors[which]);
                epoch += 1;
                steps.extend([Step::Truncate(shard, ends[which]), Step::Run]);
                steps.push(Step::Epoch(shard, epoch));
            }
            2 => {
                let floor = ends[which].saturating_sub(draw(&mut random) % 12);
                floors[which] = floors[which].max(floor);
                steps.push(Step::Trim(shard, floor));
            }
            3 => steps.extend([Step::Run, Step::Rest]),
            4 => steps.extend([Step::Run, Step::Abandon]),
            5 => steps.extend([Step::Run, Step::Reopen]),
            6 => steps.extend([Step::Run, Step::Snapshot(SHARD, pick(&mut random, 900))]),
            _ => {
                let entries = 1 + pick(&mut random, 4);
                ends[which] += u64::try_from(entries).unwrap();
                let bytes = pick(&mut random, 700);
                steps.push(Step::Append(shard, entries, bytes));
                if draw(&mut random).is_multiple_of(2) {
                    steps.push(Step::Run);
                }
            }
        }
    }
    steps.push(Step::Run);
    steps
}

#[test]
fn random_steps_and_random_crashes() {
    let mut states = 0;
    for seed in 1..=samples() * 3 {
        let mut driver = Driver::new(SimDisk::new(seed), options());
        driver.disk.record();
        driver.open();
        driver.run(&random_steps(seed));
        assert!(!driver.failed, "seed {seed}");
        let copies = driver.disk.take_recording();
        let mut random = seed;
        for _ in 0..12 {
            let at = pick(&mut random, copies.len());
            let done = driver.done.iter().filter(|when| **when <= at + 1).count();
            let submitted = driver.submitted.iter().filter(|when| **when < at + 1).count();
            let allowed = &driver.states[done..=submitted.max(done)];
            let pieces = copies[at].pending();
            let survivors = Survivors {
                keep: (0..pieces).map(|_| draw(&mut random) & 1 == 1).collect(),
                torn: (pieces > 0).then(|| pick(&mut random, pieces)),
                zeroed: (draw(&mut random) & 1 == 1).then_some(0),
            };
            check(&copies[at], &survivors, allowed, &options())
                .unwrap_or_else(|why| panic!("seed {seed}, crash after {}: {why}", at + 1));
            states += 1;
        }
    }
    println!("{states} crashed states of random steps, no violation");
}

/// A step that appends one small entry and makes it durable.
pub(super) fn one(bytes: usize) -> [Step; 2] {
    [Step::Append(SHARD, 1, bytes), Step::Run]
}
