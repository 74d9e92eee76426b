//! Records come back as they were written, and nothing over a limit is read.

use antiphon_proto::{Epoch, StoreUuid};

use crate::samples::{cluster, config, node, report, shard};
use crate::{ADDRESSES_MAX, FORMER_STORES_MAX, Loss, RECORD_BYTES_MAX, Record, TEXT_BYTES_MAX};

#[track_caller]
fn check(record: Record) {
    assert_eq!(record.check(), Ok(()));
    assert_eq!(Record::decode(&record.encode()), Ok(record));
}

#[track_caller]
fn refused(record: &Record) {
    assert!(record.check().is_err(), "{record:?}");
}

#[test]
fn records_come_back() {
    check(Record::Cluster(cluster()));
    check(Record::Node(Box::new(node(7))));
    let mut whole = shard(7, 4);
    whole.pending = Some(config(7, 5));
    whole.last_recovery = Some(report());
    let run = crate::Appointment {
        node: antiphon_proto::NodeId::new(1),
        incarnation: antiphon_proto::Incarnation::new(3),
        end: crate::samples::id(3, 9),
    };
    whole.appointed = Some(run);
    let other = crate::Appointment { node: antiphon_proto::NodeId::new(2), ..run };
    refused(&Record::Shard(Box::new(crate::ShardRecord {
        appointed: Some(other),
        ..whole.clone()
    })));
    check(Record::Shard(Box::new(whole)));
}

#[test]
fn losses_come_back() {
    for loss in [Loss::Nothing, Loss::AtMost(0), Loss::AtMost(9), Loss::Unknown] {
        let mut record = shard(7, 4);
        record.last_recovery = Some(crate::RecoveryReport { loss, ..report() });
        check(Record::Shard(Box::new(record)));
    }
}

#[test]
fn texts_and_lists_have_limits() {
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let cases: [fn(&mut crate::NodeRecord, String); 4] = [
        |node, long| node.name = long,
        |node, long| node.region = long,
        |node, long| node.zone = long,
        |node, long| node.addresses = vec![long],
    ];
    for case in cases {
        let mut record = node(1);
        case(&mut record, long.clone());
        refused(&Record::Node(Box::new(record)));
    }
    let mut record = node(1);
    record.addresses = vec![String::new(); ADDRESSES_MAX + 1];
    refused(&Record::Node(Box::new(record)));
    let mut record = node(1);
    record.former_stores = vec![StoreUuid::new(1); FORMER_STORES_MAX + 1];
    refused(&Record::Node(Box::new(record)));
    let mut record = cluster();
    record.name = long;
    refused(&Record::Cluster(record));
}

#[test]
fn zero_is_nobody() {
    refused(&Record::Node(Box::new(node(0))));
    let record = crate::ClusterRecord { cluster: crate::ClusterUuid::default(), ..cluster() };
    refused(&Record::Cluster(record));
}

#[test]
fn a_pending_configuration_follows_the_active_one() {
    for pending in [config(7, 4), config(7, 3), config(8, 5)] {
        let mut record = shard(7, 4);
        record.pending = Some(pending);
        refused(&Record::Shard(Box::new(record)));
    }
}

#[test]
fn numbers_leave_room_for_what_is_added_to_them() {
    let mut record = shard(7, 4);
    let far = crate::RecoveryReport { epoch: Epoch::new(u64::MAX), ..report() };
    record.last_recovery = Some(far);
    refused(&Record::Shard(Box::new(record)));
}

#[test]
fn what_is_too_long_is_not_looked_at() {
    let bytes = vec![0; RECORD_BYTES_MAX + 1];
    assert_eq!(Record::decode(&bytes), Err(crate::RecordError::TooLong("record")));
}
