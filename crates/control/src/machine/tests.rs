//! The register's state: all or nothing, rules that hold for everybody, equal copies.

use antiphon_proto::{Epoch, Incarnation, NodeId, ShardId, StoreUuid};

use super::{CHANGES_KEPT, HISTORY_KEPT};
use crate::samples::{batch, cluster, config, found, node, put_node, put_shard, shard};
use crate::{
    Command, Compacted, FORMER_STORES_MAX, Key, Machine, NodeRecord, Outcome, Record, RegisterRule,
    Role, ShardRecord, Version,
};

const SHARD: Key = Key::Shard(ShardId::new(7));

fn founded() -> Machine {
    let mut machine = Machine::new();
    assert_eq!(machine.apply(&found()), Outcome::Done(Version::new(1)));
    machine
}

#[track_caller]
fn done(machine: &mut Machine, command: &Command) -> u64 {
    let outcome = machine.apply(command);
    let Outcome::Done(version) = outcome else { panic!("{outcome:?}") };
    version.get()
}

#[track_caller]
fn refused(machine: &mut Machine, command: &Command, rule: RegisterRule) {
    let before = machine.digest();
    let outcome = machine.apply(command);
    let Outcome::Refused(refusal) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.rule, rule);
    assert_eq!(machine.digest(), before, "a refused command leaves no trace");
}

#[test]
fn a_cluster_comes_first_and_stays() {
    let mut machine = Machine::new();
    refused(&mut machine, &put_shard(0, shard(7, 1)), RegisterRule::NotFounded);
    done(&mut machine, &found());
    let renamed = crate::ClusterRecord { name: "other".to_owned(), ..cluster() };
    let rename = batch(vec![(1, Record::Cluster(renamed))]);
    refused(&mut machine, &rename, RegisterRule::OtherCluster);
    let resumed = crate::ClusterRecord { paused: None, ..cluster() };
    done(&mut machine, &batch(vec![(1, Record::Cluster(resumed))]));
}

#[test]
fn a_batch_is_written_whole_or_not_at_all() {
    let mut machine = founded();
    let both = |a, b| {
        batch(vec![
            (a, Record::Shard(Box::new(shard(7, 2)))),
            (b, Record::Shard(Box::new(shard(8, 2)))),
        ])
    };
    let before = machine.digest();
    let conflict = vec![(Key::Shard(ShardId::new(8)), Version::ZERO)];
    assert_eq!(machine.apply(&both(0, 1)), Outcome::Conflict(conflict));
    assert_eq!(machine.digest(), before);
    let version = done(&mut machine, &both(0, 0));
    assert_eq!(machine.version_of(SHARD).get(), version);
    assert!(matches!(machine.apply(&both(0, 0)), Outcome::Conflict(keys) if keys.len() == 2));
}

#[test]
fn of_two_that_expect_the_same_one_wins() {
    let mut machine = founded();
    let version = done(&mut machine, &put_shard(0, shard(7, 1)));
    done(&mut machine, &put_shard(version, shard(7, 2)));
    let late = machine.apply(&put_shard(version, shard(7, 3)));
    assert_eq!(late, Outcome::Conflict(vec![(SHARD, Version::new(version + 1))]));
}

#[test]
fn an_older_run_is_refused() {
    let mut machine = founded();
    let version = done(&mut machine, &put_node(0, node(1)));
    let run = |incarnation| NodeRecord { incarnation: Incarnation::new(incarnation), ..node(1) };
    refused(&mut machine, &put_node(version, run(1)), RegisterRule::OldIncarnation);
    let version = done(&mut machine, &put_node(version, run(2)));
    done(&mut machine, &put_node(version, run(3)));
}

#[test]
fn a_replaced_store_never_comes_back() {
    let mut machine = founded();
    let version = done(&mut machine, &put_node(0, node(1)));
    let with = |store, former: &[u128]| NodeRecord {
        store: StoreUuid::new(store),
        former_stores: former.iter().map(|store| StoreUuid::new(*store)).collect(),
        incarnation: Incarnation::new(1),
        ..node(1)
    };
    // A new disk begins to count its runs anew; it has to be said that it replaces the old one.
    refused(&mut machine, &put_node(version, with(0xA, &[])), RegisterRule::OtherStore);
    let version = done(&mut machine, &put_node(version, with(0xA, &[0x51])));
    refused(&mut machine, &put_node(version, with(0x51, &[0x51, 0xA])), RegisterRule::FormerStore);
    refused(&mut machine, &put_node(version, with(0xB, &[0xA])), RegisterRule::OtherStore);
    refused(&mut machine, &put_node(version, with(0xA, &[])), RegisterRule::OtherStore);
    done(&mut machine, &put_node(version, with(0xB, &[0x51, 0xA])));
}

#[test]
fn a_new_node_has_no_past() {
    let mut machine = founded();
    let invented = NodeRecord { former_stores: vec![StoreUuid::new(1)], ..node(1) };
    refused(&mut machine, &put_node(0, invented), RegisterRule::OtherStore);
}

#[test]
fn stores_are_never_forgotten() {
    let mut machine = founded();
    let mut record = node(1);
    let mut version = done(&mut machine, &put_node(0, record.clone()));
    for store in 0..u128::try_from(FORMER_STORES_MAX).expect("small") {
        record.former_stores.push(record.store);
        record.store = StoreUuid::new(0x1000 + store);
        version = done(&mut machine, &put_node(version, record.clone()));
    }
    record.store = StoreUuid::new(0x2000);
    refused(&mut machine, &put_node(version, record), RegisterRule::TooManyStores);
}

