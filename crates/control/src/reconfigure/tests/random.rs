//! Many worlds from seeds: what was acknowledged is in every later primary's log, and planted bugs
//! are found.

use super::world::World;
use crate::reconfigure::Planted;

const STEPS: usize = 400;
const SEEDS: u64 = 400;

/// The problem of a world, if it has one; and how many primaries it had.
fn play(seed: u64, planted: Planted) -> (Option<String>, usize) {
    let mut world = World::new(seed, planted);
    for _step in 0..STEPS {
        world.step(false);
        if world.problem.is_some() {
            return (world.problem, world.elections);
        }
    }
    (None, world.elections)
}

#[test]
fn nothing_that_was_acknowledged_is_lost() {
    let mut elections = 0;
    for seed in 1..=SEEDS {
        let (problem, count) = play(seed, Planted::Nothing);
        assert_eq!(problem, None, "seed {seed}");
        elections += count;
    }
    assert!(elections > 3 * usize::try_from(SEEDS).expect("small"), "only {elections} elections");
}

#[track_caller]
fn found(planted: Planted) {
    let seed = (1..=SEEDS).find(|seed| play(*seed, planted).0.is_some());
    assert!(seed.is_some(), "{planted:?} was not found");
}

#[test]
fn an_election_with_too_few_promises_is_found() {
    found(Planted::ElectUnsafe);
}

#[test]
fn a_choice_of_any_log_is_found() {
    found(Planted::AnyLogWins);
}

#[test]
fn a_replaced_disk_that_counts_is_found() {
    found(Planted::AnyStoreCounts);
}

#[test]
fn a_voter_that_forgot_and_counts_is_found() {
    found(Planted::AmnesiacCounts);
}

/// When everything works again there is a primary again, whatever was going on.
#[test]
fn a_healed_world_serves() {
    for seed in 1..=SEEDS / 4 {
        let mut world = World::new(seed, Planted::Nothing);
        for _step in 0..STEPS / 2 {
            world.step(false);
        }
        world.heal();
        let served = (0..8 * STEPS).any(|_step| {
            world.step(true);
            world.serves()
        });
        assert!(served, "seed {seed}: {}", world.describe());
        assert_eq!(world.problem, None, "seed {seed}");
    }
}
