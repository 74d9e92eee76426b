//! The stable state as bytes: written from a cut while the engine goes on, read back whole.
//!
//! Layout: the magic `AFKV`, a version byte, three zero bytes; then chunks. A chunk is the length
//! of its content, a CRC-32C over its number and content, its number, and the content; all
//! numbers are 32 bits, little-endian; chunks are numbered from 0, and one without content is the
//! last. The contents together are: position and time of the last applied entry (8 bytes each),
//! the items, each a put effect as in an entry's payload, a byte 0, the number of items (8 bytes)
//! and the digest (16 bytes).

use std::io::{self, Read, Write};
use std::sync::Arc;

use antiphon_proto::{Hlc, Lsn, PAYLOAD_BYTES_MAX, crc32c};
use bytes::BytesMut;

use crate::base::{Base, Db};
use crate::item::{Item, Value};
use crate::payload::{self, Effect};
use crate::table::Segment;

/// The layout that this build writes, and the only one that it reads.
pub const SNAPSHOT_VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"AFKV";
/// Bytes of a chunk's content, at most.
const CHUNK_BYTES_MAX: usize = 1 << 20;
const CHUNK_NUMBER_BYTES: usize = 4;
/// The byte after the last item.
const END: u8 = 0;

/// Why bytes are no snapshot. It comes inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The first bytes are not those of a snapshot.
    #[error("not a snapshot of a keyspace")]
    Magic,
    /// Another layout than ours.
    #[error("snapshot version {0} is not known, this build reads version {SNAPSHOT_VERSION}")]
    Version(u8),
    /// A chunk is too long, out of its order, or does not match its checksum.
    #[error("chunk {0} of the snapshot is damaged")]
    Chunk(u32),
    /// The content of the chunks is not well formed.
    #[error("an item of the snapshot is damaged")]
    Item,
    /// What was read is not what was written.
    #[error("the snapshot's digest does not match its items")]
    Digest,
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The stable state at one position. Later writes do not change it; it can go to another thread.
#[derive(Debug)]
pub struct Cut {
    databases: Vec<(Db, Vec<Arc<Segment>>)>,
    digest: [u8; 16],
    applied: (Lsn, Hlc),
}

impl Cut {
    pub(crate) fn new(base: &Base, applied: (Lsn, Hlc)) -> Self {
        let databases = Db::all()
            .map(|db| (db, base.database(base.places().of(db)).keys().cut()))
            .filter(|(_, segments)| !segments.is_empty())
            .collect();
        Self { databases, digest: base.digest(), applied }
    }

    /// The last entry whose effects are in it.
    #[must_use]
    pub const fn applied(&self) -> Lsn {
        self.applied.0
    }

    /// Digest of the state.
    #[must_use]
    pub const fn digest(&self) -> [u8; 16] {
        self.digest
    }

    /// Writes the snapshot.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&MAGIC)?;
        out.write_all(&[SNAPSHOT_VERSION, 0, 0, 0])?;
        let mut chunks = ChunkWriter { out, number: 0, content: Vec::new() };
        chunks.write_all(&self.applied.0.get().to_le_bytes())?;
        chunks.write_all(&self.applied.1.get().to_le_bytes())?;
        let mut items = 0_u64;
        let mut encoded = BytesMut::new();
        for (db, segments) in &self.databases {
            for item in segments.iter().flat_map(|segment| segment.iter()) {
                encoded.clear();
                put_effect(*db, item).encode(&mut encoded);
                chunks.write_all(&encoded)?;
                items += 1;
            }
        }
        chunks.write_all(&[END])?;
        chunks.write_all(&items.to_le_bytes())?;
        chunks.write_all(&self.digest)?;
        chunks.finish()
    }
}

fn put_effect(db: Db, item: &Item) -> Effect<'_> {
    let (key, expire_at_ms) = (item.key(), item.expire_at_ms());
    match item.value() {
        Value::Str(value) => Effect::Put { db, key, value, expire_at_ms },
    }
}

/// Reads a snapshot into an empty base. Returns the last applied entry and its time.
pub(crate) fn read(from: &mut dyn Read, base: &mut Base) -> io::Result<(Lsn, Hlc)> {
    let mut head = [0; 8];
    from.read_exact(&mut head)?;
    match head {
        [m0, m1, m2, m3, _, _, _, _] if [m0, m1, m2, m3] != MAGIC => {
            return Err(SnapshotError::Magic.into());
        }
        [_, _, _, _, SNAPSHOT_VERSION, 0, 0, 0] => {}
        [_, _, _, _, version, _, _, _] => return Err(SnapshotError::Version(version).into()),
    }
    let mut chunks = ChunkReader { from, number: 0, content: Vec::new(), at: 0 };
    let applied = (Lsn::new(chunks.number()?), Hlc::new(chunks.number()?));
    let mut items = 0_u64;
    let mut encoded = Vec::new();
    while chunks.effect(&mut encoded)? {
        match payload::one(&encoded) {
            Ok(Effect::Put { db, key, value, expire_at_ms }) => {
                let hash = base.hasher().of(key);
                let item = Item::string(key, value, expire_at_ms);
                base.put(base.places().of(db), hash, item);
            }
            Ok(
                Effect::Delete { .. }
                | Effect::Expire { .. }
                | Effect::Flush { .. }
                | Effect::Swap { .. },
            )
            | Err(_) => return Err(SnapshotError::Item.into()),
        }
        items += 1;
    }
    let (count, digest) = (chunks.number()?, chunks.array::<16>()?);
    chunks.finish()?;
    let held: usize = Db::all().map(|db| base.database(base.places().of(db)).keys().len()).sum();
    if count != items || held as u64 != items || digest != base.digest() {
        return Err(SnapshotError::Digest.into());
    }
    Ok(applied)
}

