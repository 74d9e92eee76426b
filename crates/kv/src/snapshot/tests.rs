//! Snapshots read back, and no damaged one is taken for whole.

use antiphon_proto::Lsn;
use proptest::prelude::*;

use super::*;
use crate::engine::{Engine, Limits};

/// An engine with some keys in two databases, one of which was exchanged.
fn engine(keys: u32, value_bytes: usize) -> Engine {
    let mut engine = Engine::new(1, Limits::default());
    let mut payload = BytesMut::from(&[payload::PAYLOAD_VERSION][..]);
    let dbs: Vec<Db> = Db::all().collect();
    for number in 0..keys {
        let key = number.to_le_bytes();
        let value = vec![7; value_bytes];
        let db = dbs[usize::try_from(number).unwrap() % 2];
        let expire_at_ms = (number % 3 == 0).then_some(u64::from(number));
        Effect::Put { db, key: &key, value: &value, expire_at_ms }.encode(&mut payload);
    }
    Effect::Swap { one: dbs[1], other: dbs[9] }.encode(&mut payload);
    engine.apply(Lsn::new(5), Hlc::from_ms(77), &payload).unwrap();
    engine
}

fn written(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.cut().write(&mut bytes).unwrap();
    bytes
}

#[track_caller]
fn check(keys: u32, value_bytes: usize) {
    let engine = engine(keys, value_bytes);
    let bytes = written(&engine);
    let mut other = Engine::new(2, Limits::default());
    other.restore(&mut &*bytes).unwrap();
    assert_eq!(other.digest(), engine.digest());
    assert_eq!((other.applied(), other.applied_hlc()), (Lsn::new(5), Hlc::from_ms(77)));
    for db in Db::all() {
        assert_eq!(other.db_stats(db, 0), engine.db_stats(db, 0));
    }
    assert_eq!(written(&other).len(), bytes.len());
}

#[test]
fn a_snapshot_reads_back() {
    check(0, 0);
    check(1, 0);
    check(5_000, 10);
    check(3, 3 * CHUNK_BYTES_MAX);
    check(2, CHUNK_BYTES_MAX - 50);
}

#[test]
fn the_bytes_of_a_snapshot_are_pinned() {
    let bytes = written(&engine(2, 3));
    assert_eq!(crate::testing::hex(&bytes), crate::testing::shown("keyspace"));
}

#[test]
fn another_version_is_refused() {
    let mut bytes = written(&engine(1, 1));
    bytes[4] = 2;
    let error = Engine::new(2, Limits::default()).restore(&mut &*bytes).unwrap_err();
    assert_eq!(error.to_string(), SnapshotError::Version(2).to_string());
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let whole = written(&engine(4, 3));
    let mut other = engine(2, 1);
    let digest = other.digest();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            assert!(other.restore(&mut &*bytes).is_err(), "byte {at} bit {bit}");
        }
        assert!(other.restore(&mut &whole[..at]).is_err(), "cut at {at}");
        assert_eq!(other.digest(), digest, "a failed restore changes nothing");
    }
}

#[test]
fn a_cut_stands_still_while_the_engine_goes_on() {
    let mut engine = engine(1_000, 5);
    let (cut, digest) = (engine.cut(), engine.digest());
    let mut payload = BytesMut::from(&[payload::PAYLOAD_VERSION][..]);
    for db in Db::all() {
        Effect::Flush { db }.encode(&mut payload);
    }
    engine.apply(Lsn::new(6), Hlc::from_ms(78), &payload).unwrap();
    assert_ne!(engine.digest(), digest);
    let written = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        cut.write(&mut bytes).map(|()| bytes)
    });
    let bytes = written.join().unwrap().unwrap();
    engine.restore(&mut &*bytes).unwrap();
    assert_eq!(engine.digest(), digest);
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut framed = b"AFKV\x01\0\0\0".to_vec();
        framed.extend_from_slice(&bytes);
        prop_assert!(Engine::new(2, Limits::default()).restore(&mut &*framed).is_err());
        prop_assert!(Engine::new(2, Limits::default()).restore(&mut &*bytes).is_err());
    }

    #[test]
    fn any_content_in_a_whole_chunk_is_refused(
        content in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = b"AFKV\x01\0\0\0".to_vec();
        let mut chunks = ChunkWriter { out: &mut bytes, number: 0, content: Vec::new() };
        chunks.write_all(&content).unwrap();
        chunks.finish().unwrap();
        prop_assert!(Engine::new(2, Limits::default()).restore(&mut &*bytes).is_err());
    }
}
