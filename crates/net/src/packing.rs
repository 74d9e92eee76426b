//! A message on a link that compresses: a byte that says how it travels, and what it takes to
//! read it without trusting anything.
//!
//! ```text
//! 0, message                                                   as it is
//! code, 0, head bytes (2), body bytes (4), packed bytes (4),   compressed: the head as it is,
//!     head, packed, zeros                                      the body packed
//! ```
//!
//! A body is at most [`RATIO_MAX`] times what travels of it; zeros behind a body that packs better
//! keep it so. The receiver can hence bound what a message makes it allocate by what it has read.

use std::cell::RefCell;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use zstd::bulk::{Compressor, Decompressor};

use crate::codec::{Codec, Codecs};
use crate::message::Outgoing;

/// What every message counts more than it would without the first byte.
pub(crate) const FLAG_BYTES: usize = 1;
/// Bytes before the head of a compressed message.
const HEADER_BYTES: usize = 12;
/// The byte before a message as it is.
const PLAIN: u8 = 0;
/// How many times larger than what travels a body may be.
pub(crate) const RATIO_MAX: usize = 200;
/// Of zstd's levels the one for a stream: the next ones are slower and save little more.
const ZSTD_LEVEL: i32 = 1;
/// A body that does not lose this part of its size is not worth the other side's work.
const GAIN_PART: usize = 16;

/// Why a message could not be read. The other side broke the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// It ends before what it must have.
    #[error("it is too short")]
    Short,
    /// It is compressed in a way that was not agreed on.
    #[error("its code {0} was not agreed on")]
    Code(u8),
    /// It would be longer than the lane's limit.
    #[error("it would be {bytes} bytes, past the limit of {limit}")]
    TooLarge {
        /// Bytes it would be.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// It would grow beyond what is sound.
    #[error("a body of {body} bytes came as {packed}")]
    Ratio {
        /// Bytes it would be.
        body: usize,
        /// Bytes that came.
        packed: usize,
    },
    /// What it holds is not what it says.
    #[error("it does not hold what it says")]
    Malformed,
}

/// A compressed body; several messages may share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    codec: Codec,
    body_bytes: u32,
    packed_bytes: u32,
    bytes: Bytes, // with the zeros behind it
}

impl Packed {
    /// Compresses a body; nothing if that does not make it smaller by enough.
    pub(crate) fn new(body: &[u8], codec: Codec) -> Option<Self> {
        let body_bytes = u32::try_from(body.len()).ok()?;
        let limit = body.len().checked_sub(HEADER_BYTES + body.len() / GAIN_PART)?;
        let mut packed = match codec {
            Codec::Lz4 => lz4(body),
            Codec::Zstd => zstd(body, limit)?,
        };
        if packed.len() > limit {
            return None;
        }
        let packed_bytes = u32::try_from(packed.len()).ok()?;
        packed.resize(packed.len().max(body.len().div_ceil(RATIO_MAX)), 0);
        packed.shrink_to_fit(); // it may wait for long, and was as large as the body
        Some(Self { codec, body_bytes, packed_bytes, bytes: packed.into() })
    }

    /// The message of this body with a head of its own; nothing if the head is too long for it.
    pub(crate) fn message(&self, head: &[u8]) -> Option<Outgoing> {
        let head_bytes = u16::try_from(head.len()).ok()?;
        let mut whole = BytesMut::with_capacity(HEADER_BYTES + head.len());
        whole.put_u8(self.codec.code());
        whole.put_u8(0);
        whole.put_u16_le(head_bytes);
        whole.put_u32_le(self.body_bytes);
        whole.put_u32_le(self.packed_bytes);
        whole.put_slice(head);
        Some(Outgoing::new(whole.freeze(), self.bytes.clone()))
    }
}

fn lz4(body: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress(body)
}

fn zstd(body: &[u8], limit: usize) -> Option<Vec<u8>> {
    thread_local! {
        static CONTEXT: RefCell<Option<Compressor<'static>>> =
            RefCell::new(Compressor::new(ZSTD_LEVEL).ok());
    }
    let mut packed = Vec::with_capacity(limit);
    CONTEXT.with_borrow_mut(|context| {
        // An error is a buffer that was too small: it did not shrink enough.
        context.as_mut()?.compress_to_buffer(body, &mut packed).ok()
    })?;
    Some(packed)
}

/// Compresses a message's body; nothing if that does not make it smaller by enough, or its head is
/// of 64 KiB and more.
#[must_use]
pub fn pack(message: &Outgoing, codec: Codec) -> Option<Outgoing> {
    Packed::new(&message.body, codec)?.message(&message.head)
}

