//! A link over QUIC: three streams, each with its own flow control and its own framing.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::OnceLock;
use std::task::{Poll, ready};

use antiphon_proto::NodeId;
use bytes::Bytes;
use s2n_quic::connection::Handle;
use s2n_quic::stream::{Error as StreamError, ReceiveStream, SendStream};
use tokio::sync::Mutex;

use super::close;
use super::establish::Opened;
use crate::codec::Agreed;
use crate::error::{CloseReason, Closed, LinkError, Violation};
use crate::framing::{Decoder, Encoder};
use crate::lane::{Lane, PerLane};
use crate::message::Outgoing;
use crate::transport::Link;

/// Bytes that are turned into pieces before the stream must take them.
const ENCODE_BYTES_MAX: usize = 1 << 20;
/// Pieces that one read takes from the stream.
const READ_PIECES_MAX: usize = 16;

/// A link over QUIC. Dropping it closes it.
pub struct QuicLink {
    peer: NodeId,
    handle: Handle,
    agreed: Agreed,
    limits: PerLane<usize>,
    send: PerLane<Mutex<SendHalf>>,
    receive: PerLane<Mutex<ReceiveHalf>>,
    over: OnceLock<Closed>, // what this side knows better than the library
}

impl fmt::Debug for QuicLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicLink").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Drop for QuicLink {
    fn drop(&mut self) {
        // Before the streams go, whose end would look like a broken rule to the other side.
        self.close(CloseReason::Dropped);
    }
}

struct SendHalf {
    stream: SendStream,
    encoder: Encoder,
    pieces: VecDeque<Bytes>, // encoded, not yet taken by the stream
}

impl SendHalf {
    /// Gives the stream what is encoded. Cancelled, the next call goes on.
    async fn drive(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| {
            while !self.pieces.is_empty() {
                let pieces = self.pieces.make_contiguous();
                let taken = ready!(self.stream.poll_send_vectored(pieces, cx))?;
                self.pieces.drain(..taken);
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

struct ReceiveHalf {
    stream: ReceiveStream,
    decoder: Decoder,
    ready: VecDeque<Bytes>, // whole messages, at most those of one read
}

impl QuicLink {
    pub(super) fn new(
        (peer, agreed): (NodeId, Agreed),
        handle: Handle,
        lanes: PerLane<Opened>,
        limits: PerLane<usize>,
    ) -> Self {
        let halves = |opened: Opened, lane| {
            let (receive, send) = opened.stream.split();
            let send =
                SendHalf { stream: send, encoder: Encoder::default(), pieces: VecDeque::new() };
            let decoder = Decoder::new(lane, *limits.of(lane));
            let mut receive = ReceiveHalf { stream: receive, decoder, ready: VecDeque::new() };
            // A caller does not send before it was answered, nor does the called node before
            // its answer; what came behind an opening counts as the first piece all the same.
            let fed = receive.decoder.feed(opened.rest, &mut receive.ready);
            (Mutex::new(send), Mutex::new(receive), fed)
        };
        let (control_send, control_receive, control_fed) = halves(lanes.control, Lane::Control);
        let (log_send, log_receive, log_fed) = halves(lanes.log, Lane::Log);
        let (bulk_send, bulk_receive, bulk_fed) = halves(lanes.bulk, Lane::Bulk);
        let link = Self {
            peer,
            handle,
            agreed,
            limits,
            send: PerLane { control: control_send, log: log_send, bulk: bulk_send },
            receive: PerLane { control: control_receive, log: log_receive, bulk: bulk_receive },
            over: OnceLock::new(),
        };
        if let Err(violation) = control_fed.and(log_fed).and(bulk_fed) {
            link.broken(violation);
        }
        link
    }

    /// The other side broke the rules: the link ends, and this side remembers why.
    fn broken(&self, violation: Violation) -> Closed {
        let closed = self.over.get_or_init(|| Closed::Violation(violation)).clone();
        self.handle.close(close::code(CloseReason::Violation));
        closed
    }

    fn why(&self, error: StreamError) -> Closed {
        self.over.get().cloned().unwrap_or_else(|| close::of_stream(error))
    }

    /// Reads until at least one whole message is there.
    async fn fill(&self, lane: Lane, half: &mut ReceiveHalf) -> Result<(), Closed> {
        while half.ready.is_empty() {
            if let Some(closed) = self.over.get() {
                return Err(closed.clone());
            }
            let mut pieces: [Bytes; READ_PIECES_MAX] = std::array::from_fn(|_| Bytes::new());
            let read = half.stream.receive_vectored(&mut pieces).await;
            let (count, open) = read.map_err(|error| self.why(error))?;
            for piece in pieces.into_iter().take(count) {
                let fed = half.decoder.feed(piece, &mut half.ready);
                fed.map_err(|violation| self.broken(violation))?;
            }
            if !open && half.ready.is_empty() {
                return Err(self.broken(Violation::Ended(lane)));
            }
        }
        Ok(())
    }

    fn encode(
        &self,
        lane: Lane,
        half: &mut SendHalf,
        batch: &mut VecDeque<Outgoing>,
    ) -> Result<(), LinkError> {
        let limit = *self.limits.of(lane);
        let mut encoded: usize = 0;
        let mut outcome = Ok(());
        while encoded < ENCODE_BYTES_MAX
            && let Some(message) = batch.pop_front()
        {
            let bytes = message.len();
            if bytes > limit {
                batch.push_front(message);
                outcome = Err(LinkError::TooLarge { lane, bytes, limit });
                break;
            }
            encoded = encoded.saturating_add(bytes);
            half.encoder.put(message, &mut half.pieces);
        }
        half.encoder.finish(&mut half.pieces);
        outcome
    }
}

impl Link for QuicLink {
    fn peer(&self) -> NodeId {
        self.peer
    }

    fn agreed(&self) -> Agreed {
        self.agreed
    }

    fn message_bytes_max(&self) -> PerLane<usize> {
        self.limits
    }

    async fn send_batch(
        &self,
        lane: Lane,
        batch: &mut VecDeque<Outgoing>,
    ) -> Result<(), LinkError> {
        let mut half = self.send.of(lane).lock().await;
        loop {
            let encoded = self.encode(lane, &mut half, batch);
            half.drive().await.map_err(|error| self.why(error))?;
            encoded?;
            if batch.is_empty() {
                return Ok(());
            }
        }
    }

    async fn receive_batch(&self, lane: Lane, into: &mut VecDeque<Bytes>) -> Result<(), Closed> {
        let mut half = self.receive.of(lane).lock().await;
        self.fill(lane, &mut half).await?;
        into.append(&mut half.ready);
        Ok(())
    }

    async fn send(&self, lane: Lane, message: Outgoing) -> Result<(), LinkError> {
        let mut batch = VecDeque::from([message]);
        self.send_batch(lane, &mut batch).await
    }

    async fn receive(&self, lane: Lane) -> Result<Bytes, Closed> {
        let mut half = self.receive.of(lane).lock().await;
        self.fill(lane, &mut half).await?;
        Ok(half.ready.pop_front().expect("fill() waits for a message"))
    }

    async fn flush(&self, lane: Lane) -> Result<(), Closed> {
        let mut half = self.send.of(lane).lock().await;
        half.drive().await.map_err(|error| self.why(error))?;
        half.stream.flush().await.map_err(|error| self.why(error))
    }

    fn close(&self, reason: CloseReason) {
        if self.over.set(Closed::Here(reason)).is_ok() {
            self.handle.close(close::code(reason));
        }
    }
}
