//! The session with one peer: gets a link, serves it, gets the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::outbox::{Left, Outbox, Taken};
use super::packer::{Wrapper, unpack_some};
use super::{Core, Member};
use crate::codec::Agreed;
use crate::error::{CloseReason, Closed, LinkError, Violation};
use crate::lane::Lane;
use crate::transport::{Link, Transport};

/// One peer's session.
pub(super) struct Session {
    index: usize,
    member: Member,
    core: Arc<Core>,
    stopped: watch::Receiver<bool>,
    backoff: Backoff,
}

/// What comes after a link.
enum Next<L> {
    Reconnect,
    Use(L),
    Stop,
}

impl Session {
    pub(super) fn new(
        index: usize,
        member: Member,
        core: Arc<Core>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let backoff = Backoff::new(core.config.retry_min, core.config.retry_max);
        Self { index, member, core, stopped, backoff }
    }

    fn outbox(&self) -> &Outbox {
        self.core.peers.get(self.index).expect("sessions and outboxes have the same order")
    }

    pub(super) async fn run<T: Transport>(
        mut self,
        transport: Arc<T>,
        mut incoming: mpsc::Receiver<T::Link>,
    ) {
        let mut stopped = self.stopped.clone();
        let mut next = Next::Reconnect;
        loop {
            let link = match next {
                Next::Use(link) => link,
                Next::Stop => return,
                Next::Reconnect => tokio::select! {
                    link = self.obtain(&*transport, &mut incoming) => match link {
                        Some(link) => link,
                        None => return,
                    },
                    () = stop(&mut stopped) => return,
                },
            };
            tokio::select! {
                () = self.core.inbox.settled(self.index) => {}
                () = stop(&mut stopped) => return,
            }
            let began = Instant::now();
            next = self.serve(link, &mut incoming).await;
            // A link that is lost at once again and again is no success.
            if began.elapsed() >= self.core.config.retry_max {
                self.backoff.succeeded();
            }
        }
    }

    /// A new link: the node with the greater id calls.
    async fn obtain<T: Transport>(
        &mut self,
        transport: &T,
        incoming: &mut mpsc::Receiver<T::Link>,
    ) -> Option<T::Link> {
        if self.core.me < self.member.id {
            return incoming.recv().await;
        }
        let mut addresses = self.member.addresses.clone().into_iter().cycle();
        if self.backoff.failures() > 0 {
            sleep(self.backoff.failed()).await;
        }
        loop {
            let address = addresses.next()?;
            match transport.connect(self.member.id, &address).await {
                Ok(link) => {
                    // Counts as failed until it has lived for a while.
                    self.backoff.failed();
                    return Some(link);
                }
                Err(error) => {
                    self.outbox().attempt_failed();
                    let wait = self.backoff.failed();
                    let failures = self.backoff.failures();
                    if failures.is_power_of_two() {
                        let peer = self.member.id;
                        tracing::warn!(%error, %peer, address, failures, "failed to connect");
                    }
                    sleep(wait).await;
                }
            }
        }
    }

    /// Serves a link to its end.
    async fn serve<L: Link>(&self, link: L, incoming: &mut mpsc::Receiver<L>) -> Next<L> {
        let outbox = self.outbox();
        let agreed = link.agreed();
        let generation = outbox.open(link.message_bytes_max(), agreed);
        let peer = self.member.id;
        tracing::debug!(%peer, generation, compression = %agreed.send, "connected");
        let counted = self.core.packer.link(agreed.send);
        self.core.inbox.connected(self.index, generation);
        let link = Arc::new(link);
        let mut tasks = JoinSet::new();
        for lane in Lane::ALL {
            let core = Arc::clone(&self.core);
            let work = Work { core, index: self.index, lane, generation, agreed };
            tasks.spawn(work.clone().write(Arc::clone(&link)));
            tasks.spawn(work.read(Arc::clone(&link)));
        }
        let mut stopped = self.stopped.clone();
        let (why, next) = tokio::select! {
            why = first_end(&mut tasks) => (why, Next::Reconnect),
            Some(newer) = incoming.recv() => {
                (Closed::Here(CloseReason::Replaced), Next::Use(newer))
            }
            () = outbox.drop_asked(generation) => (Closed::Here(CloseReason::Dropped), Next::Reconnect),
            () = stop(&mut stopped) => {
                outbox.seal();
                self.flush(&mut tasks).await;
                (Closed::Here(CloseReason::Shutdown), Next::Stop)
            }
        };
        match why {
            Closed::Here(reason) => link.close(reason),
            Closed::Violation(_) => link.close(CloseReason::Violation),
            Closed::There(_) | Closed::Silent | Closed::Broken(_) => {}
        }
        tasks.shutdown().await;
        drop(counted);
        outbox.close();
        tracing::debug!(%peer, generation, %why, "disconnected");
        self.core.inbox.lost(self.index, why);
        next
    }

