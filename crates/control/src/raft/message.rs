//! Requests between registers and their replies, as protobuf.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use prost::Message as _;

use super::codec::{Read as _, WireEntry, WireLogId, WireMeta, WireVote};
use super::types::{LogId, Types};
use crate::RecordError;

/// Entries of one request. More of them are sent with the next.
pub(crate) const ENTRIES_MAX: usize = 300;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireRequest {
    #[prost(oneof = "Request", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub(crate) what: Option<Request>,
}

/// What one register asks of another.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Request {
    #[prost(message, tag = "1")]
    Vote(Campaign),
    #[prost(message, tag = "2")]
    PreVote(Campaign),
    #[prost(message, tag = "3")]
    Append(Append),
    #[prost(message, tag = "4")]
    Chunk(Chunk),
    #[prost(message, tag = "5")]
    Transfer(Transfer),
    /// A command, for the leader.
    #[prost(bytes, tag = "6")]
    Swap(Vec<u8>),
    /// How far must one have applied to read what is true now? For the leader.
    #[prost(message, tag = "7")]
    ReadAt(Nothing),
    /// The sender would like to follow this cluster. For the leader.
    #[prost(message, tag = "8")]
    Join(Nothing),
    /// Another part for a member. For the leader.
    #[prost(message, tag = "9")]
    Member(Member),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireReply {
    #[prost(oneof = "Reply", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub(crate) what: Option<Reply>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Reply {
    #[prost(message, tag = "1")]
    Voted(Voted),
    #[prost(message, tag = "2")]
    Appended(Appended),
    #[prost(message, tag = "3")]
    Chunked(Chunked),
    #[prost(message, tag = "4")]
    Transferred(Transferred),
    #[prost(bytes, tag = "5")]
    Outcome(Vec<u8>),
    #[prost(uint64, tag = "6")]
    ReadAt(u64),
    #[prost(message, tag = "7")]
    Joined(Joined),
    #[prost(message, tag = "8")]
    Changed(Nothing),
    #[prost(message, tag = "9")]
    Refused(Refused),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Campaign {
    #[prost(message, required, tag = "1")]
    vote: WireVote,
    #[prost(message, optional, tag = "2")]
    last: Option<WireLogId>,
    #[prost(bool, tag = "3")]
    transfer: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Voted {
    #[prost(message, required, tag = "1")]
    vote: WireVote,
    #[prost(bool, tag = "2")]
    granted: bool,
    #[prost(message, optional, tag = "3")]
    last: Option<WireLogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Append {
    #[prost(message, required, tag = "1")]
    pub(crate) vote: WireVote,
    #[prost(message, optional, tag = "2")]
    pub(crate) before: Option<WireLogId>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) entries: Vec<WireEntry>,
    #[prost(message, optional, tag = "4")]
    pub(crate) committed: Option<WireLogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Appended {
    /// 1 all, 2 the first of them, 3 conflict, 4 a higher vote.
    #[prost(uint32, tag = "1")]
    how: u32,
    #[prost(message, optional, tag = "2")]
    up_to: Option<WireLogId>,
    #[prost(message, optional, tag = "3")]
    higher: Option<WireVote>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Chunk {
    #[prost(message, required, tag = "1")]
    pub(crate) vote: WireVote,
    #[prost(message, required, tag = "2")]
    pub(crate) meta: WireMeta,
    /// Bytes of the whole snapshot.
    #[prost(uint64, tag = "3")]
    pub(crate) bytes: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) offset: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Chunked {
    /// Bytes that are there: the next chunk begins here.
    #[prost(uint64, tag = "1")]
    pub(crate) received: u64,
    /// The receiver's vote, once it has installed the snapshot.
    #[prost(message, optional, tag = "2")]
    pub(crate) installed: Option<WireVote>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Transfer {
    #[prost(message, required, tag = "1")]
    from: WireVote,
    #[prost(uint64, tag = "2")]
    to: u64,
    #[prost(message, optional, tag = "3")]
    last: Option<WireLogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Transferred {
    /// The vote that the receiver has instead of the leader's.
    #[prost(message, optional, tag = "1")]
    vote: Option<WireVote>,
    /// The receiver's log is too short; it ends here.
    #[prost(bool, tag = "2")]
    short: bool,
    #[prost(message, optional, tag = "3")]
    last: Option<WireLogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Joined {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) cluster: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Member {
    #[prost(uint64, tag = "1")]
    pub(crate) node: u64,
    /// As in a node's record: 1 voter, 2 learner, 3 removed.
    #[prost(uint32, tag = "2")]
    pub(crate) role: u32,
}

/// Why a request was not executed, or is not known to have been.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Refused {
    #[prost(enumeration = "Why", tag = "1")]
    why: i32,
    /// Who leads, as far as the sender knows; 0 when it does not.
    #[prost(uint64, tag = "2")]
    pub(crate) leader: u64,
    /// For people.
    #[prost(string, tag = "3")]
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Why {
    /// Malformed, or this program does not know the request.
    Malformed = 0,
    /// Not the leader, or one that has lost its majority: nothing was done.
    NotLeader = 1,
    /// Too much is under way: nothing was done.
    Busy = 2,
    /// It may have been done.
    Unknown = 3,
    /// The register of that node has stopped.
    Stopped = 4,
    /// Another cluster, or none yet.
    OtherCluster = 5,
    /// A rule about members forbids it, as `text` says.
    Member = 6,
}

impl Refused {
    pub(crate) fn new(why: Why, leader: Option<u64>, text: impl Into<String>) -> Self {
        Self { why: why.into(), leader: leader.unwrap_or(0), text: text.into() }
    }
}

pub(crate) fn encode_request(request: Request) -> Vec<u8> {
    WireRequest { what: Some(request) }.encode_to_vec()
}

pub(crate) fn decode_request(bytes: &[u8]) -> Result<Request, RecordError> {
    let wire = WireRequest::decode(bytes).map_err(|_malformed| malformed())?;
    wire.what.ok_or(malformed())
}

pub(crate) fn encode_reply(reply: Reply) -> Vec<u8> {
    WireReply { what: Some(reply) }.encode_to_vec()
}

pub(crate) fn decode_reply(bytes: &[u8]) -> Result<Reply, RecordError> {
    let wire = WireReply::decode(bytes).map_err(|_malformed| malformed())?;
    wire.what.ok_or(malformed())
}

const fn malformed() -> RecordError {
    RecordError::Malformed("protobuf between registers")
}

fn id(wire: Option<WireLogId>) -> Result<Option<LogId>, RecordError> {
    wire.map(WireLogId::read).transpose()
}

impl From<&VoteRequest<Types>> for Campaign {
    fn from(request: &VoteRequest<Types>) -> Self {
        Self {
            vote: (&request.vote).into(),
            last: request.last_log_id.as_ref().map(WireLogId::from),
            transfer: request.leadership_transfer,
        }
    }
}

impl TryFrom<Campaign> for VoteRequest<Types> {
    type Error = RecordError;

    fn try_from(wire: Campaign) -> Result<Self, RecordError> {
        let mut request = Self::new(wire.vote.read()?, id(wire.last)?);
        request.leadership_transfer = wire.transfer;
        Ok(request)
    }
}

impl From<&VoteResponse<Types>> for Voted {
    fn from(response: &VoteResponse<Types>) -> Self {
        Self {
            vote: (&response.vote).into(),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(WireLogId::from),
        }
    }
}

impl TryFrom<Voted> for VoteResponse<Types> {
    type Error = RecordError;

    fn try_from(wire: Voted) -> Result<Self, RecordError> {
        Ok(Self::new(wire.vote.read()?, id(wire.last)?, wire.granted))
    }
}

impl TryFrom<Append> for AppendEntriesRequest<Types> {
    type Error = RecordError;

    fn try_from(wire: Append) -> Result<Self, RecordError> {
        if wire.entries.len() > ENTRIES_MAX {
            return Err(RecordError::TooLong("entries"));
        }
        let request = Self {
            vote: wire.vote.read()?,
            prev_log_id: id(wire.before)?,
            entries: wire.entries.into_iter().map(WireEntry::read).collect::<Result<_, _>>()?,
            leader_commit: id(wire.committed)?,
        };
        let mut next = request.prev_log_id.map_or(0, |id| id.index.saturating_add(1));
        for entry in &request.entries {
            if entry.log_id.index != next {
                return Err(RecordError::Malformed("entries out of order"));
            }
            next = next.saturating_add(1);
        }
        Ok(request)
    }
}

impl From<&AppendEntriesResponse<Types>> for Appended {
    fn from(response: &AppendEntriesResponse<Types>) -> Self {
        let how = |how| Self { how, up_to: None, higher: None };
        match response {
            AppendEntriesResponse::Success => how(1),
            AppendEntriesResponse::PartialSuccess(id) => {
                Self { up_to: id.as_ref().map(WireLogId::from), ..how(2) }
            }
            AppendEntriesResponse::Conflict => how(3),
            AppendEntriesResponse::HigherVote(vote) => Self { higher: Some(vote.into()), ..how(4) },
        }
    }
}

impl TryFrom<Appended> for AppendEntriesResponse<Types> {
    type Error = RecordError;

    fn try_from(wire: Appended) -> Result<Self, RecordError> {
        match (wire.how, wire.higher) {
            (1, None) => Ok(Self::Success),
            (2, None) => Ok(Self::PartialSuccess(id(wire.up_to)?)),
            (3, None) => Ok(Self::Conflict),
            (4, Some(vote)) => Ok(Self::HigherVote(vote.read()?)),
            _ => Err(malformed()),
        }
    }
}

impl From<&TransferLeaderRequest<Types>> for Transfer {
    fn from(request: &TransferLeaderRequest<Types>) -> Self {
        Self {
            from: request.from_leader().into(),
            to: *request.to_node_id(),
            last: request.last_log_id().map(WireLogId::from),
        }
    }
}

impl TryFrom<Transfer> for TransferLeaderRequest<Types> {
    type Error = RecordError;

    fn try_from(wire: Transfer) -> Result<Self, RecordError> {
        Ok(Self::new(wire.from.read()?, wire.to, id(wire.last)?))
    }
}

impl From<&TransferLeaderResponse<Types>> for Transferred {
    fn from(response: &TransferLeaderResponse<Types>) -> Self {
        match response {
            Ok(()) => Self { vote: None, short: false, last: None },
            Err(TransferLeaderError::VoteChanged { actual, .. }) => {
                Self { vote: Some(actual.into()), short: false, last: None }
            }
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
                Self { vote: None, short: true, last: actual.as_ref().map(WireLogId::from) }
            }
        }
    }
}

impl Transferred {
    /// What it says, as the answer to a request.
    pub(crate) fn answer(
        self,
        request: &TransferLeaderRequest<Types>,
    ) -> Result<TransferLeaderResponse<Types>, RecordError> {
        if let Some(vote) = self.vote {
            let (expected, actual) = (*request.from_leader(), vote.read()?);
            return Ok(Err(TransferLeaderError::VoteChanged { expected, actual }));
        }
        if self.short {
            let (expected, actual) = (request.last_log_id().copied(), id(self.last)?);
            return Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual }));
        }
        Ok(Ok(()))
    }
}
