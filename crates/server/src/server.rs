//! What all connections of a shard share. Lives on the owner thread: no lock, no atomic.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon::Level;
use antiphon_kv::Pending;
use bytes::BytesMut;

use crate::auth::{Guesses, sha256};
use crate::client::Client;
use crate::config::Config;
use crate::forward::Guests;
use crate::pages::{Pages, Picture};
use crate::shard::{Role, Shard};
use crate::slowlog::SlowLog;
use crate::stats::Stats;
use crate::table;

/// The server in front of one shard.
#[derive(Debug)]
pub struct Server<S> {
    pub(crate) shard: S,
    pub(crate) config: Config,
    pub(crate) live: Live,
    pub(crate) stats: Arc<Stats>,
    pages: Arc<Pages>,
    pub(crate) clients: RefCell<BTreeMap<u64, Rc<Client>>>,
    pub(crate) strangers: Cell<usize>,
    pub(crate) guests: Guests,
    pub(crate) guesses: Guesses,
    pub(crate) slow: RefCell<SlowLog>,
    pub(crate) errors: RefCell<BTreeMap<String, u64>>,
    pub(crate) pulse: Pulse,
    pub(crate) pause: Cell<Option<Pause>>,
    pub(crate) memory: Cell<usize>,
    pub(crate) started: Instant,
    pub(crate) run_id: String,
    pub(crate) address: Cell<SocketAddr>,
    next_client: Cell<u64>,
    random: Cell<u64>,
    spare: RefCell<Vec<BytesMut>>,
}

/// Settings that `CONFIG SET` changes.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) clients_max: Cell<usize>,
    pub(crate) idle_timeout: Cell<Duration>,
    pub(crate) policy: Cell<Level>,
    pub(crate) policy_timeout: Cell<Duration>,
    pub(crate) slower_than_us: Cell<i64>,
    pub(crate) slow_entries_max: Cell<usize>,
}

/// `CLIENT PAUSE`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    pub(crate) until: Instant,
    pub(crate) writes_only: bool,
}

impl<S: Shard> Server<S> {
    /// A server without connections. `seed` is 128 random bits; they are not shown.
    #[must_use]
    pub fn new(shard: S, config: Config, seed: u128) -> Rc<Self> {
        let limits = &config.limits;
        let live = Live {
            clients_max: Cell::new(limits.clients_max),
            idle_timeout: Cell::new(limits.idle_timeout),
            policy: Cell::new(config.policy),
            policy_timeout: Cell::new(config.policy_timeout),
            slower_than_us: Cell::new(10_000),
            slow_entries_max: Cell::new(128),
        };
        let stats = Arc::new(Stats::new(table::len()));
        // The seed also keys the hash of keys: what is shown or drawn must not give it away.
        let digest = sha256(&seed.to_le_bytes());
        let drawn = digest
            .iter()
            .skip(RUN_ID_BYTES)
            .fold(1, |state: u64, byte| state.rotate_left(8) ^ u64::from(*byte));
        Rc::new(Self {
            live,
            pages: Arc::new(Pages::new(Arc::clone(&stats))),
            stats,
            clients: RefCell::default(),
            strangers: Cell::new(0),
            guests: Guests::default(),
            guesses: Guesses::default(),
            slow: RefCell::default(),
            errors: RefCell::default(),
            pulse: Pulse::default(),
            pause: Cell::new(None),
            memory: Cell::new(0),
            started: Instant::now(),
            run_id: digest.iter().take(RUN_ID_BYTES).map(|byte| format!("{byte:02x}")).collect(),
            address: Cell::new(config.listen),
            next_client: Cell::new(1),
            random: Cell::new(drawn | 1),
            spare: RefCell::default(),
            shard,
            config,
        })
    }

    /// The counters, for the pages' thread.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// What the pages' thread reads.
    #[must_use]
    pub fn pages(&self) -> Arc<Pages> {
        Arc::clone(&self.pages)
    }

    /// Notes a new connection.
    pub(crate) fn enter(&self, peer: SocketAddr, local: SocketAddr) -> Rc<Client> {
        let client = Client::new(self.next_id(), peer, local, Instant::now());
        self.clients.borrow_mut().insert(client.id, Rc::clone(&client));
        self.stats.connections.add(1);
        self.count_clients();
        if self.config.password.is_none() {
            client.known.set(true);
        } else {
            self.strangers.set(self.strangers.get() + 1);
        }
        client
    }

    /// Forgets a connection.
    pub(crate) fn leave(&self, client: &Client) {
        self.clients.borrow_mut().remove(&client.id);
        self.count_clients();
        self.now_known(client);
    }

    /// A connection that is or need not be counted among those not authenticated any more.
    pub(crate) fn now_known(&self, client: &Client) {
        if !client.known.replace(true) {
            self.strangers.set(self.strangers.get().saturating_sub(1));
        }
    }

    /// A number for a connection or a guest, never given before.
    pub(crate) fn next_id(&self) -> u64 {
        let id = self.next_client.get();
        self.next_client.set(id + 1);
        id
    }

    /// A random number, good for `RANDOMKEY` and not for secrets.
    pub(crate) fn draw(&self) -> u64 {
        // The generator of Marsaglia with the shifts 13, 7 and 17; its state is never zero.
        let mut state = self.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        state
    }

