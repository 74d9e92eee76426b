//! From a connection to a link: whose it is, and the opening of its three lanes.
//!
//! The caller opens one stream for each lane and begins each with an opening of eight bytes; the
//! called node checks whom it has before it answers with the same. So a caller knows that it was
//! accepted before it sends anything.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_proto::NodeId;
use bytes::{Buf, Bytes, BytesMut};
use s2n_quic::connection::{Handle, StreamAcceptor};
use s2n_quic::stream::BidirectionalStream;
use s2n_quic::{Client, Connection, client::Connect};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::watch::{Seen, Verdict};
use super::{QuicLink, Shared, close};
use crate::certs::node_in;
use crate::error::{CloseReason, Closed, ConnectError, Refusal, Violation};
use crate::lane::{Lane, PerLane};

/// "ANTI", the version of the lanes' framing, the lane, two bytes of zero.
const OPENING_BYTES: usize = 8;

const fn opening(lane: Lane) -> [u8; OPENING_BYTES] {
    [b'A', b'N', b'T', b'I', 1, lane.code(), 0, 0]
}

/// A lane's stream, its opening read, with what came behind it.
pub(super) struct Opened {
    pub(super) stream: BidirectionalStream,
    pub(super) rest: Bytes,
}

/// Calls a node. The caller bounds the wait.
pub(super) async fn call(
    client: &Client,
    shared: &Shared,
    peer: NodeId,
    place: SocketAddr,
) -> Result<QuicLink, ConnectError> {
    let verdict = Verdict::default();
    let mut attempt = client.connect(Connect::new(place).with_server_name(format!("node-{peer}")));
    attempt.set_application_context(Box::new(Arc::clone(&verdict)));
    let mut connection =
        attempt.await.map_err(|error| judge(shared, &verdict, (peer, place), error))?;
    connection.keep_alive(true).map_err(|error| close::of_attempt(peer, error))?;
    let (mut handle, _acceptor) = connection.split();
    let refused = match whose(&mut handle, &shared.cluster) {
        Ok(found) if found == peer => None,
        Ok(found) => Some(Refusal::WrongNode { wanted: peer, found }),
        Err(refusal) => Some(refusal),
    };
    if let Some(refusal) = refused {
        handle.close(close::code(CloseReason::Refused(refusal.kind())));
        shared.refusals.note(&refusal, Some(place));
        return Err(refusal.into());
    }
    let (mut control, mut log, mut bulk) = (
        open(&mut handle, peer, Lane::Control).await?,
        open(&mut handle, peer, Lane::Log).await?,
        open(&mut handle, peer, Lane::Bulk).await?,
    );
    let answered = async {
        let rests = PerLane {
            control: answer(&mut control, Lane::Control).await?,
            log: answer(&mut log, Lane::Log).await?,
            bulk: answer(&mut bulk, Lane::Bulk).await?,
        };
        Ok::<_, Closed>(rests)
    };
    let rests = answered.await.map_err(|closed| abandon(&handle, closed))?;
    let lanes = PerLane {
        control: Opened { stream: control, rest: rests.control },
        log: Opened { stream: log, rest: rests.log },
        bulk: Opened { stream: bulk, rest: rests.bulk },
    };
    Ok(QuicLink::new(peer, handle, lanes, shared.config.message_bytes_max))
}

/// The reason of a failed handshake: ours, if it was us who refused.
fn judge(
    shared: &Shared,
    verdict: &Mutex<Option<Refusal>>,
    (peer, place): (NodeId, SocketAddr),
    error: s2n_quic::connection::Error,
) -> ConnectError {
    match verdict.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(refusal) => {
            shared.refusals.note(&refusal, Some(place));
            refusal.into()
        }
        None => close::of_attempt(peer, error),
    }
}

fn abandon(handle: &Handle, closed: Closed) -> ConnectError {
    if matches!(closed, Closed::Violation(_)) {
        handle.close(close::code(CloseReason::Violation));
    }
    close::of_closed(closed)
}

async fn open(
    handle: &mut Handle,
    peer: NodeId,
    lane: Lane,
) -> Result<BidirectionalStream, ConnectError> {
    let stream = handle.open_bidirectional_stream().await;
    let mut stream = stream.map_err(|error| close::of_attempt(peer, error))?;
    let written = stream.send(Bytes::copy_from_slice(&opening(lane))).await;
    written.map_err(|error| close::of_closed(close::of_stream(error)))?;
    Ok(stream)
}

async fn answer(stream: &mut BidirectionalStream, lane: Lane) -> Result<Bytes, Closed> {
    let (begun, rest) = read_opening(stream).await?;
    if begun != opening(lane) {
        return Err(Violation::Opening.into());
    }
    Ok(rest)
}

