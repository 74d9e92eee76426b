//! The consensus library's types, filled in. Nothing of it leaves this crate.

use std::io;

use openraft::impls::EmptyNode;
use openraft::vote::leader_id_adv::LeaderId as RaftLeaderId;

use crate::{Command, Outcome};

openraft::declare_raft_types!(
    /// Commands of the register, decided by node number alone: addresses are elsewhere.
    pub(crate) Types:
        D = Command,
        R = Outcome,
        NodeId = u64,
        Node = EmptyNode,
);

pub(crate) type LeaderId = RaftLeaderId<u64, u64>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
pub(crate) type Payload = openraft::alias::PayloadOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, EmptyNode>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
pub(crate) type Raft = openraft::Raft<Types, super::state::State>;

/// An error of input or output with what was being done.
pub(crate) fn failed(what: &str, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}
