//! The consensus library's values as bytes of our own: what is on a disk or on a link does not
//! change because the library does.

use std::collections::BTreeMap;

use openraft::EntryPayload;
use openraft::impls::EmptyNode;
use openraft::vote::RaftVote as _;

use super::types::{
    Entry, LeaderId, LogId, Membership, Payload, SnapshotMeta, StoredMembership, Vote,
};
use crate::{Command, NODES_KEPT_MAX, RecordError};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireVote {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    node: u64,
    #[prost(bool, tag = "3")]
    committed: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireLogId {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    node: u64,
    #[prost(uint64, tag = "3")]
    index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireVoters {
    #[prost(uint64, repeated, tag = "1")]
    nodes: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireMembership {
    #[prost(message, repeated, tag = "1")]
    voters: Vec<WireVoters>, // two of them while they change
    #[prost(uint64, repeated, tag = "2")]
    nodes: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireEntry {
    #[prost(message, required, tag = "1")]
    id: WireLogId,
    #[prost(oneof = "WirePayload", tags = "2, 3")]
    payload: Option<WirePayload>, // none: an entry that says nothing
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum WirePayload {
    #[prost(bytes, tag = "2")]
    Command(Vec<u8>),
    #[prost(message, tag = "3")]
    Membership(WireMembership),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireMeta {
    #[prost(message, optional, tag = "1")]
    last: Option<WireLogId>,
    #[prost(message, optional, tag = "2")]
    membership_at: Option<WireLogId>,
    #[prost(message, required, tag = "3")]
    membership: WireMembership,
}

const fn malformed(what: &'static str) -> RecordError {
    RecordError::Malformed(what)
}

/// The greatest term and index that is read: counting on from there never overflows.
const NUMBER_MAX: u64 = u64::MAX >> 8;

fn number(raw: u64) -> Result<u64, RecordError> {
    if raw > NUMBER_MAX { Err(malformed("number")) } else { Ok(raw) }
}

/// A form on the wire whose value is checked when it is read.
pub(crate) trait Read: prost::Message + Default {
    type Value;

    fn read(self) -> Result<Self::Value, RecordError>;
}

impl From<&Vote> for WireVote {
    fn from(vote: &Vote) -> Self {
        let leader = vote.leader_id();
        Self { term: leader.term, node: leader.node_id, committed: vote.is_committed() }
    }
}

impl Read for WireVote {
    type Value = Vote;

    fn read(self) -> Result<Vote, RecordError> {
        let leader = LeaderId { term: number(self.term)?, node_id: self.node };
        Ok(Vote::from_leader_id(leader, self.committed))
    }
}

impl From<&LogId> for WireLogId {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl Read for WireLogId {
    type Value = LogId;

    fn read(self) -> Result<LogId, RecordError> {
        let leader = LeaderId { term: number(self.term)?, node_id: self.node };
        Ok(LogId::new(leader, number(self.index)?))
    }
}

impl From<&Membership> for WireMembership {
    fn from(membership: &Membership) -> Self {
        let voters = membership.get_joint_config().iter();
        Self {
            voters: voters.map(|set| WireVoters { nodes: set.iter().copied().collect() }).collect(),
            nodes: membership.nodes().map(|(node, _)| *node).collect(),
        }
    }
}

impl Read for WireMembership {
    type Value = Membership;

    fn read(self) -> Result<Membership, RecordError> {
        let voters: usize = self.voters.iter().map(|set| set.nodes.len()).sum();
        if self.voters.len() > 2 || self.nodes.len() > NODES_KEPT_MAX || voters > NODES_KEPT_MAX {
            return Err(RecordError::TooLong("members"));
        }
        if self.voters.is_empty() && self.nodes.is_empty() {
            return Ok(Membership::default());
        }
        let sets = self.voters.into_iter().map(|set| set.nodes.into_iter().collect()).collect();
        let nodes: BTreeMap<_, _> =
            self.nodes.into_iter().map(|node| (node, EmptyNode::new())).collect();
        Membership::new(sets, nodes).map_err(|_broken_rule| malformed("members"))
    }
}

impl From<&Entry> for WireEntry {
    fn from(entry: &Entry) -> Self {
        let payload = match &entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Normal(command) => Some(WirePayload::Command(command.encode())),
            EntryPayload::Membership(membership) => {
                Some(WirePayload::Membership(membership.into()))
            }
        };
        Self { id: (&entry.log_id).into(), payload }
    }
}

impl Read for WireEntry {
    type Value = Entry;

    fn read(self) -> Result<Entry, RecordError> {
        let payload: Payload = match self.payload {
            None => EntryPayload::Blank,
            Some(WirePayload::Command(bytes)) => EntryPayload::Normal(Command::decode(&bytes)?),
            Some(WirePayload::Membership(membership)) => {
                EntryPayload::Membership(membership.read()?)
            }
        };
        Ok(Entry { log_id: self.id.read()?, payload })
    }
}

impl From<&SnapshotMeta> for WireMeta {
    fn from(meta: &SnapshotMeta) -> Self {
        let membership = &meta.last_membership;
        Self {
            last: meta.last_log_id.as_ref().map(WireLogId::from),
            membership_at: membership.log_id().as_ref().map(WireLogId::from),
            membership: membership.membership().into(),
        }
    }
}

impl Read for WireMeta {
    type Value = SnapshotMeta;

    fn read(self) -> Result<SnapshotMeta, RecordError> {
        let at = self.membership_at.map(Read::read).transpose()?;
        let last_membership = StoredMembership::new(at, self.membership.read()?);
        Ok(SnapshotMeta { last_log_id: self.last.map(Read::read).transpose()?, last_membership })
    }
}

/// Bytes of a value that has a form on the self.
pub(crate) fn bytes<'a, W: prost::Message + From<&'a T>, T>(value: &'a T) -> Vec<u8> {
    W::from(value).encode_to_vec()
}

/// The value of these bytes.
pub(crate) fn value<W: Read>(bytes: &[u8]) -> Result<W::Value, RecordError> {
    W::decode(bytes).map_err(|_malformed| malformed("protobuf"))?.read()
}
