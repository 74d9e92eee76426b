//! The exact bytes of a frame and of four messages, as `docs/format.md` shows them. A change here
//! is a change of the format: it needs a new version number.

use antiphon_proto::{
    Ack, Append, Batch, BatchBuilder, Chain, EntryId, Envelope, Epoch, Hlc, Incarnation, Kind, Lsn,
    Message, NodeId, Open, Positions, ShardId, StoreUuid,
};
use bytes::Bytes;

/// Bytes from a text of hexadecimal digits, in groups as the format's tables have them.
fn bytes(hex: &str) -> Bytes {
    let digits: Vec<_> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit));
    pairs.map(|byte| u8::try_from(byte).expect("two digits are a byte")).collect()
}

fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn positions(received: u64, durable: u64, applied: u64) -> Positions {
    Positions {
        received: Lsn::new(received),
        durable: Lsn::new(durable),
        applied: Lsn::new(applied),
    }
}

fn id(epoch: u64, lsn: u64) -> EntryId {
    EntryId::new(Epoch::new(epoch), Lsn::new(lsn))
}

#[track_caller]
fn check(message: Message, golden: &str) {
    let envelope = Envelope { shard: ShardId::new(7), epoch: Epoch::new(3), message };
    let encoded = envelope.encode();
    let whole: Bytes = [encoded.head.as_ref(), encoded.body.as_ref()].concat().into();
    assert_eq!(shown(&whole), shown(&bytes(golden)));
    assert_eq!(Envelope::decode(&bytes(golden)), Ok(envelope));
}

const FRAME: &str = "5df278aa 4146 01 01 07000000 07000000 0300000000000000 0900000000000000 \
     0000d00700000000 00000000 00000000 27f4795b86dc6e98e543a01e76b2900f \
     7061796c6f6164";

#[test]
fn a_frame_has_these_bytes() {
    let mut builder =
        BatchBuilder::new(ShardId::new(7), id(2, 8), Chain::new(0x11), Hlc::from_ms(1_000));
    builder.push(Epoch::new(3), Kind::Data, 2_000, |out| out.extend_from_slice(b"payload"));
    let batch = builder.take().expect("an entry was pushed");
    assert_eq!(shown(batch.bytes()), shown(&bytes(FRAME)));
    let read = Batch::decode(ShardId::new(7), Chain::new(0x11), bytes(FRAME)).expect("golden");
    assert_eq!(read, batch);
    assert_eq!((read.first(), read.last_hlc()), (id(3, 9), Hlc::from_ms(2_000)));
}

#[test]
fn an_append_has_these_bytes() {
    let append = Append {
        stream: 0x0102_0304,
        before: Chain::new(0x11),
        stable: Lsn::new(6),
        head: Lsn::new(9),
        ack_received: true,
        frames: Bytes::from_static(b"F"),
    };
    check(
        Message::Append(append),
        "eed63d60 4157 01 01 48000000 07000000 0300000000000000 \
     0403020100000000 11000000000000000000000000000000 0600000000000000 \
     0900000000000000 01000000 00000000 46",
    );
}

#[test]
fn an_ack_has_these_bytes() {
    let below = vec![(NodeId::new(4), positions(5, 4, 3))];
    let ack = Ack { stream: 0x0102_0304, own: positions(9, 8, 6), below };
    check(
        Message::Ack(ack),
        "047e2d90 4157 01 02 58000000 07000000 0300000000000000 \
     0403020100000000 0900000000000000 0800000000000000 0600000000000000 \
     0400000000000000 0500000000000000 0400000000000000 0300000000000000",
    );
}

#[test]
fn an_open_has_these_bytes() {
    let open = Open {
        stream: 0x0102_0304,
        last: id(2, 8),
        durable: Lsn::new(8),
        applied: Lsn::new(6),
        incarnation: Incarnation::new(5),
        store: StoreUuid::new(0x22),
    };
    check(
        Message::Open(open),
        "8822cfdb 4157 01 03 3b000000 07000000 0300000000000000 08 84868808 \
     1204 08021008 1808 2006 2805 3210 22000000000000000000000000000000",
    );
}

#[test]
fn a_seal_has_these_bytes() {
    check(Message::Seal, "e5d845cd 4157 01 05 18000000 07000000 0300000000000000");
}
