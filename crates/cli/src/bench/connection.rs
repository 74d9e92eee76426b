//! One connection under load: what it sent, what it waits for, and what the answers mean.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::ops::Range;

use mio::net::TcpStream;

use crate::bench::clock::{Clock, Nanos};
use crate::bench::ledger::Ledger;
use crate::bench::scan::{Reply, ScanError, scan};
use crate::bench::tally::{Finished, Tally};
use crate::bench::tls::Channel;
use crate::bench::wire::Requests;
use crate::bench::work::Kind;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// The server closed it.
    #[error("connection closed")]
    Closed,
    /// The system reports an error.
    #[error("connection lost")]
    Io(#[from] io::Error),
    /// What came is no reply.
    #[error("malformed reply")]
    Malformed(#[from] ScanError),
    /// More replies than requests.
    #[error("reply without a request")]
    Unasked,
}

/// An operation that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Pending {
    kind: Kind,
    key: u32,
    sequence: u32,
    from: Nanos,
}

/// What all connections of a thread share.
pub(crate) struct Shared<'a> {
    /// The requests of the run.
    pub(crate) requests: &'a Requests,
    /// The clock of the run.
    pub(crate) clock: Clock,
    /// Replicas that a `WAIT` must count.
    pub(crate) wait: Option<u32>,
    /// What the thread counts.
    pub(crate) tally: Tally,
    /// Where reads go first, so that one hot buffer serves all connections.
    pub(crate) scratch: Vec<u8>,
}

/// A connection and its operations in flight.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Channel<TcpStream>,
    keys: Range<u32>,
    ledger: Option<Ledger>,
    out: Vec<u8>,
    sent: usize,
    rest: Vec<u8>,
    pending: VecDeque<Pending>,
    /// Writes of this batch that are answered but wait for its `WAIT`.
    held: Vec<Pending>,
}

impl Connection {
    /// Uses `stream` for operations on `keys`; a ledger makes it check what it reads.
    pub(crate) const fn new(
        stream: Channel<TcpStream>,
        keys: Range<u32>,
        ledger: Option<Ledger>,
    ) -> Self {
        Self {
            stream,
            keys,
            ledger,
            out: Vec::new(),
            sent: 0,
            rest: Vec::new(),
            pending: VecDeque::new(),
            held: Vec::new(),
        }
    }

    /// The socket, to register it.
    pub(crate) const fn socket(&mut self) -> &mut TcpStream {
        self.stream.socket()
    }

    /// The keys that it uses.
    pub(crate) fn keys(&self) -> Range<u32> {
        self.keys.clone()
    }

    /// Whether every answer is there.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Adds an operation to the batch that is being built; `from` is when its wait begins.
    pub(crate) fn push(&mut self, requests: &Requests, kind: Kind, key: u32, from: Nanos) {
        let mut sequence = 1;
        match kind {
            Kind::Read => requests.get(&mut self.out, key),
            Kind::Write => {
                // Without a ledger the value only has to differ from the last one.
                sequence = match &mut self.ledger {
                    Some(ledger) => ledger.send(key),
                    None => u32::try_from(from.get() & 0xffff_ffff).unwrap_or(1),
                };
                requests.set(&mut self.out, key, sequence);
            }
            Kind::Wait => requests.wait(&mut self.out),
        }
        self.pending.push_back(Pending { kind, key, sequence, from });
    }

