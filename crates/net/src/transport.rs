//! The two traits that every transport implements.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_proto::NodeId;
use bytes::Bytes;

use crate::codec::{Agreed, Offer};
use crate::error::{CloseReason, Closed, ConnectError, LinkError};
use crate::lane::{Lane, PerLane};
use crate::message::Outgoing;
use crate::refusals::Refusals;

/// Connects this node to others. Dropping it stops listening; links live on.
pub trait Transport: Send + Sync + 'static {
    /// The links that it makes.
    type Link: Link;

    /// This node.
    fn me(&self) -> NodeId;

    /// Where it listens, in the form that [`Self::connect`] takes.
    fn local_address(&self) -> String;

    /// Accept these nodes and no others, from now on. Links that stand are not closed.
    ///
    /// Before the first call nobody is accepted.
    fn admit(&self, members: &[NodeId]);

    /// What the other side is told of this node when a link is made, from now on. Before the
    /// first call, nothing: such links carry messages as they are.
    fn offer(&self, offer: Offer);

    /// How often others were refused, and why.
    fn refusals(&self) -> Arc<Refusals>;

    /// Makes a link to `peer`, who is to be found at `address` (resolved anew at each call).
    ///
    /// # Errors
    /// [`ConnectError`]; the wait is bounded by the transport's connect timeout.
    fn connect(
        &self,
        peer: NodeId,
        address: &str,
    ) -> impl Future<Output = Result<Self::Link, ConnectError>> + Send;

    /// Waits for the next link that an admitted node makes to this one. May be cancelled.
    ///
    /// # Errors
    /// [`Closed`] when the transport listens no more.
    fn accept(&self) -> impl Future<Output = Result<Self::Link, Closed>> + Send;
}

/// A link between two nodes: three lanes of messages, each in order, each with its own room.
///
/// Every wait may be cancelled without a message being torn. One task should send and one task
/// should receive on a lane at a time; others wait for their turn.
pub trait Link: Send + Sync + 'static {
    /// The node at the other end, as the transport authenticated it.
    fn peer(&self) -> NodeId;

    /// What the two sides agreed on when the link was made. The link itself changes no message.
    fn agreed(&self) -> Agreed;

    /// The longest message of each lane, in bytes.
    fn message_bytes_max(&self) -> PerLane<usize>;

    /// Sends all of `batch`, waiting for room. On success the batch is empty.
    ///
    /// # Errors
    /// [`LinkError::TooLarge`] leaves the offending message at the front of the batch.
    fn send_batch(
        &self,
        lane: Lane,
        batch: &mut VecDeque<Outgoing>,
    ) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Waits until at least one message is there, then moves what is there into `into`.
    ///
    /// # Errors
    /// [`Closed`] when the link is over.
    fn receive_batch(
        &self,
        lane: Lane,
        into: &mut VecDeque<Bytes>,
    ) -> impl Future<Output = Result<(), Closed>> + Send;

    /// Sends one message, waiting for room.
    ///
    /// # Errors
    /// [`LinkError`]
    fn send(
        &self,
        lane: Lane,
        message: Outgoing,
    ) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`Closed`] when the link is over.
    fn receive(&self, lane: Lane) -> impl Future<Output = Result<Bytes, Closed>> + Send;

    /// Waits until the other side's transport has everything that was sent on the lane.
    ///
    /// # Errors
    /// [`Closed`] when the link is over.
    fn flush(&self, lane: Lane) -> impl Future<Output = Result<(), Closed>> + Send;

    /// Ends the link at once; the other side is told why. What was not flushed may be lost.
    fn close(&self, reason: CloseReason);
}