    /// Waits, not for long, until the writers have sent what was queued.
    async fn flush(&self, tasks: &mut JoinSet<End>) {
        let mut writers = Lane::ALL.len();
        let flushed = async {
            while writers > 0 {
                match tasks.join_next().await {
                    Some(Ok(End::Flushed)) => writers = writers.saturating_sub(1),
                    Some(_) | None => return, // the link is over: nothing can be flushed
                }
            }
        };
        if timeout(self.core.config.flush_timeout, flushed).await.is_err() {
            let peer = self.member.id;
            tracing::warn!(%peer, "failed to send all that was queued before the shutdown");
        }
    }
}

/// How a task of a link ended.
enum End {
    Flushed,
    Over(Closed),
}

/// The first reason for which a link is over.
async fn first_end(tasks: &mut JoinSet<End>) -> Closed {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(End::Over(why)) => return why,
            Ok(End::Flushed) => {}
            Err(error) => return Closed::Broken(error.to_string()),
        }
    }
    Closed::Here(CloseReason::Shutdown)
}

/// One lane of one link, one way.
#[derive(Clone)]
struct Work {
    core: Arc<Core>,
    index: usize,
    lane: Lane,
    generation: u64,
    agreed: Agreed,
}

impl Work {
    /// Sends what is queued, as much at once as there is.
    async fn write<L: Link>(self, link: Arc<L>) -> End {
        let Self { core, index, lane, generation, agreed } = self;
        let outbox = core.peers.get(index).expect("sessions and outboxes have the same order");
        let mut wrapper = Wrapper::new(&core.packer, agreed.send);
        let mut batch = VecDeque::new();
        loop {
            match outbox.take(lane, generation, &mut batch).await {
                Taken::Batch { cost } => {
                    let (messages, began) = (batch.len(), Instant::now());
                    let wrapped = wrapper.wrap(&mut batch).await;
                    match link.send_batch(lane, &mut batch).await {
                        Ok(()) => {
                            wrapper.sent(began.elapsed());
                            outbox.release(lane, generation, &Left { messages, cost, wrapped });
                        }
                        Err(LinkError::Closed(why)) => return End::Over(why),
                        Err(error @ LinkError::TooLarge { .. }) => {
                            unreachable!("the outbox has the link's limits: {error}")
                        }
                    }
                }
                Taken::Sealed => {
                    return match link.flush(lane).await {
                        Ok(()) => End::Flushed,
                        Err(why) => End::Over(why),
                    };
                }
                Taken::Closed => return End::Over(Closed::Here(CloseReason::Dropped)),
            }
        }
    }

    /// Reads as long as the owner takes what was read.
    async fn read<L: Link>(self, link: Arc<L>) -> End {
        let Self { core, index, lane, agreed, .. } = self;
        let limit = *link.message_bytes_max().of(lane);
        let (mut came, mut ready) = (VecDeque::new(), VecDeque::new());
        loop {
            if let Err(why) = link.receive_batch(lane, &mut came).await {
                return End::Over(why);
            }
            // In steps, since what came small may be large now.
            while !came.is_empty() {
                match unpack_some(agreed.receive, limit, &mut came, &mut ready).await {
                    Ok(sum) => core.inbox.push(index, lane, &mut ready, sum),
                    Err(error) => return End::Over(Violation::Packed { lane, error }.into()),
                }
                core.inbox.room(index, lane).await;
            }
        }
    }
}

/// Waits for the owner's wish to end, or for the owner's end.
pub(super) async fn stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that every handle is gone, which is the same wish.
    let _wished = stopped.wait_for(|stop| *stop).await.is_ok();
}