    /// Ends the batch with a `WAIT` if it wrote and the run asks for one, and sends it.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) fn send(&mut self, shared: &Shared<'_>) -> Result<(), Lost> {
        let wrote = self.pending.iter().rev().any(|pending| pending.kind == Kind::Write);
        if shared.wait.is_some() && wrote {
            self.push(shared.requests, Kind::Wait, 0, Nanos::default());
        }
        self.flush()
    }

    /// Sends what the socket takes; the rest goes when it is writable again.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) fn flush(&mut self) -> Result<(), Lost> {
        while let Some(unsent) = self.out.get(self.sent..).filter(|unsent| !unsent.is_empty()) {
            match self.stream.write(unsent) {
                Ok(0) => return Err(Lost::Closed),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Lost::Io(error)),
            }
        }
        self.out.clear();
        self.sent = 0;
        match self.stream.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(Lost::Io(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Reads and counts the answers that are there.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) fn receive(&mut self, shared: &mut Shared<'_>) -> Result<(), Lost> {
        loop {
            let mut scratch = std::mem::take(&mut shared.scratch);
            let (count, outcome) = match self.stream.read(&mut scratch) {
                Ok(0) => (0, Err(Lost::Closed)),
                Ok(count) => (count, self.take(scratch.get(..count).unwrap_or_default(), shared)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, Ok(())),
                // Try again, as after a full buffer.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (scratch.len(), Ok(())),
                Err(error) => (0, Err(Lost::Io(error))),
            };
            // A read that did not fill the buffer has emptied the socket: asking again would
            // cost a system call for each batch. What comes later makes a new event.
            let short = count < scratch.len() && (count == 0 || self.stream.short_read_is_all());
            shared.scratch = scratch;
            outcome?;
            if short || self.is_idle() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &[u8], shared: &mut Shared<'_>) -> Result<(), Lost> {
        let now = shared.clock.now();
        if self.rest.is_empty() {
            let used = self.scan_all(bytes, now, shared)?;
            self.rest.extend(bytes.iter().skip(used));
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(bytes);
        let used = self.scan_all(&whole, now, shared)?;
        whole.drain(..used);
        self.rest = whole;
        Ok(())
    }

    fn scan_all(
        &mut self,
        bytes: &[u8],
        now: Nanos,
        shared: &mut Shared<'_>,
    ) -> Result<usize, Lost> {
        let mut at = 0;
        while let Some((reply, length)) = scan(bytes.get(at..).unwrap_or_default())? {
            at += length;
            if reply == Reply::Push {
                continue;
            }
            let pending = self.pending.pop_front().ok_or(Lost::Unasked)?;
            match pending.kind {
                Kind::Write => self.on_write(pending, reply, now, shared),
                Kind::Read => self.on_read(pending, reply, now, shared),
                Kind::Wait => self.on_wait(reply, now, shared),
            }
        }
        Ok(at)
    }

    fn on_write(&mut self, write: Pending, reply: Reply<'_>, now: Nanos, shared: &mut Shared<'_>) {
        if !matches!(reply, Reply::Status(_)) {
            if let Some(ledger) = &mut self.ledger {
                ledger.doubt(write.key, write.sequence);
            }
            shared.tally.fail(&kind_of_error(reply), 1);
            return;
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.acknowledge(write.key, write.sequence);
        }
        if shared.wait.is_some() {
            self.held.push(write);
        } else {
            shared.tally.finish(Finished { read: false, from: write.from, at: now });
        }
    }

    fn on_read(&mut self, read: Pending, reply: Reply<'_>, now: Nanos, shared: &mut Shared<'_>) {
        let found = match reply {
            Reply::Bulk(value) => Some(value),
            Reply::Null => None,
            Reply::Status(_) | Reply::Error(_) | Reply::Integer(_) | Reply::Push | Reply::Other => {
                shared.tally.fail(&kind_of_error(reply), 1);
                return;
            }
        };
        shared.tally.empty += u64::from(found.is_none());
        if let Some(ledger) = &mut self.ledger {
            let judgement = ledger.judge(shared.requests.values(), read.key, found);
            shared.tally.verify(judgement.complaint(read.key));
        }
        shared.tally.finish(Finished { read: true, from: read.from, at: now });
    }

    fn on_wait(&mut self, reply: Reply<'_>, now: Nanos, shared: &mut Shared<'_>) {
        let wanted = shared.wait.unwrap_or_default();
        match reply {
            Reply::Integer(count) if count >= i64::from(wanted) => {
                for write in self.held.drain(..) {
                    shared.tally.finish(Finished { read: false, from: write.from, at: now });
                }
            }
            Reply::Integer(_) => {
                let short = count(self.held.drain(..).len());
                shared.tally.fail("WAIT answered with fewer replicas", short);
            }
            Reply::Status(_)
            | Reply::Error(_)
            | Reply::Bulk(_)
            | Reply::Null
            | Reply::Push
            | Reply::Other => {
                let unsure = count(self.held.drain(..).len());
                shared.tally.fail(&kind_of_error(reply), unsure);
            }
        }
    }

    /// Gives up on all answers that are still out, because of `why`.
    pub(crate) fn abandon(&mut self, why: &str, tally: &mut Tally) {
        let waiting = self.pending.iter().filter(|pending| pending.kind != Kind::Wait);
        tally.fail(why, count(waiting.count() + self.held.len()));
        for pending in self.pending.drain(..).filter(|pending| pending.kind == Kind::Write) {
            if let Some(ledger) = &mut self.ledger {
                ledger.doubt(pending.key, pending.sequence);
            }
        }
        self.held.clear();
    }

    /// The socket and the ledger, to read everything back; `None` without a ledger.
    pub(crate) fn into_ledger(self) -> Option<(Channel<TcpStream>, Range<u32>, Ledger)> {
        self.ledger.map(|ledger| (self.stream, self.keys, ledger))
    }
}

/// The first word of an error, under which it is counted.
fn kind_of_error(reply: Reply<'_>) -> String {
    let Reply::Error(text) = reply else { return "unexpected answer".to_owned() };
    let word = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    let word = String::from_utf8_lossy(word.get(..word.len().min(32)).unwrap_or_default());
    word.into_owned()
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
