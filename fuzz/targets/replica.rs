//! One replica among peers that say anything: it may stop itself, but no message makes it panic
//! or breaks what its positions promise.
//!
//! The target is an honest driver with an instant disk. Numbers in messages are small, so that
//! they often meet the replica's own, or the largest there are.
#![no_main]

use std::collections::VecDeque;

use antiphon_proto::{
    Ack, Append, Batch, BatchBuilder, Chain, Closed, Config, Cut, Effect, EntryId, Envelope, Epoch,
    Event, Identity, Incarnation, Kind, Limits, Load, LogEnd, LogStart, Lsn, Member, Message,
    NodeId, Open, Policy, Positions, Recovered, Replica, Sealed, Shape, ShardId, StoreUuid, Time,
    Token,
};
use bytes::{BufMut, Bytes};

const SHARD: ShardId = ShardId::new(1);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut dice = Dice(input);
    let mut node = Node::start(&mut dice);
    while !dice.0.is_empty() && !node.halted {
        node.turn(&mut dice);
        node.rest();
    }
});

/// Choices, one byte each; 0 when they are used up.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn number(&mut self) -> u64 {
        match self.byte() {
            u8::MAX => u64::MAX,
            0xFE => u64::MAX - 1,
            byte => u64::from(byte % 32),
        }
    }

    fn lsn(&mut self) -> Lsn {
        Lsn::new(self.number())
    }

    fn id(&mut self) -> EntryId {
        EntryId::new(Epoch::new(self.number()), self.lsn())
    }

    fn node(&mut self) -> NodeId {
        NodeId::new(u64::from(self.byte() % 4))
    }

    fn positions(&mut self) -> Positions {
        Positions { received: self.lsn(), durable: self.lsn(), applied: self.lsn() }
    }

    fn cuts(&mut self) -> Vec<Cut> {
        let count = self.byte() % 4;
        (0..count).map(|_| Cut { epoch: Epoch::new(self.number()), end: self.lsn() }).collect()
    }
}

struct Node {
    me: NodeId,
    replica: Replica,
    /// What is on its disk, and the streams that were named in what it sent.
    log: Vec<Batch>,
    streams: Vec<u64>,
    config: Config,
    now: u64,
    seen: (Lsn, Lsn),
    halted: bool,
}

impl Node {
    fn start(dice: &mut Dice<'_>) -> Self {
        let options = dice.byte();
        let member = |raw| Member { node: NodeId::new(raw), region: String::new() };
        let shape = if options & 1 == 0 { Shape::Star } else { Shape::Chain };
        let config =
            Config::initial(SHARD, vec![member(1), member(2), member(3)], shape, Policy::Quorum)
                .expect("three voters are a configuration");
        let me = Identity {
            node: NodeId::new(1 + u64::from(options >> 1) % 3),
            incarnation: Incarnation::new(1),
            store: StoreUuid::new(7),
        };
        let recovered = Recovered {
            hard: None,
            log: LogStart::empty(),
            applied: Lsn::ZERO,
            acknowledged: Lsn::ZERO,
        };
        let limits =
            Limits { window_bytes: 1024, tail_bytes: 512, batch_bytes: 256, ..Limits::default() };
        let replica = Replica::new(me, config.clone(), recovered, limits);
        let log = Vec::new();
        let seen = (Lsn::ZERO, Lsn::ZERO);
        let mut node = Self {
            me: me.node,
            replica,
            log,
            streams: vec![0],
            config,
            now: 1,
            seen,
            halted: false,
        };
        node.step(Event::Start);
        node
    }

    fn turn(&mut self, dice: &mut Dice<'_>) {
        match dice.byte() % 16 {
            0 => {
                self.now += dice.number().min(10_000);
                self.step(Event::Tick);
            }
            1 | 2 => {
                let peer = self.peer(dice);
                self.step(Event::Connected(peer));
            }
            3 => {
                let peer = self.peer(dice);
                self.step(Event::Disconnected(peer));
            }
            4 | 5 => {
                let payload = [dice.byte(); 40];
                let write = |out: &mut bytes::BytesMut| out.put_slice(&payload);
                // Refused while it is no primary, or busy.
                if self.replica.propose(Kind::Data, self.now, payload.len(), write).is_ok() {
                    self.step(Event::Tick);
                }
            }
            _ => {
                let from = self.peer(dice);
                let encoded = self.envelope(dice).encode();
                let bytes = Bytes::from([encoded.head, encoded.body].concat());
                // What the decoder refuses never comes to the replica.
                if let Ok(envelope) = Envelope::decode(&bytes) {
                    self.step(Event::Message { from, envelope });
                }
            }
        }
    }

    /// Who is at the other end of a link: never this node itself.
    fn peer(&self, dice: &mut Dice<'_>) -> NodeId {
        Some(dice.node()).filter(|node| *node != self.me).unwrap_or(NodeId::new(9))
    }

    fn envelope(&self, dice: &mut Dice<'_>) -> Envelope {
        let epoch = match dice.byte() {
            own if own < 200 => self.replica.config().epoch,
            _ => Epoch::new(dice.number()),
        };
        Envelope { shard: SHARD, epoch, message: self.message(epoch, dice) }
    }

