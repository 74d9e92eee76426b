//! A shard in memory: entries become stable at once, or when a test says so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antiphon_kv::{Engine, Limits};
use antiphon_proto::{EntryId, Epoch, Hlc, Lsn, NodeId, Policy, ShardId, Token};
use antiphon_server::shard::{
    CallError, Counts, Fate, Lost, ProposeError, Role, Shard, Status, View,
};
use antiphon_server::{Level, Server};
use bytes::{Bytes, BytesMut};

pub(crate) const PRIMARY: NodeId = NodeId::new(1);
pub(crate) const REPLICA: NodeId = NodeId::new(2);

/// The shard. A clone is another handle to it.
#[derive(Clone)]
pub(crate) struct Fake(Rc<Inner>);

struct Inner {
    engine: RefCell<Engine>,
    role: Cell<Role>,
    epoch: Cell<u64>,
    last: Cell<u64>,
    /// Entries up to here have reached every level.
    stable: Cell<u64>,
    /// Entries up to here are on the primary's disk, and no further.
    local: Cell<u64>,
    held: Cell<bool>,
    lost: Cell<bool>,
    enough: Cell<bool>,
    room: Cell<bool>,
    entries: RefCell<VecDeque<(u64, Hlc, Vec<u8>)>>,
    wakers: RefCell<Vec<Waker>>,
    peer: RefCell<Option<Rc<Server<Fake>>>>,
    followers: RefCell<Vec<Fake>>,
}

impl Fake {
    /// A primary whose entries are stable at once.
    pub(crate) fn primary() -> Self {
        Self::new(Role::Primary { serving: true })
    }

    /// A replica of `primary`, which applies what the primary finds stable.
    pub(crate) fn replica_of(primary: &Self) -> Self {
        let replica = Self::new(Role::Replica { primary: Some(PRIMARY) });
        primary.0.followers.borrow_mut().push(replica.clone());
        replica
    }

    fn new(role: Role) -> Self {
        Self(Rc::new(Inner {
            engine: RefCell::new(Engine::new(7, Limits::default())),
            role: Cell::new(role),
            epoch: Cell::new(1),
            last: Cell::new(0),
            stable: Cell::new(0),
            local: Cell::new(0),
            held: Cell::new(false),
            lost: Cell::new(false),
            enough: Cell::new(true),
            room: Cell::new(true),
            entries: RefCell::default(),
            wakers: RefCell::default(),
            peer: RefCell::default(),
            followers: RefCell::default(),
        }))
    }

    /// From now on entries become stable when [`Self::release`] says so.
    pub(crate) fn hold(&self) {
        self.0.held.set(true);
    }

    /// Everything appended so far is on the primary's disk.
    pub(crate) fn sync(&self) {
        self.0.local.set(self.0.last.get());
        self.wake();
    }

    /// Everything appended so far is stable.
    pub(crate) fn release(&self) {
        self.settle();
        self.wake();
    }

    /// Entries wait to become stable.
    pub(crate) fn waiting(&self) -> u64 {
        self.0.last.get() - self.0.stable.get()
    }

    /// This node is not the primary any more; what is not stable is lost.
    pub(crate) fn demote(&self) {
        self.0.role.set(Role::Replica { primary: None });
        self.0.epoch.set(self.0.epoch.get() + 1);
        self.0.lost.set(true);
        self.0.engine.borrow_mut().forget_speculation();
        self.wake();
    }

    /// The configuration changes, the primary stays.
    pub(crate) fn next_epoch(&self) {
        self.0.epoch.set(self.0.epoch.get() + 1);
    }

    /// Whether there are members enough for any policy.
    pub(crate) fn set_enough(&self, enough: bool) {
        self.0.enough.set(enough);
    }

    /// Whether there is room for more writes.
    pub(crate) fn set_room(&self, room: bool) {
        self.0.room.set(room);
        self.wake();
    }

    /// Where this shard's calls go.
    pub(crate) fn set_peer(&self, peer: Option<Rc<Server<Self>>>) {
        *self.0.peer.borrow_mut() = peer;
    }

    fn settle(&self) {
        let inner = &self.0;
        for (lsn, hlc, payload) in inner.entries.borrow_mut().drain(..) {
            let mut engine = inner.engine.borrow_mut();
            engine.apply(Lsn::new(lsn), hlc, &payload).expect("our own payload is decoded");
            for follower in inner.followers.borrow().iter() {
                follower.follow(lsn, hlc, &payload);
            }
        }
        inner.stable.set(inner.last.get());
        inner.local.set(inner.last.get());
    }

