//! How the consensus library reaches the other registers: every request of its is a call.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_proto::NodeId;
use bytes::Bytes;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::impls::EmptyNode;
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use prost::Message as _;

use super::calls::{CallError, Calls};
use super::codec::{Read as _, WireEntry};
use super::message::{
    Append, Chunk, Chunked, ENTRIES_MAX, Reply, Request, decode_reply, encode_request,
};
use super::storage::{LogStore, READ_BYTES_MAX};
use super::types::{SnapshotMeta, Types, Vote};
use crate::wire::{Class, MESSAGE_BYTES_MAX};
use crate::{COMMAND_BYTES_MAX, RecordError};

/// Bytes of a snapshot in one message.
const CHUNK_BYTES: usize = 256 << 10;
const _: () = assert!(COMMAND_BYTES_MAX < READ_BYTES_MAX && READ_BYTES_MAX < MESSAGE_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES < MESSAGE_BYTES_MAX);

type Rpc<T> = Result<T, RPCError<Types>>;
type StateSnapshot = openraft::alias::SnapshotOf<Types, Bytes>;

/// Nodes that this node is sending a snapshot to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sending(Arc<Mutex<BTreeMap<u64, usize>>>);

impl Sending {
    /// Whether anybody but `except` is being sent a snapshot.
    pub(crate) fn to_others(&self, except: u64) -> bool {
        let sending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sending.keys().any(|node| *node != except)
    }

    fn begin(&self, node: u64) -> SendingOne {
        let mut sending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sending.entry(node).or_default();
        *count = count.saturating_add(1);
        SendingOne(self.clone(), node)
    }
}

struct SendingOne(Sending, u64);

impl Drop for SendingOne {
    fn drop(&mut self) {
        let mut sending = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sending.get_mut(&self.1) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                sending.remove(&self.1);
            }
        }
    }
}

/// Makes clients.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) me: NodeId,
    pub(crate) calls: Arc<Calls>,
    pub(crate) log: LogStore,
    pub(crate) sending: Sending,
    /// How long a disk may take to make entries durable before they are sent again.
    pub(crate) append_timeout: Duration,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Client {
        Client { network: self.clone(), to: NodeId::new(target) }
    }
}

/// Requests to one node.
#[derive(Debug)]
pub(crate) struct Client {
    network: Network,
    to: NodeId,
}

fn misread(error: &(impl std::error::Error + 'static)) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(error))
}

/// Another reply than the one that was asked for, or a refusal.
fn unexpected(reply: &Reply) -> RPCError<Types> {
    let refusal = if let Reply::Refused(refused) = reply { refused.text.as_str() } else { "" };
    misread(&io::Error::other(format!("no reply to the request: {refusal}")))
}

impl Client {
    async fn call(&self, action: RPCTypes, request: Request, timeout: Duration) -> Rpc<Reply> {
        let class = match action {
            RPCTypes::InstallSnapshot => Class::Bulk,
            RPCTypes::Vote | RPCTypes::AppendEntries | RPCTypes::TransferLeader => Class::Control,
        };
        let cluster = self.network.log.cluster().unwrap_or_default();
        let body = encode_request(request);
        let reply = self.network.calls.call((self.to, class), cluster, body, timeout).await;
        let (id, target) = (self.network.me.get(), self.to.get());
        match reply {
            Ok(reply) => decode_reply(&reply).map_err(|error| misread(&error)),
            Err(error @ CallError::NotSent(_)) => {
                Err(RPCError::Unreachable(Unreachable::new(&error)))
            }
            Err(CallError::NoReply(_)) => {
                Err(RPCError::Timeout(Timeout { action, id, target, timeout }))
            }
        }
    }

    async fn campaign(&self, request: Request, option: &RPCOption) -> Rpc<VoteResponse<Types>> {
        let reply = self.call(RPCTypes::Vote, request, option.soft_ttl()).await?;
        let Reply::Voted(voted) = reply else { return Err(unexpected(&reply)) };
        voted.try_into().map_err(|error: RecordError| misread(&error))
    }

    async fn chunks(
        &self,
        (vote, meta): (&Vote, &SnapshotMeta),
        state: &Bytes,
        timeout: Duration,
    ) -> Rpc<SnapshotResponse<Types>> {
        let whole = u64::try_from(state.len()).expect("memory is within 64 bits");
        let mut sent = 0_usize;
        loop {
            let end = state.len().min(sent.saturating_add(CHUNK_BYTES));
            let chunk = Chunk {
                vote: vote.into(),
                meta: meta.into(),
                bytes: whole,
                offset: u64::try_from(sent).expect("memory is within 64 bits"),
                data: state.get(sent..end).unwrap_or_default().to_vec(),
            };
            let reply =
                self.call(RPCTypes::InstallSnapshot, Request::Chunk(chunk), timeout).await?;
            let Reply::Chunked(Chunked { received, installed }) = &reply else {
                return Err(unexpected(&reply));
            };
            if let Some(vote) = installed {
                let vote = vote.clone().read().map_err(|error| misread(&error))?;
                return Ok(SnapshotResponse::new(vote));
            }
            if end == state.len() || usize::try_from(*received) != Ok(end) {
                return Err(unexpected(&reply));
            }
            sent = end;
        }
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        // The library allows a heartbeat's time, in which a busy disk does not sync.
        let timeout = option.soft_ttl().max(self.network.append_timeout);
        // As many of them as a message has room for, at least one.
        let mut bytes = 0_usize;
        let mut entries = Vec::with_capacity(request.entries.len().min(ENTRIES_MAX));
        for entry in &request.entries {
            let wire = WireEntry::from(entry);
            bytes = bytes.saturating_add(wire.encoded_len());
            if !entries.is_empty() && (bytes > READ_BYTES_MAX || entries.len() == ENTRIES_MAX) {
                break;
            }
            entries.push(wire);
        }
        let sent = entries.len();
        let append = Append {
            vote: (&request.vote).into(),
            before: request.prev_log_id.as_ref().map(Into::into),
            entries,
            committed: request.leader_commit.as_ref().map(Into::into),
        };
        let reply = self.call(RPCTypes::AppendEntries, Request::Append(append), timeout);
        let reply = reply.await?;
        let Reply::Appended(appended) = reply else { return Err(unexpected(&reply)) };
        let response = appended.try_into().map_err(|error: RecordError| misread(&error))?;
        let last = sent.checked_sub(1).and_then(|index| request.entries.get(index));
        match (response, last) {
            (AppendEntriesResponse::Success, Some(last)) if sent < request.entries.len() => {
                Ok(AppendEntriesResponse::PartialSuccess(Some(last.log_id)))
            }
            (response, _) => Ok(response),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        self.campaign(Request::Vote((&request).into()), &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        self.campaign(Request::PreVote((&request).into()), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: StateSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let _sending = self.network.sending.begin(self.to.get());
        let chunks = self.chunks((&vote, &snapshot.meta), &snapshot.snapshot, option.soft_ttl());
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            installed = chunks => Ok(installed?),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        let wire = Request::Transfer((&request).into());
        let reply = self.call(RPCTypes::TransferLeader, wire, option.soft_ttl()).await?;
        let Reply::Transferred(said) = reply else { return Err(unexpected(&reply)) };
        said.answer(&request).map_err(|error| misread(&error))
    }
}