/// A message as it is, on a link that compresses.
#[must_use]
pub fn plain(message: Outgoing) -> Outgoing {
    if message.head.is_empty() {
        return Outgoing::new(Bytes::from_static(&[PLAIN]), message.body);
    }
    let mut head = BytesMut::with_capacity(FLAG_BYTES + message.head.len());
    head.put_u8(PLAIN);
    head.put_slice(&message.head);
    Outgoing::new(head.freeze(), message.body)
}

/// Reads a message of a link that compresses, of at most `limit` bytes, in one of the ways
/// `codecs`. What is allocated is bounded by `limit`, and by 200 times what came.
///
/// # Errors
/// [`UnpackError`]
pub fn unpack(mut message: Bytes, codecs: Codecs, limit: usize) -> Result<Bytes, UnpackError> {
    let code = *message.first().ok_or(UnpackError::Short)?;
    if code == PLAIN {
        message.advance(FLAG_BYTES);
        return within(message.len(), limit).map(|()| message);
    }
    let codec = Codec::from_code(code).filter(|codec| codecs.has(*codec));
    let codec = codec.ok_or(UnpackError::Code(code))?;
    let parts = Parts::read(&mut message, limit)?;
    let whole = parts.head.len().checked_add(parts.body_bytes).expect("it is within the limit");
    let mut unpacked = BytesMut::zeroed(whole);
    let (head, body) = unpacked.split_at_mut(parts.head.len());
    head.copy_from_slice(&parts.head);
    let written = match codec {
        Codec::Lz4 => lz4_flex::block::decompress_into(&parts.packed, body).ok(),
        Codec::Zstd => unzstd(&parts.packed, body),
    };
    if written != Some(parts.body_bytes) {
        return Err(UnpackError::Malformed);
    }
    Ok(unpacked.freeze())
}

/// Whether a message is compressed; of one that [`unpack`] took.
pub(crate) fn is_packed(message: &[u8]) -> bool {
    message.first().is_some_and(|code| *code != PLAIN)
}

/// What the body of a compressed message says that it grows to; 0 of one that is as it is.
pub(crate) fn body_bytes(message: &[u8]) -> usize {
    let announced = message.get(4..).and_then(|rest| rest.first_chunk());
    let announced = announced.map_or(0, |bytes| u32::from_le_bytes(*bytes));
    if is_packed(message) { size(announced).unwrap_or(usize::MAX) } else { 0 }
}

fn within(bytes: usize, limit: usize) -> Result<(), UnpackError> {
    if bytes > limit { Err(UnpackError::TooLarge { bytes, limit }) } else { Ok(()) }
}

/// A block is read in one pass into a buffer of its announced size, so its window costs nothing.
fn unzstd(packed: &[u8], body: &mut [u8]) -> Option<usize> {
    thread_local! {
        static CONTEXT: RefCell<Option<Decompressor<'static>>> =
            RefCell::new(Decompressor::new().ok());
    }
    CONTEXT.with_borrow_mut(|context| context.as_mut()?.decompress_to_buffer(packed, body).ok())
}

/// The parts of a compressed message, held against each other and against the limit.
struct Parts {
    head: Bytes,
    packed: Bytes,
    body_bytes: usize,
}

impl Parts {
    fn read(message: &mut Bytes, limit: usize) -> Result<Self, UnpackError> {
        if message.len() < HEADER_BYTES {
            return Err(UnpackError::Short);
        }
        message.advance(FLAG_BYTES);
        let reserved = message.get_u8();
        let head_bytes = usize::from(message.get_u16_le());
        let sizes = (size(message.get_u32_le()), size(message.get_u32_le()));
        let (Some(body_bytes), Some(packed_bytes)) = sizes else {
            return Err(UnpackError::Malformed);
        };
        within(head_bytes.saturating_add(body_bytes), limit)?;
        if message.len() < head_bytes {
            return Err(UnpackError::Short);
        }
        let head = message.split_to(head_bytes);
        let came = message.len();
        if body_bytes > came.saturating_mul(RATIO_MAX) {
            return Err(UnpackError::Ratio { body: body_bytes, packed: came });
        }
        // No more zeros than the ratio asks for, so that there is one way to say a thing.
        if came != packed_bytes.max(body_bytes.div_ceil(RATIO_MAX)) || reserved != 0 {
            return Err(UnpackError::Malformed);
        }
        let packed = message.split_to(packed_bytes);
        if message.iter().any(|byte| *byte != 0) {
            return Err(UnpackError::Malformed);
        }
        Ok(Self { head, packed, body_bytes })
    }
}

fn size(bytes: u32) -> Option<usize> {
    usize::try_from(bytes).ok()
}

#[cfg(test)]
mod tests;
