//! Writes the small inputs that the fuzz targets start from into `fuzz/corpus`.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`, after a format has changed.

use std::io;
use std::path::Path;

use antiphon_proto::{
    BatchBuilder, Chain, EntryId, Epoch, Header, Hlc, Kind, Lsn, ShardId, encode,
};
use bytes::{BufMut, BytesMut};

fn main() -> io::Result<()> {
    frames()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
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
