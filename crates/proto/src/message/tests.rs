//! Messages: round trips of each kind, every flipped bit of a head, limits.

use super::*;
use crate::{Policy, Shape};

fn config() -> Config {
    let member = |raw| crate::Member { node: NodeId::new(raw), region: "eu".to_owned() };
    let voters = vec![member(1), member(2), member(3)];
    let mut config =
        Config::initial(ShardId::new(4), voters, Shape::Chain, Policy::Quorum).unwrap();
    config.epoch = Epoch::new(9);
    config.history = vec![Cut { epoch: Epoch::new(7), end: Lsn::new(70) }];
    config
}

fn each_kind() -> Vec<Message> {
    let id = EntryId::new(Epoch::new(7), Lsn::new(70));
    let positions = Positions { received: Lsn::new(5), durable: Lsn::new(4), applied: Lsn::new(3) };
    let frames = Bytes::from_static(b"frames");
    let sealed = Sealed {
        last: id,
        base: EntryId::ZERO,
        runs: vec![Cut { epoch: id.epoch, end: id.lsn }],
        incarnation: Incarnation::new(3),
        store: StoreUuid::new(u128::MAX),
        blank: true,
        amnesiac: true,
        config: config(),
    };
    let open = Open {
        stream: 1,
        last: id,
        durable: Lsn::new(60),
        applied: Lsn::new(50),
        incarnation: Incarnation::new(3),
        store: StoreUuid::new(77),
    };
    let append = Append {
        stream: 8,
        before: Chain::new(u128::MAX - 1),
        stable: Lsn::new(5),
        head: Lsn::new(9),
        ack_received: true,
        frames: frames.clone(),
    };
    vec![
        Message::Open(open),
        Message::Closed { stream: 2, reason: Closed::Diverged },
        Message::Closed { stream: 2, reason: Closed::Trimmed(Lsn::new(4)) },
        Message::Closed { stream: 2, reason: Closed::Behind },
        Message::Append(append),
        Message::Ack(Ack {
            stream: 8,
            own: positions,
            whole: true,
            below: vec![(NodeId::new(3), positions)],
        }),
        Message::Seal,
        Message::Sealed(sealed),
        Message::SealRefused,
        Message::Config(config()),
        Message::Fetch { after: id },
        Message::Fetched { after: id, before: Chain::new(1), frames: frames.clone() },
        Message::Call { id: 5, request: frames.clone() },
        Message::Answer { id: 5, answer: Some(frames) },
        Message::Answer { id: 5, answer: None },
    ]
}

fn whole(encoded: &Encoded) -> Bytes {
    [encoded.head.as_ref(), encoded.body.as_ref()].concat().into()
}

fn envelope(message: Message) -> Envelope {
    Envelope { shard: ShardId::new(4), epoch: Epoch::new(9), message }
}

#[test]
fn each_kind_reads_back_what_was_written() {
    for message in each_kind() {
        let sent = envelope(message);
        assert_eq!(Envelope::decode(&whole(&sent.encode())), Ok(sent));
    }
}

#[test]
fn every_flipped_bit_of_a_head_is_found() {
    for message in each_kind() {
        let encoded = envelope(message).encode();
        for bit in 0..encoded.head.len() * 8 {
            let mut bytes = whole(&encoded).to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Envelope::decode(&bytes.into()).is_err(), "bit {bit} of {encoded:?}");
        }
    }
}

#[test]
fn a_cut_head_is_refused() {
    for message in each_kind() {
        let encoded = envelope(message).encode();
        for length in 0..encoded.head.len() {
            assert_eq!(
                Envelope::decode(&encoded.head.slice(..length)),
                Err(WireError::Short),
                "{length} bytes"
            );
        }
    }
}

#[test]
fn a_configuration_that_breaks_its_rules_is_refused() {
    let mut broken = config();
    broken.primary = NodeId::new(9);
    assert_eq!(Config::decode(&broken.encode()), Err(WireError::Malformed("configuration")));
    assert_eq!(Config::decode(&config().encode()), Ok(config()));
}
