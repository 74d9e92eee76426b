//! Operations that only the leader decides: executed here if this node leads, asked for if not.

use std::sync::Arc;
use std::time::Duration;

use antiphon_proto::NodeId;
use openraft::ReadPolicy;
use openraft::errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::calls::CallError;
use super::message::{
    Joined, Member, Nothing, Refused, Reply, Request, Why, decode_reply, encode_request,
};
use super::state::State;
use super::types::Types;
use super::{RaftRegister, Shared};
use crate::machine::Change;
use crate::wire::Class;
use crate::{
    ClusterUuid, Command, ConfigRegister, HistoryRow, Key, Machine, Outcome, RegisterError,
    RegisterWatch, Role, Version, Versioned,
};

/// The pause before a node that did not help is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// An operation.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Swap(Command),
    ReadAt,
    Join(NodeId),
    Member(NodeId, Role),
}

impl Ask {
    fn request(&self) -> Request {
        match self {
            Self::Swap(command) => Request::Swap(command.encode()),
            Self::ReadAt => Request::ReadAt(Nothing {}),
            Self::Join(_) => Request::Join(Nothing {}),
            Self::Member(node, role) => {
                Request::Member(Member { node: node.get(), role: role.to_wire() })
            }
        }
    }
}

/// Why an operation has no reply.
#[derive(Debug)]
pub(super) enum Failed {
    Register(RegisterError),
    Member(String),
}

/// A write that was not appended, or a read that nobody else could have made wrong.
pub(super) fn not_leader(forward: &ForwardToLeader<Types>) -> Refused {
    let text = match forward.leader_id {
        Some(leader) => format!("node {leader} leads"),
        None => "the leader has lost its majority, or there is none".to_owned(),
    };
    Refused::new(Why::NotLeader, forward.leader_id, text)
}

impl Shared {
    /// Executes an operation as the leader.
    pub(super) async fn lead(&self, ask: &Ask) -> Result<Reply, Refused> {
        match ask {
            Ask::Swap(command) => self.lead_swap(command).await,
            Ask::ReadAt => self.lead_read().await,
            Ask::Join(node) => {
                self.lead_join(*node).await?;
                let cluster = self.log.cluster().unwrap_or_default();
                Ok(Reply::Joined(Joined { cluster: cluster.get().to_le_bytes().to_vec() }))
            }
            Ask::Member(node, role) => self.lead_member(*node, *role).await,
        }
    }

    async fn lead_swap(&self, command: &Command) -> Result<Reply, Refused> {
        // What will be refused anyway is not written into the log.
        if let Err(refusal) = command.check() {
            return Ok(Reply::Outcome(Outcome::Refused(refusal).encode()));
        }
        match timeout(self.timing.answer, self.raft.client_write(command.clone())).await {
            Ok(Ok(written)) => Ok(Reply::Outcome(written.data.encode())),
            Ok(Err(error)) => Err(unwritten(error)),
            Err(_elapsed) => Err(Refused::new(Why::Unknown, None, "no majority in time")),
        }
    }

