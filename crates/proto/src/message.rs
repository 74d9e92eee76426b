//! What nodes say to each other: a checked head, then bytes that travel by reference.
//!
//! Heads of appended entries and of acknowledgements are on the hot path and have a fixed
//! layout in `message/fixed.rs`; the others are protobuf, in `message/evolving.rs`.

mod evolving;
mod fixed;

use bytes::{Bytes, BytesMut};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::NUMBER_MAX;
use crate::{
    Chain, Config, Cut, EntryId, Epoch, Incarnation, Lsn, NodeId, ShardId, StoreUuid, crc32c,
};

/// Version of the messages that this code speaks; it is part of the transport's ALPN too.
pub const WIRE_VERSION: u8 = 1;
/// The most bytes of a message besides those that travel by reference.
pub const HEAD_BYTES_MAX: usize = 256 << 10;
/// The most nodes that one acknowledgement speaks for.
pub const BELOW_MAX: usize = 1_024;

const MAGIC: u16 = 0x5741; // "AW" as it lies in a packet
const CRC_BYTES: usize = 4;

/// A message with the log and the epoch that it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The log.
    pub shard: ShardId,
    /// The sender's epoch, or for a seal the epoch that it asks for.
    pub epoch: Epoch,
    /// What is said.
    pub message: Message,
}

/// What one node says to another about a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A child asks its parent for the log behind its own end.
    Open(Open),
    /// A parent can't serve a stream.
    Closed {
        /// The stream that was asked for.
        stream: u64,
        /// Why.
        reason: Closed,
    },
    /// Entries for a child, or only positions.
    Append(Append),
    /// How far a child and those below it are.
    Ack(Ack),
    /// Promise this epoch: accept nothing below it any more.
    Seal,
    /// The promise, with what the log holds.
    Sealed(Sealed),
    /// A greater epoch was promised before; it is in the envelope.
    SealRefused,
    /// The newest configuration that the sender knows.
    Config(Config),
    /// Asks for entries behind this one, during a recovery.
    Fetch {
        /// The last entry that is not needed.
        after: EntryId,
    },
    /// Entries that were asked for; none when the log does not hold `after`.
    Fetched {
        /// As asked.
        after: EntryId,
        /// The chain hash at `after`.
        before: Chain,
        /// Frames.
        frames: Bytes,
    },
    /// A request of the program above the log.
    Call {
        /// Chosen by the caller.
        id: u64,
        /// What is asked.
        request: Bytes,
    },
    /// The answer to a call.
    Answer {
        /// As called.
        id: u64,
        /// What came out; none when nobody there answers calls.
        answer: Option<Bytes>,
    },
}

/// A class of traffic between two nodes; none blocks another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageLane {
    /// Few and small: promises, configurations, opened streams.
    Control,
    /// The live log and its acknowledgements.
    Log,
    /// Large or many: recoveries, calls.
    Bulk,
}

impl Message {
    /// The class of traffic that the message belongs to.
    #[must_use]
    pub const fn lane(&self) -> MessageLane {
        match self {
            Self::Append(_) | Self::Ack(_) => MessageLane::Log,
            Self::Fetch { .. } | Self::Fetched { .. } | Self::Call { .. } | Self::Answer { .. } => {
                MessageLane::Bulk
            }
            Self::Open(_)
            | Self::Closed { .. }
            | Self::Seal
            | Self::Sealed(_)
            | Self::SealRefused
            | Self::Config(_) => MessageLane::Control,
        }
    }
}

/// Fields of [`Message::Open`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Names this stream; never used twice by a child.
    pub stream: u64,
    /// The child's last entry, after it cut what its configuration told it to cut.
    pub last: EntryId,
    /// How much of that is on its disk.
    pub durable: Lsn,
    /// How much of it is applied there.
    pub applied: Lsn,
    /// The child's run.
    pub incarnation: Incarnation,
    /// The child's data directory.
    pub store: StoreUuid,
}

/// Why a parent can't serve a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The child's last entry is not in the parent's log: one of the two is damaged.
    Diverged,
    /// The parent's log begins only at this position: a snapshot is needed.
    Trimmed(Lsn),
    /// The parent is not in that epoch yet; ask again.
    Behind,
}

/// Fields of [`Message::Append`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// As opened by the child.
    pub stream: u64,
    /// The chain hash before `frames`.
    pub before: Chain,
    /// What can never be lost.
    pub stable: Lsn,
    /// The end of the primary's log, as far as the sender knows.
    pub head: Lsn,
    /// Whether to acknowledge on receipt already, before the disk.
    pub ack_received: bool,
    /// Frames; may be empty.
    pub frames: Bytes,
}

/// How far one node is. Invariant: `durable <= received`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Positions {
    /// The end of its log in memory.
    pub received: Lsn,
    /// The end of its log on disk.
    pub durable: Lsn,
    /// What its readers see.
    pub applied: Lsn,
}

