//! A shard in memory: entries become stable at once, or when a test says so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antiphon::{ApplyError, OnceError, OpenError};
use antiphon_kv::{Engine, Limits};
use antiphon_proto::{
    Batch, BatchBuilder, Chain, Closing, EntryId, Epoch, Executed, Hlc, Kind, LoggedReply, Lsn,
    NodeId, Policy, SessionEntry, SessionId, SessionInfo, SessionList, SessionRefusal,
    SessionWrite, Sessions, ShardId, Ticket, Token,
};
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
    sessions: RefCell<Sessions>,
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
    entries: RefCell<VecDeque<Batch>>, // one frame each
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
            sessions: RefCell::new(Sessions::new(SESSIONS_MAX)),
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
        self.0.sessions.borrow_mut().forget_speculation();
        self.wake();
    }

    /// This node is the primary again, without what was not stable.
    pub(crate) fn promote(&self) {
        self.0.entries.borrow_mut().clear();
        self.0.last.set(self.0.stable.get());
        self.0.held.set(false);
        self.0.lost.set(false);
        self.0.role.set(Role::Primary { serving: true });
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
        for batch in inner.entries.borrow_mut().drain(..) {
            self.apply(&batch).expect("our own payload is decoded");
            for follower in inner.followers.borrow().iter() {
                follower.follow(&batch);
            }
        }
        inner.stable.set(inner.last.get());
        inner.local.set(inner.last.get());
    }

    fn apply(&self, batch: &Batch) -> Result<(), ApplyError> {
        let mut engine = self.0.engine.borrow_mut();
        let mut execute = |frame: &antiphon_proto::Frame<'_>| {
            let applied = engine.apply(frame.header.id.lsn, frame.header.hlc, frame.payload);
            applied.map_err(|error| ApplyError(error.to_string()))
        };
        for frame in batch.frames() {
            if frame.header.kind == Kind::Data {
                execute(&frame)?;
            } else {
                let mut sessions = self.0.sessions.borrow_mut();
                sessions.apply(&frame, |inner, _| execute(inner).map(|()| None))?;
            }
        }
        Ok(())
    }

    /// Appends an entry at the primary.
    fn append(
        &self,
        kind: Kind,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<EntryId, antiphon::ProposeError> {
        let inner = &self.0;
        if let Role::Replica { primary } = inner.role.get() {
            return Err(antiphon::ProposeError::NotPrimary { primary });
        }
        if !inner.room.get() {
            return Err(antiphon::ProposeError::Busy);
        }
        let (epoch, last) = (Epoch::new(inner.epoch.get()), inner.last.get());
        let before = EntryId::new(epoch, Lsn::new(last));
        let mut builder = BatchBuilder::new(ShardId::new(1), before, Chain::ZERO, Hlc::ZERO);
        let entry = builder.push(epoch, kind, now_ms(), write);
        inner.last.set(entry.lsn.get());
        inner.entries.borrow_mut().extend(builder.take());
        Ok(entry)
    }

    /// What was appended becomes stable, unless a test holds it.
    fn appended(&self) {
        if !self.0.held.get() {
            self.settle();
        }
    }

    /// At a replica: an entry is stable.
    fn follow(&self, batch: &Batch) {
        self.0.last.set(batch.last().lsn.get());
        self.0.entries.borrow_mut().push_back(batch.clone());
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

/// Few, so that a test can open them all.
const SESSIONS_MAX: usize = 3;

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
        let checked = |out: &mut BytesMut| {
            let before = out.len();
            write(out);
            assert_eq!(out.len() - before, bytes, "the length was told beforehand");
        };
        let entry = self.append(Kind::Data, checked)?;
        self.appended();
        Ok(entry)
    }

    fn admit(&self, ticket: Ticket) -> Result<Option<Executed>, SessionRefusal> {
        self.0.sessions.borrow().admit(ticket)
    }

    fn propose_once(
        &self,
        (ticket, reply): (Ticket, LoggedReply<'_>),
        _bytes: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<EntryId, ProposeError> {
        let entry = self.append(Kind::SessionData, |out| {
            SessionWrite::put_head(out, ticket, reply);
            write(out);
        })?;
        let kept = match reply {
            LoggedReply::Kept(bytes) => Some(Bytes::copy_from_slice(bytes)),
            LoggedReply::TooLong | LoggedReply::ByMachine => None,
        };
        self.0.sessions.borrow_mut().wrote(ticket, entry, kept);
        self.appended();
        Ok(entry)
    }

    fn open_session(&self, ttl_ms: u64) -> Result<EntryId, OpenError> {
        if !self.0.sessions.borrow().has_room() {
            return Err(OpenError::Full);
        }
        let open = SessionEntry::Open { ttl_ms };
        let entry = self.append(Kind::SessionOpen, |out| open.encode(out))?;
        self.0.sessions.borrow_mut().opened(entry);
        self.appended();
        Ok(entry)
    }

    fn close_session(&self, session: SessionId) -> Result<EntryId, OnceError> {
        if !self.0.sessions.borrow().is_open(session) {
            return Err(SessionRefusal::Unknown.into());
        }
        let payload = SessionList::encode(&[session], Closing::Asked);
        let entry = self.append(Kind::SessionClose, |out| out.extend_from_slice(&payload))?;
        self.0.sessions.borrow_mut().closed(&[session]);
        self.appended();
        Ok(entry)
    }

    fn session(&self, session: SessionId) -> Option<SessionInfo> {
        self.0.sessions.borrow().info(session)
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
