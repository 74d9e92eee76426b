//! The decoders: what was written reads back, and no bytes make them panic.

use antiphon_proto::{
    Ack, Append, Batch, BatchBuilder, Chain, Config, Cut, EntryId, Envelope, Epoch, Frame,
    HardState, Hlc, Kind, Lsn, Member, Message, NodeId, Policy, Positions, Shape, ShardId, Token,
    crc32c, frame_bytes,
};
use bytes::Bytes;
use proptest::prelude::*;

const NUMBER_MAX: u64 = u64::MAX >> 8;

fn whole(envelope: &Envelope) -> Bytes {
    let encoded = envelope.encode();
    [encoded.head.as_ref(), encoded.body.as_ref()].concat().into()
}

fn positions() -> impl Strategy<Value = Positions> {
    prop::array::uniform3(0..NUMBER_MAX).prop_map(|mut raw| {
        raw.sort_unstable();
        let [applied, durable, received] = raw.map(Lsn::new);
        Positions { received, durable, applied }
    })
}

prop_compose! {
    /// A configuration that its own rules allow.
    fn config()(
        count in 1_u64..=7,
        chain in any::<bool>(),
        floor in prop_oneof![Just(Policy::Quorum), Just(Policy::All), Just(Policy::Local), Just(Policy::Prefix(1))],
        epoch in 1_u64..NUMBER_MAX,
        steps in prop::collection::vec((1_u64..5, 0_u64..100), 0..20),
        regions in prop::collection::vec("[a-z]{0,9}", 7),
    ) -> Config {
        let voters = (1..=count).zip(regions);
        let voters = voters.map(|(id, region)| Member { node: NodeId::new(id), region });
        let shape = if chain { Shape::Chain } else { Shape::Star };
        let mut config =
            Config::initial(ShardId::new(9), voters.collect(), shape, floor).expect("a cluster");
        config.epoch = Epoch::new(epoch);
        let mut row = Cut { epoch: Epoch::ZERO, end: Lsn::ZERO };
        for (epochs, entries) in steps {
            row = Cut { epoch: Epoch::new(row.epoch.get() + epochs), end: row.end.plus(entries) };
            if row.epoch < config.epoch {
                config.history.push(row);
            }
        }
        config
    }
}

fn message() -> impl Strategy<Value = Message> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let append = (any::<u64>(), any::<u128>(), any::<u64>(), any::<bool>(), bytes());
    let append = append.prop_map(|(stream, before, lsn, ack_received, frames)| {
        let (stable, head) = (Lsn::new(lsn / 2), Lsn::new(lsn));
        let before = Chain::new(before);
        Message::Append(Append { stream, before, stable, head, ack_received, frames })
    });
    let below = (any::<u64>().prop_map(NodeId::new), positions());
    let ack = (any::<u64>(), positions(), any::<bool>(), prop::collection::vec(below, 0..20));
    let ack =
        ack.prop_map(|(stream, own, whole, below)| Message::Ack(Ack { stream, own, whole, below }));
    let answer = (any::<u64>(), prop::option::of(bytes()));
    prop_oneof![
        append,
        ack,
        config().prop_map(Message::Config),
        (any::<u64>(), bytes()).prop_map(|(id, request)| Message::Call { id, request }),
        answer.prop_map(|(id, answer)| Message::Answer { id, answer }),
        Just(Message::Seal),
    ]
}

prop_compose! {
    fn envelope()(shard in any::<u32>(), epoch in 0..NUMBER_MAX, message in message()) -> Envelope {
        Envelope { shard: ShardId::new(shard), epoch: Epoch::new(epoch), message }
    }
}

fn batch(payloads: &[Vec<u8>]) -> Option<Batch> {
    let mut builder = BatchBuilder::new(ShardId::new(1), EntryId::ZERO, Chain::ZERO, Hlc::ZERO);
    for payload in payloads {
        builder.push(Epoch::new(1), Kind::Data, 7, |out| out.extend_from_slice(payload));
    }
    builder.take()
}

