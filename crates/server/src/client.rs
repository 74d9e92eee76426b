//! What is known of one connection by all of them: `CLIENT LIST`, `CLIENT KILL`.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use antiphon_kv::Db;

use crate::resp::Proto;

/// One connection. All of it lives on the owner thread.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) since: Instant,
    pub(crate) seen: Cell<Instant>,
    pub(crate) name: RefCell<Vec<u8>>,
    pub(crate) library: RefCell<Vec<u8>>,
    pub(crate) library_version: RefCell<Vec<u8>>,
    pub(crate) command: Cell<&'static str>,
    pub(crate) db: Cell<Db>,
    pub(crate) proto: Cell<Proto>,
    pub(crate) known: Cell<bool>, // has authenticated, or need not
    pub(crate) queued: Cell<Option<usize>>, // commands of an open transaction
    pub(crate) watching: Cell<bool>,
    pub(crate) blocked: Cell<bool>,
    pub(crate) no_evict: Cell<bool>,
    pub(crate) no_touch: Cell<bool>,
    pub(crate) input: Cell<usize>,
    pub(crate) output: Cell<usize>,
    pub(crate) kill: Cell<bool>,
    pub(crate) waker: RefCell<Option<Waker>>,
}

impl Client {
    /// A connection that has just come.
    pub(crate) fn new(id: u64, peer: SocketAddr, local: SocketAddr, now: Instant) -> Rc<Self> {
        Rc::new(Self {
            id,
            peer,
            local,
            since: now,
            seen: Cell::new(now),
            name: RefCell::default(),
            library: RefCell::default(),
            library_version: RefCell::default(),
            command: Cell::new("NULL"),
            db: Cell::new(Db::default()),
            proto: Cell::new(Proto::Two),
            known: Cell::new(false),
            queued: Cell::new(None),
            watching: Cell::new(false),
            blocked: Cell::new(false),
            no_evict: Cell::new(false),
            no_touch: Cell::new(false),
            input: Cell::new(0),
            output: Cell::new(0),
            kill: Cell::new(false),
            waker: RefCell::default(),
        })
    }

    /// Ends the connection at its next turn, which comes at once.
    pub(crate) fn kill(&self) {
        self.kill.set(true);
        self.wake();
    }

    /// Gives the connection a turn.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Remembers how to wake the connection.
    pub(crate) fn remember(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if kept.as_ref().is_none_or(|kept| !kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    /// The line that `CLIENT LIST` has for it.
    pub(crate) fn line(&self, now: Instant) -> String {
        let text = |bytes: &RefCell<Vec<u8>>| String::from_utf8_lossy(&bytes.borrow()).into_owned();
        let queued = self.queued.get().map_or("-1".to_owned(), |queued| queued.to_string());
        let mut line = String::with_capacity(256);
        let written = write!(
            line,
            "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={} db={} sub=0 psub=0 \
             ssub=0 multi={queued} qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} \
             oll=0 omem=0 tot-mem={} events=r cmd={} user=default redir=-1 resp={} lib-name={} \
             lib-ver={}",
            self.id,
            self.peer,
            self.local,
            text(&self.name),
            now.saturating_duration_since(self.since).as_secs(),
            now.saturating_duration_since(self.seen.get()).as_secs(),
            self.flags(),
            self.db.get().get(),
            self.input.get(),
            self.output.get(),
            self.input.get() + self.output.get(),
            self.command.get(),
            self.proto.get().number(),
            text(&self.library),
            text(&self.library_version),
        );
        assert!(written.is_ok(), "writing to a string does not fail");
        line
    }

    fn flags(&self) -> String {
        let mut flags = String::new();
        for (set, flag) in [
            (self.queued.get().is_some(), 'x'),
            (self.blocked.get(), 'b'),
            (self.no_evict.get(), 'e'),
            (self.no_touch.get(), 'T'),
        ] {
            if set {
                flags.push(flag);
            }
        }
        if flags.is_empty() { "N".to_owned() } else { flags }
    }
}

/// Whether a name or a library's name may be kept: printable, no space, as Redis asks.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
