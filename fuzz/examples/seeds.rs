//! Writes the small inputs that the fuzz targets start from into `fuzz/corpus`.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`, after a format has changed.

use std::io;
use std::path::Path;

use antiphon_control::{
    ClusterRecord, ClusterUuid, Command, Machine, NodeRecord, Outcome, Record, Role, ShardRecord,
    Version, WallMs,
};
use antiphon_kv::{Db, Effect, PAYLOAD_VERSION};
use antiphon_net::{Codec, Outgoing, pack, plain};
use antiphon_proto::{
    Ack, Append, BatchBuilder, Chain, Closed, Config, Cut, EntryId, Envelope, Epoch, HardState,
    Header, Hlc, Incarnation, Kind, LoggedReply, Lsn, Member, Message, NodeId, Open, Policy,
    Positions, Sealed, SessionEntry, SessionFault, SessionId, SessionWrite, Sessions, Shape,
    ShardId, StoreUuid, Ticket, encode,
};
use bytes::{BufMut, Bytes, BytesMut};

fn main() -> io::Result<()> {
    frames()?;
    configurations()?;
    register()?;
    messages()?;
    names()?;
    effects()?;
    requests()?;
    sessions()?;
    packed()?;
    replies()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}

/// A table with two writes, and the entries that make it, each with its length before it.
fn sessions() -> io::Result<()> {
    let session = SessionId::opened_by(EntryId::new(Epoch::new(1), Lsn::new(1)));
    let entry = |seq, reply| {
        let ticket = Ticket { session, seq };
        SessionEntry::Write(SessionWrite { ticket, reply, payload: b"effects" })
    };
    let entries = [
        (Kind::SessionOpen, SessionEntry::Open { ttl_ms: 60_000 }),
        (Kind::SessionData, entry(1, LoggedReply::Kept(b"+OK"))),
        (Kind::SessionData, entry(300, LoggedReply::ByMachine)),
    ];
    let mut builder = BatchBuilder::new(ShardId::new(0), EntryId::ZERO, Chain::ZERO, Hlc::ZERO);
    let mut script = BytesMut::new();
    for (kind, encoded) in entries {
        let mut payload = BytesMut::new();
        encoded.encode(&mut payload);
        script.put_u8(kind as u8);
        script.put_u8(u8::try_from(payload.len()).expect("short entries"));
        script.put_slice(&payload);
        builder.push(Epoch::new(1), kind, 1_000, |out| out.put_slice(&payload));
    }
    let mut table = Sessions::new(9);
    for frame in builder.take().expect("frames were pushed").frames() {
        let applied = table.apply(&frame, |_, _| Ok::<_, SessionFault>(None));
        applied.expect("entries in order");
    }
    let mut bytes = Vec::new();
    table.cut().write(&mut bytes)?;
    write("sessions", "table", &bytes)?;
    write("sessions", "entries", &script)
}

/// A message of a link that compresses, each way.
fn packed() -> io::Result<()> {
    let body = b"words that come again, ".repeat(40);
    let sent = Outgoing::new(Bytes::from_static(b"head"), body.into());
    write("packing", "plain", &plain(sent.clone()).into_bytes())?;
    for codec in Codec::ALL {
        let packed = pack(&sent, codec).expect("it shrinks");
        write("packing", codec.name(), &packed.into_bytes())?;
    }
    Ok(())
}

fn frames() -> io::Result<()> {
    let start = || BatchBuilder::new(ShardId::new(2), EntryId::ZERO, Chain::ZERO, Hlc::ZERO);
    let mut one = start();
    one.push(Epoch::new(1), Kind::Data, 1_000, |out| out.put_slice(b"payload"));
    let mut three = start();
    three.push(Epoch::new(1), Kind::EpochStart, 1_000, |out| out.put_slice(b"config"));
    three.push(Epoch::new(1), Kind::Noop, 1_000, |_| {});
    three.push(Epoch::new(2), Kind::Data, 2_000, |out| out.put_slice(b"x"));
    for (name, mut builder) in [("one", one), ("three", three)] {
        let batch = builder.take().expect("frames were pushed");
        write("frame", name, batch.bytes())?;
    }
    write("frame", "past-the-last-lsn", &past_the_last_lsn())
}