    /// At a replica: an entry is stable.
    fn follow(&self, lsn: u64, hlc: Hlc, payload: &[u8]) {
        self.0.last.set(lsn);
        self.0.entries.borrow_mut().push_back((lsn, hlc, payload.to_vec()));
        if !self.0.held.get() {
            self.release();
        }
    }

    fn wake(&self) {
        self.0.wakers.borrow_mut().drain(..).for_each(Waker::wake);
    }

    fn wait(&self, cx: &Context<'_>) {
        self.0.wakers.borrow_mut().push(cx.waker().clone());
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(now.as_millis()).expect("this century")
}

impl Shard for Fake {
    fn with<R>(&self, f: impl FnOnce(&mut Engine) -> R) -> R {
        f(&mut self.0.engine.borrow_mut())
    }

    fn view(&self) -> View {
        let inner = &self.0;
        let role = inner.role.get();
        View {
            role,
            me: if matches!(role, Role::Primary { .. }) { PRIMARY } else { REPLICA },
            shard: ShardId::new(1),
            epoch: Epoch::new(inner.epoch.get()),
            last: Lsn::new(inner.last.get()),
            durable: Lsn::new(inner.local.get()),
            stable: Lsn::new(inner.stable.get()),
            applied: Lsn::new(inner.stable.get()),
            now_ms: now_ms(),
            // A replica that is level shows the time that passes, as heartbeats let it.
            applied_hlc: Hlc::from_ms(now_ms()),
        }
    }

    fn meets(&self, _level: Level) -> bool {
        self.0.enough.get()
    }

    fn propose(
        &self,
        bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<EntryId, ProposeError> {
        let inner = &self.0;
        if let Role::Replica { primary } = inner.role.get() {
            return Err(ProposeError::NotPrimary { primary });
        }
        if !inner.room.get() {
            return Err(ProposeError::Busy);
        }
        let mut payload = BytesMut::new();
        write(&mut payload);
        assert_eq!(payload.len(), bytes, "the length was told beforehand");
        let lsn = inner.last.get() + 1;
        inner.last.set(lsn);
        inner.entries.borrow_mut().push_back((lsn, Hlc::from_ms(now_ms()), payload.to_vec()));
        if !inner.held.get() {
            self.settle();
        }
        Ok(EntryId::new(Epoch::new(inner.epoch.get()), Lsn::new(lsn)))
    }

    fn poll_reached(
        &self,
        cx: &mut Context<'_>,
        entry: EntryId,
        level: Level,
    ) -> Poll<Result<(), Lost>> {
        let inner = &self.0;
        let reached =
            if level == Level::At(Policy::Local) { inner.local.get() } else { inner.stable.get() };
        if entry.lsn.get() <= reached {
            return Poll::Ready(Ok(()));
        }
        if inner.lost.get() {
            return Poll::Ready(Err(Lost));
        }
        self.wait(cx);
        Poll::Pending
    }

    fn poll_applied(&self, cx: &mut Context<'_>, lsn: Lsn) -> Poll<()> {
        if lsn.get() <= self.0.stable.get() && self.0.room.get() {
            return Poll::Ready(());
        }
        self.wait(cx);
        Poll::Pending
    }

    fn fate(&self, token: Token) -> Fate {
        match token.entry.lsn.get() {
            lsn if lsn > self.0.last.get() => Fate::Unknown,
            lsn if lsn <= self.0.stable.get() => Fate::Stable,
            _ if self.0.lost.get() => Fate::Lost,
            _ => Fate::Pending,
        }
    }

    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Bytes, CallError>> + 'static {
        assert_eq!(to, PRIMARY, "calls go to the primary");
        let peer = self.0.peer.borrow().clone();
        async move {
            let peer = peer.ok_or(CallError::NotSent)?;
            let answer = tokio::time::timeout(deadline, peer.serve_peer(REPLICA, request));
            match answer.await {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(_)) => Err(CallError::Refused),
                Err(_) => Err(CallError::NoAnswer),
            }
        }
    }

    fn counts(&self, entry: EntryId) -> Counts {
        let there = usize::from(entry.lsn.get() <= self.0.stable.get());
        Counts { received: there, durable: there }
    }

    fn status(&self) -> Status {
        Status {
            primary: matches!(self.0.role.get(), Role::Primary { .. }),
            serving: true,
            last: Lsn::new(self.0.last.get()),
            ..Status::default()
        }
    }

    fn snapshot(&self) -> bool {
        true
    }

    fn shutdown(&self) {}
}
