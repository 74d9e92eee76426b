//! Peers that say anything, in any order: the machine may stop the node, but it never panics, and
//! its disk is never asked for the impossible.

use antiphon_proto::{
    Ack, Append, BatchBuilder, Chain, Closed, Config, Cut, Effect, EntryId, Envelope, Epoch, Event,
    Hlc, Identity, Incarnation, Kind, Limits, Lsn, Member, Message, NodeId, Open, Policy,
    Positions, Replica, Sealed, Shape, ShardId, StoreUuid, Time,
};
use bytes::Bytes;
use proptest::prelude::*;

use super::disk::{Disk, Op, Pace};

const ENTRIES_MAX: u64 = 5;

#[derive(Debug, Clone)]
enum Act {
    Say(u64, u64, Message),
    Entries { from: u64, epoch: u64, count: u64, gap: u64, fetched: bool },
    Link(u64, bool),
    Propose,
    Sync(usize),
    Wait(u64),
}

fn id() -> impl Strategy<Value = EntryId> {
    let number = || prop_oneof![0_u64..=ENTRIES_MAX, Just(u64::MAX), Just(u64::MAX >> 8)];
    (number(), number()).prop_map(|(epoch, lsn)| EntryId::new(Epoch::new(epoch), Lsn::new(lsn)))
}

fn lsn() -> impl Strategy<Value = Lsn> {
    prop_oneof![9 => 0_u64..=ENTRIES_MAX, 1 => Just(u64::MAX)].prop_map(Lsn::new)
}

fn positions() -> impl Strategy<Value = Positions> {
    (lsn(), lsn(), lsn()).prop_map(|(received, durable, applied)| Positions {
        received,
        durable,
        applied,
    })
}

fn chain_of(nodes: u64) -> Config {
    let member = |id| Member { node: NodeId::new(id), region: String::new() };
    let voters = (1..=nodes).map(member).collect();
    Config::initial(ShardId::new(0), voters, Shape::Chain, Policy::Quorum).expect("a chain")
}

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    let cut = |(epoch, end)| Cut { epoch: Epoch::new(epoch), end: Lsn::new(end) };
    prop::collection::vec((0_u64..=ENTRIES_MAX, 0_u64..=ENTRIES_MAX).prop_map(cut), 0..4)
}

fn config() -> impl Strategy<Value = Config> {
    (0_u64..=ENTRIES_MAX, 1_u64..=4, cuts()).prop_map(|(epoch, primary, history)| {
        let mut config = chain_of(4);
        config.epoch = Epoch::new(epoch);
        if primary == 2 {
            config.primary = NodeId::new(2);
            config.parents =
                [1, 3, 4].into_iter().map(|id| (NodeId::new(id), NodeId::new(2))).collect();
        }
        config.history = history;
        config
    })
}

