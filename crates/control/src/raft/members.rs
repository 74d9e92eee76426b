//! Who votes on the register and who follows it: founding, joining, and changes, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use antiphon_proto::{EntryId, Epoch, NodeId};
use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, InitializeError, RaftError};
use openraft::impls::EmptyNode;
use tokio::time::{Instant, timeout};

use super::ask::{Ask, Failed, not_leader};
use super::calls::CallError;
use super::message::{Joined, Nothing, Refused, Reply, Request, Why, decode_reply, encode_request};
use super::{RaftRegister, Shared};
use crate::wire::Class;
use crate::{
    Cause, ClusterRecord, ClusterUuid, Command, ConfigRegister as _, HistoryRow, Key, Loss,
    NodeRecord, Outcome, Record, Refusal, RegisterError, Role, Version, WallMs,
};

/// The most nodes that vote. More of them make each change slower and none of them safer.
const VOTERS_MAX: usize = 5;

/// Entries that a learner may lack when it becomes a voter.
const BEHIND_MAX: u64 = 64;

/// The pause before the next node is asked to let this one join.
const PAUSE: Duration = Duration::from_millis(20);

/// Why the members did not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Not as the members are now. The text says what to do.
    #[error("{0}")]
    NotNow(String),
    /// This node is of a cluster already.
    #[error("this node is of cluster {0} already")]
    HasCluster(ClusterUuid),
    /// The record of the cluster was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The register did not answer.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

impl From<Failed> for MemberError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Register(error) => Self::Register(error),
            Failed::Member(text) => Self::NotNow(text),
        }
    }
}

impl Role {
    pub(super) const fn to_wire(self) -> u32 {
        match self {
            Self::Voter => 1,
            Self::Learner => 2,
            Self::Removed => 3,
        }
    }
}

fn forbidden(text: impl Into<String>) -> Refused {
    Refused::new(Why::Member, None, text)
}

impl Shared {
    fn roles(&self) -> BTreeMap<u64, Role> {
        let members = self.metrics().membership_config;
        let learners = members.membership().learner_ids().map(|node| (node, Role::Learner));
        learners.chain(members.voter_ids().map(|node| (node, Role::Voter))).collect()
    }

    /// A node would like to follow.
    pub(super) async fn lead_join(&self, node: NodeId) -> Result<(), Refused> {
        match self.roles().get(&node.get()) {
            Some(Role::Learner) => return Ok(()),
            // It has lost its file, and with it what it promised.
            Some(Role::Voter) => {
                return Err(forbidden(format!(
                    "node {node} votes, and has lost what it promised; make it a learner first"
                )));
            }
            Some(Role::Removed) | None => {}
        }
        let new = BTreeMap::from([(node.get(), EmptyNode::new())]);
        self.change(node, ChangeMembers::AddNodes(new), true).await
    }

    pub(super) async fn lead_member(&self, node: NodeId, role: Role) -> Result<Reply, Refused> {
        let roles = self.roles();
        let voters = roles.values().filter(|role| **role == Role::Voter).count();
        let ids = BTreeSet::from([node.get()]);
        let (change, retain) = match (roles.get(&node.get()), role) {
            (Some(is), wanted) if *is == wanted => return Ok(Reply::Changed(Nothing {})),
            (None, Role::Removed) => return Ok(Reply::Changed(Nothing {})),
            (None, _) => return Err(forbidden(format!("node {node} has not joined"))),
            (Some(_), Role::Voter) if voters >= VOTERS_MAX => {
                let text = format!("{VOTERS_MAX} nodes vote already; make one a learner first");
                return Err(forbidden(text));
            }
            (Some(_), Role::Voter) => {
                self.is_level(node)?;
                (ChangeMembers::AddVoterIds(ids), true)
            }
            (Some(Role::Voter), _) if voters == 1 => {
                let text = format!("node {node} is the last that votes; add another first");
                return Err(forbidden(text));
            }
            // Without a vote it would lead on, at the mercy of the others.
            (Some(Role::Voter), _) if node == self.me => return Err(self.step_aside().await),
            (Some(Role::Voter), wanted) => {
                (ChangeMembers::RemoveVoters(ids), wanted == Role::Learner)
            }
            (Some(_), _) => (ChangeMembers::RemoveNodes(ids), false),
        };
        self.change(node, change, retain).await?;
        Ok(Reply::Changed(Nothing {}))
    }

