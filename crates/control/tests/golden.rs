//! The exact bytes of the register's records, commands and state, read from `docs/format.md`. A
//! change there is a change of the format: it needs a new version number.

use antiphon_control::{
    Appointment, Cause, ClusterRecord, ClusterUuid, Command, HistoryRow, Loss, Machine, NodeRecord,
    Outcome, Pause, Record, RecoveryReport, Role, SealedVoter, ShardRecord, Version, WallMs,
};
use antiphon_proto::{
    Config, EntryId, Epoch, Incarnation, Lsn, Member, NodeId, Policy, Shape, ShardId, StoreUuid,
};

const PAGE: &str = include_str!("../../../docs/format.md");

/// The bytes of the page's block with this name: hexadecimal digits, with remarks behind bars.
#[track_caller]
fn golden(name: &str) -> Vec<u8> {
    let (_, block) = PAGE.split_once(&format!("```hex {name}\n")).expect("a block of this name");
    let (block, _) = block.split_once("```").expect("the block ends");
    let hex = block.lines().filter_map(|line| line.split('|').next());
    let digits: Vec<_> = hex.flat_map(str::chars).filter_map(|digit| digit.to_digit(16)).collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit));
    pairs.map(|byte| u8::try_from(byte).expect("two digits are a byte")).collect()
}

fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn check_record(record: &Record, name: &str) {
    assert_eq!(shown(&record.encode()), shown(&golden(name)));
    assert_eq!(Record::decode(&golden(name)).as_ref(), Ok(record));
}

fn id(epoch: u64, lsn: u64) -> EntryId {
    EntryId::new(Epoch::new(epoch), Lsn::new(lsn))
}

fn cluster() -> Record {
    let until = WallMs::new(9_000);
    Record::Cluster(ClusterRecord {
        cluster: ClusterUuid::new(0xC1),
        name: "test".to_owned(),
        founded: WallMs::new(1_000),
        paused: Some(Pause { until, who: "ann".to_owned(), why: "upgrade".to_owned() }),
    })
}

fn node() -> Record {
    Record::Node(Box::new(NodeRecord {
        node: NodeId::new(3),
        name: "c".to_owned(),
        addresses: vec!["a:1".to_owned()],
        incarnation: Incarnation::new(2),
        store: StoreUuid::new(0xB),
        former_stores: vec![StoreUuid::new(0xA)],
        role: Role::Voter,
        region: "eu".to_owned(),
        zone: "z".to_owned(),
        changed: WallMs::new(1_500),
    }))
}

fn shard() -> Record {
    let member = |node| Member { node: NodeId::new(node), region: String::new() };
    let voters = [1, 2].map(member).to_vec();
    let config = Config::initial(ShardId::new(7), voters, Shape::Star, Policy::Quorum);
    let active = Config { epoch: Epoch::new(4), ..config.expect("two voters") };
    let sealed =
        SealedVoter { node: NodeId::new(1), incarnation: Incarnation::new(2), last: id(3, 10) };
    Record::Shard(Box::new(ShardRecord {
        pending: Some(Config { epoch: Epoch::new(5), ..active.clone() }),
        active,
        auto_failover: true,
        appointed: Some(Appointment {
            node: NodeId::new(1),
            incarnation: Incarnation::new(2),
            end: id(3, 10),
        }),
        stores: [(NodeId::new(1), StoreUuid::new(0xB))].into(),
        last_recovery: Some(RecoveryReport {
            epoch: Epoch::new(4),
            from: NodeId::new(2),
            to: NodeId::new(1),
            cause: Cause::Failover,
            sealed: vec![sealed],
            cut: id(3, 10),
            loss: Loss::AtMost(6),
            at: WallMs::new(2_000),
            took_ms: 350,
        }),
    }))
}

fn row() -> HistoryRow {
    HistoryRow {
        number: 0,
        cause: Cause::Switchover,
        shard: Some(ShardId::new(7)),
        who: "ann".to_owned(),
        why: "upgrade".to_owned(),
        from: Some(NodeId::new(2)),
        to: Some(NodeId::new(1)),
        position: id(3, 10),
        epoch: Epoch::new(4),
        at: WallMs::new(2_000),
        took_ms: 8,
        loss: Loss::Nothing,
    }
}

#[test]
fn records_have_these_bytes() {
    check_record(&cluster(), "cluster record");
    check_record(&node(), "node record");
    check_record(&shard(), "shard record");
}

#[test]
fn a_command_has_these_bytes() {
    let command = Command::one(Version::new(5), cluster(), Some(row()));
    assert_eq!(shown(&command.encode()), shown(&golden("command")));
    assert_eq!(Command::decode(&golden("command")), Ok(command));
}

#[test]
fn an_outcome_has_these_bytes() {
    let outcome = Outcome::Done(Version::new(6));
    assert_eq!(shown(&outcome.encode()), shown(&golden("outcome")));
    assert_eq!(Outcome::decode(&golden("outcome")), Ok(outcome));
}

#[test]
fn the_state_has_these_bytes() {
    let mut machine = Machine::new();
    let outcome = machine.apply(&Command::one(Version::ZERO, cluster(), Some(row())));
    assert_eq!(outcome, Outcome::Done(Version::new(1)));
    assert_eq!(shown(&machine.encode()), shown(&golden("register")));
    let read = Machine::decode(&golden("register")).expect("golden");
    assert_eq!(read.digest(), machine.digest());
}
