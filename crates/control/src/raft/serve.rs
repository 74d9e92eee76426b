//! The server's side: requests from other registers, each in a task of its own, bounded.

use std::sync::Arc;

use antiphon_proto::NodeId;
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;

use super::Shared;
use super::calls::Frame;
use super::message::{Refused, Reply, Why, encode_reply};
use crate::wire::Class;

/// Requests that may wait, and as many that may be under way.
pub(super) const REQUESTS_MAX: usize = 256;

/// A message came. A reply goes to who waits for it, a request into the queue.
pub(super) fn receive(shared: &Shared, from: NodeId, message: &Bytes) {
    let frame = match Frame::decode(message) {
        Ok(frame) => frame,
        Err(error) => {
            tracing::warn!(%error, peer = %from, "failed to read a register's message");
            return;
        }
    };
    if frame.is_reply {
        shared.calls.replied(from, frame.call, frame.body);
        return;
    }
    if let Err(TrySendError::Full((from, frame))) = shared.requests.try_send((from, frame)) {
        let busy = Reply::Refused(Refused::new(Why::Busy, None, "too many requests"));
        reply(shared, from, &frame, busy);
    }
}

fn reply(shared: &Shared, to: NodeId, request: &Frame, reply: Reply) {
    let cluster = shared.log.cluster().unwrap_or_default();
    let body = encode_reply(reply).into();
    let frame = Frame { is_reply: true, call: request.call, cluster, body };
    shared.calls.reply(to, Class::Control, &frame);
}

/// Until the register stops: executes requests, and notices when the consensus library dies.
pub(super) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<(NodeId, Frame)>) {
    let mut tasks = JoinSet::new();
    let mut metrics = shared.raft.metrics();
    let mut stopped = shared.stopped.subscribe();
    loop {
        tokio::select! {
            Some((from, frame)) = queue.recv(), if tasks.len() < REQUESTS_MAX => {
                let shared = Arc::clone(&shared);
                tasks.spawn(async move {
                    let answer = shared.handle(from, &frame).await;
                    reply(&shared, from, &frame, answer);
                });
            }
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "failed to answer a register's request");
                }
            }
            changed = metrics.changed() => {
                let failed = metrics.borrow_watched().running_state.clone().err();
                let why = failed.map(|fatal| fatal.to_string());
                let gone = || changed.is_err().then(|| String::from("its core is gone"));
                if let Some(why) = why.or_else(gone) {
                    shared.stop(&why);
                }
            }
            _ = stopped.wait_for(Option::is_some) => break,
        }
    }
    // What is under way sees the same and ends; each has a deadline besides.
    tasks.shutdown().await;
}
