//! Heads with a fixed layout: entries on their way down, positions on their way up.

use bytes::{Bytes, BytesMut};
use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Ack, Append, BELOW_MAX, Positions, WireError};
use crate::{Chain, Lsn, NodeId};

pub(super) const APPEND: u8 = 1;
pub(super) const ACK: u8 = 2;

const FLAG_ACK_RECEIVED: u32 = 1;
const FLAG_WHOLE: u32 = 1;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAppend {
    stream: U64,
    before: U128,
    stable: U64,
    head: U64,
    flags: U32,
    reserved: U32, // 0
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawPositions {
    received: U64,
    durable: U64,
    applied: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAck {
    stream: U64,
    own: RawPositions,
    flags: U32,
    reserved: U32, // 0
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawBelow {
    node: U64,
    positions: RawPositions,
}

impl RawPositions {
    fn of(positions: Positions) -> Self {
        Self {
            received: U64::new(positions.received.get()),
            durable: U64::new(positions.durable.get()),
            applied: U64::new(positions.applied.get()),
        }
    }

    fn checked(&self) -> Result<Positions, WireError> {
        let positions = Positions {
            received: Lsn::new(self.received.get()),
            durable: Lsn::new(self.durable.get()),
            applied: Lsn::new(self.applied.get()),
        };
        if positions.durable > positions.received || positions.applied > positions.durable {
            return Err(WireError::Malformed("positions out of order"));
        }
        Ok(positions)
    }
}

pub(super) fn put_append(out: &mut BytesMut, append: &Append) {
    let raw = RawAppend {
        stream: U64::new(append.stream),
        before: U128::new(append.before.get()),
        stable: U64::new(append.stable.get()),
        head: U64::new(append.head.get()),
        flags: U32::new(if append.ack_received { FLAG_ACK_RECEIVED } else { 0 }),
        reserved: U32::ZERO,
    };
    out.extend_from_slice(raw.as_bytes());
}

pub(super) fn append(fields: &[u8], frames: Bytes) -> Result<Append, WireError> {
    let raw = RawAppend::ref_from_bytes(fields)
        .map_err(|_other_length| WireError::Malformed("an append's head has another length"))?;
    if raw.flags.get() & !FLAG_ACK_RECEIVED != 0 || raw.reserved.get() != 0 {
        return Err(WireError::Malformed("unknown flags"));
    }
    Ok(Append {
        stream: raw.stream.get(),
        before: Chain::new(raw.before.get()),
        stable: Lsn::new(raw.stable.get()),
        head: Lsn::new(raw.head.get()),
        ack_received: raw.flags.get() & FLAG_ACK_RECEIVED != 0,
        frames,
    })
}

pub(super) fn put_ack(out: &mut BytesMut, ack: &Ack) {
    assert!(ack.below.len() <= BELOW_MAX, "an acknowledgement speaks for too many nodes");
    let raw = RawAck {
        stream: U64::new(ack.stream),
        own: RawPositions::of(ack.own),
        flags: U32::new(if ack.whole { FLAG_WHOLE } else { 0 }),
        reserved: U32::ZERO,
    };
    out.extend_from_slice(raw.as_bytes());
    for (node, positions) in &ack.below {
        let below =
            RawBelow { node: U64::new(node.get()), positions: RawPositions::of(*positions) };
        out.extend_from_slice(below.as_bytes());
    }
}

pub(super) fn ack(fields: &[u8]) -> Result<Ack, WireError> {
    let (raw, rest) = RawAck::ref_from_prefix(fields).map_err(|_short| WireError::Short)?;
    if raw.flags.get() & !FLAG_WHOLE != 0 || raw.reserved.get() != 0 {
        return Err(WireError::Malformed("unknown flags"));
    }
    let below = <[RawBelow]>::ref_from_bytes(rest)
        .map_err(|_uneven| WireError::Malformed("an acknowledgement has a part of a row"))?;
    if below.len() > BELOW_MAX {
        return Err(WireError::TooLong);
    }
    let rows = below.iter().map(|row| Ok((NodeId::new(row.node.get()), row.positions.checked()?)));
    Ok(Ack {
        stream: raw.stream.get(),
        own: raw.own.checked()?,
        whole: raw.flags.get() & FLAG_WHOLE != 0,
        below: rows.collect::<Result<_, WireError>>()?,
    })
}
