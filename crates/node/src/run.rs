//! The shard's thread: one task that owns the shard and everything that reaches it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_net::PeerEvents;
use antiphon_proto::{Envelope, Event, Message};
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info};

use crate::calls::SERVED_MAX;
use crate::disk::Done;
use crate::error::Fatal;
use crate::gather::Gather;
use crate::level::Level;
use crate::local::{FRONT, Local, READ_ENTRIES, READ_INDEX};
use crate::machine::Machine;
use crate::mending;

/// Without anything to do, the shard looks around this often.
const IDLE: Duration = Duration::from_millis(100);
/// Events that are taken in one turn, so that none of the others waits for long.
const EVENTS_PER_TURN: usize = 64;
/// How often the acknowledged end is noted in the superblock's hint, and snapshots considered.
const UPKEEP: Duration = Duration::from_secs(1);
/// A stopping node waits this long for its replicas to have what it appended.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs the shard until it is told to stop or must. Returns why it had to.
pub(crate) async fn run<M: Machine>(
    local: Local<M>,
    mut events: PeerEvents,
    mut done: mpsc::UnboundedReceiver<Done>,
    (mut stop, mut front): (watch::Receiver<bool>, JoinHandle<()>),
) -> Option<Fatal> {
    let served = Arc::new(Semaphore::new(SERVED_MAX));
    let mut front_is_done = false;
    with_owner(&local, |owner| {
        owner.step(Event::Start);
        owner.end_turn();
    });
    let mut upkeep = tokio::time::interval(UPKEEP);
    let mut drain_until: Option<tokio::time::Instant> = None;
    let mut gather = Gather::default();
    loop {
        let deadline = with_owner(&local, |owner| owner.next_look(IDLE, gather.deadline()));
        let mut looked = false;
        let turn = &local.inner().turn;
        tokio::select! {
            biased;
            event = events.next() => match event {
                Some(event) => with_owner(&local, |owner| {
                    // What came together is written together.
                    let more = std::iter::from_fn(|| events.try_next()).take(EVENTS_PER_TURN);
                    std::iter::once(event).chain(more).for_each(|event| owner.on_peer(event));
                }),
                None => return Some(Fatal::Links),
            },
            Some(completion) = done.recv() => with_owner(&local, |owner| {
                let more = std::iter::from_fn(|| done.try_recv().ok()).take(EVENTS_PER_TURN);
                std::iter::once(completion).chain(more).for_each(|done| owner.on_done(done));
            }),
            () = turn.notified() => {
                serve_calls(&local, &served);
                mending::begin(&local);
                tell_who_left(&local);
            }
            () = others_ran(), if gather.looks() => looked = true,
            () = tokio::time::sleep_until(deadline) => {
                with_owner(&local, |owner| owner.step(Event::Tick));
            }
            _ = upkeep.tick() => {
                with_owner(&local, crate::owner::Owner::upkeep);
                mending::begin(&local);
            }
            ended = &mut front, if !front_is_done => {
                front_is_done = true;
                if let Err(error) = ended {
                    tracing::error!(%error, "the front of the shard failed");
                    return Some(Fatal::Front);
                }
            }
            _ = stop.wait_for(|stop| *stop), if drain_until.is_none() => {
                info!("stopping");
                drain_until = Some(tokio::time::Instant::now() + DRAIN);
            }
        }
        let fatal = with_owner(&local, |owner| {
            if gather.turn(Instant::now(), looked, owner.gathered()) {
                owner.step(Event::Tick);
            }
            owner.end_turn();
            owner.fatal.clone()
        });
        if fatal.is_some() {
            return fatal;
        }
        if drain_until.is_some_and(|until| is_drained(&local, until, front_is_done)) {
            return None;
        }
    }
}

/// Whether a stopping node has nothing left to wait for, or waited long enough.
fn is_drained<M: Machine>(
    local: &Local<M>,
    until: tokio::time::Instant,
    front_is_done: bool,
) -> bool {
    let drained = front_is_done && with_owner(local, |owner| owner.is_drained());
    let over = drained || tokio::time::Instant::now() >= until;
    if over {
        debug!(drained, "stopped");
    }
    over
}

/// Until the sockets were asked for more, and those that had some ran.
async fn others_ran() {
    // The first lets the runtime look at the sockets, the second lets the tasks run that it woke.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

fn with_owner<M: Machine, R>(
    local: &Local<M>,
    f: impl FnOnce(&mut crate::owner::Owner<M>) -> R,
) -> R {
    f(&mut local.inner().owner.borrow_mut())
}

/// Tells the front which links broke since the last turn.
fn tell_who_left<M: Machine>(local: &Local<M>) {
    let (left, told) =
        with_owner(local, |owner| (std::mem::take(&mut owner.left), owner.on_left.clone()));
    if let Some(told) = told {
        left.into_iter().for_each(|node| told(node));
    }
}

/// Begins the calls of other nodes that came since the last turn.
fn serve_calls<M: Machine>(local: &Local<M>, served: &Arc<Semaphore>) {
    let requests = with_owner(local, |owner| std::mem::take(&mut owner.requests));
    for (from, id, request) in requests {
        let place = Arc::clone(served).try_acquire_owned();
        let local = local.clone();
        tokio::task::spawn_local(async move {
            let answer = match place {
                Ok(_held_until_answered) => answer(&local, from, request).await,
                Err(_too_many) => None,
            };
            with_owner(&local, |owner| {
                let (shard, epoch) = (owner.shard(), owner.replica.config().epoch);
                let message = Message::Answer { id, answer };
                owner.send(from, &Envelope { shard, epoch, message });
            });
        });
    }
}

async fn answer<M: Machine>(
    local: &Local<M>,
    from: antiphon_proto::NodeId,
    request: Bytes,
) -> Option<Bytes> {
    match request.first() {
        Some(&FRONT) => {
            let handler = with_owner(local, |owner| owner.handler.clone())?;
            handler(from, request.slice(1..)).await
        }
        Some(&READ_INDEX) => {
            let view = local.view();
            if !view.serving {
                return None;
            }
            let entry = antiphon_proto::EntryId::new(view.epoch, view.last);
            local.reached(entry, Level::Floor).await.ok()?;
            Some(Bytes::copy_from_slice(&view.last.get().to_le_bytes()))
        }
        Some(&READ_ENTRIES) => mending::answer(local, request.slice(1..)).await,
        Some(_) | None => None,
    }
}
