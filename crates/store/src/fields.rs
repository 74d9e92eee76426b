//! Reading and writing the fields of record bodies, little-endian, one behind the other.

use antiphon_proto::{Chain, EntryId, Epoch, Hlc, Lsn, ShardId};
use bytes::{Buf, BufMut};

use crate::Position;

/// Bytes of a [`Position`] in a body.
pub(crate) const POSITION_BYTES: usize = 40;

/// Writes where an entry stands.
pub(crate) fn put_position(out: &mut Vec<u8>, position: &Position) {
    out.put_u64_le(position.id.epoch.get());
    out.put_u64_le(position.id.lsn.get());
    out.put_u64_le(position.hlc.get());
    out.put_u128_le(position.chain.get());
}

/// Reads a body field by field; every read can run out of bytes.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.0.try_get_u16_le().ok()
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.0.try_get_u32_le().ok()
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.0.try_get_u64_le().ok()
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.0.try_get_u128_le().ok()
    }

    pub(crate) fn lsn(&mut self) -> Option<Lsn> {
        self.u64().map(Lsn::new)
    }

    pub(crate) fn shard(&mut self) -> Option<ShardId> {
        self.u32().map(ShardId::new)
    }

    pub(crate) fn position(&mut self) -> Option<Position> {
        let (epoch, lsn, hlc) = (self.u64()?, self.u64()?, self.u64()?);
        Some(Position {
            id: EntryId::new(Epoch::new(epoch), Lsn::new(lsn)),
            hlc: Hlc::new(hlc),
            chain: Chain::new(self.u128()?),
        })
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// How many items of at least `item_bytes` follow; none when they cannot fit.
    pub(crate) fn count(&mut self, item_bytes: usize) -> Option<usize> {
        let count = usize::try_from(self.u32()?).ok()?;
        (count.checked_mul(item_bytes)? <= self.0.len()).then_some(count)
    }

    /// The value, if the body ended with it.
    pub(crate) fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}