#[test]
fn a_removed_node_stays_removed() {
    let mut machine = founded();
    let version = done(&mut machine, &put_node(0, node(1)));
    let gone = NodeRecord { role: Role::Removed, ..node(1) };
    let version = done(&mut machine, &put_node(version, gone));
    refused(&mut machine, &put_node(version, node(1)), RegisterRule::Removed);
}

#[test]
fn an_epoch_names_one_configuration() {
    let with = |active, pending: Option<u64>| ShardRecord {
        pending: pending.map(|epoch| config(7, epoch)),
        ..shard(7, active)
    };
    let other = |epoch| {
        let mut record = shard(7, epoch);
        record.active.primary = NodeId::new(2);
        record.active.parents =
            [(1, 2), (3, 2)].map(|(a, b)| (NodeId::new(a), NodeId::new(b))).into();
        record
    };
    let mut machine = founded();
    let version = done(&mut machine, &put_shard(0, with(4, Some(6))));
    // Neither backwards, nor another configuration of an epoch that was given away, nor one
    // between, and what is pending is activated or overtaken, never withdrawn.
    for wrong in
        [with(3, Some(6)), with(4, None), with(4, Some(5)), with(5, None), with(5, Some(6))]
    {
        refused(&mut machine, &put_shard(version, wrong), RegisterRule::OldEpoch);
    }
    refused(&mut machine, &put_shard(version, other(6)), RegisterRule::OldEpoch);
    refused(&mut machine, &put_shard(version, other(4)), RegisterRule::OldEpoch);
    let version = done(&mut machine, &put_shard(version, with(4, Some(7))));
    let version = done(&mut machine, &put_shard(version, with(7, None)));
    let version = done(&mut machine, &put_shard(version, other(8)));
    let quiet = ShardRecord { auto_failover: false, ..other(8) };
    assert_eq!(quiet.newest_epoch(), Epoch::new(8));
    done(&mut machine, &put_shard(version, quiet));
}

#[test]
fn history_is_numbered_and_bounded() {
    let mut machine = founded();
    let kept = u64::try_from(HISTORY_KEPT).expect("small");
    let mut version = 0;
    for epoch in 1..=kept + 10 {
        version = done(&mut machine, &put_shard(version, shard(7, epoch)));
    }
    let numbers: Vec<_> = machine.history(usize::MAX).map(|row| row.number).collect();
    assert_eq!(numbers, (11..=kept + 10).collect::<Vec<_>>());
    let newest: Vec<_> = machine.history(2).map(|row| row.number).collect();
    assert_eq!(newest, [kept + 9, kept + 10]);
}

fn some_state() -> Machine {
    let mut machine = founded();
    done(&mut machine, &put_node(0, node(1)));
    done(&mut machine, &put_node(0, node(2)));
    done(&mut machine, &put_shard(0, shard(7, 4)));
    machine
}

#[test]
fn a_snapshot_is_the_state() {
    let machine = some_state();
    let mut copy = Machine::decode(&machine.encode()).expect("a snapshot");
    assert_eq!(copy.digest(), machine.digest());
    assert!(copy.records().eq(machine.records()));
    assert!(copy.history(9).eq(machine.history(9)));
    // And goes on as the original does.
    let mut machine = machine;
    let next = put_shard(4, shard(7, 5));
    assert_eq!(copy.apply(&next), machine.apply(&next));
    assert_eq!(copy.digest(), machine.digest());
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let bytes = some_state().encode();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Machine::decode(&damaged).is_err(), "byte {at}");
        assert!(Machine::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn copies_are_equal() {
    let commands = [
        found(),
        put_node(0, node(1)),
        put_node(0, node(1)), // conflicts
        put_shard(0, shard(7, 4)),
        put_shard(3, shard(7, 3)), // refused
        put_shard(3, shard(7, 5)),
    ];
    let mut copies = [Machine::new(), Machine::new()];
    for command in &commands {
        let outcomes = copies.each_mut().map(|copy| copy.apply(command));
        assert_eq!(outcomes[0], outcomes[1]);
    }
    assert_eq!(copies[0].digest(), copies[1].digest());
    assert_eq!(copies[0].version(), Version::new(4));
}

#[test]
fn changes_are_dense_and_bounded() {
    let mut machine = founded();
    let mut version = 0;
    for epoch in 1..=9 {
        version = done(&mut machine, &put_shard(version, shard(7, epoch)));
    }
    let after = |machine: &Machine, version, most| {
        let changes = machine.changes_after(Version::new(version), most)?;
        Ok::<Vec<u64>, Compacted>(changes.iter().map(|change| change.version.get()).collect())
    };
    assert_eq!(after(&machine, 0, 3), Ok(vec![1, 2, 3]));
    assert_eq!(after(&machine, 8, 9), Ok(vec![9, 10]));
    assert_eq!(after(&machine, 10, 9), Ok(vec![]));
    assert_eq!(after(&machine, 11, 9), Ok(vec![]), "of a copy that is behind");
    let kept = u64::try_from(CHANGES_KEPT).expect("small");
    for epoch in 10..=kept {
        version = done(&mut machine, &put_shard(version, shard(7, epoch)));
    }
    assert_eq!(after(&machine, 0, 1), Err(Compacted { after: Version::ZERO }));
    assert_eq!(after(&machine, 1, 1), Ok(vec![2]));
    let copy = Machine::decode(&machine.encode()).expect("a snapshot");
    assert!(after(&copy, version - 1, 1).is_err(), "a copy that was loaded kept none");
    assert_eq!(after(&copy, version, 1), Ok(vec![]));
}