async fn read_opening(
    stream: &mut BidirectionalStream,
) -> Result<([u8; OPENING_BYTES], Bytes), Closed> {
    let mut read = BytesMut::new();
    loop {
        let piece = stream.receive().await.map_err(close::of_stream)?;
        read.extend_from_slice(&piece.ok_or(Violation::Opening)?);
        if let Some(begun) = read.first_chunk::<OPENING_BYTES>() {
            let begun = *begun;
            read.advance(OPENING_BYTES);
            return Ok((begun, read.freeze()));
        }
    }
}

/// The node that the certificate of the other side names.
fn whose(handle: &mut Handle, cluster: &str) -> Result<NodeId, Refusal> {
    let certificate = handle
        .query_event_context_mut(|seen: &mut Seen| seen.certificate.take())
        .map_err(|error| Refusal::Invalid(error.to_string()))?;
    node_in(&certificate.ok_or(Refusal::NoCertificate)?, cluster)
}

/// The called side.
pub(super) struct Establish {
    pub(super) shared: Arc<Shared>,
    pub(super) ready: mpsc::Sender<QuicLink>,
}

impl Establish {
    /// No place is free for this connection.
    pub(super) fn turn_away(&self, connection: &Connection) {
        connection.close(close::code(CloseReason::Refused(Refusal::Busy.kind())));
        self.shared.refusals.note(&Refusal::Busy, connection.remote_addr().ok());
    }

    /// Checks whose the connection is, and hands a link over.
    pub(super) async fn answer(self, connection: Connection) {
        let remote = connection.remote_addr().ok();
        let (mut handle, acceptor) = connection.split();
        let peer = match self.admit(&mut handle) {
            Ok(peer) => peer,
            Err(refusal) => {
                handle.close(close::code(CloseReason::Refused(refusal.kind())));
                self.shared.refusals.note(&refusal, remote);
                return;
            }
        };
        let patience = self.shared.config.connect_timeout;
        match self.open_all(peer, &mut handle, acceptor, patience).await {
            Ok(link) => {
                if self.ready.try_send(link).is_err() {
                    handle.close(close::code(CloseReason::Refused(Refusal::Busy.kind())));
                    self.shared.refusals.note(&Refusal::Busy, remote);
                }
            }
            Err(Closed::Violation(violation)) => {
                handle.close(close::code(CloseReason::Violation));
                self.shared.refusals.note(&Refusal::Foreign, remote);
                tracing::warn!(%violation, %peer, "failed to open the lanes of a link");
            }
            Err(closed) => {
                handle.close(close::code(CloseReason::Dropped));
                tracing::debug!(%closed, %peer, "failed to open the lanes of a link");
            }
        }
    }

    fn admit(&self, handle: &mut Handle) -> Result<NodeId, Refusal> {
        let peer = whose(handle, &self.shared.cluster)?;
        let admitted = self.shared.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        if admitted.contains(&peer) { Ok(peer) } else { Err(Refusal::UnknownNode(peer)) }
    }

    async fn open_all(
        &self,
        peer: NodeId,
        handle: &mut Handle,
        mut acceptor: StreamAcceptor,
        patience: Duration,
    ) -> Result<QuicLink, Closed> {
        handle.keep_alive(true).map_err(close::of_connection)?;
        let mut lanes = PerLane::<Option<Opened>>::from_fn(|_| None);
        let accept = async {
            for _ in Lane::ALL {
                let stream = acceptor.accept_bidirectional_stream().await;
                let mut stream = stream.map_err(close::of_connection)?.ok_or(Violation::Opening)?;
                let (begun, rest) = read_opening(&mut stream).await?;
                let lane = Lane::ALL.into_iter().find(|lane| opening(*lane) == begun);
                let place = lanes.of_mut(lane.ok_or(Violation::Opening)?);
                if place.is_some() {
                    return Err(Violation::Opening.into());
                }
                *place = Some(Opened { stream, rest });
            }
            Ok(())
        };
        timeout(patience, accept).await.unwrap_or(Err(Closed::Silent))?;
        let (Some(mut control), Some(mut log), Some(mut bulk)) =
            (lanes.control, lanes.log, lanes.bulk)
        else {
            return Err(Violation::Opening.into());
        };
        for (opened, lane) in
            [(&mut control, Lane::Control), (&mut log, Lane::Log), (&mut bulk, Lane::Bulk)]
        {
            let answer = Bytes::copy_from_slice(&opening(lane));
            opened.stream.send(answer).await.map_err(close::of_stream)?;
        }
        let lanes = PerLane { control, log, bulk };
        Ok(QuicLink::new(peer, handle.clone(), lanes, self.shared.config.message_bytes_max))
    }
}
