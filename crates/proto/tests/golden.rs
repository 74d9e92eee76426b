//! The exact bytes of a frame, of messages and of what a node must not forget, read from
//! `docs/format.md`. A change there is a change of the format: it needs a new version number.

use antiphon_proto::{
    Ack, Append, Batch, BatchBuilder, Chain, Config, Cut, EntryId, Envelope, Epoch, HardState, Hlc,
    Incarnation, Kind, LoggedReply, Lsn, Member, Message, NodeId, Open, Policy, Positions,
    SessionEntry, SessionFault, SessionId, SessionWrite, Sessions, Shape, ShardId, StoreUuid,
    Ticket, snapshot_has_sessions, snapshot_meta,
};
use bytes::{Bytes, BytesMut};

const PAGE: &str = include_str!("../../../docs/format.md");

/// The bytes of the page's block with this name: hexadecimal digits, with remarks behind bars.
#[track_caller]
fn bytes(name: &str) -> Bytes {
    let (_, block) = PAGE.split_once(&format!("```hex {name}\n")).expect("a block of this name");
    let (block, _) = block.split_once("```").expect("the block ends");
    let hex = block.lines().filter_map(|line| line.split('|').next());
    let digits: Vec<_> = hex.flat_map(str::chars).filter_map(|digit| digit.to_digit(16)).collect();
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
fn check(message: Message, name: &str) {
    let golden = bytes(name);
    let envelope = Envelope { shard: ShardId::new(7), epoch: Epoch::new(3), message };
    let encoded = envelope.encode();
    let whole: Bytes = [encoded.head.as_ref(), encoded.body.as_ref()].concat().into();
    assert_eq!(shown(&whole), shown(&golden));
    assert_eq!(Envelope::decode(&golden), Ok(envelope));
}

#[test]
fn a_frame_has_these_bytes() {
    let mut builder =
        BatchBuilder::new(ShardId::new(7), id(2, 8), Chain::new(0x11), Hlc::from_ms(1_000));
    builder.push(Epoch::new(3), Kind::Data, 2_000, |out| out.extend_from_slice(b"payload"));
    let batch = builder.take().expect("an entry was pushed");
    assert_eq!(shown(batch.bytes()), shown(&bytes("frame")));
    let read = Batch::decode(ShardId::new(7), Chain::new(0x11), bytes("frame")).expect("golden");
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
    check(Message::Append(append), "append");
}

#[test]
fn an_ack_has_these_bytes() {
    let below = vec![(NodeId::new(4), positions(5, 4, 3))];
    let ack = Ack { stream: 0x0102_0304, own: positions(9, 8, 6), whole: true, below };
    check(Message::Ack(ack), "ack");
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
    check(Message::Open(open), "open");
}

#[test]
fn a_seal_has_these_bytes() {
    check(Message::Seal, "seal");
}

fn config(regions: [&str; 2]) -> Config {
    let voters = [1, 2].map(NodeId::new).into_iter().zip(regions);
    let voters = voters.map(|(node, region)| Member { node, region: region.to_owned() });
    let shard = ShardId::default();
    let config = Config::initial(shard, voters.collect(), Shape::Star, Policy::Quorum);
    Config {
        epoch: Epoch::new(7),
        history: vec![Cut { epoch: Epoch::new(5), end: Lsn::new(9) }],
        ..config.expect("two voters have a quorum")
    }
}

#[test]
fn a_configuration_has_these_bytes() {
    let config = config(["eu", "us"]);
    assert_eq!(shown(&config.encode()), shown(&bytes("config")));
    assert_eq!(Config::decode(&bytes("config")), Ok(config));
}

#[test]
fn a_hard_state_has_these_bytes() {
    let (promised, config) = (Epoch::new(8), config(["", ""]));
    let hard = HardState { promised, config, owed: Lsn::new(9), established: false };
    assert_eq!(shown(&hard.encode()), shown(&bytes("hard state")));
    assert_eq!(HardState::decode(&bytes("hard state")), Ok(hard));
}

/// A session opened by entry 3/9, with two writes; the second one's reply was too long.
fn session_entries() -> Vec<(Kind, &'static str, Bytes)> {
    let session = SessionId::opened_by(id(3, 9));
    let write = |seq, reply| {
        let ticket = Ticket { session, seq };
        SessionEntry::Write(SessionWrite { ticket, reply, payload: b"effects" })
    };
    let entries = [
        (Kind::SessionOpen, "session open", SessionEntry::Open { ttl_ms: 60_000 }),
        (Kind::SessionData, "session data", write(1, LoggedReply::Kept(b"+OK\r\n"))),
        (Kind::SessionData, "session data without reply", write(3, LoggedReply::TooLong)),
    ];
    let encoded = entries.map(|(kind, name, entry)| {
        let mut out = BytesMut::new();
        entry.encode(&mut out);
        (kind, name, out.freeze())
    });
    encoded.into()
}

#[test]
fn entries_of_sessions_have_these_bytes() {
    for (kind, name, encoded) in session_entries() {
        assert_eq!(shown(&encoded), shown(&bytes(name)), "{name}");
        assert!(SessionEntry::decode(kind, &encoded).is_ok(), "{name}");
    }
    let closing = bytes("session close");
    let read = SessionEntry::decode(Kind::SessionClose, &closing).expect("golden");
    let mut again = BytesMut::new();
    read.encode(&mut again);
    assert_eq!(shown(&again), shown(&closing));
    let SessionEntry::Close { sessions, .. } = read else { panic!("it is a closing") };
    assert!(sessions.iter().eq([SessionId::opened_by(id(3, 9))]));
}

#[test]
fn the_table_of_sessions_has_these_bytes() {
    let mut builder =
        BatchBuilder::new(ShardId::new(7), id(3, 8), Chain::new(0x11), Hlc::from_ms(1_000));
    for (kind, _, encoded) in session_entries() {
        builder.push(Epoch::new(3), kind, 2_000, |out| out.extend_from_slice(&encoded));
    }
    let batch = builder.take().expect("entries were pushed");
    let mut sessions = Sessions::new(1);
    for frame in batch.frames() {
        let applied = sessions.apply(&frame, |_, _| Ok::<_, SessionFault>(None));
        applied.expect("the entries are in order");
    }
    let mut table = Vec::new();
    sessions.cut().write(&mut table).expect("memory takes what is written");
    assert_eq!(shown(&table), shown(&bytes("sessions")));
    let mut other = Sessions::new(1);
    other.restore(&mut &*bytes("sessions")).expect("golden");
    assert_eq!(other.digest_with([0; 16]), sessions.digest_with([0; 16]));
}

#[test]
fn a_snapshot_says_whether_it_has_sessions() {
    let config = config(["eu", "us"]);
    let meta = snapshot_meta(&config);
    assert_eq!(shown(&meta), shown(&bytes("snapshot meta")));
    assert_eq!(Config::decode(&meta), Ok(config.clone()), "the configuration is in it");
    assert_eq!(snapshot_has_sessions(&meta), Ok(true));
    assert_eq!(snapshot_has_sessions(&config.encode()), Ok(false), "one of an older build");
    let newer = [config.encode(), vec![0x78, 2]].concat();
    assert!(snapshot_has_sessions(&newer).expect_err("a newer build").to_string().contains('2'));
    assert!(snapshot_has_sessions(&[0xff]).is_err());
}
