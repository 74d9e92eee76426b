//! Heads in protobuf: rare messages, whose fields will grow. Also how a configuration is stored.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::{Closed, Message, Open, Sealed, WireError};
use crate::ids::NUMBER_MAX;
use crate::{
    Chain, Config, Cut, EntryId, Epoch, HISTORY_ROWS_MAX, Incarnation, Lsn, Member, NODES_MAX,
    NodeId, ShardId, StoreUuid, VOTERS_MAX,
};

const OPEN: u8 = 3;
const CLOSED: u8 = 4;
const SEAL: u8 = 5;
const SEALED: u8 = 6;
const SEAL_REFUSED: u8 = 7;
const CONFIG: u8 = 8;
const FETCH: u8 = 9;
const FETCHED: u8 = 10;
const CALL: u8 = 11;
const ANSWER: u8 = 12;

/// The most bytes of a region's name.
const REGION_BYTES_MAX: usize = 255;

#[derive(Clone, PartialEq, prost::Message)]
struct WireId {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    lsn: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireOpen {
    #[prost(uint64, tag = "1")]
    stream: u64,
    #[prost(message, required, tag = "2")]
    last: WireId,
    #[prost(uint64, tag = "3")]
    durable: u64,
    #[prost(uint64, tag = "4")]
    applied: u64,
    #[prost(uint64, tag = "5")]
    incarnation: u64,
    #[prost(bytes = "vec", tag = "6")]
    store: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireClosed {
    #[prost(uint64, tag = "1")]
    stream: u64,
    #[prost(oneof = "WireReason", tags = "2, 3, 4")]
    reason: Option<WireReason>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum WireReason {
    #[prost(bool, tag = "2")]
    Diverged(bool),
    #[prost(uint64, tag = "3")]
    Trimmed(u64),
    #[prost(bool, tag = "4")]
    Behind(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireSealed {
    #[prost(message, required, tag = "1")]
    last: WireId,
    #[prost(message, required, tag = "2")]
    base: WireId,
    #[prost(message, repeated, tag = "3")]
    runs: Vec<WireId>,
    #[prost(uint64, tag = "4")]
    incarnation: u64,
    #[prost(bytes = "vec", tag = "5")]
    store: Vec<u8>,
    #[prost(bool, tag = "6")]
    amnesiac: bool,
    #[prost(message, required, tag = "7")]
    config: WireConfig,
    #[prost(bool, tag = "8")]
    blank: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireMember {
    #[prost(uint64, tag = "1")]
    node: u64,
    #[prost(string, tag = "2")]
    region: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireParent {
    #[prost(uint64, tag = "1")]
    child: u64,
    #[prost(uint64, tag = "2")]
    parent: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireConfig {
    #[prost(uint32, tag = "1")]
    shard: u32,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(uint64, tag = "3")]
    primary: u64,
    #[prost(message, repeated, tag = "4")]
    parents: Vec<WireParent>,
    #[prost(message, repeated, tag = "5")]
    voters: Vec<WireMember>,
    #[prost(string, tag = "6")]
    floor: String,
    #[prost(message, repeated, tag = "7")]
    history: Vec<WireId>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireFetched {
    #[prost(message, required, tag = "1")]
    after: WireId,
    #[prost(bytes = "vec", tag = "2")]
    before: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireCall {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(bool, tag = "2")]
    refused: bool,
}

impl From<EntryId> for WireId {
    fn from(id: EntryId) -> Self {
        Self { epoch: id.epoch.get(), lsn: id.lsn.get() }
    }
}

impl TryFrom<&WireId> for EntryId {
    type Error = WireError;

    fn try_from(id: &WireId) -> Result<Self, WireError> {
        if id.epoch > NUMBER_MAX || id.lsn > NUMBER_MAX {
            return Err(WireError::Malformed("position"));
        }
        Ok(Self::new(Epoch::new(id.epoch), Lsn::new(id.lsn)))
    }
}

impl From<&Cut> for WireId {
    fn from(cut: &Cut) -> Self {
        Self { epoch: cut.epoch.get(), lsn: cut.end.get() }
    }
}

impl From<&WireId> for Cut {
    fn from(id: &WireId) -> Self {
        Self { epoch: Epoch::new(id.epoch), end: Lsn::new(id.lsn) }
    }
}

impl From<&Config> for WireConfig {
    fn from(config: &Config) -> Self {
        let member =
            |member: &Member| WireMember { node: member.node.get(), region: member.region.clone() };
        let pair = |(child, parent): (&NodeId, &NodeId)| WireParent {
            child: child.get(),
            parent: parent.get(),
        };
        Self {
            shard: config.shard.get(),
            epoch: config.epoch.get(),
            primary: config.primary.get(),
            parents: config.parents.iter().map(pair).collect(),
            voters: config.voters.iter().map(member).collect(),
            floor: config.floor.to_string(),
            history: config.history.iter().map(WireId::from).collect(),
        }
    }
}

impl TryFrom<&WireConfig> for Config {
    type Error = WireError;

    fn try_from(wire: &WireConfig) -> Result<Self, WireError> {
        let too_long = wire.parents.len() > NODES_MAX
            || wire.epoch > NUMBER_MAX
            || wire.voters.len() > VOTERS_MAX
            || wire.history.len() > HISTORY_ROWS_MAX
            || wire.voters.iter().any(|member| member.region.len() > REGION_BYTES_MAX);
        if too_long {
            return Err(WireError::TooLong);
        }
        let member = |member: &WireMember| Member {
            node: NodeId::new(member.node),
            region: member.region.clone(),
        };
        let pair = |pair: &WireParent| (NodeId::new(pair.child), NodeId::new(pair.parent));
        let floor = wire.floor.parse().map_err(|_unknown| WireError::Malformed("floor"))?;
        let config = Self {
            shard: ShardId::new(wire.shard),
            epoch: Epoch::new(wire.epoch),
            primary: NodeId::new(wire.primary),
            parents: wire.parents.iter().map(pair).collect(),
            voters: wire.voters.iter().map(member).collect(),
            floor,
            history: wire.history.iter().map(Cut::from).collect(),
        };
        config.check().map_err(|_broken_rule| WireError::Malformed("configuration"))?;
        Ok(config)
    }
}

impl Config {
    /// The configuration as bytes, for an epoch's first entry and for the hard state.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        WireConfig::from(self).encode_to_vec()
    }

    /// Reads back what [`Config::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no configuration, or one that breaks its rules.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        (&parse::<WireConfig>(bytes)?).try_into()
    }
}

fn parse<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, WireError> {
    M::decode(bytes).map_err(|_malformed| WireError::Malformed("protobuf"))
}

fn wide(bytes: &[u8]) -> Result<u128, WireError> {
    let bytes = bytes.try_into().map_err(|_other_length| WireError::Malformed("128-bit field"))?;
    Ok(u128::from_le_bytes(bytes))
}

/// Appends the message's fields; returns its kind and what travels by reference.
pub(super) fn put(out: &mut BytesMut, message: &Message) -> (u8, Bytes) {
    let mut put = |fields: &dyn Fn(&mut BytesMut)| fields(out);
    match message {
        Message::Open(open) => put(&|out| encode(&open_to_wire(open), out)),
        Message::Closed { stream, reason } => put(&|out| {
            let reason = Some(match reason {
                Closed::Diverged => WireReason::Diverged(true),
                Closed::Trimmed(first) => WireReason::Trimmed(first.get()),
                Closed::Behind => WireReason::Behind(true),
            });
            encode(&WireClosed { stream: *stream, reason }, out);
        }),
        Message::Sealed(sealed) => put(&|out| encode(&sealed_to_wire(sealed), out)),
        Message::Config(config) => put(&|out| encode(&WireConfig::from(config), out)),
        Message::Fetch { after } => put(&|out| encode(&WireId::from(*after), out)),
        Message::Fetched { after, before, .. } => put(&|out| {
            let before = before.get().to_le_bytes().to_vec();
            encode(&WireFetched { after: (*after).into(), before }, out);
        }),
        Message::Call { id, .. } => put(&|out| encode(&WireCall { id: *id, refused: false }, out)),
        Message::Answer { id, answer } => {
            put(&|out| encode(&WireCall { id: *id, refused: answer.is_none() }, out));
        }
        Message::Seal | Message::SealRefused | Message::Append(_) | Message::Ack(_) => {}
    }
    (kind(message), body(message))
}

fn encode(message: &impl prost::Message, out: &mut BytesMut) {
    message.encode(out).expect("a BytesMut grows as needed");
}

fn kind(message: &Message) -> u8 {
    match message {
        Message::Append(_) => super::fixed::APPEND,
        Message::Ack(_) => super::fixed::ACK,
        Message::Open(_) => OPEN,
        Message::Closed { .. } => CLOSED,
        Message::Seal => SEAL,
        Message::Sealed(_) => SEALED,
        Message::SealRefused => SEAL_REFUSED,
        Message::Config(_) => CONFIG,
        Message::Fetch { .. } => FETCH,
        Message::Fetched { .. } => FETCHED,
        Message::Call { .. } => CALL,
        Message::Answer { .. } => ANSWER,
    }
}

fn body(message: &Message) -> Bytes {
    match message {
        Message::Append(append) => append.frames.clone(),
        Message::Fetched { frames, .. } => frames.clone(),
        Message::Call { request, .. } => request.clone(),
        Message::Answer { answer, .. } => answer.clone().unwrap_or_default(),
        Message::Ack(_)
        | Message::Open(_)
        | Message::Closed { .. }
        | Message::Seal
        | Message::Sealed(_)
        | Message::SealRefused
        | Message::Config(_)
        | Message::Fetch { .. } => Bytes::new(),
    }
}

pub(super) fn get(kind: u8, fields: &[u8], body: Bytes) -> Result<Message, WireError> {
    let has_body = matches!(kind, FETCHED | CALL | ANSWER);
    if !has_body && !body.is_empty() {
        return Err(WireError::Malformed("this kind has no body"));
    }
    match kind {
        OPEN => open_from_wire(&parse(fields)?).map(Message::Open),
        CLOSED => closed_from_wire(&parse(fields)?),
        SEAL if fields.is_empty() => Ok(Message::Seal),
        SEALED => sealed_from_wire(&parse(fields)?).map(Message::Sealed),
        SEAL_REFUSED if fields.is_empty() => Ok(Message::SealRefused),
        SEAL | SEAL_REFUSED => Err(WireError::Malformed("this kind has no fields")),
        CONFIG => Config::decode(fields).map(Message::Config),
        FETCH => Ok(Message::Fetch { after: (&parse::<WireId>(fields)?).try_into()? }),
        FETCHED => {
            let wire: WireFetched = parse(fields)?;
            let before = Chain::new(wide(&wire.before)?);
            Ok(Message::Fetched { after: (&wire.after).try_into()?, before, frames: body })
        }
        CALL => Ok(Message::Call { id: parse::<WireCall>(fields)?.id, request: body }),
        ANSWER => {
            let wire: WireCall = parse(fields)?;
            Ok(Message::Answer { id: wire.id, answer: (!wire.refused).then_some(body) })
        }
        other => Err(WireError::Kind(other)),
    }
}

fn open_to_wire(open: &Open) -> WireOpen {
    WireOpen {
        stream: open.stream,
        last: open.last.into(),
        durable: open.durable.get(),
        applied: open.applied.get(),
        incarnation: open.incarnation.get(),
        store: open.store.get().to_le_bytes().to_vec(),
    }
}

fn open_from_wire(wire: &WireOpen) -> Result<Open, WireError> {
    let open = Open {
        stream: wire.stream,
        last: (&wire.last).try_into()?,
        durable: Lsn::new(wire.durable),
        applied: Lsn::new(wire.applied),
        incarnation: Incarnation::new(wire.incarnation),
        store: StoreUuid::new(wide(&wire.store)?),
    };
    if open.durable > open.last.lsn || open.applied > open.durable {
        return Err(WireError::Malformed("positions out of order"));
    }
    Ok(open)
}

fn closed_from_wire(wire: &WireClosed) -> Result<Message, WireError> {
    let reason = match &wire.reason {
        Some(WireReason::Diverged(_)) => Closed::Diverged,
        Some(WireReason::Trimmed(first)) => Closed::Trimmed(Lsn::new(*first)),
        Some(WireReason::Behind(_)) => Closed::Behind,
        None => return Err(WireError::Malformed("no reason")),
    };
    Ok(Message::Closed { stream: wire.stream, reason })
}

fn sealed_to_wire(sealed: &Sealed) -> WireSealed {
    WireSealed {
        last: sealed.last.into(),
        base: sealed.base.into(),
        runs: sealed.runs.iter().map(WireId::from).collect(),
        incarnation: sealed.incarnation.get(),
        store: sealed.store.get().to_le_bytes().to_vec(),
        amnesiac: sealed.amnesiac,
        config: WireConfig::from(&sealed.config),
        blank: sealed.blank,
    }
}

fn sealed_from_wire(wire: &WireSealed) -> Result<Sealed, WireError> {
    if wire.runs.len() > HISTORY_ROWS_MAX {
        return Err(WireError::TooLong);
    }
    let runs: Vec<Cut> = wire.runs.iter().map(Cut::from).collect();
    let ordered = runs.iter().zip(runs.iter().skip(1));
    let last: EntryId = (&wire.last).try_into()?;
    let base: EntryId = (&wire.base).try_into()?;
    let ends = runs.last().map_or(base.lsn, |run| run.end);
    let rising = ordered.into_iter().all(|(a, b)| a.epoch < b.epoch && a.end < b.end);
    if !rising || ends != last.lsn || base > last {
        return Err(WireError::Malformed("the log's epochs are out of order"));
    }
    Ok(Sealed {
        last,
        base,
        runs,
        incarnation: Incarnation::new(wire.incarnation),
        store: StoreUuid::new(wide(&wire.store)?),
        amnesiac: wire.amnesiac,
        blank: wire.blank,
        config: (&wire.config).try_into()?,
    })
}
