//! One client on one socket: reads what came, runs every whole command, writes once.
//!
//! A session is one task on the owner thread. It reads no further while its client does not take
//! the replies, and it never holds a buffer while it is idle.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::blocked::Blocked;
use crate::client::Client;
use crate::core::{Call, Core, Flow};
use crate::resp::request::{Cut, Limits, Parser, RequestError};
use crate::server::{BUFFER_BYTES, Server};
use crate::shard::Shard;
use crate::stats::Refusal;
use crate::timer::Timer;

/// One connection.
pub(crate) struct Session<S: Shard, T> {
    core: Core<S>,
    stream: T,
    input: BytesMut,
    parser: Parser,
    timer: Timer,
    accounted: usize,
    ended: bool, // the client sends no more
}

/// Words of a command that are found without allocating.
const FEW: usize = 8;

impl<S: Shard, T: AsyncRead + AsyncWrite + Unpin> Session<S, T> {
    pub(crate) fn new(server: Rc<Server<S>>, client: Rc<Client>, stream: T) -> Self {
        Self {
            core: Core::new(server, client),
            stream,
            input: BytesMut::new(),
            parser: Parser::default(),
            timer: Timer::default(),
            accounted: 0,
            ended: false,
        }
    }

    /// Serves the client until it leaves, or until we close.
    pub(crate) async fn run(mut self) {
        let outcome = poll_fn(|cx| self.poll(cx)).await;
        if let Err(error) = outcome {
            tracing::debug!(%error, client = self.core.client.id, "failed to talk to a client");
        }
        self.core.discard();
        let server = Rc::clone(&self.core.server);
        server.account(self.accounted, 0);
        server.leave(&self.core.client);
        // A peer that is gone already cannot be said goodbye to.
        if let Err(error) = self.stream.shutdown().await {
            tracing::trace!(%error, "failed to end a client's stream");
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.core.client.remember(cx.waker());
        loop {
            let now = Instant::now();
            let moved = self.core.poll(cx, now);
            let ran = self.work(now);
            // What just ran may be answered at once, or has to be waited for.
            let settled = ran && self.core.poll(cx, now);
            let wrote = self.write(cx)?;
            if self.core.closing && self.core.replies.len() == 0 {
                return Poll::Ready(Ok(()));
            }
            let read = self.read(cx)?;
            if self.ended && !self.owes() {
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = self.overdue(now) {
                self.core.server.stats.refuse(refusal);
                return Poll::Ready(Ok(()));
            }
            self.settle();
            let fired = self.timer.poll(cx, self.deadline());
            if !(moved || ran || settled || wrote || read || fired) {
                return Poll::Pending;
            }
        }
    }

    /// Whether a client that sends no more may still be waiting for what it sent.
    fn owes(&self) -> bool {
        let replies = &self.core.replies;
        let handed = matches!(self.core.blocked, Some(Blocked::Handed(_)));
        handed || replies.waiting() > 0 || !replies.ready().is_empty()
    }

    /// Runs the commands that are here whole; true when one ran.
    fn work(&mut self, now: Instant) -> bool {
        let mut ran = false;
        let mut before = now;
        if !self.input.is_empty() {
            self.core.replies.lend(|| self.core.server.buffer());
        }
        let mut at = 0;
        while self.may_run() {
            let input = self.input.get(at..).unwrap_or_default();
            let limits = Limits {
                bulk_bytes_max: self.core.server.config.limits.bulk_bytes_max,
                authenticated: self.core.client.known.get(),
            };
            match self.parser.cut(input, &limits) {
                Ok(Cut::More) => break,
                Ok(Cut::Nothing { bytes }) => at += bytes,
                Ok(Cut::Command { bytes }) => {
                    let flow = execute(&mut self.core, &self.parser, input, before);
                    if flow == Flow::Again {
                        break;
                    }
                    at += bytes;
                    before = self.core.timed(&self.parser, input, before);
                    ran = true;
                }
                Err(error) => {
                    self.refuse(error);
                    at = self.input.len();
                    ran = true;
                }
            }
        }
        self.input.advance(at);
        if !self.core.gathered.is_empty() && self.core.blocked.is_none() {
            self.core.send_gathered();
            ran = true;
        }
        ran
    }

    fn may_run(&self) -> bool {
        let limits = &self.core.server.config.limits;
        self.core.blocked.is_none()
            && !self.core.closing
            && self.core.replies.len() < limits.output_soft_bytes
            && self.core.replies.waiting() < limits.waiting_max
    }

    /// Answers bytes that are no request, and closes.
    fn refuse(&mut self, error: RequestError) {
        self.core.server.stats.refuse(Refusal::Protocol);
        tracing::debug!(%error, peer = %self.core.client.peer, "closing a client's connection");
        self.core.reply().error(&format!("ERR {error}"));
        self.core.closing = true;
    }

    /// Writes what may leave; true when something did.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        while !self.core.replies.ready().is_empty() {
            let ready = self.core.replies.ready();
            let Poll::Ready(written) = pin!(self.stream.write(ready)).poll(cx) else { break };
            let written = written?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.core.replies.take(written);
            self.core.server.stats.bytes_out.add(u64::try_from(written).unwrap_or(u64::MAX));
            wrote = true;
        }
        if let Poll::Ready(flushed) = pin!(self.stream.flush()).poll(cx) {
            flushed?;
        }
        Ok(wrote)
    }