/// Every decoder that meets bytes from outside.
fn decode_all(bytes: &Bytes) {
    let frame = Frame::decode(bytes).is_ok();
    let batch = Batch::decode(ShardId::new(1), Chain::ZERO, bytes.clone()).is_ok();
    assert!(frame || !batch, "a batch begins with a frame");
    assert!(frame_bytes(bytes).is_ok() || !frame, "a frame has a length");
    let config = Config::decode(bytes);
    assert!(config.is_err() || config.as_ref().is_ok_and(|config| config.check().is_ok()));
    let hard = HardState::decode(bytes);
    assert!(hard.is_err() || hard.is_ok_and(|hard| hard.config.epoch <= hard.promised));
    if let Ok(envelope) = Envelope::decode(bytes) {
        assert!(envelope.epoch.get() <= NUMBER_MAX);
    }
    let text = String::from_utf8_lossy(bytes);
    assert!(text.parse::<Token>().is_err() || text.contains('-'));
    assert!(text.parse::<Policy>().is_err() || text.is_ascii());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_reads_back(envelope in envelope()) {
        prop_assert_eq!(Envelope::decode(&whole(&envelope)), Ok(envelope));
    }

    #[test]
    fn a_configuration_reads_back(config in config(), ahead in 0_u64..9) {
        prop_assert_eq!(Config::decode(&config.encode()), Ok(config.clone()));
        let promised = Epoch::new(config.epoch.get() + ahead);
        let hard = HardState { promised, config, owed: Lsn::new(4), established: true };
        prop_assert_eq!(HardState::decode(&hard.encode()), Ok(hard));
    }

    #[test]
    fn a_batch_reads_back(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..9), cut in any::<prop::sample::Index>()) {
        let written = batch(&payloads).expect("there are payloads");
        let read = Batch::decode(ShardId::new(1), Chain::ZERO, written.bytes().clone());
        prop_assert_eq!(read.as_ref(), Ok(&written));
        let found: Vec<_> = written.frames().map(|frame| frame.payload.to_vec()).collect();
        prop_assert_eq!(&found, &payloads);
        let short = written.bytes().slice(..cut.index(written.bytes().len()));
        let read = Batch::decode(ShardId::new(1), Chain::ZERO, short.clone());
        // What is left of cut bytes is a prefix of the batch, or nothing.
        prop_assert!(read.is_err() || read.is_ok_and(|read| written.up_to(read.last().lsn) == Some(read)));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode_all(&bytes.into());
    }

    /// Changed fields behind checksums that fit: what only a broken peer sends.
    #[test]
    fn no_forged_message_makes_a_decoder_panic(
        envelope in envelope(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut head = envelope.encode().head.to_vec();
        for (index, byte) in changes {
            let at = 4 + index.index(head.len() - 4);
            if let Some(place) = head.get_mut(at) {
                *place = byte;
            }
        }
        let crc = crc32c(head.get(4..).unwrap_or_default());
        head.splice(..4, crc.to_le_bytes());
        decode_all(&head.into());
    }
}

#[test]
fn numbers_that_no_run_reaches_are_refused() {
    let id = EntryId::new(Epoch::new(1), Lsn::new(NUMBER_MAX + 1));
    let fetch = |epoch, after| Envelope {
        shard: ShardId::new(1),
        epoch: Epoch::new(epoch),
        message: Message::Fetch { after },
    };
    assert!(Envelope::decode(&whole(&fetch(1, id))).is_err());
    assert!(Envelope::decode(&whole(&fetch(NUMBER_MAX + 1, EntryId::ZERO))).is_err());
    assert!(Envelope::decode(&whole(&fetch(NUMBER_MAX, EntryId::ZERO))).is_ok());
    let last = EntryId::new(Epoch::new(1), Lsn::new(NUMBER_MAX));
    let mut builder = BatchBuilder::new(ShardId::new(1), last, Chain::ZERO, Hlc::ZERO);
    builder.push(Epoch::new(1), Kind::Noop, 7, |_| {});
    let batch = builder.take().expect("an entry was pushed");
    assert!(Frame::decode(batch.bytes()).is_err());
}
