//! What the pure parts cost: frames, batches, messages, counting, and a round of a star.

use std::hint::black_box;

use antiphon_proto::{
    Ack, Append, Batch, BatchBuilder, Chain, Config, Effect, EntryId, Envelope, Epoch, Event,
    Frame, Header, Hlc, Identity, Incarnation, Kind, Limits, LogStart, Lsn, Member, Message,
    NodeId, Policy, Positions, Recovered, Replica, Shape, ShardId, StoreUuid, Time, Watermark,
    encode,
};
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PAYLOAD: [u8; 100] = [7; 100];
const ENTRIES: u64 = 64;

fn batch(entries: u64) -> Batch {
    let mut builder = BatchBuilder::new(ShardId::new(1), EntryId::ZERO, Chain::ZERO, Hlc::ZERO);
    for _ in 0..entries {
        builder.push(Epoch::new(1), Kind::Data, 1, |out| out.extend_from_slice(&PAYLOAD));
    }
    builder.take().expect("there are entries")
}

fn frames(c: &mut Criterion) {
    let header = Header {
        kind: Kind::Data,
        shard: ShardId::new(1),
        id: EntryId::new(Epoch::new(1), Lsn::new(1)),
        hlc: Hlc::from_ms(1),
    };
    let mut group = c.benchmark_group("frame");
    let mut out = BytesMut::with_capacity(1 << 16);
    group.bench_function("encode 100 bytes", |b| {
        b.iter(|| {
            out.clear();
            encode(&mut out, header, Chain::ZERO, |out| out.extend_from_slice(&PAYLOAD))
        });
    });
    let one = batch(1);
    group.bench_function("decode 100 bytes", |b| b.iter(|| Frame::decode(black_box(one.bytes()))));
    let many = batch(ENTRIES);
    group.throughput(Throughput::Elements(ENTRIES));
    group.bench_function("decode a batch of 64", |b| {
        b.iter(|| Batch::decode(ShardId::new(1), Chain::ZERO, black_box(many.bytes().clone())));
    });
    group.finish();
}

fn three() -> Config {
    let member = |id| Member { node: NodeId::new(id), region: String::new() };
    let voters = (1..=3).map(member).collect();
    Config::initial(ShardId::new(1), voters, Shape::Star, Policy::Quorum).expect("a star")
}

fn watermarks(c: &mut Criterion) {
    let rule = three().rule(Policy::Quorum).expect("three voters have a majority");
    let mut watermark = Watermark::new(&rule);
    let mut lsn = 0;
    c.bench_function("watermark advance of 3", |b| {
        b.iter(|| {
            lsn += 1;
            (0..3).map(|place| watermark.advance(place, Lsn::new(lsn))).max()
        });
    });
}

fn messages(c: &mut Criterion) {
    let positions = Positions { received: Lsn::new(9), durable: Lsn::new(9), applied: Lsn::new(8) };
    let append = Append {
        stream: 1,
        before: Chain::ZERO,
        stable: Lsn::new(8),
        head: Lsn::new(9),
        ack_received: false,
        frames: batch(1).bytes().clone(),
    };
    let ack =
        Ack { stream: 1, own: positions, whole: false, below: vec![(NodeId::new(3), positions)] };
    let mut group = c.benchmark_group("message");
    for (name, message) in [("append", Message::Append(append)), ("ack", Message::Ack(ack))] {
        let envelope = Envelope { shard: ShardId::new(1), epoch: Epoch::new(1), message };
        let encoded = envelope.encode();
        let whole: Bytes = [encoded.head.as_ref(), encoded.body.as_ref()].concat().into();
        group
            .bench_function(format!("encode {name}"), |b| b.iter(|| black_box(&envelope).encode()));
        group.bench_function(format!("decode {name}"), |b| {
            b.iter(|| Envelope::decode(black_box(&whole)));
        });
    }
    group.finish();
}

/// A star of three in memory: disks answer at once, links lose nothing.
struct Star {
    replicas: Vec<Replica>,
    now: Time,
}

impl Star {
    fn new() -> Self {
        let replica = |id: u64| {
            let me = Identity {
                node: NodeId::new(id),
                incarnation: Incarnation::new(1),
                store: StoreUuid::new(u128::from(id)),
            };
            let recovered = Recovered {
                hard: None,
                log: LogStart::empty(),
                applied: Lsn::ZERO,
                acknowledged: Lsn::ZERO,
            };
            Replica::new(me, three(), recovered, Limits::default())
        };
        let mut star = Self { replicas: (1..=3).map(replica).collect(), now: Time::from_ms(1) };
        for at in 0..3 {
            star.run(at, Event::Start);
        }
        for at in 0..3 {
            for peer in (1..=3).filter(|peer| *peer != at + 1) {
                let peer = u64::try_from(peer).expect("a small number");
                star.run(at, Event::Connected(NodeId::new(peer)));
            }
        }
        star.now = star.now.plus_ms(1_000);
        for at in 0..3 {
            star.run(at, Event::Tick);
        }
        assert!(star.primary().is_serving(), "the star is ready");
        star
    }

    fn primary(&mut self) -> &mut Replica {
        self.replicas.first_mut().expect("there are three")
    }

    /// Steps one replica, and whatever follows from it.
    fn run(&mut self, at: usize, event: Event) {
        let mut events = std::collections::VecDeque::from([(at, event)]);
        while let Some((at, event)) = events.pop_front() {
            let from = NodeId::new(u64::try_from(at).expect("a small number") + 1);
            let replica = self.replicas.get_mut(at).expect("there are three");
            for effect in replica.step(self.now, event) {
                match effect {
                    Effect::Persist { ticket, .. } => {
                        events.push_back((at, Event::Persisted(ticket)));
                    }
                    Effect::Append(batch) => {
                        events.push_back((at, Event::Durable(batch.last())));
                    }
                    Effect::Send { to, envelope } => {
                        let to = usize::try_from(to.get()).expect("a small number") - 1;
                        events.push_back((to, Event::Message { from, envelope }));
                    }
                    Effect::Apply(_) | Effect::Serve => {}
                    Effect::Truncate(_) | Effect::Load(_) | Effect::Resign | Effect::Halt(_) => {
                        unreachable!("nothing goes wrong here")
                    }
                }
            }
        }
    }

    /// Proposes entries and goes on until they are stable.
    fn round(&mut self, entries: u64) -> Lsn {
        for _ in 0..entries {
            let write = |out: &mut BytesMut| out.extend_from_slice(&PAYLOAD);
            let placed = self.primary().propose(Kind::Data, 1, PAYLOAD.len(), write);
            placed.expect("the star is ready");
        }
        self.run(0, Event::Tick);
        let last = self.primary().last().lsn;
        assert_eq!(self.primary().stable(), last, "a round ends when all is stable");
        last
    }
}

fn rounds(c: &mut Criterion) {
    let mut group = c.benchmark_group("star of 3");
    for entries in [1, ENTRIES] {
        let mut star = Star::new();
        group.throughput(Throughput::Elements(entries));
        group.bench_function(format!("propose to stable, {entries} at once"), |b| {
            b.iter(|| star.round(entries));
        });
    }
    group.finish();
}

criterion_group!(benches, frames, watermarks, messages, rounds);
criterion_main!(benches);
