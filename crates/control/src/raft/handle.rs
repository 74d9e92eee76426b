//! What a register does with each request of another.

use antiphon_proto::NodeId;
use bytes::Bytes;
use openraft::errors::{Fatal, RaftError};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use openraft::storage::Snapshot;

use super::Shared;
use super::ask::Ask;
use super::calls::Frame;
use super::codec::{Read as _, WireMeta};
use super::message::{
    Append, Campaign, Chunk, Chunked, Refused, Reply, Request, Transfer, Why, decode_request,
};
use super::types::{Types, Vote};
use crate::{ClusterUuid, Command, Machine, RecordError, Role, SNAPSHOT_BYTES_MAX};

/// A snapshot on its way here: the next chunk begins where this ends.
pub(super) struct Partial {
    meta: WireMeta,
    bytes: Vec<u8>,
}

type Answer = Result<Reply, Refused>;

fn malformed(error: &RecordError) -> Refused {
    Refused::new(Why::Malformed, None, error.to_string())
}

fn dead(error: &Fatal<Types>) -> Refused {
    Refused::new(Why::Stopped, None, error.to_string())
}

fn died(error: RaftError<Types>) -> Refused {
    match error {
        RaftError::Fatal(fatal) => dead(&fatal),
        RaftError::APIError(never) => Refused::new(Why::Malformed, None, never.to_string()),
    }
}

/// Nobody speaks for another candidate or leader.
fn speaks_for_itself(from: NodeId, vote: &Vote) -> Result<(), Refused> {
    if vote.leader_id().node_id == from.get() {
        Ok(())
    } else {
        Err(Refused::new(Why::Malformed, None, "a vote of another node"))
    }
}

impl Shared {
    pub(super) async fn handle(&self, from: NodeId, frame: &Frame) -> Reply {
        let answer = match decode_request(&frame.body) {
            Ok(request) => self.execute(from, frame.cluster, request).await,
            Err(error) => Err(malformed(&error)),
        };
        answer.unwrap_or_else(Reply::Refused)
    }

    async fn execute(&self, from: NodeId, cluster: ClusterUuid, request: Request) -> Answer {
        let joins = matches!(request, Request::Join(_)) && cluster == ClusterUuid::default();
        let mine = self.log.cluster();
        if mine.is_none() || (mine != Some(cluster) && !joins) {
            return Err(Refused::new(Why::OtherCluster, None, "not of that cluster"));
        }
        match request {
            Request::Vote(campaign) => self.on_vote(from, campaign, false).await,
            Request::PreVote(campaign) => self.on_vote(from, campaign, true).await,
            Request::Append(append) => self.on_append(from, append).await,
            Request::Chunk(chunk) => self.on_chunk(from, chunk).await,
            Request::Transfer(transfer) => self.on_transfer(from, transfer).await,
            Request::Swap(bytes) => {
                let command = Command::decode(&bytes).map_err(|error| malformed(&error))?;
                self.lead(&Ask::Swap(command)).await
            }
            Request::ReadAt(_) => self.lead(&Ask::ReadAt).await,
            Request::Join(_) => self.lead(&Ask::Join(from)).await,
            Request::Member(member) => {
                let role = match member.role {
                    1 => Role::Voter,
                    2 => Role::Learner,
                    3 => Role::Removed,
                    _ => return Err(malformed(&RecordError::Malformed("role"))),
                };
                self.lead(&Ask::Member(NodeId::new(member.node), role)).await
            }
        }
    }

    async fn on_vote(&self, from: NodeId, campaign: Campaign, pre: bool) -> Answer {
        let request = VoteRequest::try_from(campaign).map_err(|error| malformed(&error))?;
        speaks_for_itself(from, &request.vote)?;
        let response =
            if pre { self.raft.pre_vote(request).await } else { self.raft.vote(request).await };
        response.map(|response| Reply::Voted((&response).into())).map_err(died)
    }

    async fn on_append(&self, from: NodeId, append: Append) -> Answer {
        let request = AppendEntriesRequest::try_from(append).map_err(|error| malformed(&error))?;
        speaks_for_itself(from, &request.vote)?;
        let response = self.raft.append_entries(request).await;
        response.map(|response| Reply::Appended((&response).into())).map_err(died)
    }

    async fn on_transfer(&self, from: NodeId, transfer: Transfer) -> Answer {
        let request =
            TransferLeaderRequest::try_from(transfer).map_err(|error| malformed(&error))?;
        speaks_for_itself(from, request.from_leader())?;
        let response = self.raft.handle_transfer_leader(request).await;
        response
            .map(|response| Reply::Transferred((&response).into()))
            .map_err(|fatal| dead(&fatal))
    }

    /// Chunks come in order; the last one installs what they make up.
    async fn on_chunk(&self, from: NodeId, chunk: Chunk) -> Answer {
        let vote = chunk.vote.clone().read().map_err(|error| malformed(&error))?;
        speaks_for_itself(from, &vote)?;
        let meta = chunk.meta.clone().read().map_err(|error| malformed(&error))?;
        let forged = meta.last_log_id.is_some_and(|last| last.leader_id > *vote.leader_id());
        if forged {
            return Err(malformed(&RecordError::Malformed("a snapshot later than its sender")));
        }
        let (received, whole) = self.receive_chunk(from, &chunk)?;
        let Some(state) = whole else {
            return Ok(Reply::Chunked(Chunked { received, installed: None }));
        };
        // Whoever installs it may rely on its bytes.
        Machine::decode(&state).map_err(|error| malformed(&error))?;
        let snapshot = Snapshot { meta, snapshot: state };
        let response = self.raft.install_full_snapshot(vote, snapshot).await;
        let response = response.map_err(|fatal| dead(&fatal))?;
        Ok(Reply::Chunked(Chunked { received, installed: Some((&response.vote).into()) }))
    }

    fn receive_chunk(&self, from: NodeId, chunk: &Chunk) -> Result<(u64, Option<Bytes>), Refused> {
        let refuse = |what| malformed(&RecordError::Malformed(what));
        let whole = usize::try_from(chunk.bytes).ok().filter(|it| *it <= SNAPSHOT_BYTES_MAX);
        let whole = whole.ok_or_else(|| refuse("a snapshot over its limit"))?;
        let mut partial = self.partial.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if chunk.offset == 0 {
            // There is one leader at a time, so one snapshot.
            partial.clear();
            partial.insert(from, Partial { meta: chunk.meta.clone(), bytes: Vec::new() });
        }
        let begun = partial.get_mut(&from).filter(|partial| partial.meta == chunk.meta);
        let begun = begun.ok_or_else(|| refuse("a chunk of no snapshot"))?;
        let at = u64::try_from(begun.bytes.len()).expect("memory is within 64 bits");
        if at != chunk.offset || begun.bytes.len().saturating_add(chunk.data.len()) > whole {
            partial.remove(&from);
            return Err(refuse("a chunk out of place"));
        }
        begun.bytes.extend_from_slice(&chunk.data);
        let received = u64::try_from(begun.bytes.len()).expect("memory is within 64 bits");
        if begun.bytes.len() < whole {
            return Ok((received, None));
        }
        let bytes = partial.remove(&from).map(|partial| Bytes::from(partial.bytes));
        Ok((received, bytes))
    }
}
