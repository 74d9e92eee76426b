//! The scripts whose every crash is tried.

use super::super::model::Step;
use super::one;
use crate::testing::{OTHER, SHARD, position};
use crate::{Fault, Operation, Survivors};

/// Steps, and which part of them is crashed.
pub(in crate::tests) struct Script {
    pub(in crate::tests) name: &'static str,
    /// Whether crashes begin with the making of the directory.
    pub(super) from_nothing: bool,
    /// Steps that are not crashed.
    pub(super) before: Vec<Step>,
    /// A crash before the last sync of those, and what survives of the last write.
    pub(super) crash_between: Option<Survivors>,
    pub(super) faults: Vec<(Operation, u64, Fault)>,
    /// Steps that are crashed at every change.
    pub(super) steps: Vec<Step>,
}

fn script(name: &'static str, before: Vec<Step>, steps: Vec<Step>) -> Script {
    Script { name, from_nothing: false, before, crash_between: None, faults: Vec::new(), steps }
}

fn many(count: usize, bytes: usize) -> Vec<Step> {
    (0..count).flat_map(|_| one(bytes)).collect()
}

fn mixed(count: usize, bytes: usize) -> Vec<Step> {
    let round = || [Step::Append(SHARD, 1, bytes), Step::Append(OTHER, 2, bytes / 3), Step::Run];
    (0..count).flat_map(|_| round()).collect()
}

fn joined<const N: usize>(parts: [Vec<Step>; N]) -> Vec<Step> {
    parts.into_iter().flatten().collect()
}

/// A group torn by a crash, and what comes after.
fn torn(name: &'static str, keep: Vec<bool>, before: Vec<Step>, steps: Vec<Step>) -> Script {
    let survivors = Survivors { keep, torn: None, zeroed: None };
    Script { crash_between: Some(survivors), ..script(name, before, steps) }
}

/// All scripts.
pub(in crate::tests) fn scripts() -> Vec<Script> {
    let mut scripts = writing();
    scripts.extend(changing());
    scripts.extend(failing());
    scripts
}

fn writing() -> Vec<Script> {
    use Step::{Append, Hard, Rest, Run};
    vec![
        Script { from_nothing: true, ..script("make a directory", vec![], many(2, 30)) },
        script("append", many(1, 10), many(6, 100)),
        script("append with notes of the end", many(1, 10), {
            (0..4).flat_map(|_| [Append(SHARD, 1, 60), Run, Rest]).collect()
        }),
        script("group commit of two shards", mixed(1, 10), {
            let two = [Append(SHARD, 3, 200), Append(OTHER, 2, 300), Append(SHARD, 1, 500), Run];
            joined([two.to_vec(), two.to_vec()])
        }),
        script("roll over", many(5, 1_300), many(4, 1_300)),
        script("roll over with two shards", mixed(4, 900), mixed(5, 900)),
        script("hard state", vec![Hard(SHARD, vec![1; 10]), Run], {
            vec![
                Hard(SHARD, vec![2; 20]),
                Run,
                Hard(SHARD, vec![3; 600]),
                Run,
                Hard(OTHER, vec![]),
                Run,
            ]
        }),
        script("hard state between appends", many(1, 10), {
            let round =
                |n| [Append(SHARD, 1, 200), Hard(SHARD, vec![n; 9]), Append(SHARD, 2, 90), Run];
            (1..4).flat_map(round).collect()
        }),
        script("a batch over the segment size", many(2, 60), {
            joined([vec![Append(SHARD, 1, 12_000), Run], many(2, 60)])
        }),
    ]
}

fn changing() -> Vec<Script> {
    use Step::{Abandon, Append, Epoch, Reopen, Restart, Run, Snapshot, Trim, Truncate};
    vec![
        script("truncate and go on", many(5, 150), {
            let cut = vec![Truncate(SHARD, 2), Run, Epoch(SHARD, 2)];
            joined([cut, many(2, 150), vec![Truncate(SHARD, 1), Epoch(SHARD, 3)], many(1, 99)])
        }),
        script("truncate across segments", mixed(12, 900), {
            joined([vec![Truncate(SHARD, 3), Run, Epoch(SHARD, 4)], mixed(3, 900)])
        }),
        script("trim and use again", many(16, 1_000), {
            joined([
                vec![Trim(SHARD, 12), Run],
                many(8, 1_000),
                vec![Trim(SHARD, 20), Run],
                many(8, 900),
            ])
        }),
        script("trim with two shards", mixed(14, 900), {
            let cut = vec![Trim(SHARD, 9), Run, Trim(OTHER, 20), Run, Truncate(SHARD, 10), Run];
            joined([cut, mixed(6, 800)])
        }),
        script("snapshots", many(2, 50), {
            let round = || [Snapshot(SHARD, 900), Append(SHARD, 1, 50), Run];
            (0..4).flat_map(|_| round()).collect()
        }),
        script("begin anew behind a snapshot", many(9, 1_000), {
            joined([vec![Restart(SHARD, position(5, 500)), Run], many(6, 1_200)])
        }),
        script("close and open", many(2, 60), joined([vec![Reopen], many(2, 60), vec![Reopen]])),
        script("open without closing", mixed(6, 900), joined([vec![Abandon], mixed(3, 900)])),
    ]
}

fn failing() -> Vec<Script> {
    use Step::{Append, Epoch, Run};
    let mut scripts = vec![
        Script {
            faults: vec![(Operation::Sync, 2, Fault::Device)],
            ..script("a sync fails", many(2, 60), many(4, 60))
        },
        Script {
            faults: vec![(Operation::Write, 2, Fault::Full)],
            ..script("the disk is full", many(2, 60), many(4, 900))
        },
    ];
    let after_torn = joined([vec![Epoch(SHARD, 2)], many(2, 700)]);
    scripts.push(torn("recover a torn end", vec![true, false, true], many(3, 900), after_torn));
    // Group header and first frame fill the first sector, which is lost; the second frame has
    // the next one. Then another group of the same shape is written over it.
    let before = joined([many(1, 10), vec![Append(SHARD, 2, 384), Run]]);
    let steps = vec![Epoch(SHARD, 2), Append(SHARD, 2, 384), Run];
    scripts.push(torn("write over a headless end", vec![false, true], before, steps));
    scripts
}