    /// Reads what is there, if there is room for it; true when something came.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let limits = &self.core.server.config.limits;
        // A client that does not read its replies may not send more commands either. One that
        // waits in a command may send a buffer's worth, and we learn when it leaves.
        let room =
            if self.may_run() { limits.query_bytes_max + BUFFER_BYTES } else { BUFFER_BYTES };
        if self.ended || self.core.closing || self.input.len() >= room {
            return Ok(false);
        }
        if self.input.is_empty() {
            self.core.server.give_back(std::mem::take(&mut self.input));
            self.input = self.core.server.buffer();
        } else if self.input.len() == self.input.capacity() {
            self.input.reserve(self.growth());
        }
        let Poll::Ready(read) = pin!(self.stream.read_buf(&mut self.input)).poll(cx) else {
            return Ok(false);
        };
        let read = read?;
        self.ended = read == 0;
        self.core.server.stats.bytes_in.add(u64::try_from(read).unwrap_or(u64::MAX));
        self.core.client.seen.set(Instant::now());
        Ok(true)
    }

    /// Bytes to make room for: as many again as came already, up to the end of the command, so
    /// that a long command announced by a client takes memory only as it arrives.
    fn growth(&self) -> usize {
        let missing = self.parser.needs().saturating_sub(self.input.len());
        missing.clamp(BUFFER_BYTES, self.input.len().max(BUFFER_BYTES))
    }

    /// Why the connection ends now, if it does.
    fn overdue(&self, now: Instant) -> Option<Refusal> {
        let server = &self.core.server;
        let (client, limits) = (&self.core.client, &server.config.limits);
        if client.kill.get() {
            return Some(Refusal::Killed);
        }
        let output = self.core.replies.len();
        let known = client.known.get();
        if output > limits.output_hard_bytes || (!known && output > limits.stranger_output_bytes) {
            return Some(Refusal::OutputTooLong);
        }
        if self.input.len() > limits.query_bytes_max && self.may_run() {
            return Some(Refusal::QueryTooLong);
        }
        if server.memory.get() > limits.memory_bytes_max && self.accounted > (1 << 20) {
            return Some(Refusal::Memory);
        }
        match self.patience() {
            Some((until, refusal)) if until <= now => Some(refusal),
            _ => None,
        }
    }

    /// Until when a silent client is kept, and why not longer.
    fn patience(&self) -> Option<(Instant, Refusal)> {
        let (server, client) = (&self.core.server, &self.core.client);
        if !client.known.get() {
            return Some((client.since + server.config.limits.auth_timeout, Refusal::AuthTimeout));
        }
        let idle = server.live.idle_timeout.get();
        let waits = self.core.blocked.is_some();
        (idle > Duration::ZERO && !waits).then(|| (client.seen.get() + idle, Refusal::Idle))
    }

    fn deadline(&self) -> Option<Instant> {
        let patience = self.patience().map(|(until, _)| until);
        match (self.core.deadline(), patience) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Gives memory back and says what is still taken.
    fn settle(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.core.server.give_back(std::mem::take(&mut self.input));
            self.parser.shrink();
        }
        if let Some(buffer) = self.core.replies.take_back() {
            self.core.server.give_back(buffer);
        }
        let client = &self.core.client;
        let (input, output) = (self.input.capacity(), self.core.replies.memory());
        client.input.set(self.input.len());
        client.output.set(self.core.replies.len());
        client.blocked.set(self.core.blocked.is_some());
        let now = input + output;
        if now != self.accounted {
            self.core.server.account(self.accounted, now);
            self.accounted = now;
        }
    }
}

/// Runs the command that was cut last.
fn execute<S: Shard>(core: &mut Core<S>, parser: &Parser, input: &[u8], now: Instant) -> Flow {
    let mut few: [&[u8]; FEW] = [&[]; FEW];
    if parser.args() <= FEW {
        for (slot, arg) in few.iter_mut().zip(parser.iter(input)) {
            *slot = arg;
        }
        let args = few.get(..parser.args()).unwrap_or_default();
        return core.execute(&Call { args, now });
    }
    let many: Vec<&[u8]> = parser.iter(input).collect();
    core.execute(&Call { args: &many, now })
}