    /// Lets another voter lead, and says who.
    async fn step_aside(&self) -> Refused {
        let metrics = self.metrics();
        let me = self.me.get();
        let others = metrics.membership_config.voter_ids().filter(|voter| *voter != me);
        let matched = |voter: &u64| metrics.replication.as_ref()?.get(voter).copied().flatten();
        if let Some(to) = others.max_by_key(matched)
            && let Err(fatal) = self.raft.trigger().transfer_leader(to).await
        {
            return Refused::new(Why::Stopped, None, fatal.to_string());
        }
        let wait = self.raft.wait(Some(self.timing.answer / 2));
        let another = |leader: Option<u64>| leader.is_some_and(|leader| leader != me);
        let moved = wait.metrics(|metrics| another(metrics.current_leader), "another leader").await;
        let leader = moved.ok().and_then(|metrics| metrics.current_leader);
        Refused::new(Why::NotLeader, leader, "another node has to lead first")
    }

    /// A voter that has to catch up first is one that can't help.
    fn is_level(&self, node: NodeId) -> Result<(), Refused> {
        let metrics = self.metrics();
        let Some(replication) = &metrics.replication else {
            let leader = metrics.current_leader.filter(|leader| *leader != self.me.get());
            return Err(Refused::new(Why::NotLeader, leader, "another node leads"));
        };
        let has = replication.get(&node.get()).copied().flatten().map_or(0, |id| id.index);
        let behind = metrics.last_log_index.unwrap_or(0).saturating_sub(has);
        if behind <= BEHIND_MAX {
            return Ok(());
        }
        Err(forbidden(format!("node {node} lacks {behind} entries of the register; ask again")))
    }

    async fn change(
        &self,
        node: NodeId,
        change: ChangeMembers<u64, EmptyNode>,
        retain: bool,
    ) -> Result<(), Refused> {
        let busy = |text: &str| Refused::new(Why::Busy, None, text);
        let _one = self
            .member_change
            .try_lock()
            .map_err(|_held| busy("the members are changing already"))?;
        // Members that change while a snapshot brings older ones are how majorities were split.
        if self.sending.to_others(node.get()) {
            return Err(busy("a snapshot is being installed somewhere"));
        }
        let changed = self.raft.change_membership(change, retain);
        match timeout(self.timing.answer, changed).await {
            Ok(Ok(_changed)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(not_leader(&forward))
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                Err(Refused::new(Why::Busy, None, error.to_string()))
            }
            Ok(Err(error)) => Err(Refused::new(Why::Unknown, None, error.to_string())),
            Err(_elapsed) => Err(Refused::new(Why::Unknown, None, "no majority in time")),
        }
    }

    async fn has_leader(&self) -> Result<(), RegisterError> {
        let wait = self.raft.wait(Some(self.timing.answer));
        let led = wait.metrics(|metrics| metrics.current_leader.is_some(), "a leader").await;
        led.map(|_metrics| ()).map_err(|error| RegisterError::Stopped(error.to_string()))
    }
}

