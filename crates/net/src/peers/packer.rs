//! Compression between the queues and the links: which messages, by what, and what came of it.

mod adapt;
mod shared;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::codec::{Codec, Codecs, Offer};
use crate::message::Outgoing;
use crate::packing::{self, Packed, UnpackError, plain, unpack};
use adapt::{Pressure, Shrinking};
use shared::SharedBodies;

/// Longer bodies are packed and unpacked beside the owner's thread: this many bytes are done
/// within a millisecond.
const INLINE_BYTES_MAX: usize = 256 << 10;
/// Bytes that are unpacked before the owner is asked whether it has room for more.
const UNPACK_BYTES_MAX: usize = 256 << 10;

/// Whether messages are compressed before they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Never. What others send compressed is read all the same.
    #[default]
    Off,
    /// Always, with LZ4.
    Lz4,
    /// Always, with zstd.
    Zstd,
    /// While that gets more through, which is while the link is slower than this node: with zstd
    /// if the other side can read it, else with LZ4.
    Auto,
}

impl Compression {
    /// What a node that is configured so means to send.
    const fn sends(self) -> Codecs {
        match self {
            Self::Off => Codecs::NONE,
            Self::Lz4 => Codecs::of(Codec::Lz4),
            Self::Zstd => Codecs::of(Codec::Zstd),
            Self::Auto => Codecs::ALL,
        }
    }
}

/// What all links of a node share.
#[derive(Debug)]
pub(super) struct Packer {
    mode: Compression,
    bytes_min: usize,
    decodes: Codecs,
    bodies: SharedBodies,
    links: AtomicUsize, // that stand and compress
}

impl Packer {
    pub(super) fn new(mode: Compression, bytes_min: usize, decodes: Codecs) -> Self {
        let links = AtomicUsize::new(0);
        Self { mode, bytes_min, decodes, bodies: SharedBodies::default(), links }
    }

    pub(super) const fn offer(&self) -> Offer {
        Offer { decodes: self.decodes, sends: self.mode.sends() }
    }

    /// A link stands, until the guard is dropped.
    pub(super) fn link(self: &Arc<Self>, send: Codecs) -> Counted {
        let counts = !send.is_empty();
        if counts {
            self.links.fetch_add(1, Ordering::Relaxed);
        }
        Counted { packer: Arc::clone(self), counts }
    }

    async fn packed(&self, body: &Bytes, codec: Codec) -> Option<Packed> {
        let cell = self.bodies.cell(body, codec, self.links.load(Ordering::Relaxed));
        cell.get_or_init(|| squeeze(body.clone(), codec)).await.clone()
    }
}

async fn squeeze(body: Bytes, codec: Codec) -> Option<Packed> {
    if body.len() <= INLINE_BYTES_MAX {
        return Packed::new(&body, codec);
    }
    match spawn_blocking(move || Packed::new(&body, codec)).await {
        Ok(packed) => packed,
        Err(error) => {
            tracing::error!(%error, "failed to compress a message");
            None
        }
    }
}

/// One link among those that compress.
#[derive(Debug)]
pub(super) struct Counted {
    packer: Arc<Packer>,
    counts: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.counts {
            self.packer.links.fetch_sub(1, Ordering::Relaxed);
            self.packer.bodies.clear();
        }
    }
}

/// What a batch became.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wrapped {
    /// Bytes for the link.
    pub(super) wire_bytes: u64,
    /// Messages that were compressed.
    pub(super) packed: u64,
    /// Messages of a size to compress that were not.
    pub(super) skipped: u64,
}

/// The sending side of one lane of one link.
#[derive(Debug)]
pub(super) struct Wrapper {
    packer: Arc<Packer>,
    codec: Option<Codec>,
    shrinking: Shrinking,
    pressure: Option<Pressure>,
    measured: Option<usize>, // bytes of the batch that the link is taking
}