/// Counting on from the last number there is: refused, and no reason to stop.
fn past_the_last_lsn() -> BytesMut {
    let mut out = BytesMut::new();
    let mut chain = Chain::ZERO;
    for (lsn, hlc) in [(u64::MAX, 1), (0, 2)] {
        let id = EntryId::new(Epoch::new(1), Lsn::new(lsn));
        let header = Header { kind: Kind::Noop, shard: ShardId::new(2), id, hlc: Hlc::new(hlc) };
        chain = encode(&mut out, header, chain, |_| {});
    }
    out
}

fn config(shape: Shape) -> Config {
    let member = |raw, region: &str| Member { node: NodeId::new(raw), region: region.to_owned() };
    let voters = vec![member(1, "east"), member(2, "east"), member(3, "west")];
    let mut config = Config::initial(ShardId::new(4), voters, shape, Policy::Quorum)
        .expect("three voters are a configuration");
    config.epoch = Epoch::new(9);
    config.history = vec![Cut { epoch: Epoch::new(7), end: Lsn::new(70) }];
    config
}

fn register() -> io::Result<()> {
    let cluster = Record::Cluster(ClusterRecord {
        cluster: ClusterUuid::new(1),
        name: "test".to_owned(),
        founded: WallMs::new(1_000),
        paused: None,
    });
    let node = Record::Node(Box::new(NodeRecord {
        node: NodeId::new(1),
        name: "a".to_owned(),
        addresses: vec!["a:1".to_owned()],
        incarnation: Incarnation::new(1),
        store: StoreUuid::new(2),
        former_stores: vec![StoreUuid::new(3)],
        role: Role::Learner,
        region: "r".to_owned(),
        zone: "z".to_owned(),
        changed: WallMs::new(1_000),
    }));
    let shard = Record::Shard(Box::new(ShardRecord {
        active: config(Shape::Star),
        pending: Some(Config { epoch: Epoch::new(10), ..config(Shape::Chain) }),
        auto_failover: true,
        appointed: None,
        stores: [(NodeId::new(1), StoreUuid::new(2))].into(),
        last_recovery: None,
    }));
    let mut machine = Machine::new();
    for (name, record) in [("cluster", cluster), ("node", node), ("shard", shard)] {
        write("register", name, &record.encode())?;
        let command = Command::one(Version::ZERO, record, None);
        write("register", &format!("command_{name}"), &command.encode())?;
        write("register", &format!("outcome_{name}"), &machine.apply(&command).encode())?;
    }
    let conflict =
        Outcome::Conflict(machine.records().map(|(key, _)| (key, Version::ZERO)).collect());
    write("register", "conflict", &conflict.encode())?;
    write("register", "state", &machine.encode())
}

fn configurations() -> io::Result<()> {
    write("config", "star", &config(Shape::Star).encode())?;
    let config = config(Shape::Chain);
    write("config", "chain", &config.encode())?;
    write(
        "config",
        "hard",
        &HardState { promised: Epoch::new(11), config, owed: Lsn::ZERO, established: true }
            .encode(),
    )?;
    write("node_config", "annotated", antiphon_cli::config::annotated().as_bytes())
}

