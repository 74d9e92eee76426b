//! Writes at a replica: handed on to the primary, whose replies come back as they are.
//!
//! Commands that came together travel together. Until their replies are back the connection runs
//! nothing else, so order is kept; afterwards its reads here wait for what it wrote there.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use antiphon_kv::{Command, Runs, Session};
use antiphon_proto::NodeId;
use bytes::{Bytes, BytesMut};

use crate::blocked::Blocked;
use crate::commands::once;
use crate::core::{Answer, Call, Core, Flow};
use crate::keys::READ_ONLY;
use crate::resp::reply::Scanner;
use crate::resp::{Proto, Writer};
use crate::shard::{CallError, Role, Shard};
use crate::transaction::{Transaction, Watch};

mod guests;
mod wire;

pub use guests::GuestError;
pub(crate) use guests::Guests;
use wire::{Request, Response, Terms, Want};

/// Time that the primary gets beyond the policy's own. Its answer says more than our giving up.
const SLACK: Duration = Duration::from_secs(2);
const GATHERED_BYTES_MAX: usize = 1 << 20;
const GATHERED_COUNT_MAX: usize = 4096;

/// Commands that will be handed on together.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    terms: Option<(Terms, bool)>, // and whether the client wants no reply
    count: usize,
    commands: BytesMut,
}

impl Gathered {
    /// Whether nothing was gathered.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn accepts(&self, terms: &(Terms, bool)) -> bool {
        self.terms.is_none_or(|held| held == *terms)
            && self.count < GATHERED_COUNT_MAX
            && self.commands.len() < GATHERED_BYTES_MAX
    }
}

/// Commands that the primary runs now.
pub(crate) struct Handed {
    answer: Pin<Box<dyn Future<Output = Result<Bytes, CallError>>>>,
    count: usize,
    silent: bool,
}

impl Handed {
    /// The primary's answer.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Returned> {
        let Self { answer, count, silent } = self;
        answer.as_mut().poll(cx).map(|answer| Returned { answer, count: *count, silent: *silent })
    }
}

/// What came back for some commands.
#[derive(Debug)]
pub(crate) struct Returned {
    answer: Result<Bytes, CallError>,
    count: usize,
    silent: bool,
}

impl<S: Shard> Core<S> {
    /// Whether a command can travel with those gathered before it.
    pub(crate) fn joins(&self, call: &Call<'_>) -> bool {
        let command = call.args.first().and_then(|name| Command::find(name));
        self.transaction.is_none()
            && command.is_some_and(|command| match command.runs {
                Runs::Keys(_) => command.is_write() && command.check_arity(call.args.len()).is_ok(),
                Runs::Session(Session::XSeq) => self.bound.is_some() && once::joins(call.args),
                Runs::Session(_) => false,
            })
    }

    /// Hands a command on to the primary, with those that come right behind it.
    pub(crate) fn hand_on(&mut self, call: &Call<'_>) -> Flow {
        if self.guest || !self.server.config.forward {
            self.reply().error(READ_ONLY);
            return Flow::Done;
        }
        let terms = (self.terms(), self.answer != Answer::On);
        if !self.gathered.accepts(&terms) {
            self.send_gathered();
            return Flow::Again;
        }
        let Gathered { terms: held, count, commands } = &mut self.gathered;
        *held = Some(terms);
        *count += 1;
        encode_words(commands, call.args);
        Flow::Done
    }

    /// Sends what was gathered.
    pub(crate) fn send_gathered(&mut self) {
        let Gathered { terms, count, commands } = std::mem::take(&mut self.gathered);
        let Some((terms, silent)) = terms else { return };
        let request = Request {
            want: Want::Commands,
            session: self.client.id,
            terms,
            token: self.token,
            commands: commands.freeze(),
        };
        self.hand(&request, (count, silent));
    }

