//! Records for tests.

use antiphon_proto::{
    Config, EntryId, Epoch, Incarnation, Lsn, Member, NodeId, Policy, Shape, ShardId, StoreUuid,
};

use crate::{
    Cause, ClusterRecord, ClusterUuid, Command, HistoryRow, Item, Loss, NodeRecord, Pause, Record,
    RecoveryReport, Role, SealedVoter, ShardRecord, Version, WallMs,
};

pub(crate) fn id(epoch: u64, lsn: u64) -> EntryId {
    EntryId::new(Epoch::new(epoch), Lsn::new(lsn))
}

pub(crate) fn cluster() -> ClusterRecord {
    let until = WallMs::new(9_000);
    ClusterRecord {
        cluster: ClusterUuid::new(0xC1),
        name: "test".to_owned(),
        founded: WallMs::new(1_000),
        paused: Some(Pause { until, who: "me".to_owned(), why: "upgrade".to_owned() }),
    }
}

pub(crate) fn node(node: u64) -> NodeRecord {
    NodeRecord {
        node: NodeId::new(node),
        name: format!("node-{node}"),
        addresses: vec![format!("127.0.0.{node}:7301")],
        incarnation: Incarnation::new(2),
        store: StoreUuid::new(0x50 + u128::from(node)),
        former_stores: vec![],
        role: Role::Voter,
        region: "eu".to_owned(),
        zone: "a".to_owned(),
        changed: WallMs::new(1_500),
    }
}

pub(crate) fn config(shard: u32, epoch: u64) -> Config {
    let member = |node| Member { node: NodeId::new(node), region: String::new() };
    let voters = [1, 2, 3].map(member).to_vec();
    let config = Config::initial(ShardId::new(shard), voters, Shape::Star, Policy::Quorum);
    Config { epoch: Epoch::new(epoch), ..config.expect("three voters") }
}

pub(crate) fn shard(shard: u32, epoch: u64) -> ShardRecord {
    let active = config(shard, epoch);
    ShardRecord {
        active,
        pending: None,
        auto_failover: true,
        appointed: None,
        stores: [1, 2, 3].map(|node| (NodeId::new(node), StoreUuid::new(node.into()))).into(),
        last_recovery: None,
    }
}

pub(crate) fn report() -> RecoveryReport {
    let voter = |node, lsn| SealedVoter {
        node: NodeId::new(node),
        incarnation: Incarnation::new(2),
        last: id(4, lsn),
    };
    RecoveryReport {
        epoch: Epoch::new(5),
        from: NodeId::new(1),
        to: NodeId::new(2),
        cause: Cause::Forced,
        sealed: vec![voter(2, 10), voter(3, 9)],
        cut: id(4, 10),
        loss: Loss::AtMost(3),
        at: WallMs::new(2_000),
        took_ms: 350,
    }
}

pub(crate) fn row() -> HistoryRow {
    HistoryRow {
        number: 0,
        cause: Cause::Failover,
        shard: Some(ShardId::new(7)),
        who: "node 3".to_owned(),
        why: "node 1 is silent".to_owned(),
        from: Some(NodeId::new(1)),
        to: Some(NodeId::new(2)),
        position: id(4, 10),
        epoch: Epoch::new(5),
        at: WallMs::new(2_000),
        took_ms: 350,
        loss: Loss::Nothing,
    }
}

pub(crate) fn found() -> Command {
    Command::one(Version::ZERO, Record::Cluster(cluster()), None)
}

pub(crate) fn put_shard(expect: u64, record: ShardRecord) -> Command {
    Command::one(Version::new(expect), Record::Shard(Box::new(record)), Some(row()))
}

pub(crate) fn put_node(expect: u64, record: NodeRecord) -> Command {
    Command::one(Version::new(expect), Record::Node(Box::new(record)), None)
}

pub(crate) fn batch(items: Vec<(u64, Record)>) -> Command {
    let item = |(expect, record)| Item { expect: Version::new(expect), record };
    Command { items: items.into_iter().map(item).collect(), rows: vec![] }
}