    /// The pause that is in force.
    pub(crate) fn paused(&self, now: Instant) -> Option<Pause> {
        let pause = self.pause.get().filter(|pause| pause.until > now);
        if pause.is_none() {
            self.pause.set(None);
        }
        pause
    }

    /// Gives every connection a turn.
    pub(crate) fn wake_all(&self) {
        self.clients.borrow().values().for_each(|client| client.wake());
    }

    /// An empty receive buffer.
    pub(crate) fn buffer(&self) -> BytesMut {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES))
    }

    /// Takes back a receive buffer, so that idle connections hold none.
    pub(crate) fn give_back(&self, mut buffer: BytesMut) {
        const SPARE_MAX: usize = 64;
        let mut spare = self.spare.borrow_mut();
        if spare.len() >= SPARE_MAX || buffer.capacity() == 0 {
            return;
        }
        buffer.clear();
        // What was taken off the front becomes room again; a buffer of the usual size is not
        // made anew by this.
        buffer.reserve(BUFFER_BYTES);
        if buffer.capacity() <= 2 * BUFFER_BYTES {
            spare.push(buffer);
        }
    }

    /// Replaces what a connection said it takes by what it takes now. Unit: bytes.
    pub(crate) fn account(&self, before: usize, after: usize) {
        let memory = (self.memory.get() + after).saturating_sub(before);
        self.memory.set(memory);
        self.stats.client_bytes.set(u64::try_from(memory).unwrap_or(u64::MAX));
    }

    /// Counts an error reply by its first word.
    pub(crate) fn note_error(&self, reply: &[u8]) {
        const PREFIXES_MAX: usize = 128;
        self.stats.errors.add(1);
        let words = reply.strip_prefix(b"-").unwrap_or(reply);
        let prefix = words.split(|byte| *byte == b' ' || *byte == b'\r').next().unwrap_or_default();
        let prefix = String::from_utf8_lossy(prefix).into_owned();
        let mut errors = self.errors.borrow_mut();
        if errors.len() < PREFIXES_MAX || errors.contains_key(&prefix) {
            *errors.entry(prefix).or_insert(0) += 1;
        }
    }

    /// What is done now and then: rates are measured, and at the primary keys expire.
    pub(crate) fn tick(&self, now: Instant) {
        let memory = self.shard.with(|engine| engine.memory_bytes()) + self.memory.get();
        self.pulse.beat(now, self.stats.commands.get(), memory);
        self.mirror();
        self.pages.publish(Picture {
            at: now,
            status: Arc::new(self.shard.status()),
            policy: self.live.policy.get(),
        });
        let view = self.shard.view();
        if view.role != (Role::Primary { serving: true }) {
            return;
        }
        let mut pending = Pending::new();
        let found =
            self.shard.with(|engine| engine.expire(view.now_ms, EXPIRED_PER_TICK, &mut pending));
        if found == 0 {
            return;
        }
        // When there is no room they stay, masked, until the next time.
        if let Ok(entry) =
            self.shard.propose(pending.payload_bytes(), |payload| pending.write(payload))
        {
            self.shard.with(|engine| engine.commit(entry.lsn, &mut pending));
        }
    }

    /// Copies the engine's counters to where the pages read them.
    pub(crate) fn mirror(&self) {
        let counts = self.shard.with(|engine| engine.counts());
        self.stats.hits.set(counts.hits);
        self.stats.misses.set(counts.misses);
        self.stats.expired.set(counts.expired);
    }

    fn count_clients(&self) {
        let clients = self.clients.borrow().len();
        self.stats.clients.set(u64::try_from(clients).unwrap_or(u64::MAX));
    }
}

/// Bytes of the run's identity, as Redis has it.
const RUN_ID_BYTES: usize = 20;
/// Keys that one tick expires at most: a tick then stays below a millisecond.
const EXPIRED_PER_TICK: usize = 500;
/// Time between two ticks.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Measures rates and peaks.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beats: RefCell<VecDeque<(Instant, u64)>>,
    peak: Cell<usize>,
}

impl Pulse {
    const BEATS: usize = 16;

    fn beat(&self, now: Instant, commands: u64, memory: usize) {
        let mut beats = self.beats.borrow_mut();
        beats.push_back((now, commands));
        while beats.len() > Self::BEATS {
            beats.pop_front();
        }
        self.peak.set(self.peak.get().max(memory));
    }

    /// Commands per second of late.
    pub(crate) fn per_second(&self) -> u64 {
        let beats = self.beats.borrow();
        let (Some((from, before)), Some((to, after))) = (beats.front(), beats.back()) else {
            return 0;
        };
        let ms = to.saturating_duration_since(*from).as_millis().max(1);
        let commands = u128::from(after.saturating_sub(*before));
        u64::try_from(commands * 1000 / ms).unwrap_or(u64::MAX)
    }

    /// The most memory that was seen. Unit: bytes.
    pub(crate) fn peak(&self, now: usize) -> usize {
        self.peak.set(self.peak.get().max(now));
        self.peak.get()
    }
}

/// Bytes of a fresh receive buffer: a deep pipeline of small commands in one read.
pub(crate) const BUFFER_BYTES: usize = 16 << 10;
