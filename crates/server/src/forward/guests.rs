//! At the primary: clients of replicas, each a guest for as long as one request takes.
//!
//! What outlives a request is the set of keys that a guest watches. It is bounded, and dropped
//! when the guest is idle or its node is gone; a transaction that relied on it is then refused.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use antiphon_kv::WatcherId;
use antiphon_proto::{Epoch, NodeId};
use bytes::{Buf, Bytes, BytesMut};

use super::encode_words;
use super::wire::{Request, Response, Want, WireError};
use crate::core::{Call, Core, Flow};
use crate::resp::request::{Cut, Limits, Parser};
use crate::server::Server;
use crate::shard::Shard;
use crate::timer::Timer;
use crate::transaction::{FORGOTTEN, Transaction, Watch};

/// Guests that watch keys.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    watching: RefCell<BTreeMap<(NodeId, u64), Guest>>,
    serving: Cell<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Guest {
    watcher: u64,
    epoch: Epoch,
    used: Instant,
}

/// Guests that watch keys at once. Past that, the one idle for longest is dropped.
const WATCHING_MAX: usize = 4096;
/// Requests that are served at once; more are refused.
const SERVING_MAX: usize = 16_384;
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Why a request of another node is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// It is not a request that this version knows.
    #[error("malformed request for a client of another node")]
    Malformed,
    /// Too many are being served.
    #[error("too many requests for clients of other nodes")]
    Busy,
}

impl From<WireError> for GuestError {
    fn from(_: WireError) -> Self {
        Self::Malformed
    }
}

impl<S: Shard> Server<S> {
    /// Answers a request that the node `peer` makes for one of its clients.
    ///
    /// # Errors
    /// When nothing was done.
    pub async fn serve_peer(
        self: Rc<Self>,
        peer: NodeId,
        request: Bytes,
    ) -> Result<Bytes, GuestError> {
        let request = Request::decode(request)?;
        self.drop_idle(Instant::now());
        if request.want == Want::Forget {
            self.drop_guests(|key, _| *key == (peer, request.session));
            return Ok(
                Response { db: request.terms.db, token: None, replies: Bytes::new() }.encode()
            );
        }
        if self.guests.serving.get() >= SERVING_MAX {
            return Err(GuestError::Busy);
        }
        self.guests.serving.set(self.guests.serving.get() + 1);
        let response = Rc::clone(&self).serve_guest(peer, request).await;
        self.guests.serving.set(self.guests.serving.get() - 1);
        response
    }

    /// The node `peer` is not connected any more: its clients' watched keys are forgotten.
    pub fn peer_left(&self, peer: NodeId) {
        self.drop_guests(|key, _| key.0 == peer);
    }

    async fn serve_guest(
        self: Rc<Self>,
        peer: NodeId,
        request: Request,
    ) -> Result<Bytes, GuestError> {
        let key = (peer, request.session);
        let guest = self.guests.watching.borrow().get(&key).copied();
        let id = guest.map_or_else(|| self.next_id(), |guest| guest.watcher);
        let mut core = Core::guest(Rc::clone(&self), id);
        core.client.db.set(request.terms.db);
        core.client.proto.set(request.terms.proto);
        core.policy = Some(request.terms.level);
        core.policy_timeout = Some(request.terms.timeout);
        core.token = request.token;
        core.bound = request.terms.bound;
        core.watch = guest.map_or(Watch::None, |guest| Watch::Here { epoch: guest.epoch });
        let mut visit = Visit { core, input: request.commands, parser: Parser::default() };
        if let Want::Transaction { watching, seq } = request.want {
            if watching && guest.is_none() {
                visit.core.reply().error(FORGOTTEN);
                visit.input.clear();
            } else {
                visit.transaction(seq)?;
            }
        }
        let mut timer = Timer::default();
        poll_fn(|cx| visit.poll(cx, &mut timer)).await?;
        let core = visit.core;
        self.remember(key, &core);
        let replies = Bytes::copy_from_slice(core.replies.ready());
        Ok(Response { db: core.client.db.get(), token: core.token, replies }.encode())
    }

    /// Keeps what a guest watches until its next request.
    fn remember(&self, key: (NodeId, u64), core: &Core<S>) {
        let mut watching = self.guests.watching.borrow_mut();
        let Watch::Here { epoch } = core.watch else {
            watching.remove(&key);
            return;
        };
        let guest = Guest { watcher: core.client.id, epoch, used: Instant::now() };
        watching.insert(key, guest);
        if watching.len() > WATCHING_MAX {
            let oldest = watching.iter().min_by_key(|(_, guest)| guest.used);
            let oldest = oldest.map(|(key, _)| *key);
            drop(watching);
            self.drop_guests(|key, _| Some(*key) == oldest);
        }
    }

    fn drop_idle(&self, now: Instant) {
        self.drop_guests(|_, guest| now.saturating_duration_since(guest.used) > IDLE_MAX);
    }

    fn drop_guests(&self, gone: impl Fn(&(NodeId, u64), &Guest) -> bool) {
        self.guests.watching.borrow_mut().retain(|key, guest| {
            let gone = gone(key, guest);
            if gone {
                self.shard.with(|engine| engine.unwatch(WatcherId::new(guest.watcher)));
            }
            !gone
        });
    }
}

/// One request of a guest while it is served.
struct Visit<S: Shard> {
    core: Core<S>,
    input: Bytes,
    parser: Parser,
}

impl<S: Shard> Visit<S> {
    /// Ready when all commands ran and all replies may leave.
    fn poll(&mut self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<Result<(), GuestError>> {
        loop {
            let now = Instant::now();
            let ran = self.run(now)?;
            let moved = self.core.poll(cx, now);
            let waits = self.core.blocked.is_some() || self.core.replies.waiting() > 0;
            if self.input.is_empty() && !waits {
                return Poll::Ready(Ok(()));
            }
            let fired = timer.poll(cx, self.core.deadline());
            if !ran && !moved && !fired {
                return Poll::Pending;
            }
        }
    }

    fn run(&mut self, now: Instant) -> Result<bool, GuestError> {
        let mut ran = false;
        while !self.input.is_empty() && self.core.blocked.is_none() {
            let Some(bytes) = self.cut()? else { return Err(GuestError::Malformed) };
            let args: Vec<&[u8]> = self.parser.iter(&self.input).collect();
            if self.core.execute(&Call { args: &args, now }) == Flow::Done {
                drop(args);
                self.input.advance(bytes);
            }
            ran = true;
        }
        Ok(ran)
    }

    /// Queues all commands and executes them as one.
    fn transaction(&mut self, seq: Option<u64>) -> Result<(), GuestError> {
        let now = Instant::now();
        let mark = self.core.replies.begin();
        self.core.transaction = Some(Transaction::default());
        self.run(now)?;
        self.core.replies.rewind(mark);
        let mut exec = BytesMut::new();
        match seq {
            None => encode_words(&mut exec, &[b"EXEC"]),
            Some(seq) => encode_words(&mut exec, &[b"XSEQ", seq.to_string().as_bytes(), b"EXEC"]),
        }
        self.input = exec.freeze();
        self.run(now)?;
        Ok(())
    }

    fn cut(&mut self) -> Result<Option<usize>, GuestError> {
        let limits = Limits { bulk_bytes_max: usize::MAX, authenticated: true };
        match self.parser.cut(&self.input, &limits) {
            Ok(Cut::Command { bytes }) => Ok(Some(bytes)),
            Ok(Cut::Nothing { .. } | Cut::More) => Ok(None),
            Err(_) => Err(GuestError::Malformed),
        }
    }
}