    async fn lead_read(&self) -> Result<Reply, Refused> {
        let linear = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match timeout(self.timing.answer, linear).await {
            Ok(Ok(linear)) => Ok(Reply::ReadAt(linear.read_log_id().index())),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(not_leader(&forward))
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(few)))) => {
                Err(Refused::new(Why::NotLeader, None, few.to_string()))
            }
            Ok(Err(RaftError::Fatal(fatal))) => {
                Err(Refused::new(Why::Stopped, None, fatal.to_string()))
            }
            Err(_elapsed) => Err(Refused::new(Why::NotLeader, None, "no majority in time")),
        }
    }

    /// Finds the leader and lets it execute the operation, within the time for an answer.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Reply, Failed> {
        let _slot = self
            .operations
            .try_acquire()
            .map_err(|_none_left| Failed::Register(RegisterError::Busy))?;
        let until = Instant::now() + self.timing.answer;
        // An attempt needs time: one that is cut short would not know what came of it.
        let last_attempt = until - self.timing.answer / 4;
        let mut hint = None;
        loop {
            if let Some(why) = self.stopped() {
                return Err(Failed::Register(RegisterError::Stopped(why)));
            }
            let leader = hint.take().or_else(|| self.metrics().current_leader);
            let refused = match leader.map(NodeId::new) {
                Some(node) if node == self.me => match timeout_at(until, self.lead(ask)).await {
                    Ok(Ok(reply)) => return Ok(reply),
                    Ok(Err(refused)) => refused,
                    Err(_elapsed) => Refused::new(Why::Unknown, None, "no majority in time"),
                },
                Some(node) => match self.call(node, ask, until).await {
                    Ok(reply) => return Ok(reply),
                    Err(refused) => refused,
                },
                None => Refused::new(Why::NotLeader, None, "no leader is known here"),
            };
            match refused.why() {
                Why::Member => return Err(Failed::Member(refused.text)),
                Why::Unknown if !matches!(ask, Ask::ReadAt) => {
                    return Err(Failed::Register(RegisterError::Unknown));
                }
                Why::NotLeader if refused.leader != 0 && Some(refused.leader) != leader => {
                    hint = Some(refused.leader);
                }
                Why::NotLeader
                | Why::Busy
                | Why::Unknown
                | Why::Stopped
                | Why::OtherCluster
                | Why::Malformed => {}
            }
            if Instant::now() + PAUSE >= last_attempt {
                return Err(Failed::Register(self.no_majority(refused.text)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn call(&self, node: NodeId, ask: &Ask, until: Instant) -> Result<Reply, Refused> {
        let (cluster, body) =
            (self.log.cluster().unwrap_or_default(), encode_request(ask.request()));
        let left = until.saturating_duration_since(Instant::now());
        match self.calls.call((node, Class::Control), cluster, body, left).await {
            Ok(reply) => match decode_reply(&reply) {
                Ok(Reply::Refused(refused)) => Err(refused),
                Ok(reply) => Ok(reply),
                Err(error) => Err(Refused::new(Why::Unknown, None, error.to_string())),
            },
            Err(error @ CallError::NotSent(_)) => {
                Err(Refused::new(Why::Busy, None, error.to_string()))
            }
            Err(error @ CallError::NoReply(_)) => {
                Err(Refused::new(Why::Unknown, None, error.to_string()))
            }
        }
    }

    fn no_majority(&self, reason: String) -> RegisterError {
        let voters: Vec<_> = self.metrics().membership_config.voter_ids().collect();
        let voters = voters.iter().map(|node| format!("node {node}")).collect::<Vec<_>>();
        let voters =
            if voters.is_empty() { "none is known here".to_owned() } else { voters.join(", ") };
        RegisterError::NoMajority { voters, reason }
    }

    /// Waits until this node has applied all that anybody could have seen when it was asked.
    async fn caught_up(&self) -> Result<(), RegisterError> {
        let index = match self.ask(&Ask::ReadAt).await {
            Ok(Reply::ReadAt(index)) => index,
            Ok(_other) => return Err(RegisterError::Unknown),
            Err(Failed::Register(error)) => return Err(error),
            Err(Failed::Member(text)) => return Err(self.no_majority(text)),
        };
        let wait = self.raft.wait(Some(self.timing.answer));
        let applied = wait.applied_index_at_least(Some(index), "read").await;
        applied.map(|_metrics| ()).map_err(|error| match self.stopped() {
            Some(why) => RegisterError::Stopped(why),
            None => self.no_majority(error.to_string()),
        })
    }
}

fn unwritten(error: RaftError<Types, ClientWriteError<Types>>) -> Refused {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => not_leader(&forward),
        RaftError::APIError(
            error @ (ClientWriteError::LogEntryDiscarded(_)
            | ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_)),
        ) => Refused::new(Why::Unknown, None, error.to_string()),
        // It may have reached the others before this node stopped.
        RaftError::Fatal(fatal) => Refused::new(Why::Unknown, None, fatal.to_string()),
    }
}

impl RaftRegister {
    async fn at_now<T>(&self, read: impl FnOnce(&Machine) -> T + Send) -> Result<T, RegisterError> {
        self.shared.caught_up().await?;
        Ok(read(&self.shared.state.lock().machine))
    }

    /// Which cluster this node's register is of, once it has founded or joined one.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterUuid> {
        self.shared.log.cluster()
    }
}

impl ConfigRegister for RaftRegister {
    type Watch = RaftWatch;

    async fn read(&self, keys: &[Key]) -> Result<(Version, Vec<Option<Versioned>>), RegisterError> {
        self.at_now(|machine| {
            let found = keys.iter().map(|key| machine.get(*key).cloned()).collect();
            (machine.version(), found)
        })
        .await
    }

    async fn read_all(&self) -> Result<(Version, Vec<(Key, Versioned)>), RegisterError> {
        self.at_now(|machine| {
            let all = machine.records().map(|(key, record)| (key, record.clone())).collect();
            (machine.version(), all)
        })
        .await
    }

    async fn swap(&self, command: Command) -> Result<Outcome, RegisterError> {
        if let Err(refusal) = command.check() {
            return Ok(Outcome::Refused(refusal));
        }
        match self.shared.ask(&Ask::Swap(command)).await {
            Ok(Reply::Outcome(bytes)) => {
                Outcome::decode(&bytes).map_err(|_malformed| RegisterError::Unknown)
            }
            Ok(_other) => Err(RegisterError::Unknown),
            Err(Failed::Register(error)) => Err(error),
            Err(Failed::Member(text)) => Err(self.shared.no_majority(text)),
        }
    }

    async fn history(&self, rows_max: usize) -> Result<Vec<Arc<HistoryRow>>, RegisterError> {
        self.at_now(|machine| machine.history(rows_max).cloned().collect()).await
    }

    fn watch(&self, after: Version) -> Result<RaftWatch, RegisterError> {
        self.shared.state.lock().machine.changes_after(after, 0)?;
        let state = self.shared.state.clone();
        let stopped = self.shared.stopped.subscribe();
        Ok(RaftWatch { changes: state.changes(), state, stopped, after })
    }
}

/// Changes as this node applies them.
#[derive(Debug)]
pub struct RaftWatch {
    state: State,
    changes: watch::Receiver<Version>,
    stopped: watch::Receiver<Option<String>>,
    after: Version,
}

impl RegisterWatch for RaftWatch {
    async fn next(&mut self) -> Result<Change, RegisterError> {
        loop {
            // Marked as seen before the look: a change after it is not missed.
            self.changes.mark_unchanged();
            let change = self.state.lock().machine.changes_after(self.after, 1)?.pop();
            if let Some(change) = change {
                self.after = change.version;
                return Ok(change);
            }
            tokio::select! {
                changed = self.changes.changed() => {
                    changed.map_err(|_gone| RegisterError::Stopped("it is gone".to_owned()))?;
                }
                why = self.stopped.wait_for(Option::is_some) => {
                    let why = why.ok().and_then(|why| why.clone()).unwrap_or_default();
                    return Err(RegisterError::Stopped(why));
                }
            }
        }
    }
}
