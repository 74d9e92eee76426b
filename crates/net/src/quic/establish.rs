//! From a connection to a link: whose it is, and the opening of its three lanes.
//!
//! The caller opens one stream for each lane and begins each with an opening of eight bytes; the
//! called node checks whom it has before it answers with its own. So a caller knows that it was
//! accepted before it sends anything, and both know what the other can read and means to send.

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
use crate::codec::{Agreed, Codecs, Offer};
use crate::error::{CloseReason, Closed, ConnectError, Refusal, Violation};
use crate::lane::{Lane, PerLane};

/// "ANTI", the version of the lanes' framing, the lane, what the sender of it can read compressed,
/// and what it means to send compressed.
const OPENING_BYTES: usize = 8;

const fn opening(lane: Lane, offer: Offer) -> [u8; OPENING_BYTES] {
    [b'A', b'N', b'T', b'I', 1, lane.code(), offer.decodes.byte(), offer.sends.byte()]
}

/// The lane and the offer of an opening, if it is one.
fn opened(begun: [u8; OPENING_BYTES]) -> Result<(Lane, Offer), Violation> {
    let [b'A', b'N', b'T', b'I', 1, lane, decodes, sends] = begun else {
        return Err(Violation::Opening);
    };
    let lane = Lane::from_code(lane).ok_or(Violation::Opening)?;
    let offer = Offer { decodes: Codecs::from_byte(decodes), sends: Codecs::from_byte(sends) };
    Ok((lane, offer))
}

/// One side says the same in each of its lanes.
fn same(offers: PerLane<Offer>) -> Result<Offer, Violation> {
    let PerLane { control, log, bulk } = offers;
    if control == log && log == bulk { Ok(control) } else { Err(Violation::Opening) }
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
    let offer = shared.offer();
    let streams = PerLane {
        control: open(&mut handle, peer, opening(Lane::Control, offer)).await?,
        log: open(&mut handle, peer, opening(Lane::Log, offer)).await?,
        bulk: open(&mut handle, peer, opening(Lane::Bulk, offer)).await?,
    };
    // Boxed: three streams on the way through each other's answers make a large future.
    let answered = Box::pin(answers(streams, offer)).await;
    let (lanes, agreed) = answered.map_err(|closed| abandon(&handle, closed))?;
    Ok(QuicLink::new((peer, agreed), handle, lanes, shared.config.message_bytes_max))
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
    opening: [u8; OPENING_BYTES],
) -> Result<BidirectionalStream, ConnectError> {
    let stream = handle.open_bidirectional_stream().await;
    let mut stream = stream.map_err(|error| close::of_attempt(peer, error))?;
    let written = stream.send(Bytes::copy_from_slice(&opening)).await;
    written.map_err(|error| close::of_closed(close::of_stream(error)))?;
    Ok(stream)
}

/// The answers of the called side, and what follows from them.
async fn answers(
    streams: PerLane<BidirectionalStream>,
    offer: Offer,
) -> Result<(PerLane<Opened>, Agreed), Closed> {
    let (control, control_offer) = answer(streams.control, Lane::Control).await?;
    let (log, log_offer) = answer(streams.log, Lane::Log).await?;
    let (bulk, bulk_offer) = answer(streams.bulk, Lane::Bulk).await?;
    let theirs = same(PerLane { control: control_offer, log: log_offer, bulk: bulk_offer })?;
    Ok((PerLane { control, log, bulk }, offer.agree(theirs)))
}

async fn answer(mut stream: BidirectionalStream, lane: Lane) -> Result<(Opened, Offer), Closed> {
    let (begun, rest) = read_opening(&mut stream).await?;
    let (found, offer) = opened(begun)?;
    if found != lane {
        return Err(Violation::Opening.into());
    }
    Ok((Opened { stream, rest }, offer))
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
        let mut offers = PerLane::<Offer>::default();
        let accept = async {
            for _ in Lane::ALL {
                let stream = acceptor.accept_bidirectional_stream().await;
                let mut stream = stream.map_err(close::of_connection)?.ok_or(Violation::Opening)?;
                let (begun, rest) = read_opening(&mut stream).await?;
                let (lane, offer) = opened(begun)?;
                *offers.of_mut(lane) = offer;
                let place = lanes.of_mut(lane);
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
        let (offer, theirs) = (self.shared.offer(), same(offers)?);
        for (opened, lane) in
            [(&mut control, Lane::Control), (&mut log, Lane::Log), (&mut bulk, Lane::Bulk)]
        {
            let answer = Bytes::copy_from_slice(&opening(lane, offer));
            opened.stream.send(answer).await.map_err(close::of_stream)?;
        }
        let lanes = PerLane { control, log, bulk };
        let whom = (peer, offer.agree(theirs));
        Ok(QuicLink::new(whom, handle.clone(), lanes, self.shared.config.message_bytes_max))
    }
}
