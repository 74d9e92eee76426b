//! Clients with sessions: they number their writes, and send a write again until somebody answers.

use antiphon_proto::{
    CLOSED_AT_ONCE_MAX, Closing, EntryId, Executed, Frame, Kind, LoggedReply, Lsn, SessionEntry,
    SessionId, SessionList, SessionRefusal, SessionWrite, Ticket,
};
use bytes::{Bytes, BytesMut};

use super::{Due, US, World};
use crate::node::Waiting;
use crate::oracle::{Verdict, Violation, ensure};
use crate::work::{Deed, Op, Outcome, Replies, Reply};

/// How often a write is sent before its client lets it be.
const ATTEMPTS_MAX: u32 = 6;

/// What a client knows of its session.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Client {
    pub(super) uses: bool, // whether it has sessions at all
    session: Option<SessionId>,
    next: u64,
}

impl World {
    /// Makes a client's next command one of its session, or the opening of one.
    pub(super) fn in_session(&mut self, op: &mut Op) {
        let stride = self.plan.work.stride.max(1);
        let Some(client) = self.sessions.get_mut(op.client).filter(|client| client.uses) else {
            return;
        };
        if !op.deed.writes() {
            return;
        }
        match client.session {
            Some(session) => {
                op.ticket = Some(Ticket { session, seq: client.next });
                client.next += stride;
            }
            None => {
                op.deed = Deed::Open;
                op.policy = self.config.floor;
            }
        }
    }

    /// A numbered write may arrive twice, and the second time late.
    pub(super) fn duplicate(&mut self, number: usize) {
        let ticket = self.ops.get(number).and_then(|op| op.ticket);
        if ticket.is_some() && self.dice.once.chance(300) {
            let late = self.dice.once.log_range(10, 4 * self.plan.work.patience_us);
            self.queue.push(self.now + late * US, Due::Arrive(number));
        }
    }

    /// Nobody answered a command. One of a session is sent again; of any other, nobody knows.
    pub(super) fn unanswered(&mut self, number: usize) {
        let Some(op) = self.ops.get_mut(number).filter(|op| op.outcome == Outcome::Pending) else {
            return;
        };
        if op.ticket.is_none() || op.attempts >= ATTEMPTS_MAX {
            op.outcome = Outcome::Unknown;
            let client = op.client;
            self.think_later(client);
            return;
        }
        op.attempts += 1;
        self.mark("sent again in its session");
        let pause = self.dice.once.log_range(10, 20_000);
        self.queue.push(self.now + pause * US, Due::Arrive(number));
        self.duplicate(number);
        let patience = self.plan.work.patience_us + pause;
        self.queue.push(self.now + patience * US, Due::GiveUp(number));
    }

    /// The answer to a client: an opening gives it a session.
    pub(super) fn opened(&mut self, number: usize) {
        let done = |op: &&Op| op.deed == Deed::Open && matches!(op.outcome, Outcome::Done(_));
        let Some(op) = self.ops.get(number).filter(done) else { return };
        let session = op.entry.map(SessionId::opened_by);
        if let Some(client) = self.sessions.get_mut(op.client) {
            client.session = session;
            client.next = 1;
        }
        self.mark("session opened");
    }

    /// Whether a numbered write goes on to be executed; else it was answered or refused.
    pub(super) fn is_new(&mut self, at: usize, number: usize) -> Result<bool, Violation> {
        let Some(ticket) = self.ops.get(number).and_then(|op| op.ticket) else { return Ok(true) };
        let Some(process) = self.node(at).process.as_ref() else { return Ok(false) };
        match process.sessions.admit(ticket) {
            Ok(None) => Ok(true),
            Ok(Some(executed)) => {
                self.repeat(at, number, executed)?;
                Ok(false)
            }
            Err(refusal) => {
                self.mark(match refusal {
                    SessionRefusal::Unknown => "session refused",
                    SessionRefusal::TooOld { .. } => "number refused",
                });
                self.not_admitted(number, ticket, refusal);
                Ok(false)
            }
        }
    }

    /// A definite refusal, of this attempt only.
    fn not_admitted(&mut self, number: usize, ticket: Ticket, refusal: SessionRefusal) {
        let Some(op) = self.ops.get(number) else { return };
        let client = op.client;
        if refusal == SessionRefusal::Unknown
            && let Some(client) = self.sessions.get_mut(client)
            && client.session == Some(ticket.session)
        {
            client.session = None;
        }
        let Some(op) = self.ops.get_mut(number).filter(|op| op.outcome == Outcome::Pending) else {
            return;
        };
        op.outcome = if op.entry.is_some() { Outcome::Unknown } else { Outcome::Refused };
        self.think_later(client);
    }

    /// Answers a write that was executed before, as it was then.
    fn repeat(&mut self, at: usize, number: usize, executed: Executed) -> Verdict {
        self.mark(if executed.stable { "repeat of a stable write" } else { "repeat under way" });
        let Some(op) = self.ops.get(number) else { return Ok(()) };
        let (policy, ticket) = (op.policy, op.ticket);
        let Some(bytes) = executed.reply else { return Ok(()) };
        let first = self.first_replies.get(&executed.at);
        ensure!(
            first == Some(&(ticket, bytes.clone())),
            "I13 a repeat gets the first reply",
            "command {number} gets that of {} at {policy}",
            executed.at
        );
        let replies = Replies::decode(&bytes)
            .ok_or_else(|| Violation::new("a kept reply is read", format!("{}", executed.at)))?;
        let dirty = if executed.stable { Lsn::ZERO } else { executed.at.lsn };
        let waiting = Waiting { op: number, entry: Some(executed.at), dirty, replies };
        let node = self.node_mut(at);
        if let Some(process) = node.process.as_mut() {
            process.waiting.push(waiting);
        }
        if let Some(op) = self.ops.get_mut(number) {
            op.entry = Some(executed.at);
        }
        self.release(at)
    }