/// Fields of [`Message::Ack`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// As opened by the child.
    pub stream: u64,
    /// The child itself.
    pub own: Positions,
    /// Whether `below` speaks of all nodes; else of the voters among them.
    pub whole: bool,
    /// The nodes below it. At most [`BELOW_MAX`].
    pub below: Vec<(NodeId, Positions)>,
}

/// Fields of [`Message::Sealed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The last entry; all up to it is on disk.
    pub last: EntryId,
    /// Where the log begins: the entry before its first.
    pub base: EntryId,
    /// Where each epoch of the log ends, oldest first.
    pub runs: Vec<Cut>,
    /// The sender's run.
    pub incarnation: Incarnation,
    /// The sender's data directory.
    pub store: StoreUuid,
    /// The log ends before what this node acknowledged once, or may have acknowledged: it must
    /// not be counted.
    pub amnesiac: bool,
    /// The node has a new disk and took part in nothing since.
    pub blank: bool,
    /// The newest configuration that the sender obeyed.
    pub config: Config,
}

/// A message as it travels: the head is checked by its checksum, the body by what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Head and small fields.
    pub head: Bytes,
    /// Frames or a call's content, shared with the log; may be empty.
    pub body: Bytes,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the head does.
    #[error("message is cut")]
    Short,
    /// Not one of our messages.
    #[error("not a message of this protocol")]
    Magic,
    /// Another version of the messages.
    #[error("message version {0} is not known, this build speaks version {WIRE_VERSION}")]
    Version(u8),
    /// A kind that this build does not know.
    #[error("message kind {0} is not known")]
    Kind(u8),
    /// A length over its limit.
    #[error("a field of the message is over its limit")]
    TooLong,
    /// The head's checksum does not match.
    #[error("message checksum does not match")]
    Checksum,
    /// The fields contradict themselves.
    #[error("message is malformed: {0}")]
    Malformed(&'static str),
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head {
    crc: U32, // CRC-32C of the rest of the head
    magic: U16,
    version: u8,
    kind: u8,
    head_bytes: U32, // with this header
    shard: U32,
    epoch: U64,
}

impl Envelope {
    /// Encodes the message. Frames are not copied.
    ///
    /// # Panics
    /// When the head is over [`HEAD_BYTES_MAX`], which checked configurations never are.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let mut head = BytesMut::zeroed(size_of::<Head>());
        let (kind, body) = if let Message::Append(append) = &self.message {
            fixed::put_append(&mut head, append);
            (fixed::APPEND, append.frames.clone())
        } else if let Message::Ack(ack) = &self.message {
            fixed::put_ack(&mut head, ack);
            (fixed::ACK, Bytes::new())
        } else {
            evolving::put(&mut head, &self.message)
        };
        assert!(head.len() <= HEAD_BYTES_MAX, "a head of {} bytes is over the limit", head.len());
        let raw = Head {
            crc: U32::ZERO,
            magic: U16::new(MAGIC),
            version: WIRE_VERSION,
            kind,
            head_bytes: U32::new(u32::try_from(head.len()).expect("the limit fits 32 bits")),
            shard: U32::new(self.shard.get()),
            epoch: U64::new(self.epoch.get()),
        };
        raw.write_to_prefix(&mut head).expect("room was left for it");
        let crc = crc32c(head.get(CRC_BYTES..).expect("a head is longer than its checksum"));
        U32::new(crc).write_to_prefix(&mut head).expect("a head is longer than its checksum");
        Encoded { head: head.freeze(), body }
    }

    /// Decodes what a peer sent.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &Bytes) -> Result<Self, WireError> {
        let Ok((raw, _)) = Head::ref_from_prefix(bytes) else { return Err(WireError::Short) };
        if raw.magic.get() != MAGIC {
            return Err(WireError::Magic);
        }
        if raw.version != WIRE_VERSION {
            return Err(WireError::Version(raw.version));
        }
        let length = usize::try_from(raw.head_bytes.get()).unwrap_or(usize::MAX);
        if length > HEAD_BYTES_MAX {
            return Err(WireError::TooLong);
        }
        let covered = bytes.get(CRC_BYTES..length).ok_or(WireError::Short)?;
        let fields = bytes.get(size_of::<Head>()..length).ok_or(WireError::Short)?;
        if crc32c(covered) != raw.crc.get() {
            return Err(WireError::Checksum);
        }
        if raw.epoch.get() > NUMBER_MAX {
            return Err(WireError::Malformed("epoch"));
        }
        let body = bytes.slice(length..);
        let message = match raw.kind {
            fixed::APPEND => Message::Append(fixed::append(fields, body)?),
            fixed::ACK if body.is_empty() => Message::Ack(fixed::ack(fields)?),
            fixed::ACK => return Err(WireError::Malformed("an acknowledgement has no body")),
            kind => evolving::get(kind, fields, body)?,
        };
        Ok(Self {
            shard: ShardId::new(raw.shard.get()),
            epoch: Epoch::new(raw.epoch.get()),
            message,
        })
    }
}

#[cfg(test)]
mod tests;