impl RaftRegister {
    /// Founds a cluster with this node as its one member. Goes on where it was when the node
    /// stopped in the middle; then the cluster is the one that was begun.
    ///
    /// # Errors
    /// [`MemberError::HasCluster`] when the node is of another cluster, and what the register
    /// says.
    pub async fn found(&self, cluster: ClusterRecord) -> Result<ClusterUuid, MemberError> {
        let shared = &self.shared;
        let stopped = |error: &dyn std::fmt::Display| RegisterError::Stopped(error.to_string());
        let uuid = match shared.log.cluster() {
            Some(uuid) if !shared.roles().is_empty() => {
                if shared.roles().keys().ne([&shared.me.get()]) {
                    return Err(MemberError::HasCluster(uuid));
                }
                uuid
            }
            Some(uuid) => uuid,
            None => {
                let set = shared.log.set_cluster(cluster.cluster).await;
                set.map_err(|error| stopped(&error))?;
                cluster.cluster
            }
        };
        let me = BTreeMap::from([(shared.me.get(), EmptyNode::new())]);
        match shared.raft.initialize(me).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(stopped(&error).into()),
        }
        shared.has_leader().await?;
        let record = Record::Cluster(ClusterRecord { cluster: uuid, ..cluster });
        match self.swap(Command::one(Version::ZERO, record, None)).await? {
            Outcome::Done(_) | Outcome::Conflict(_) => Ok(uuid),
            Outcome::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Joins the cluster that any of these nodes is of, as a learner.
    ///
    /// # Errors
    /// [`MemberError::HasCluster`] when this node is of a cluster already, and
    /// [`RegisterError::NoMajority`] when none of them could let it in within the time for an
    /// answer.
    pub async fn join(&self, through: &[NodeId]) -> Result<ClusterUuid, MemberError> {
        let shared = &self.shared;
        if let Some(cluster) = shared.log.cluster() {
            return Err(MemberError::HasCluster(cluster));
        }
        let until = Instant::now() + shared.timing.answer;
        let mut reason = "no node was named".to_owned();
        let mut asked: Vec<NodeId> = through.to_vec();
        while Instant::now() < until {
            for node in std::mem::take(&mut asked) {
                match shared.ask_to_join(node).await {
                    Ok(cluster) => {
                        let set = shared.log.set_cluster(cluster).await;
                        set.map_err(|error| RegisterError::Stopped(error.to_string()))?;
                        shared.has_leader().await?;
                        return Ok(cluster);
                    }
                    Err(refused) if refused.why() == Why::Member => {
                        return Err(MemberError::NotNow(refused.text));
                    }
                    Err(refused) => {
                        if refused.leader != 0 {
                            asked.push(NodeId::new(refused.leader));
                        }
                        reason = refused.text;
                    }
                }
            }
            if asked.is_empty() {
                asked = through.to_vec();
            }
            tokio::time::sleep(PAUSE).await;
        }
        let voters = through.iter().map(|node| format!("node {node}")).collect::<Vec<_>>();
        Err(RegisterError::NoMajority { voters: voters.join(", "), reason }.into())
    }

    /// Gives a member another part: a vote, none, or no place at all. Tells the node's record of
    /// it.
    ///
    /// # Errors
    /// [`MemberError::NotNow`] when the members do not allow it as they are.
    pub async fn set_role(
        &self,
        node: NodeId,
        role: Role,
        (at, who): (WallMs, &str),
    ) -> Result<(), MemberError> {
        self.shared.ask(&Ask::Member(node, role)).await?;
        loop {
            let (_, records) = self.read(&[Key::Node(node)]).await?;
            let Some(before) = records.into_iter().next().flatten() else { return Ok(()) };
            let Some(old) = before.record.as_node().filter(|old| old.role != role) else {
                return Ok(());
            };
            let record = NodeRecord { role, changed: at, ..old.clone() };
            let row = role_row(node, role, at, who);
            let record = Record::Node(Box::new(record));
            match self.swap(Command::one(before.version, record, Some(row))).await? {
                Outcome::Done(_) => return Ok(()),
                Outcome::Refused(refusal) => return Err(refusal.into()),
                Outcome::Conflict(_) => {}
            }
        }
    }

    /// Lets another voter lead, if this node leads.
    ///
    /// # Errors
    /// When this node's part has stopped.
    pub async fn hand_over(&self, to: NodeId) -> Result<(), RegisterError> {
        let handed = self.shared.raft.trigger().transfer_leader(to.get()).await;
        handed.map_err(|error| RegisterError::Stopped(error.to_string()))
    }
}

impl Shared {
    async fn ask_to_join(&self, node: NodeId) -> Result<ClusterUuid, Refused> {
        let body = encode_request(Request::Join(Nothing {}));
        let class = Class::Control;
        let deadline = self.timing.answer;
        let reply = self.calls.call((node, class), ClusterUuid::default(), body, deadline).await;
        let reply = reply.map_err(|error| match error {
            CallError::NotSent(_) => Refused::new(Why::Busy, None, error.to_string()),
            CallError::NoReply(_) => Refused::new(Why::Unknown, None, error.to_string()),
        })?;
        match decode_reply(&reply) {
            Ok(Reply::Joined(Joined { cluster })) => {
                let cluster = cluster.as_slice().try_into().map(u128::from_le_bytes);
                let malformed = |_other_length| Refused::new(Why::Malformed, None, "cluster");
                cluster.map(ClusterUuid::new).map_err(malformed)
            }
            Ok(Reply::Refused(refused)) => Err(refused),
            Ok(_other) => Err(Refused::new(Why::Malformed, None, "a reply to another request")),
            Err(error) => Err(Refused::new(Why::Malformed, None, error.to_string())),
        }
    }
}

fn role_row(node: NodeId, role: Role, at: WallMs, who: &str) -> HistoryRow {
    let why = match role {
        Role::Voter => "votes on the register now",
        Role::Learner => "follows the register without a vote now",
        Role::Removed => "was removed",
    };
    HistoryRow {
        number: 0,
        cause: Cause::Node,
        shard: None,
        who: who.to_owned(),
        why: why.to_owned(),
        from: Some(node),
        to: None,
        position: EntryId::ZERO,
        epoch: Epoch::ZERO,
        at,
        took_ms: 0,
        loss: Loss::Nothing,
    }
}
