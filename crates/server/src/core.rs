//! One connection's state and what a command does to it, without the socket.
//!
//! The same machine answers a client on a socket and, at the primary, a client of a replica whose
//! writes are handed on.

use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use antiphon::Level;
use antiphon_kv::{Command, Db, Flags, Pending, Runs, Session};
use antiphon_proto::{Lsn, SessionId, Ticket, Token};

use crate::blocked::Blocked;
use crate::client::Client;
use crate::commands;
use crate::forward::Gathered;
use crate::replies::{Mark, Replies};
use crate::resp::request::Parser;
use crate::resp::{Proto, Writer};
use crate::server::Server;
use crate::shard::{Role, Shard};
use crate::table;
use crate::transaction::{Transaction, Watch};

/// One connection, or one guest of a replica.
pub(crate) struct Core<S: Shard> {
    pub(crate) server: Rc<Server<S>>,
    pub(crate) client: Rc<Client>,
    pub(crate) replies: Replies,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) executing: Option<Effects>, // within EXEC, where nothing waits
    pub(crate) watch: Watch,
    pub(crate) policy: Option<Level>,
    pub(crate) policy_timeout: Option<Duration>,
    pub(crate) token: Option<Token>, // the last write, here or handed on
    pub(crate) forwarded: Option<Token>, // the last write that was handed on: reads here see it
    pub(crate) bound: Option<SessionId>, // where `XSEQ` writes
    pub(crate) once: Option<Ticket>, // the name of the write that runs now, if it has one
    pub(crate) answer: Answer,
    pub(crate) gathered: Gathered,
    pub(crate) blocked: Option<Blocked>,
    pub(crate) closing: bool,
    pub(crate) guest: bool,
    pub(crate) pending: Pending,
    pub(crate) no_room: bool, // waited for room in vain: refuse the next write
    last: Option<&'static Command>,
}

/// What the commands of a transaction did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effects {
    /// One of them has effects.
    pub(crate) wrote: bool,
    /// The newest unstable entry that their replies rest on.
    pub(crate) dirty: Lsn,
}

/// `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    On,
    Off,
    /// Not to the next command; then on.
    Skip,
    /// Not to this command; then on.
    Skipping,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It ran, or is blocked within.
    Done,
    /// It must be tried again when the connection is not blocked any more.
    Again,
}

/// One command as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Its words.
    pub(crate) args: &'a [&'a [u8]],
    /// When its turn came.
    pub(crate) now: Instant,
}

impl<'a> Call<'a> {
    /// The word at `index`; empty when there is none, which arity excludes.
    pub(crate) fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index).copied().unwrap_or_default()
    }
}

impl<S: Shard> Core<S> {
    /// A connection that said nothing yet.
    pub(crate) fn new(server: Rc<Server<S>>, client: Rc<Client>) -> Self {
        Self {
            server,
            client,
            replies: Replies::default(),
            transaction: None,
            executing: None,
            watch: Watch::None,
            policy: None,
            policy_timeout: None,
            token: None,
            forwarded: None,
            bound: None,
            once: None,
            answer: Answer::On,
            gathered: Gathered::default(),
            blocked: None,
            closing: false,
            guest: false,
            pending: Pending::new(),
            no_room: false,
            last: None,
        }
    }