fn messages() -> io::Result<()> {
    let id = EntryId::new(Epoch::new(7), Lsn::new(70));
    let (stream, incarnation, store) = (8, Incarnation::new(3), StoreUuid::new(77));
    let own = Positions { received: Lsn::new(5), durable: Lsn::new(4), applied: Lsn::new(3) };
    let frames = Bytes::from_static(b"frames");
    let (durable, applied) = (Lsn::new(60), Lsn::new(50));
    let messages = [
        ("open", Message::Open(Open { stream, last: id, durable, applied, incarnation, store })),
        ("closed", Message::Closed { stream, reason: Closed::Trimmed(Lsn::new(4)) }),
        (
            "append",
            Message::Append(Append {
                stream,
                before: Chain::new(5),
                stable: Lsn::new(5),
                head: Lsn::new(9),
                ack_received: true,
                frames: frames.clone(),
            }),
        ),
        ("ack", Message::Ack(Ack { stream, own, whole: true, below: vec![(NodeId::new(3), own)] })),
        ("seal", Message::Seal),
        (
            "sealed",
            Message::Sealed(Sealed {
                last: id,
                base: EntryId::ZERO,
                runs: vec![Cut { epoch: id.epoch, end: id.lsn }],
                incarnation,
                store,
                amnesiac: false,
                blank: false,
                config: config(Shape::Star),
            }),
        ),
        ("seal-refused", Message::SealRefused),
        ("config", Message::Config(config(Shape::Chain))),
        ("fetch", Message::Fetch { after: id }),
        ("fetched", Message::Fetched { after: id, before: Chain::new(1), frames: frames.clone() }),
        ("call", Message::Call { id: 5, request: frames.clone() }),
        ("answer", Message::Answer { id: 5, answer: Some(frames) }),
    ];
    for (name, message) in messages {
        let envelope = Envelope { shard: ShardId::new(4), epoch: Epoch::new(9), message };
        let encoded = envelope.encode();
        write("wire", name, &[encoded.head, encoded.body].concat())?;
    }
    Ok(())
}

fn names() -> io::Result<()> {
    write("names", "token", b"1-22-333")?;
    write("names", "quorum", b"quorum")?;
    write("names", "region", b"region(2)")
}

fn effects() -> io::Result<()> {
    let (one, other) = (Db::default(), Db::new(7).expect("there are more than seven"));
    let (key, value, expire_at_ms) = (b"key".as_slice(), b"value".as_slice(), Some(1_000));
    let effects = [
        Effect::Put { db: one, key, value, expire_at_ms: None },
        Effect::Put { db: one, key, value, expire_at_ms },
        Effect::Expire { db: one, key, expire_at_ms },
        Effect::Swap { one, other },
        Effect::Delete { db: other, key },
        Effect::Flush { db: one },
    ];
    let mut out = BytesMut::new();
    out.put_u8(PAYLOAD_VERSION);
    effects.iter().for_each(|effect| effect.encode(&mut out));
    write("kv_effects", "each", &out)?;
    write("kv_snapshot", "effects", &out)?;
    // The chunk size, then position, time, one item, the end, the count.
    let item = [1, 0, 3, b'k', b'e', b'y', 1, b'v', 0, 1, 0, 0, 0, 0, 0, 0, 0];
    write("kv_snapshot", "content", &[[9].as_slice(), &[1; 16], &item, &[0; 16]].concat())?;
    write("glob", "class", b"\x90h[a-e^]l*\\?[^x]hello??")
}

fn requests() -> io::Result<()> {
    write("resp_request", "array", b"\x03*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n")?;
    write("resp_request", "two", b"\x12*1\r\n$4\r\nPING\r\n*0\r\nGET k\r\n")?;
    write("resp_inline", "words", b"SET key value")?;
    write("resp_inline", "quotes", br#"SET "a\n\x41 \"b" 'c\'d'"#)
}

fn replies() -> io::Result<()> {
    let replies: [(&str, &[u8]); 5] = [
        ("lines", b"*4\r\n+OK\r\n-ERR no\r\n:-12\r\n_\r\n"),
        ("strings", b"*4\r\n$2\r\nab\r\n$-1\r\n=5\r\ntxt:x\r\n!3\r\nERR\r\n"),
        ("pairs", b"%1\r\n+k\r\n~2\r\n:1\r\n:2\r\n"),
        ("numbers", b">4\r\n,1.5\r\n,-inf\r\n#t\r\n(123456789012345678901\r\n"),
        ("facts", b"|1\r\n+ttl\r\n:9\r\n*-1\r\n"),
    ];
    replies.iter().try_for_each(|(name, reply)| write("resp_reply", name, reply))
}