fn message() -> impl Strategy<Value = Message> {
    let stream = || (1_u64 << 24)..(1 << 24) + 4;
    let reason =
        prop_oneof![Just(Closed::Diverged), Just(Closed::Behind), lsn().prop_map(Closed::Trimmed)];
    let open = (stream(), id(), lsn(), lsn()).prop_map(|(stream, last, durable, applied)| {
        let (incarnation, store) = (Incarnation::new(1), StoreUuid::new(1));
        Message::Open(Open { stream, last, durable, applied, incarnation, store })
    });
    let below = prop::collection::vec(((1_u64..=4).prop_map(NodeId::new), positions()), 0..256);
    let ack = (stream(), positions(), any::<bool>(), below)
        .prop_map(|(stream, own, whole, below)| Message::Ack(Ack { stream, own, whole, below }));
    let sealed = (id(), id(), cuts(), any::<(bool, bool)>(), config());
    let sealed = sealed.prop_map(|(last, base, runs, (amnesiac, blank), config)| {
        let (incarnation, store) = (Incarnation::new(1), StoreUuid::new(1));
        Message::Sealed(Sealed { last, base, runs, incarnation, store, amnesiac, blank, config })
    });
    prop_oneof![
        open,
        (stream(), reason).prop_map(|(stream, reason)| Message::Closed { stream, reason }),
        ack,
        Just(Message::Seal),
        sealed,
        Just(Message::SealRefused),
        config().prop_map(Message::Config),
        id().prop_map(|after| Message::Fetch { after }),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let peer = || 1_u64..=4;
    let entries = (peer(), 0_u64..=ENTRIES_MAX, 0_u64..4, 0_u64..3, any::<bool>());
    prop_oneof![
        6 => (peer(), prop_oneof![0_u64..=6, Just(u64::MAX)], message())
            .prop_map(|(from, epoch, message)| Act::Say(from, epoch, message)),
        4 => entries.prop_map(|(from, epoch, count, gap, fetched)| {
            Act::Entries { from, epoch, count, gap, fetched }
        }),
        2 => (peer(), any::<bool>()).prop_map(|(peer, up)| Act::Link(peer, up)),
        1 => Just(Act::Propose),
        3 => (0_usize..4).prop_map(Act::Sync),
        1 => (0_u64..2_000).prop_map(Act::Wait),
    ]
}

struct Victim {
    replica: Replica,
    disk: Disk,
    now: Time,
    stream: u64,
    end: (EntryId, Chain, Hlc), // of the log, as the machine was told to write it
}

impl Victim {
    fn new(id: u64) -> Self {
        let mut disk = Disk::new(u128::from(id));
        disk.pace = Pace::Held;
        let me = Identity {
            node: NodeId::new(id),
            incarnation: Incarnation::new(1),
            store: StoreUuid::new(disk.store),
        };
        let limits = Limits { tail_bytes: 0, window_bytes: 200, ..Limits::default() };
        let replica = Replica::new(me, chain_of(4), disk.recovered(), limits);
        let end = (EntryId::ZERO, Chain::ZERO, Hlc::ZERO);
        let mut victim = Self { replica, disk, now: Time::from_ms(1), stream: 0, end };
        victim.step(Event::Start);
        victim
    }

    fn step(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let effects = self.replica.step(self.now, event);
            for effect in effects {
                self.perform(effect, &mut events);
            }
        }
    }

    fn perform(&mut self, effect: Effect, events: &mut Vec<Event>) {
        match effect {
            Effect::Persist { ticket, hard } => self.disk.submit(Op::Persist { ticket, hard }),
            Effect::Truncate(keep) => self.disk.submit(Op::Truncate(keep)),
            Effect::Append(batch) => {
                self.end = (batch.last(), batch.chain(), batch.last_hlc());
                self.disk.submit(Op::Append(batch));
            }
            Effect::Send { envelope, .. } => {
                if let Message::Open(open) = &envelope.message {
                    self.stream = open.stream;
                }
                let encoded = envelope.encode();
                assert!(!encoded.head.is_empty());
            }
            Effect::Load(load) => {
                let batch = self.disk.read(ShardId::new(0), load.after, load.bytes_max);
                events.push(Event::Loaded { load, batch });
            }
            Effect::Apply(_) | Effect::Serve | Effect::Resign | Effect::Halt(_) => {}
        }
    }

    /// A message as it would arrive: through the decoder, which refuses some of them.
    fn hear(&mut self, from: u64, epoch: u64, message: Message) {
        let envelope = Envelope { shard: ShardId::new(0), epoch: Epoch::new(epoch), message };
        let encoded = envelope.encode();
        let bytes: Bytes = [encoded.head.as_ref(), encoded.body.as_ref()].concat().into();
        if let Ok(envelope) = Envelope::decode(&bytes) {
            self.step(Event::Message { from: NodeId::new(from), envelope });
        }
    }

    /// Sound frames, at the end of the log or a little behind it, or in the past.
    fn hear_entries(&mut self, from: u64, (epoch, count, gap): (u64, u64, u64), fetched: bool) {
        let (last, before, hlc) = self.end;
        // With a gap, or without one at 2, time starts again.
        let hlc = if gap == 0 { hlc } else { Hlc::ZERO };
        let after = EntryId::new(last.epoch, last.lsn.plus(gap % 2));
        let mut builder = BatchBuilder::new(ShardId::new(0), after, before, hlc);
        for _ in 0..count {
            let epoch = Epoch::new(epoch).max(last.epoch);
            builder.push(epoch, Kind::Data, 0, |out| out.extend_from_slice(b"x"));
        }
        let frames = builder.take().map(|batch| batch.bytes().clone()).unwrap_or_default();
        let message = if fetched {
            Message::Fetched { after: last, before, frames }
        } else {
            let (stable, head) = (Lsn::new(gap + 1), last.lsn);
            Message::Append(Append {
                stream: self.stream,
                before,
                stable,
                head,
                ack_received: true,
                frames,
            })
        };
        let said = self.replica.status().promised.get();
        self.hear(from, said, message);
    }

    fn sync(&mut self, count: usize) {
        for event in self.disk.complete(count) {
            if let Event::Truncated(end) = &event {
                self.end = (end.last, end.chain, end.hlc);
            }
            self.step(event);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_peer_makes_the_machine_panic(
        victim in 1_u64..=3,
        acts in prop::collection::vec(act(), 0..60),
    ) {
        let mut victim = Victim::new(victim);
        (1..=4).for_each(|peer| victim.step(Event::Connected(NodeId::new(peer))));
        for act in acts {
            match act {
                Act::Say(from, epoch, message) => victim.hear(from, epoch, message),
                Act::Entries { from, epoch, count, gap, fetched } => {
                    victim.hear_entries(from, (epoch, count, gap), fetched);
                }
                Act::Link(peer, true) => victim.step(Event::Connected(NodeId::new(peer))),
                Act::Link(peer, false) => victim.step(Event::Disconnected(NodeId::new(peer))),
                Act::Propose => {
                    let write = |out: &mut bytes::BytesMut| out.extend_from_slice(b"y");
                    // Not being the primary is the common answer.
                    victim.replica.propose(Kind::Data, 0, 1, write).map(drop).unwrap_or_default();
                    victim.step(Event::Tick);
                }
                Act::Sync(count) => victim.sync(count),
                Act::Wait(ms) => {
                    victim.now = victim.now.plus_ms(ms);
                    victim.step(Event::Tick);
                    prop_assert!(victim.replica.deadline().is_none_or(|at| at > victim.now));
                }
            }
        }
    }
}
