//! Every planted bug must be seen by one of the checks: a check that cannot fail proves nothing.

use super::crash::{enumerate, scripts};
use super::flips;
use crate::Mutation;
use crate::testing::{options, with_bug};

/// The bug makes the crashes of a script violate something; the sound store does not.
#[track_caller]
fn crashes_show(bug: Mutation, script: &str) {
    let script = scripts().into_iter().find(|known| known.name == script).unwrap();
    enumerate(&script, &options()).unwrap();
    let seen = enumerate(&script, &with_bug(bug));
    let why = seen.expect_err("the planted bug was not seen");
    println!("{bug:?}: {why}");
}

/// The bug makes a flipped byte of a log go unnoticed.
#[track_caller]
fn flips_show(bug: Mutation) {
    let seen = flips::sweep_log(&with_bug(bug), 1);
    println!("{bug:?}: {}", seen.expect_err("the planted bug was not seen"));
}

#[test]
fn ack_before_sync() {
    crashes_show(Mutation::AckBeforeSync, "append");
}

#[test]
fn believe_names() {
    for script in ["hard state", "snapshots"] {
        crashes_show(Mutation::BelieveNames, script);
    }
}

#[test]
fn ignore_failed_sync() {
    crashes_show(Mutation::IgnoreFailedSync, "a sync fails");
}

#[test]
fn skip_dir_sync() {
    crashes_show(Mutation::SkipDirSync, "make a directory");
}

#[test]
fn hard_state_not_synced() {
    crashes_show(Mutation::HardStateNotSynced, "hard state");
}

#[test]
fn cut_without_copy() {
    crashes_show(Mutation::CutWithoutCopy, "truncate and go on");
}

#[test]
fn snapshot_not_synced() {
    crashes_show(Mutation::SnapshotNotSynced, "snapshots");
}

#[test]
fn share_sectors() {
    crashes_show(Mutation::ShareSectors, "append");
}

#[test]
fn keep_torn_group() {
    crashes_show(Mutation::KeepTornGroup, "recover a torn end");
}

#[test]
fn no_chain_check() {
    crashes_show(Mutation::NoChainCheck, "write over a headless end");
}

#[test]
fn believe_recycled() {
    crashes_show(Mutation::BelieveRecycled, "trim and use again");
}

#[test]
fn cut_on_damage() {
    flips_show(Mutation::CutOnDamage);
}

#[test]
fn forget_hint() {
    flips_show(Mutation::ForgetHint);
}