    /// Puts an executed write in the log, with its name if it has one.
    pub(super) fn propose(
        &mut self,
        at: usize,
        number: usize,
        (bytes, replies): (&[u8], &Replies),
    ) -> Result<EntryId, antiphon_proto::ProposeError> {
        let now = self.now;
        let ticket = self.ops.get(number).and_then(|op| op.ticket);
        let node = self.node_mut(at);
        let wall_ms = node.clock.wall_ms(now);
        let process = node.process.as_mut().expect("the caller saw that it serves");
        let put = |out: &mut BytesMut| out.extend_from_slice(bytes);
        let Some(ticket) = ticket else {
            return process.replica.propose(Kind::Data, wall_ms, bytes.len(), put);
        };
        let reply = Bytes::from(replies.encode());
        let logged = LoggedReply::of(&reply);
        let whole = SessionWrite::head_bytes(logged) + bytes.len();
        let id = process.replica.propose(Kind::SessionData, wall_ms, whole, |out| {
            SessionWrite::put_head(out, ticket, logged);
            put(out);
        })?;
        process.sessions.wrote(ticket, id, Some(reply.clone()));
        self.first_replies.insert(id, (Some(ticket), reply));
        self.mark("executed in a session");
        Ok(id)
    }

    /// Appends the opening of a session.
    pub(super) fn propose_opening(
        &mut self,
        at: usize,
    ) -> Result<EntryId, antiphon_proto::ProposeError> {
        let (now, ttl_ms) = (self.now, self.plan.work.ttl_ms);
        let node = self.node_mut(at);
        let wall_ms = node.clock.wall_ms(now);
        let process = node.process.as_mut().expect("the caller saw that it serves");
        let mut payload = BytesMut::new();
        SessionEntry::Open { ttl_ms }.encode(&mut payload);
        let put = |out: &mut BytesMut| out.extend_from_slice(&payload);
        let id = process.replica.propose(Kind::SessionOpen, wall_ms, payload.len(), put)?;
        process.sessions.opened(id);
        Ok(id)
    }

    /// The primary closes sessions that nobody used for their time.
    pub(super) fn expire_sessions(&mut self, at: usize) {
        let now = self.now;
        let node = self.node_mut(at);
        let wall_ms = node.clock.wall_ms(now);
        let Some(process) = node.process.as_mut().filter(|p| p.replica.is_serving()) else {
            return;
        };
        let expired = process.sessions.expired(wall_ms, CLOSED_AT_ONCE_MAX);
        if expired.is_empty() {
            return;
        }
        let payload = SessionList::encode(&expired, Closing::Expired);
        let put = |out: &mut BytesMut| out.extend_from_slice(&payload);
        // A busy primary looks again with the next command.
        if process.replica.propose(Kind::SessionClose, wall_ms, payload.len(), put).is_ok() {
            process.sessions.closed(&expired);
            self.mark("sessions expired");
            self.flush_soon(at);
        }
    }

    /// A node applies an entry of a session: each number is executed once in the stable log, and
    /// what expires was not used for its time.
    pub(super) fn check_session(&mut self, at: usize, frame: &Frame<'_>) -> Verdict {
        let entry = SessionEntry::decode(frame.header.kind, frame.payload);
        let (id, ms) = (frame.header.id, frame.header.hlc.ms());
        match entry {
            Ok(SessionEntry::Open { ttl_ms }) => {
                self.oracle.session_used(SessionId::opened_by(id), Some(ttl_ms), ms);
                Ok(())
            }
            Ok(SessionEntry::Write(write)) => {
                self.oracle.session_used(write.ticket.session, None, ms);
                self.oracle.executes(write.ticket, id)
            }
            Ok(SessionEntry::Close { sessions, .. }) => {
                sessions.iter().try_for_each(|session| self.oracle.session_expires(session, id, ms))
            }
            Err(error) => {
                Err(Violation::new("payloads decode", format!("n{} {id}: {error}", at + 1)))
            }
        }
    }
}

/// Clients of a plan: which of them use sessions.
pub(super) fn clients(plan: &crate::plan::Plan, dice: &mut crate::rng::Rng) -> Vec<Client> {
    let client = |_| Client { uses: dice.chance(plan.work.sessions), session: None, next: 1 };
    (0..plan.work.clients).map(client).collect()
}

impl Replies {
    /// As they are kept for a retry.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for reply in &self.0 {
            let (kind, bytes) = match reply {
                Reply::Nothing => (0, Vec::new()),
                Reply::Status => (1, Vec::new()),
                Reply::Bytes(bytes) => (2, bytes.clone()),
                Reply::Number(number) => (3, number.to_le_bytes().to_vec()),
                Reply::Error(text) => (4, text.clone().into_bytes()),
            };
            out.push(kind);
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(&bytes);
        }
        out
    }

    fn decode(mut from: &[u8]) -> Option<Self> {
        let mut replies = Vec::new();
        while let [kind, l0, l1, l2, l3, rest @ ..] = from {
            let length = usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])).ok()?;
            let (bytes, rest) = rest.split_at_checked(length)?;
            replies.push(match kind {
                0 => Reply::Nothing,
                1 => Reply::Status,
                2 => Reply::Bytes(bytes.to_vec()),
                3 => Reply::Number(i64::from_le_bytes(bytes.try_into().ok()?)),
                4 => Reply::Error(String::from_utf8_lossy(bytes).into_owned()),
                _ => return None,
            });
            from = rest;
        }
        from.is_empty().then_some(Self(replies))
    }
}