    fn message(&self, epoch: Epoch, dice: &mut Dice<'_>) -> Message {
        let stream = self.streams[usize::from(dice.byte()) % self.streams.len()];
        match dice.byte() % 11 {
            0 => Message::Open(Open {
                stream: dice.number(),
                last: if dice.byte() < 128 { self.end().last } else { dice.id() },
                durable: dice.lsn(),
                applied: dice.lsn(),
                incarnation: Incarnation::new(dice.number()),
                store: StoreUuid::new(u128::from(dice.number())),
            }),
            1 => {
                let reasons = [Closed::Diverged, Closed::Behind, Closed::Trimmed(dice.lsn())];
                Message::Closed { stream, reason: reasons[usize::from(dice.byte() % 3)] }
            }
            2 | 3 => {
                let (before, frames) = self.frames(epoch, dice);
                let (stable, head) = (dice.lsn(), dice.lsn());
                let ack_received = dice.byte() & 1 == 1;
                Message::Append(Append { stream, before, stable, head, ack_received, frames })
            }
            4 => {
                let below = (0..dice.byte() % 3).map(|_| (dice.node(), dice.positions())).collect();
                Message::Ack(Ack { stream, own: dice.positions(), whole: dice.byte() > 99, below })
            }
            5 => Message::Seal,
            6 => Message::Sealed(Sealed {
                last: if dice.byte() < 128 { self.end().last } else { dice.id() },
                base: EntryId::ZERO,
                runs: dice.cuts(),
                incarnation: Incarnation::new(dice.number()),
                store: StoreUuid::new(u128::from(dice.number())),
                amnesiac: dice.byte() > 200,
                blank: dice.byte() > 200,
                config: self.other_config(dice),
            }),
            7 => Message::SealRefused,
            8 => Message::Config(self.other_config(dice)),
            9 => Message::Fetch { after: dice.id() },
            _ => {
                let (before, frames) = self.frames(epoch, dice);
                Message::Fetched { after: self.end().last, before, frames }
            }
        }
    }

    /// A configuration that passed the checks of its decoder.
    fn other_config(&self, dice: &mut Dice<'_>) -> Config {
        let mut config = self.config.clone();
        config.epoch = Epoch::new(dice.number());
        config.history = dice.cuts();
        if config.check().is_err() {
            config.history = Vec::new();
        }
        config
    }

    /// Frames that continue the log, or something else.
    fn frames(&self, epoch: Epoch, dice: &mut Dice<'_>) -> (Chain, Bytes) {
        let end = self.end();
        let (last, chain) = match dice.byte() {
            0..200 => (end.last, end.chain),
            200..220 => (EntryId::ZERO, Chain::ZERO),
            _ => (EntryId::new(Epoch::ZERO, dice.lsn().prev().prev().prev().prev()), end.chain),
        };
        if dice.byte() > 240 || epoch < last.epoch {
            return (chain, Bytes::copy_from_slice(&[dice.byte(); 70]));
        }
        let mut builder = BatchBuilder::new(SHARD, last, chain, end.hlc);
        for _ in 0..dice.byte() % 4 {
            let kind = [Kind::Data, Kind::Noop, Kind::EpochStart][usize::from(dice.byte() % 3)];
            let payload = if kind == Kind::EpochStart { self.config.encode() } else { vec![1; 9] };
            builder.push(epoch, kind, 1, |out| out.put_slice(&payload));
        }
        (chain, builder.take().map_or(Bytes::new(), |batch| batch.bytes().clone()))
    }

    fn end(&self) -> LogEnd {
        let end = |batch: &Batch| LogEnd {
            last: batch.last(),
            chain: batch.chain(),
            hlc: batch.last_hlc(),
        };
        self.log.last().map_or(LogEnd::EMPTY, end)
    }

    /// One event, and all that the driver must answer at once.
    fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.replica.step(Time::from_ms(self.now), event);
            events.extend(effects.into_iter().filter_map(|effect| self.perform(effect)));
            let now = (self.replica.stable(), self.replica.applied());
            assert!(now.0 >= self.seen.0 && now.1 >= self.seen.1, "positions never go back");
            assert!(now.1 <= now.0 && self.replica.durable() <= self.replica.last().lsn);
            self.seen = now;
        }
        let _status = self.replica.status();
        // A configuration that lies about the past makes this answer wrong, but it is an answer.
        let _fate = self.replica.fate(Token { shard: SHARD, entry: self.end().last });
        for policy in [Policy::Local, Policy::Quorum, Policy::All] {
            assert!(self.replica.reached(policy) <= self.replica.last().lsn);
        }
    }

    /// Time stands still and nothing happened: after one look there is nothing more to say.
    fn rest(&mut self) {
        self.step(Event::Tick);
        let effects = self.replica.step(Time::from_ms(self.now), Event::Tick);
        assert_eq!(effects, [], "settling is idempotent");
        if let Some(at) = self.replica.deadline().filter(|_| !self.halted) {
            assert!(at > Time::from_ms(self.now), "a driver would wake for nothing, and again");
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Persist { ticket, .. } => Some(Event::Persisted(ticket)),
            Effect::Append(batch) => {
                assert_eq!(batch.before(), self.end().chain, "an append continues the log");
                let last = batch.last();
                self.log.push(batch);
                Some(Event::Durable(last))
            }
            Effect::Truncate(lsn) => {
                self.log = self.log.iter().filter_map(|batch| batch.up_to(lsn)).collect();
                Some(Event::Truncated(self.end()))
            }
            Effect::Load(load) => Some(Event::Loaded { load, batch: self.load(load) }),
            Effect::Send { envelope, .. } => {
                if let Message::Open(open) = envelope.message {
                    self.streams.push(open.stream);
                } else if let Message::Append(append) = envelope.message {
                    self.streams.push(append.stream);
                }
                self.streams.drain(..self.streams.len().saturating_sub(8));
                None
            }
            Effect::Halt(_) => {
                self.halted = true;
                None
            }
            Effect::Apply(_) | Effect::Serve | Effect::Resign => None,
        }
    }

    fn load(&self, load: Load) -> Option<Batch> {
        self.log.iter().find_map(|batch| batch.after(load.after))
    }
}
