//! Commands and outcomes come back as they were sent, and a command over a limit is refused.

use super::RULES;
use crate::samples::{batch, cluster, found, node, put_shard, row, shard};
use crate::{
    BATCH_ITEMS_MAX, COMMAND_BYTES_MAX, Command, Key, Outcome, Record, RecordError, Refusal,
    RegisterRule, Version,
};
use antiphon_proto::{Cut, Epoch, Lsn, NodeId, ShardId};

#[track_caller]
fn refused(command: &Command, rule: RegisterRule) {
    assert_eq!(command.check().map_err(|refusal| refusal.rule), Err(rule));
}

#[test]
fn commands_come_back() {
    let both = batch(vec![(0, Record::Cluster(cluster())), (3, Record::Node(Box::new(node(2))))]);
    for command in [found(), put_shard(4, shard(7, 4)), both] {
        assert_eq!(command.check(), Ok(()));
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn outcomes_come_back() {
    let keys = [Key::Cluster, Key::Node(NodeId::new(3)), Key::Shard(ShardId::new(u32::MAX))];
    let mut outcomes = vec![Outcome::Done(Version::new(9))];
    outcomes.push(Outcome::Conflict(keys.iter().map(|key| (*key, Version::new(2))).collect()));
    for (_, rule) in RULES {
        outcomes.extend(keys.map(|key| Outcome::Refused(Refusal { key, rule })));
    }
    for outcome in outcomes {
        assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
    }
}

#[test]
fn every_rule_has_a_number_of_its_own() {
    let numbers: std::collections::BTreeSet<_> = RULES.iter().map(|(code, _)| code).collect();
    let rules: std::collections::BTreeSet<_> = RULES.iter().map(|(_, rule)| rule).collect();
    assert_eq!((numbers.len(), rules.len()), (RULES.len(), RULES.len()));
}

#[test]
fn an_empty_outcome_is_none() {
    assert_eq!(Outcome::decode(&[]), Err(RecordError::Malformed("outcome")));
}

#[test]
fn batches_have_limits() {
    refused(&batch(vec![]), RegisterRule::Batch);
    let nodes = |count: u64| {
        (1..=count).map(|id| (0, Record::Node(Box::new(node(id))))).collect::<Vec<_>>()
    };
    let most = u64::try_from(BATCH_ITEMS_MAX).expect("small");
    assert_eq!(batch(nodes(most)).check(), Ok(()));
    refused(&batch(nodes(most + 1)), RegisterRule::Batch);
    refused(&Command { rows: vec![row(), row()], ..found() }, RegisterRule::Batch);
    let twice = vec![(0, Record::Node(Box::new(node(1)))); 2];
    refused(&batch(twice), RegisterRule::Twice);
}

#[test]
fn a_command_fits_a_link() {
    let full = |id| {
        let mut record = shard(id, 2_000);
        let row = |epoch| Cut { epoch: Epoch::new(epoch), end: Lsn::new(1 << 40 | epoch) };
        record.active.history = (1..=1_024).map(row).collect();
        (0, Record::Shard(Box::new(record)))
    };
    let some = batch((0..32).map(full).collect());
    assert_eq!(some.check(), Ok(()));
    let many = batch((0..64).map(full).collect());
    assert!(many.encode().len() > COMMAND_BYTES_MAX);
    refused(&many, RegisterRule::TooLong);
}