    /// Hands a whole transaction on.
    pub(crate) fn hand_on_transaction(&mut self, transaction: &Transaction) -> Flow {
        if self.guest || !self.server.config.forward {
            self.reply().error(READ_ONLY);
            return Flow::Done;
        }
        let mut commands = BytesMut::new();
        for (_, args) in transaction.iter() {
            encode_words(&mut commands, &args);
        }
        let request = Request {
            want: Want::Transaction {
                watching: self.watch != Watch::None,
                seq: self.once.map(|ticket| ticket.seq),
            },
            session: self.client.id,
            terms: self.terms(),
            token: self.token,
            commands: commands.freeze(),
        };
        self.hand(&request, (1, self.answer != Answer::On));
        Flow::Done
    }

    /// Tells the primary that this connection's watched keys are of no more interest.
    pub(crate) fn forget_there(&self, node: NodeId) {
        let request = Request {
            want: Want::Forget,
            session: self.client.id,
            terms: self.terms(),
            token: None,
            commands: Bytes::new(),
        };
        let call = self.server.shard.call(node, request.encode(), SLACK);
        tokio::task::spawn_local(async move {
            if let Err(error) = call.await {
                tracing::debug!(%error, %node, "failed to end a watch, the primary drops it itself");
            }
        });
    }

    fn terms(&self) -> Terms {
        let (db, proto) = (self.client.db.get(), self.client.proto.get());
        let (level, timeout, bound) = (self.level(), self.timeout(), self.bound);
        Terms { db, proto, level, timeout, bound }
    }

    fn hand(&mut self, request: &Request, (count, silent): (usize, bool)) {
        let primary = match self.server.shard.view().role {
            Role::Replica { primary } => primary,
            // The role changed since these were gathered: the call below goes nowhere.
            Role::Primary { .. } => None,
        };
        let Some(primary) = primary else {
            self.handed_back(Returned { answer: Err(CallError::NotSent), count, silent });
            return;
        };
        self.server.stats.forwarded.add(u64::try_from(count).unwrap_or(u64::MAX));
        let deadline = request.terms.timeout.saturating_add(SLACK);
        let answer = Box::pin(self.server.shard.call(primary, request.encode(), deadline));
        self.blocked = Some(Blocked::Handed(Handed { answer, count, silent }));
    }

    /// Writes the replies that came back, or one error for each that did not.
    pub(crate) fn handed_back(&mut self, returned: Returned) {
        let Returned { answer, count, silent } = returned;
        let text = match answer {
            Ok(bytes) => match checked(bytes, count) {
                Some(response) => return self.take_response(&response, silent),
                None => "XUNKNOWN ticket=none the primary's answer was not understood",
            },
            Err(CallError::NotSent | CallError::Refused) => {
                "MASTERDOWN Link with the primary is down, nothing was written."
            }
            Err(CallError::NoAnswer) => {
                "XUNKNOWN ticket=none the primary did not answer, the write may have happened"
            }
        };
        if !silent {
            for _ in 0..count {
                self.reply().error(text);
            }
        }
    }

    fn take_response(&mut self, response: &Response, silent: bool) {
        self.client.db.set(response.db);
        if response.token.is_some() && response.token != self.token {
            self.token = response.token;
            self.forwarded = response.token;
        }
        if !silent {
            self.reply().raw(&response.replies);
        }
    }
}

/// A response with exactly as many replies as were asked for.
fn checked(bytes: Bytes, count: usize) -> Option<Response> {
    let response = Response::decode(bytes).ok()?;
    let mut rest: &[u8] = &response.replies;
    let mut scanner = Scanner::default();
    for _ in 0..count {
        let bytes = scanner.scan(rest).ok()??;
        rest = rest.get(bytes..)?;
    }
    rest.is_empty().then_some(response)
}

/// Words as a client sends them.
fn encode_words(out: &mut BytesMut, args: &[&[u8]]) {
    let mut writer = Writer::new(out, Proto::Two);
    writer.array(args.len());
    for arg in args {
        writer.bulk(arg);
    }
}
