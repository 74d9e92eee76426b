//! Messages on a stream of bytes: a length of four bytes, little-endian, then the message.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::Violation;
use crate::lane::Lane;
use crate::message::Outgoing;

/// Bytes of the length before a message.
pub(crate) const PREFIX_BYTES: usize = 4;
/// The greatest limit a lane may have: what the length can say.
pub(crate) const MESSAGE_BYTES_CEILING: usize = 1 << 30;
/// Bodies from this size on travel by reference; smaller ones are cheaper to copy together.
const COPY_BYTES_MAX: usize = 2048;
/// Small messages are gathered in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

const _: () = assert!(MESSAGE_BYTES_CEILING <= u32::MAX as usize, "a length has four bytes");

/// Turns messages into few pieces of bytes.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    open: BytesMut,
}

impl Encoder {
    /// Adds a message behind those in `pieces`; [`Self::finish`] completes the last piece.
    pub(crate) fn put(&mut self, message: Outgoing, pieces: &mut VecDeque<Bytes>) {
        let length = u32::try_from(message.len()).expect("the lane's limit was checked before");
        let copied = if message.body.len() < COPY_BYTES_MAX { message.len() } else { 0 };
        if self.open.capacity().saturating_sub(self.open.len()) < PREFIX_BYTES + copied {
            self.finish(pieces);
            self.open.reserve(PIECE_BYTES.max(PREFIX_BYTES + copied));
        }
        self.open.put_u32_le(length);
        self.open.put_slice(&message.head);
        if message.body.len() < COPY_BYTES_MAX {
            self.open.put_slice(&message.body);
        } else {
            self.finish(pieces);
            pieces.push_back(message.body);
        }
    }

    /// Moves what was gathered behind `pieces`.
    pub(crate) fn finish(&mut self, pieces: &mut VecDeque<Bytes>) {
        if !self.open.is_empty() {
            pieces.push_back(self.open.split().freeze());
        }
    }
}

/// Cuts messages out of pieces of bytes, in place where a piece holds a whole message.
#[derive(Debug)]
pub(crate) struct Decoder {
    lane: Lane,
    limit: usize,
    partial: BytesMut,
    wanted: usize, // bytes that `partial` needs: the prefix, or prefix and message
}

impl Decoder {
    pub(crate) fn new(lane: Lane, limit: usize) -> Self {
        Self { lane, limit, partial: BytesMut::new(), wanted: PREFIX_BYTES }
    }

    /// Adds the next piece of the stream; whole messages go to `ready`.
    pub(crate) fn feed(
        &mut self,
        mut piece: Bytes,
        ready: &mut VecDeque<Bytes>,
    ) -> Result<(), Violation> {
        while !piece.is_empty() {
            if self.partial.is_empty() {
                match self.cut(&mut piece)? {
                    Some(message) => ready.push_back(message),
                    None => self.keep(&mut piece)?,
                }
            } else if let Some(message) = self.complete(&mut piece)? {
                ready.push_back(message);
            }
        }
        Ok(())
    }

    /// A whole message at the front of `piece`, shared with it.
    fn cut(&self, piece: &mut Bytes) -> Result<Option<Bytes>, Violation> {
        let Some(prefix) = piece.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let length = self.length(*prefix)?;
        if piece.len().saturating_sub(PREFIX_BYTES) < length {
            return Ok(None);
        }
        piece.advance(PREFIX_BYTES);
        Ok(Some(piece.split_to(length)))
    }

    /// Starts a partial message with all of `piece`, which holds less than a message.
    fn keep(&mut self, piece: &mut Bytes) -> Result<(), Violation> {
        self.wanted = match piece.first_chunk::<PREFIX_BYTES>() {
            Some(prefix) => self.length(*prefix)?.saturating_add(PREFIX_BYTES),
            None => PREFIX_BYTES,
        };
        self.partial.reserve(self.wanted);
        self.partial.put(piece);
        Ok(())
    }

    /// Moves from `piece` what the partial message lacks.
    fn complete(&mut self, piece: &mut Bytes) -> Result<Option<Bytes>, Violation> {
        self.take(piece);
        if self.wanted == PREFIX_BYTES && self.partial.len() == PREFIX_BYTES {
            let prefix = self.partial.first_chunk().expect("its length was just compared");
            self.wanted = self.length(*prefix)?.saturating_add(PREFIX_BYTES);
            self.partial.reserve(self.wanted);
            self.take(piece);
        }
        if self.partial.len() < self.wanted {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.partial).freeze();
        message.advance(PREFIX_BYTES);
        self.wanted = PREFIX_BYTES;
        Ok(Some(message))
    }

    fn take(&mut self, piece: &mut Bytes) {
        let lacking = self.wanted.saturating_sub(self.partial.len()).min(piece.len());
        self.partial.put(piece.split_to(lacking));
    }

    /// Checks the announced length before anything is allocated for it.
    fn length(&self, prefix: [u8; PREFIX_BYTES]) -> Result<usize, Violation> {
        let announced = u32::from_le_bytes(prefix);
        match usize::try_from(announced) {
            Ok(length) if length <= self.limit => Ok(length),
            Ok(_) | Err(_) => Err(Violation::TooLarge {
                lane: self.lane,
                bytes: u64::from(announced),
                limit: self.limit,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
