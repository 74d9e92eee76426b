//! Runs, points, cuts and epochs.

use antiphon_proto::{EntryId, Epoch, Lsn};

use super::{Place, ShardIndex};
use crate::Position;
use crate::testing::{lsn, position};

/// An index with entries `from..=to` of an epoch, 100 bytes each, in a segment.
fn fill(index: &mut ShardIndex, segment: u64, epoch: u64, from: u64, to: u64) {
    for at in from..=to {
        let place = Place { segment, offset: at * 100, group_end: at * 100 + 100, spacing: 250 };
        let before = index.end.chain;
        index.push(place, position(epoch, at), before);
    }
}

fn runs(index: &ShardIndex) -> Vec<(u64, u64, u64)> {
    index.runs.iter().map(|run| (run.segment, run.first.get(), run.last.get())).collect()
}

#[test]
fn points_are_spaced() {
    let mut index = ShardIndex::default();
    fill(&mut index, 1, 1, 1, 20);
    let points: Vec<u64> = index.runs[0].points.iter().map(|point| point.lsn.get()).collect();
    assert_eq!(points, [1, 4, 7, 10, 13, 16, 19]);
    assert_eq!(index.runs[0].point(lsn(12)).lsn, lsn(10));
    assert_eq!(index.runs[0].point(lsn(1)).lsn, lsn(1));
}

#[test]
fn a_cut_keeps_what_is_before_it_and_parts_what_follows() {
    let mut index = ShardIndex::default();
    fill(&mut index, 1, 1, 1, 10);
    fill(&mut index, 2, 2, 11, 20);
    index.begin_segment();
    index.cut(position(1, 6), 2);
    assert_eq!(runs(&index), [(1, 1, 6)]);
    assert_eq!(index.kept, Some(lsn(6)));
    fill(&mut index, 2, 3, 7, 9);
    assert_eq!(runs(&index), [(1, 1, 6), (2, 7, 9)]);
    index.cut(position(3, 8), 2);
    fill(&mut index, 2, 4, 9, 9);
    assert_eq!(runs(&index), [(1, 1, 6), (2, 7, 8), (2, 9, 9)], "void entries lie between");
    assert_eq!(index.kept, Some(lsn(6)), "the later cut did not reach back");
    let epochs: Vec<(u64, u64)> = index.epochs().iter().map(|(e, l)| (e.get(), l.get())).collect();
    assert_eq!(epochs, [(1, 1), (3, 7), (4, 9)]);
    assert_eq!(index.entry(lsn(8)), Some(EntryId::new(Epoch::new(3), lsn(8))));
    assert_eq!(index.entry(lsn(10)), None);
}

#[test]
fn trimming_moves_the_base() {
    let mut index = ShardIndex::default();
    fill(&mut index, 1, 1, 1, 10);
    fill(&mut index, 2, 2, 11, 20);
    fill(&mut index, 3, 3, 21, 30);
    index.trim(2, Some(position(1, 10)));
    assert_eq!(index.base, position(1, 10));
    assert_eq!(index.bounds().first, Some(EntryId::new(Epoch::new(2), lsn(11))));
    index.trim(3, Some(position(2, 20)));
    assert_eq!(index.entry(lsn(20)), Some(position(2, 20).id), "the base is known");
    assert_eq!(index.entry(lsn(19)), None);
    assert_eq!(index.entry(lsn(25)).unwrap().epoch, Epoch::new(3));
    index.trim(4, Some(position(3, 30)));
    assert_eq!((index.base, index.bounds().first), (position(3, 30), None));
}

#[test]
fn a_restart_forgets_everything() {
    let mut index = ShardIndex::default();
    fill(&mut index, 1, 1, 1, 10);
    index.restart(position(9, 500));
    assert_eq!(index.bounds().base, position(9, 500));
    assert!(index.restarted && index.runs.is_empty());
    assert_eq!(ShardIndex::starting_at(Position::default()).end.id.lsn, Lsn::ZERO);
}