    /// A guest: a client of another node, for one request of it.
    pub(crate) fn guest(server: Rc<Server<S>>, id: u64) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let client = Client::new(id, nowhere, nowhere, Instant::now());
        client.known.set(true);
        Self { guest: true, ..Self::new(server, client) }
    }

    /// Runs one command.
    pub(crate) fn execute(&mut self, call: &Call<'_>) -> Flow {
        let Some(name) = call.args.first() else { return Flow::Done };
        if !self.gathered.is_empty() && !self.joins(call) {
            self.send_gathered();
            return Flow::Again;
        }
        let command = match self.last {
            Some(last) if last.name.as_bytes().eq_ignore_ascii_case(name) => last,
            _ => match Command::find(name) {
                Some(command) => command,
                None => {
                    self.reject_bytes(&table::unknown(call.args), None);
                    return Flow::Done;
                }
            },
        };
        self.last = Some(command);
        if let Err(fault) = command.check_arity(call.args.len()) {
            self.reject(fault.text(), Some(command));
            return Flow::Done;
        }
        if !self.client.known.get() && !command.flags.has(Flags::NO_AUTH) {
            self.reject("NOAUTH Authentication required.", Some(command));
            return Flow::Done;
        }
        self.admit(command, call)
    }

    /// Queues a command of a transaction, lets it wait for what it needs, or runs it.
    fn admit(&mut self, command: &'static Command, call: &Call<'_>) -> Flow {
        if self.transaction.is_some() && !commands::within_transaction(command) {
            if command.flags.has(Flags::NO_MULTI) {
                self.reject("ERR Command not allowed inside a transaction", Some(command));
            } else {
                self.queue(command, call);
            }
            return Flow::Done;
        }
        if let Some(blocked) = self.must_wait(command, call) {
            self.blocked = Some(blocked);
            return Flow::Again;
        }
        let mark = self.replies.begin();
        let before = self.answer;
        if before == Answer::Skip {
            self.answer = Answer::Skipping;
        }
        let flow = self.run(command, call);
        self.client.command.set(command.name);
        if before != Answer::On {
            self.suppress(mark, flow);
        }
        flow
    }

    /// Runs a command that is neither refused nor queued, and counts it.
    pub(crate) fn run(&mut self, command: &'static Command, call: &Call<'_>) -> Flow {
        let mark = self.replies.begin();
        let flow = match command.runs {
            Runs::Keys(_) => self.run_keys(command, call),
            Runs::Session(session) => commands::run(self, session, command, call),
        };
        if flow == Flow::Again {
            return flow;
        }
        self.server.stats.commands.add(1);
        let failed = self.replies.is_error(mark);
        if failed {
            self.server.note_error(self.replies.since(mark));
        }
        if let Some(stats) = self.server.stats.by_command.get(table::index(command)) {
            stats.calls.add(1);
            if failed {
                stats.failed.add(1);
            }
        }
        flow
    }

    /// Counts the time since `before` for the command that ran last; returns the time now.
    pub(crate) fn timed(&self, parser: &Parser, input: &[u8], before: Instant) -> Instant {
        let now = Instant::now();
        let took = now.saturating_duration_since(before);
        let Some(command) = self.last else { return now };
        if let Some(stats) = self.server.stats.by_command.get(table::index(command)) {
            stats.took(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
        let limit = self.server.live.slower_than_us.get();
        let slow = u128::try_from(limit).is_ok_and(|limit| took.as_micros() >= limit);
        if slow && !command.flags.has(Flags::SKIP_SLOWLOG) {
            let at_s = self.server.shard.view().now_ms / 1000;
            let kept = self.server.live.slow_entries_max.get();
            let args: Vec<&[u8]> = parser.iter(input).collect();
            self.server.slow.borrow_mut().note(&self.client, &args, took, (at_s, kept));
        }
        now
    }

    /// What the command must wait for before it may run.
    fn must_wait(&self, command: &Command, call: &Call<'_>) -> Option<Blocked> {
        if self.server.pause.get().is_some()
            && let Some(pause) = self.server.paused(call.now)
            && (command.is_write() || !pause.writes_only)
            && !self.guest
            && !matches!(command.runs, Runs::Session(Session::Client))
        {
            return Some(Blocked::Pause { until: pause.until });
        }
        let lsn = self.forwarded?.entry.lsn;
        let reads = matches!(command.runs, Runs::Keys(_)) && !command.is_write();
        let behind = reads && self.server.shard.view().applied < lsn;
        behind.then(|| Blocked::Applied { lsn, until: call.now + self.timeout() })
    }

    /// How far a write of this connection must come before its reply leaves.
    pub(crate) fn level(&self) -> Level {
        self.policy.unwrap_or_else(|| self.server.live.policy.get())
    }

    /// How long a write of this connection waits for that.
    pub(crate) fn timeout(&self) -> Duration {
        self.policy_timeout.unwrap_or_else(|| self.server.live.policy_timeout.get())
    }

    /// A writer of the next reply.
    pub(crate) fn reply(&mut self) -> Writer<'_> {
        self.replies.writer(self.client.proto.get())
    }

    /// Whether writes are made here.
    pub(crate) fn is_primary(&self) -> bool {
        matches!(self.server.shard.view().role, Role::Primary { .. })
    }

    /// Refuses a command before it runs; an open transaction will not execute any more.
    pub(crate) fn reject(&mut self, text: &str, command: Option<&'static Command>) {
        let exec = command.is_some_and(|command| command.runs == Runs::Session(Session::Exec));
        if exec {
            self.discard();
            let why = text.strip_prefix("ERR ").unwrap_or(text);
            let text = format!("EXECABORT Transaction discarded because of: {why}");
            self.reject_bytes(text.as_bytes(), command);
        } else {
            self.reject_bytes(text.as_bytes(), command);
        }
    }

    fn reject_bytes(&mut self, text: &[u8], command: Option<&'static Command>) {
        if let Some(transaction) = &mut self.transaction {
            transaction.spoil();
        }
        self.server.note_error(&[b"-", text].concat());
        let stats = command.and_then(|c| self.server.stats.by_command.get(table::index(c)));
        if let Some(stats) = stats {
            stats.rejected.add(1);
        }
        let mark = self.replies.begin();
        self.reply().error_bytes(text);
        if self.answer == Answer::Skip {
            self.answer = Answer::Skipping;
        }
        self.suppress(mark, Flow::Done);
    }

    /// The reply to a command that was queued, unless the client wants none.
    pub(crate) fn queued(&mut self) {
        let mark = self.replies.begin();
        self.reply().simple("QUEUED");
        if self.answer == Answer::Skip {
            self.answer = Answer::Skipping;
        }
        self.suppress(mark, Flow::Done);
    }

    /// Takes back a reply that the client does not want; that of `CLIENT REPLY ON` stays.
    fn suppress(&mut self, mark: Mark, flow: Flow) {
        if self.answer == Answer::On {
            return;
        }
        self.replies.silence(mark);
        if self.answer == Answer::Skipping {
            self.answer = if flow == Flow::Again { Answer::Skip } else { Answer::On };
        }
    }

    /// Moves whatever waits within this connection; true when something moved.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let released = self.replies.release(cx, &self.server.shard, now, &self.server.stats);
        let unblocked = self.blocked.is_some() && self.poll_blocked(cx, now) == Poll::Ready(());
        released || unblocked
    }

    /// When [`Self::poll`] has something to do at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let blocked = self.blocked.as_ref().and_then(Blocked::deadline);
        match (blocked, self.replies.deadline()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Back to the state of a fresh connection, as `RESET` asks.
    pub(crate) fn reset(&mut self) {
        self.discard();
        self.answer = Answer::On;
        self.policy = None;
        self.policy_timeout = None;
        self.bound = None;
        self.client.db.set(Db::default());
        self.client.proto.set(Proto::Two);
        self.client.name.borrow_mut().clear();
        self.client.no_evict.set(false);
        self.client.no_touch.set(false);
        if self.server.config.password.is_some() && self.client.known.replace(false) {
            self.server.strangers.set(self.server.strangers.get() + 1);
        }
    }
}
