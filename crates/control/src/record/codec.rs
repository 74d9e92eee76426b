//! Records as bytes: protobuf, whose fields will grow. What is read is checked against every
//! limit, so that a record that was read can be written again.

use antiphon_proto::{
    Config, EntryId, Epoch, Incarnation, Lsn, NODES_MAX, NodeId, ShardId, StoreUuid, VOTERS_MAX,
};
use prost::Message as _;

use super::{
    ADDRESSES_MAX, Appointment, Cause, ClusterRecord, ClusterUuid, FORMER_STORES_MAX, HistoryRow,
    Key, Loss, NodeRecord, Pause, RECORD_BYTES_MAX, Record, RecoveryReport, Role, SealedVoter,
    ShardRecord, TEXT_BYTES_MAX, WallMs,
};

/// The greatest epoch, position and incarnation that is read: adding to it never overflows.
const NUMBER_MAX: u64 = u64::MAX >> 8;

/// Why bytes are no record, or a record may not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the encoding.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Over a limit.
    #[error("over the limit: {0}")]
    TooLong(&'static str),
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireId {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    lsn: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WirePause {
    #[prost(uint64, tag = "1")]
    until: u64,
    #[prost(string, tag = "2")]
    who: String,
    #[prost(string, tag = "3")]
    why: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireCluster {
    #[prost(bytes = "vec", tag = "1")]
    cluster: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    founded: u64,
    #[prost(message, optional, tag = "4")]
    paused: Option<WirePause>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireNode {
    #[prost(uint64, tag = "1")]
    node: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    addresses: Vec<String>,
    #[prost(uint64, tag = "4")]
    incarnation: u64,
    #[prost(bytes = "vec", tag = "5")]
    store: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    former_stores: Vec<Vec<u8>>,
    #[prost(uint32, tag = "7")]
    role: u32,
    #[prost(string, tag = "8")]
    region: String,
    #[prost(string, tag = "9")]
    zone: String,
    #[prost(uint64, tag = "10")]
    changed: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireShard {
    #[prost(bytes = "vec", tag = "1")]
    active: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pending: Option<Vec<u8>>,
    #[prost(bool, tag = "3")]
    auto_failover: bool,
    #[prost(message, optional, tag = "4")]
    last_recovery: Option<WireReport>,
    #[prost(message, optional, tag = "5")]
    appointed: Option<WireSealedVoter>,
    #[prost(message, repeated, tag = "6")]
    stores: Vec<WireStore>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireStore {
    #[prost(uint64, tag = "1")]
    node: u64,
    #[prost(bytes = "vec", tag = "2")]
    store: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireSealedVoter {
    #[prost(uint64, tag = "1")]
    node: u64,
    #[prost(uint64, tag = "2")]
    incarnation: u64,
    #[prost(message, required, tag = "3")]
    last: WireId,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireReport {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    from: u64,
    #[prost(uint64, tag = "3")]
    to: u64,
    #[prost(uint32, tag = "4")]
    cause: u32,
    #[prost(message, repeated, tag = "5")]
    sealed: Vec<WireSealedVoter>,
    #[prost(message, required, tag = "6")]
    cut: WireId,
    #[prost(message, required, tag = "7")]
    loss: WireLoss,
    #[prost(uint64, tag = "8")]
    at: u64,
    #[prost(uint64, tag = "9")]
    took_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireLoss {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    entries: u64,
}

/// A row of the history.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireRow {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint32, tag = "2")]
    cause: u32,
    #[prost(uint32, optional, tag = "3")]
    shard: Option<u32>,
    #[prost(string, tag = "4")]
    who: String,
    #[prost(string, tag = "5")]
    why: String,
    #[prost(uint64, tag = "6")]
    from: u64,
    #[prost(uint64, tag = "7")]
    to: u64,
    #[prost(message, required, tag = "8")]
    position: WireId,
    #[prost(uint64, tag = "9")]
    epoch: u64,
    #[prost(uint64, tag = "10")]
    at: u64,
    #[prost(uint64, tag = "11")]
    took_ms: u64,
    #[prost(message, required, tag = "12")]
    loss: WireLoss,
}

/// A record with the version that is expected or was written.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireItem {
    #[prost(uint64, tag = "1")]
    pub(crate) version: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) record: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRecord {
    #[prost(oneof = "WireKind", tags = "1, 2, 3")]
    kind: Option<WireKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum WireKind {
    #[prost(message, tag = "1")]
    Cluster(WireCluster),
    #[prost(message, tag = "2")]
    Node(WireNode),
    #[prost(message, tag = "3")]
    Shard(WireShard),
}

impl Record {
    /// The record as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self {
            Self::Cluster(cluster) => WireKind::Cluster(cluster.into()),
            Self::Node(node) => WireKind::Node((&**node).into()),
            Self::Shard(shard) => WireKind::Shard((&**shard).into()),
        };
        WireRecord { kind: Some(kind) }.encode_to_vec()
    }

    /// Reads back what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no record, or one over a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong("record"));
        }
        let wire = WireRecord::decode(bytes).map_err(|_malformed| malformed("protobuf"))?;
        match wire.kind.ok_or(malformed("no kind of record"))? {
            WireKind::Cluster(cluster) => ClusterRecord::try_from(cluster).map(Self::Cluster),
            WireKind::Node(node) => NodeRecord::try_from(node).map(Box::new).map(Self::Node),
            WireKind::Shard(shard) => ShardRecord::try_from(shard).map(Box::new).map(Self::Shard),
        }
    }

    /// Whether it is within every limit, so that whoever reads it takes it.
    ///
    /// # Errors
    /// What is over a limit, or breaks a configuration's rules.
    pub fn check(&self) -> Result<(), RecordError> {
        Self::decode(&self.encode()).map(|_same| ())
    }
}

const fn malformed(what: &'static str) -> RecordError {
    RecordError::Malformed(what)
}

fn text(text: String) -> Result<String, RecordError> {
    if text.len() > TEXT_BYTES_MAX { Err(RecordError::TooLong("text")) } else { Ok(text) }
}

fn number(raw: u64) -> Result<u64, RecordError> {
    if raw > NUMBER_MAX { Err(malformed("number")) } else { Ok(raw) }
}

fn some_node(raw: u64) -> Result<NodeId, RecordError> {
    if raw == 0 { Err(malformed("node 0")) } else { Ok(NodeId::new(raw)) }
}

fn wide(bytes: &[u8]) -> Result<u128, RecordError> {
    let bytes = bytes.try_into().map_err(|_other_length| malformed("128-bit field"))?;
    Ok(u128::from_le_bytes(bytes))
}

fn config(bytes: &[u8]) -> Result<Config, RecordError> {
    Config::decode(bytes).map_err(|_refused| malformed("configuration"))
}

impl From<EntryId> for WireId {
    fn from(id: EntryId) -> Self {
        Self { epoch: id.epoch.get(), lsn: id.lsn.get() }
    }
}

impl TryFrom<WireId> for EntryId {
    type Error = RecordError;

    fn try_from(id: WireId) -> Result<Self, RecordError> {
        Ok(Self::new(Epoch::new(number(id.epoch)?), Lsn::new(number(id.lsn)?)))
    }
}

impl From<&ClusterRecord> for WireCluster {
    fn from(cluster: &ClusterRecord) -> Self {
        let pause = |pause: &Pause| WirePause {
            until: pause.until.get(),
            who: pause.who.clone(),
            why: pause.why.clone(),
        };
        Self {
            cluster: cluster.cluster.get().to_le_bytes().to_vec(),
            name: cluster.name.clone(),
            founded: cluster.founded.get(),
            paused: cluster.paused.as_ref().map(pause),
        }
    }
}

impl TryFrom<WireCluster> for ClusterRecord {
    type Error = RecordError;

    fn try_from(wire: WireCluster) -> Result<Self, RecordError> {
        let cluster = ClusterUuid::new(wide(&wire.cluster)?);
        if cluster == ClusterUuid::default() {
            return Err(malformed("cluster 0"));
        }
        let pause = |pause: WirePause| {
            let until = WallMs::new(pause.until);
            Ok(Pause { until, who: text(pause.who)?, why: text(pause.why)? })
        };
        Ok(Self {
            cluster,
            name: text(wire.name)?,
            founded: WallMs::new(wire.founded),
            paused: wire.paused.map(pause).transpose()?,
        })
    }
}

impl From<&NodeRecord> for WireNode {
    fn from(node: &NodeRecord) -> Self {
        let store = |store: &StoreUuid| store.get().to_le_bytes().to_vec();
        Self {
            node: node.node.get(),
            name: node.name.clone(),
            addresses: node.addresses.clone(),
            incarnation: node.incarnation.get(),
            store: store(&node.store),
            former_stores: node.former_stores.iter().map(store).collect(),
            role: match node.role {
                Role::Voter => 1,
                Role::Learner => 2,
                Role::Removed => 3,
            },
            region: node.region.clone(),
            zone: node.zone.clone(),
            changed: node.changed.get(),
        }
    }
}

impl TryFrom<WireNode> for NodeRecord {
    type Error = RecordError;

    fn try_from(wire: WireNode) -> Result<Self, RecordError> {
        if wire.addresses.len() > ADDRESSES_MAX {
            return Err(RecordError::TooLong("addresses"));
        }
        if wire.former_stores.len() > FORMER_STORES_MAX {
            return Err(RecordError::TooLong("former stores"));
        }
        let store = |bytes: &Vec<u8>| wide(bytes).map(StoreUuid::new);
        Ok(Self {
            node: some_node(wire.node)?,
            name: text(wire.name)?,
            addresses: wire.addresses.into_iter().map(text).collect::<Result<_, _>>()?,
            incarnation: Incarnation::new(number(wire.incarnation)?),
            store: store(&wire.store)?,
            former_stores: wire.former_stores.iter().map(store).collect::<Result<_, _>>()?,
            role: match wire.role {
                1 => Role::Voter,
                2 => Role::Learner,
                3 => Role::Removed,
                _ => return Err(malformed("role")),
            },
            region: text(wire.region)?,
            zone: text(wire.zone)?,
            changed: WallMs::new(wire.changed),
        })
    }
}

impl From<&ShardRecord> for WireShard {
    fn from(shard: &ShardRecord) -> Self {
        Self {
            active: shard.active.encode(),
            pending: shard.pending.as_ref().map(Config::encode),
            auto_failover: shard.auto_failover,
            last_recovery: shard.last_recovery.as_ref().map(WireReport::from),
            appointed: shard.appointed.map(|run| WireSealedVoter {
                node: run.node.get(),
                incarnation: run.incarnation.get(),
                last: run.end.into(),
            }),
            stores: shard.stores.iter().map(WireStore::from).collect(),
        }
    }
}

impl From<(&NodeId, &StoreUuid)> for WireStore {
    fn from((node, store): (&NodeId, &StoreUuid)) -> Self {
        Self { node: node.get(), store: store.get().to_le_bytes().to_vec() }
    }
}

impl TryFrom<WireShard> for ShardRecord {
    type Error = RecordError;

    fn try_from(wire: WireShard) -> Result<Self, RecordError> {
        if wire.stores.len() > NODES_MAX {
            return Err(RecordError::TooLong("stores"));
        }
        let store = |it: &WireStore| Ok((some_node(it.node)?, StoreUuid::new(wide(&it.store)?)));
        let run = |run: WireSealedVoter| {
            Ok(Appointment {
                node: some_node(run.node)?,
                incarnation: Incarnation::new(number(run.incarnation)?),
                end: run.last.try_into()?,
            })
        };
        let record = Self {
            appointed: wire.appointed.map(run).transpose()?,
            stores: wire.stores.iter().map(store).collect::<Result<_, RecordError>>()?,
            active: config(&wire.active)?,
            pending: wire.pending.as_deref().map(config).transpose()?,
            auto_failover: wire.auto_failover,
            last_recovery: wire.last_recovery.map(RecoveryReport::try_from).transpose()?,
        };
        let follows = |pending: &Config| {
            pending.shard == record.active.shard && pending.epoch > record.active.epoch
        };
        let stranger = |run: &Appointment| run.node != record.active.primary;
        if record.appointed.as_ref().is_some_and(stranger) {
            return Err(malformed("another node than the primary is appointed"));
        }
        if !record.pending.as_ref().is_none_or(follows) {
            return Err(malformed("the pending configuration does not follow the active one"));
        }
        Ok(record)
    }
}

impl From<&RecoveryReport> for WireReport {
    fn from(report: &RecoveryReport) -> Self {
        let voter = |voter: &SealedVoter| WireSealedVoter {
            node: voter.node.get(),
            incarnation: voter.incarnation.get(),
            last: voter.last.into(),
        };
        Self {
            epoch: report.epoch.get(),
            from: report.from.get(),
            to: report.to.get(),
            cause: cause_to_wire(report.cause),
            sealed: report.sealed.iter().map(voter).collect(),
            cut: report.cut.into(),
            loss: report.loss.into(),
            at: report.at.get(),
            took_ms: report.took_ms,
        }
    }
}

impl TryFrom<WireReport> for RecoveryReport {
    type Error = RecordError;

    fn try_from(wire: WireReport) -> Result<Self, RecordError> {
        // With a pending configuration the voters of both are asked.
        if wire.sealed.len() > 2 * VOTERS_MAX {
            return Err(RecordError::TooLong("sealed voters"));
        }
        let voter = |voter: WireSealedVoter| {
            Ok(SealedVoter {
                node: some_node(voter.node)?,
                incarnation: Incarnation::new(number(voter.incarnation)?),
                last: voter.last.try_into()?,
            })
        };
        Ok(Self {
            epoch: Epoch::new(number(wire.epoch)?),
            from: some_node(wire.from)?,
            to: some_node(wire.to)?,
            cause: cause_from_wire(wire.cause)?,
            sealed: wire.sealed.into_iter().map(voter).collect::<Result<_, RecordError>>()?,
            cut: wire.cut.try_into()?,
            loss: wire.loss.try_into()?,
            at: WallMs::new(wire.at),
            took_ms: wire.took_ms,
        })
    }
}

const fn cause_to_wire(cause: Cause) -> u32 {
    match cause {
        Cause::Failover => 1,
        Cause::Forced => 2,
        Cause::Switchover => 3,
        Cause::Change => 4,
        Cause::Node => 5,
        Cause::Setting => 6,
    }
}

const fn cause_from_wire(wire: u32) -> Result<Cause, RecordError> {
    Ok(match wire {
        1 => Cause::Failover,
        2 => Cause::Forced,
        3 => Cause::Switchover,
        4 => Cause::Change,
        5 => Cause::Node,
        6 => Cause::Setting,
        _ => return Err(malformed("cause")),
    })
}

impl From<Loss> for WireLoss {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Nothing => Self { kind: 1, entries: 0 },
            Loss::AtMost(entries) => Self { kind: 2, entries },
            Loss::Unknown => Self { kind: 3, entries: 0 },
        }
    }
}

impl TryFrom<WireLoss> for Loss {
    type Error = RecordError;

    fn try_from(wire: WireLoss) -> Result<Self, RecordError> {
        match (wire.kind, wire.entries) {
            (1, 0) => Ok(Self::Nothing),
            (2, entries) => Ok(Self::AtMost(entries)),
            (3, 0) => Ok(Self::Unknown),
            _ => Err(malformed("loss")),
        }
    }
}

impl From<&HistoryRow> for WireRow {
    fn from(row: &HistoryRow) -> Self {
        let node = |node: Option<NodeId>| node.map_or(0, NodeId::get);
        Self {
            number: row.number,
            cause: cause_to_wire(row.cause),
            shard: row.shard.map(ShardId::get),
            who: row.who.clone(),
            why: row.why.clone(),
            from: node(row.from),
            to: node(row.to),
            position: row.position.into(),
            epoch: row.epoch.get(),
            at: row.at.get(),
            took_ms: row.took_ms,
            loss: row.loss.into(),
        }
    }
}

impl TryFrom<WireRow> for HistoryRow {
    type Error = RecordError;

    fn try_from(wire: WireRow) -> Result<Self, RecordError> {
        let node = |raw| (raw != 0).then(|| NodeId::new(raw));
        Ok(Self {
            number: number(wire.number)?,
            cause: cause_from_wire(wire.cause)?,
            shard: wire.shard.map(ShardId::new),
            who: text(wire.who)?,
            why: text(wire.why)?,
            from: node(wire.from),
            to: node(wire.to),
            position: wire.position.try_into()?,
            epoch: Epoch::new(number(wire.epoch)?),
            at: WallMs::new(wire.at),
            took_ms: wire.took_ms,
            loss: wire.loss.try_into()?,
        })
    }
}

impl HistoryRow {
    /// The row as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        WireRow::from(self).encode_to_vec()
    }
}

/// The key of an encoded record's kind, for a message about bytes that are refused.
impl Key {
    pub(crate) const fn to_wire(self) -> (u32, u64) {
        match self {
            Self::Cluster => (1, 0),
            Self::Node(node) => (2, node.get()),
            Self::Shard(shard) => (3, shard.get() as u64),
        }
    }

    pub(crate) fn from_wire(kind: u32, id: u64) -> Result<Self, RecordError> {
        match (kind, id) {
            (1, 0) => Ok(Self::Cluster),
            (2, id) => some_node(id).map(Self::Node),
            (3, id) => {
                let id = u32::try_from(id).map_err(|_too_large| malformed("shard"))?;
                Ok(Self::Shard(ShardId::new(id)))
            }
            _ => Err(malformed("key")),
        }
    }
}