/// Cuts what is written into chunks.
struct ChunkWriter<'a> {
    out: &'a mut dyn Write,
    number: u32,
    content: Vec<u8>, // the chunk's number, then its content so far
}

impl ChunkWriter<'_> {
    fn end_chunk(&mut self) -> io::Result<()> {
        let bytes = self.content.len().saturating_sub(CHUNK_NUMBER_BYTES);
        let length = u32::try_from(bytes).expect("a chunk's limit fits 32 bits");
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&crc32c(&self.content).to_le_bytes())?;
        self.out.write_all(&self.content)?;
        self.content.clear();
        self.number = self.number.checked_add(1).expect("fewer than four billion chunks");
        Ok(())
    }

    fn begin_chunk(&mut self) {
        if self.content.is_empty() {
            self.content.extend_from_slice(&self.number.to_le_bytes());
        }
    }

    fn finish(mut self) -> io::Result<()> {
        if !self.content.is_empty() {
            self.end_chunk()?;
        }
        self.begin_chunk();
        self.end_chunk()?;
        self.out.flush()
    }
}

impl Write for ChunkWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin_chunk();
        let room = CHUNK_NUMBER_BYTES + CHUNK_BYTES_MAX - self.content.len();
        let taken = bytes.len().min(room);
        self.content.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if taken == room {
            self.end_chunk()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads the contents of chunks, each checked before a byte of it is used.
struct ChunkReader<'a> {
    from: &'a mut dyn Read,
    number: u32,      // of the next chunk
    content: Vec<u8>, // of this one, behind its number
    at: usize,        // what of it was taken
}

impl ChunkReader<'_> {
    /// Reads the next chunk. Returns whether it has content.
    fn next_chunk(&mut self) -> io::Result<bool> {
        let damaged = SnapshotError::Chunk(self.number);
        let mut head = [0; 8];
        self.from.read_exact(&mut head)?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3]));
        let length = length.ok().filter(|&length| length <= CHUNK_BYTES_MAX).ok_or(damaged)?;
        self.content.resize(CHUNK_NUMBER_BYTES + length, 0);
        self.from.read_exact(&mut self.content)?;
        let numbered = self.content.starts_with(&self.number.to_le_bytes());
        if !numbered || crc32c(&self.content) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(damaged.into());
        }
        self.at = CHUNK_NUMBER_BYTES;
        self.number = self.number.checked_add(1).ok_or(damaged)?;
        Ok(length > 0)
    }

    /// Takes `count` bytes over. Memory grows with what is there, not with what is announced.
    fn take(&mut self, mut count: usize, out: &mut Vec<u8>) -> io::Result<()> {
        while count > 0 {
            let mut left = self.content.get(self.at..).unwrap_or_default();
            if left.is_empty() {
                if !self.next_chunk()? {
                    return Err(SnapshotError::Item.into());
                }
                left = self.content.get(self.at..).unwrap_or_default();
            }
            let part = left.get(..count.min(left.len())).unwrap_or_default();
            out.extend_from_slice(part);
            self.at += part.len();
            count -= part.len();
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = Vec::with_capacity(N);
        self.take(N, &mut bytes)?;
        Ok(bytes.try_into().expect("as many as were asked for"))
    }

    fn number(&mut self) -> io::Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads the bytes of the next put effect; no more, false, when the end is reached.
    fn effect(&mut self, encoded: &mut Vec<u8>) -> io::Result<bool> {
        encoded.clear();
        self.take(1, encoded)?;
        if encoded.first() == Some(&END) {
            return Ok(false);
        }
        let time_bytes = payload::put_time_bytes(encoded).ok_or(SnapshotError::Item)?;
        self.take(1 + time_bytes, encoded)?;
        for _key_and_value in 0..2 {
            let length = self.length(encoded)?;
            self.take(length, encoded)?;
        }
        Ok(true)
    }

    /// Takes over a length, and returns it.
    fn length(&mut self, encoded: &mut Vec<u8>) -> io::Result<usize> {
        let from = encoded.len();
        loop {
            self.take(1, encoded)?;
            let text = encoded.get(from..).unwrap_or_default();
            match payload::length(text) {
                Ok((length, [])) if length <= PAYLOAD_BYTES_MAX => return Ok(length),
                Err(payload::DecodeError::Short) => {}
                Ok(_) | Err(_) => return Err(SnapshotError::Item.into()),
            }
        }
    }

    /// Checks that nothing follows but the last chunk.
    fn finish(&mut self) -> io::Result<()> {
        if self.at != self.content.len() || self.next_chunk()? {
            return Err(SnapshotError::Item.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
