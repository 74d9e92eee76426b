//! Every bit of every byte of what several scripts leave on disk.
//!
//! `ANTIPHON_FLIPS` says how many flips at least; by default a share that is spread over all.

use std::path::Path;

use super::{Seen, files, look};
use crate::testing::{OTHER, SHARD, options, position};
use crate::tests::model::{Driver, Model, Step};
use crate::{Options, SimDisk};

const MASKS: [u8; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 255];
const DEFAULT: u64 = 20_000;

fn wanted() -> u64 {
    match std::env::var("ANTIPHON_FLIPS") {
        Ok(text) => text.parse().expect("ANTIPHON_FLIPS is a number"),
        Err(_) => DEFAULT,
    }
}

fn small() -> Options {
    Options { segment_bytes: 3 << 10, ..options() }
}

/// Scripts, each with what it is about.
fn scripts() -> Vec<(&'static str, Vec<Step>)> {
    use Step::{
        Abandon, Append, Epoch, Hard, Reopen, Rest, Restart, Run, Snapshot, Trim, Truncate,
    };
    let round = |bytes| [Append(SHARD, 2, bytes), Append(OTHER, 1, bytes), Run];
    let rounds = |sizes: &[usize]| sizes.iter().copied().flat_map(round).collect::<Vec<_>>();
    let hard = [Hard(SHARD, vec![9; 40]), Hard(OTHER, vec![]), Run];
    let cut = [Truncate(SHARD, 5), Run, Epoch(SHARD, 2)];
    let joined = |parts: &[&[Step]]| parts.concat();
    vec![
        ("small groups", joined(&[&rounds(&[10; 14]), &hard, &[Rest]])),
        ("cut", joined(&[&rounds(&[200, 100, 300]), &cut, &rounds(&[150, 60]), &hard, &[Rest]])),
        ("two runs", joined(&[&rounds(&[300; 4]), &[Abandon], &rounds(&[200; 5]), &[Reopen]])),
        (
            "trimmed behind a snapshot",
            joined(&[
                &rounds(&[400; 5]),
                &[Snapshot(SHARD, 700), Trim(SHARD, 6), Trim(OTHER, 3), Run],
                &rounds(&[250; 5]),
                &[Snapshot(SHARD, 90), Rest],
            ]),
        ),
        (
            "begun anew",
            joined(&[
                &rounds(&[300; 3]),
                &[Restart(SHARD, position(5, 500)), Run, Epoch(SHARD, 6)],
                &rounds(&[300; 4]),
                &hard,
            ]),
        ),
        (
            "a batch over a segment's size",
            joined(&[&rounds(&[50]), &[Append(SHARD, 3, 1_900), Run], &rounds(&[500; 4]), &[Rest]]),
        ),
    ]
}

fn made(steps: &[Step], closed: bool) -> (SimDisk, Model) {
    let mut driver = Driver::new(SimDisk::new(1), small());
    driver.open();
    driver.run(steps);
    // What was durable and not noted yet, and is the last of the log, can't be told from a torn
    // write: the note is at most 200 ms behind.
    driver.run(if closed { &[Step::Reopen] } else { &[Step::Rest] });
    assert!(!driver.failed);
    let model = driver.states.last().unwrap().clone();
    let disk = driver.disk.clone();
    drop(driver);
    disk.kill();
    (disk, model)
}

/// Whether it is one of the two slots that are mostly empty: a sixteenth of it does.
fn stride(path: &Path) -> usize {
    if path.ends_with("acknowledged") { 16 } else { 1 }
}

/// What became of the flips.
#[derive(Debug, Default)]
struct Tally {
    flips: u64,
    opening: u64,
    reading: u64,
    harmless: u64,
}

impl Tally {
    fn note(&mut self, seen: Seen) {
        self.flips += 1;
        match seen {
            Seen::Opening => self.opening += 1,
            Seen::Reading => self.reading += 1,
            Seen::Harmless => self.harmless += 1,
        }
    }
}

#[test]
fn no_flip_of_any_bit_does_harm() {
    let made: Vec<_> = scripts()
        .into_iter()
        .flat_map(|(name, steps)| [true, false].map(|closed| (name, made(&steps, closed))))
        .collect();
    let bytes_of = |disk: &SimDisk| -> u64 {
        let lengths = files(disk)
            .into_iter()
            .map(|path| disk.bytes(&path).unwrap().len().div_ceil(stride(&path)) as u64);
        lengths.sum()
    };
    let all: u64 = made.iter().map(|(_, (disk, _))| bytes_of(disk)).sum::<u64>() * 9;
    let wanted = wanted();
    assert!(wanted <= all, "the scripts leave {all} flips to make");
    let step = all / wanted;
    let (mut tally, mut at) = (Tally::default(), 0_u64);
    for (name, (disk, model)) in &made {
        for path in files(disk) {
            let places = (0..disk.bytes(&path).unwrap().len()).step_by(stride(&path));
            for (offset, mask) in places.flat_map(|offset| MASKS.map(|mask| (offset, mask))) {
                at += 1;
                if !at.is_multiple_of(step) {
                    continue;
                }
                let disk = disk.fork();
                disk.rot(&path, offset as u64, mask).unwrap();
                let seen = look(&disk, model, &path, &small());
                let what = || format!("{name}: {} byte {offset} mask {mask}", path.display());
                tally.note(seen.unwrap_or_else(|why| panic!("{}: {why}", what())));
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.flips >= wanted && tally.opening > 0 && tally.reading > 0);
}