impl Wrapper {
    pub(super) fn new(packer: &Arc<Packer>, send: Codecs) -> Self {
        let auto = packer.mode == Compression::Auto;
        Self {
            packer: Arc::clone(packer),
            codec: [Codec::Zstd, Codec::Lz4].into_iter().find(|codec| send.has(*codec)),
            shrinking: Shrinking::default(),
            pressure: auto.then(Pressure::default),
            measured: None,
        }
    }

    /// Makes of a batch what the other side agreed to read.
    pub(super) async fn wrap(&mut self, batch: &mut VecDeque<Outgoing>) -> Wrapped {
        let Some(codec) = self.codec else {
            return Wrapped { wire_bytes: bytes_of(batch), ..Wrapped::default() };
        };
        let bytes_min = self.packer.bytes_min;
        let eligible = |message: &Outgoing| message.body.len() >= bytes_min;
        let worth = batch.iter().filter(|message| eligible(message));
        let bytes: usize = worth.map(Outgoing::len).sum();
        self.measured = (bytes > 0).then_some(bytes);
        let now = match &mut self.pressure {
            Some(pressure) if bytes > 0 => pressure.pack_next(),
            Some(_) => false,
            None => true,
        };
        let mut wrapped = Wrapped::default();
        for place in batch.iter_mut() {
            let message = std::mem::take(place);
            let eligible = eligible(&message);
            let packed = if eligible && now { self.pack(&message, codec).await } else { None };
            wrapped.packed += u64::from(packed.is_some());
            wrapped.skipped += u64::from(eligible && packed.is_none());
            *place = packed.unwrap_or_else(|| plain(message));
        }
        wrapped.wire_bytes = bytes_of(batch);
        wrapped
    }

    async fn pack(&mut self, message: &Outgoing, codec: Codec) -> Option<Outgoing> {
        if !self.shrinking.try_next() {
            return None;
        }
        let packed = self.packer.packed(&message.body, codec).await;
        let packed = packed.and_then(|packed| packed.message(&message.head));
        self.shrinking.tried(packed.is_some());
        packed
    }

    /// The link took the batch; compressing and sending took so long.
    pub(super) fn sent(&mut self, took: Duration) {
        if let (Some(pressure), Some(bytes)) = (&mut self.pressure, self.measured.take()) {
            pressure.sent(bytes, took);
        }
    }
}

fn bytes_of(batch: &VecDeque<Outgoing>) -> u64 {
    batch.iter().map(|message| wide(message.len())).sum()
}

/// What came of the messages that a link brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Came {
    /// Bytes as the link brought them.
    pub(super) wire_bytes: u64,
    /// Messages that were compressed.
    pub(super) packed: u64,
}

/// Takes messages that `came` on a link and makes them `ready` for the owner: all of them, or as
/// many as are enough to ask for room.
pub(super) async fn unpack_some(
    codecs: Codecs,
    limit: usize,
    came: &mut VecDeque<Bytes>,
    ready: &mut VecDeque<Bytes>,
) -> Result<Came, UnpackError> {
    let mut sum = Came::default();
    if codecs.is_empty() {
        sum.wire_bytes = came.iter().map(|message| wide(message.len())).sum();
        ready.append(came);
        return Ok(sum);
    }
    let mut unpacked: usize = 0;
    while unpacked < UNPACK_BYTES_MAX
        && let Some(message) = came.pop_front()
    {
        sum.wire_bytes += wide(message.len());
        sum.packed += u64::from(packing::is_packed(&message));
        let message = unpack_beside(message, codecs, limit).await?;
        unpacked = unpacked.saturating_add(message.len());
        ready.push_back(message);
    }
    Ok(sum)
}

async fn unpack_beside(message: Bytes, codecs: Codecs, limit: usize) -> Result<Bytes, UnpackError> {
    if packing::body_bytes(&message) <= INLINE_BYTES_MAX {
        return unpack(message, codecs, limit);
    }
    match spawn_blocking(move || unpack(message, codecs, limit)).await {
        Ok(unpacked) => unpacked,
        Err(error) => {
            tracing::error!(%error, "failed to read a compressed message");
            Err(UnpackError::Malformed)
        }
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
