//! Commands on keys: executed by the engine, appended to the log, answered when that is due.

use std::rc::Rc;
use std::time::Instant;

use antiphon::Level;
use antiphon_kv::{Command, Context, Outcome};
use antiphon_proto::{EntryId, LoggedReply, Lsn, Token};
use bytes::BytesMut;

use crate::blocked::Blocked;
use crate::commands::once;
use crate::core::{Call, Core, Effects, Flow};
use crate::replies::{Mark, Wait};
use crate::shard::{ProposeError, Role, Shard, View};

/// What a client of a replica is told that does not hand writes on.
pub(crate) const READ_ONLY: &str = "READONLY You can't write against a read only replica.";
/// What a client is told whose policy cannot be met now.
pub(crate) const NO_REPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
/// What a client is told while nothing is served yet.
pub(crate) const NOT_SERVING: &str = "LOADING this primary does not serve yet";

impl<S: Shard> Core<S> {
    /// Runs a command of the engine here, or hands it on to the primary.
    pub(crate) fn run_keys(&mut self, command: &'static Command, call: &Call<'_>) -> Flow {
        let view = self.server.shard.view();
        match view.role {
            Role::Primary { serving: true } => self.run_at_primary(command, call, &view),
            Role::Primary { serving: false } => {
                self.reply().error(NOT_SERVING);
                Flow::Done
            }
            Role::Replica { .. } if command.is_write() => self.hand_on(call),
            Role::Replica { .. } => {
                self.engine(command, call, view.applied_hlc.ms());
                Flow::Done
            }
        }
    }

    fn run_at_primary(&mut self, command: &Command, call: &Call<'_>, view: &View) -> Flow {
        let mark = self.replies.begin();
        let outcome = self.engine(command, call, view.now_ms);
        let Outcome { wrote, dirty, .. } = outcome;
        if let Some(so_far) = &mut self.executing {
            so_far.wrote |= wrote;
            so_far.dirty = so_far.dirty.max(dirty);
            return Flow::Done;
        }
        self.finish(mark, Effects { wrote, dirty }, call.now)
    }

    /// Executes a command; its effects are pending afterwards.
    fn engine(&mut self, command: &Command, call: &Call<'_>, now_ms: u64) -> Outcome {
        let Self { server, client, replies, pending, .. } = self;
        let mut out = replies.writer(client.proto.get());
        let mut random = || server.draw();
        let db = client.db.get();
        server.shard.with(|engine| {
            let mut context = Context { db, now_ms, random: &mut random, pending };
            engine.execute(&mut context, command, call.args, &mut out)
        })
    }

    /// Appends what is pending, and lets the reply since `mark` wait for what it rests on.
    pub(crate) fn finish(&mut self, mark: Mark, did: Effects, now: Instant) -> Flow {
        // A session's write is logged for its reply even when it changed nothing.
        if did.wrote || self.once.is_some() {
            return match self.append(mark, now) {
                Ok(wait) => {
                    self.replies.hold(mark, wait);
                    Flow::Done
                }
                Err(refused) => self.not_appended(mark, refused, now),
            };
        }
        if did.dirty > Lsn::ZERO {
            let view = self.server.shard.view();
            let token = Token { shard: view.shard, entry: EntryId::new(view.epoch, did.dirty) };
            let deadline = now + self.timeout();
            let level = Level::Floor;
            self.replies.hold(mark, Wait { token, level, deadline, since: now, write: false });
        }
        Flow::Done
    }

    /// Appends what is pending as one entry.
    fn append(&mut self, mark: Mark, now: Instant) -> Result<Wait, ProposeError> {
        let level = self.level();
        let server = Rc::clone(&self.server);
        if !server.shard.meets(level) {
            return Err(ProposeError::NoReplicas);
        }
        if !self.pending.fits() {
            return Err(ProposeError::TooLarge);
        }
        let (bytes, write) =
            (self.pending.payload_bytes(), |payload: &mut BytesMut| self.pending.write(payload));
        let entry = match self.once {
            None => server.shard.propose(bytes, write)?,
            Some(ticket) => {
                let kept = once::kept(self.client.proto.get(), self.replies.since(mark));
                server.shard.propose_once((ticket, LoggedReply::of(&kept)), bytes, write)?
            }
        };
        server.shard.with(|engine| engine.commit(entry.lsn, &mut self.pending));
        let token = Token { shard: server.shard.view().shard, entry };
        self.token = Some(token);
        Ok(Wait { token, level, deadline: now + self.timeout(), since: now, write: true })
    }

    /// Nothing was written: takes the reply back, and waits for room or tells why.
    fn not_appended(&mut self, mark: Mark, refused: ProposeError, now: Instant) -> Flow {
        self.pending.clear();
        self.replies.rewind(mark);
        let text = match refused {
            ProposeError::NotPrimary { .. } => READ_ONLY,
            ProposeError::NoReplicas => NO_REPLICAS,
            ProposeError::TooLarge => "ERR write exceeds maximum allowed size of one entry",
            ProposeError::Busy if self.no_room => "TRYAGAIN too many writes are in flight",
            ProposeError::Busy => {
                let lsn = self.server.shard.view().applied.next();
                self.blocked = Some(Blocked::Room { lsn, until: now + self.timeout() });
                return Flow::Again;
            }
        };
        self.no_room = false;
        self.reply().error(text);
        Flow::Done
    }
}
