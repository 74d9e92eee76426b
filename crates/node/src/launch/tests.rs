//! Restoring: snapshots of this build and those from before there were sessions.

use std::io::{Read, Write};

use antiphon_proto::{
    BatchBuilder, Chain, Epoch, Frame, Hlc, Kind, Member, NodeId, Policy, SESSIONS_MAX,
    SessionEntry, SessionFault, SessionId, Shape, ShardId, StoreUuid, snapshot_meta,
};
use antiphon_store::{Options, Position, RealDisk, Store};
use bytes::BytesMut;

use super::*;
use crate::disk::Shelf;
use crate::machine::{ApplyError, Cut};

/// Holds the bytes that it was restored from.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Machine for Bytes {
    fn apply(&mut self, _entry: &Frame<'_>) -> Result<(), ApplyError> {
        Ok(())
    }
    fn forget_speculation(&mut self) {}
    fn cut(&self) -> Box<dyn Cut> {
        unreachable!("nobody takes a picture")
    }
    fn restore(&mut self, from: &mut dyn Read) -> std::io::Result<()> {
        from.read_to_end(&mut self.0).map(drop)
    }
    fn digest(&self) -> [u8; 16] {
        [0; 16]
    }
}

/// A table with one session, opened by the entry at `at`.
fn table(at: Position) -> Sessions {
    let before = EntryId::new(at.id.epoch, at.id.lsn.prev());
    let mut builder = BatchBuilder::new(ShardId::default(), before, Chain::ZERO, Hlc::ZERO);
    let mut payload = BytesMut::new();
    SessionEntry::Open { ttl_ms: 5 }.encode(&mut payload);
    builder.push(at.id.epoch, Kind::SessionOpen, 1, |out| out.extend_from_slice(&payload));
    let batch = builder.take().unwrap();
    let mut sessions = Sessions::new(SESSIONS_MAX);
    for frame in batch.frames() {
        sessions.apply(&frame, |_, _| Ok::<_, SessionFault>(None)).unwrap();
    }
    sessions
}

/// Writes a snapshot with these bytes of the caller and this body, and restores from it.
fn restored(meta: Vec<u8>, body: &[u8]) -> Result<(Bytes, Sessions), StartError> {
    let dir = tempfile::tempdir().unwrap();
    let identity = antiphon_store::Identity {
        node: NodeId::new(1),
        cluster: 1,
        cluster_name: "test".to_owned(),
    };
    let (disk, fresh) = (Arc::new(RealDisk), StoreUuid::new(7));
    let store = Store::open(disk, dir.path(), identity, fresh, &Options::default()).unwrap();
    let shard = ShardId::default();
    let mut writer = store.snapshots().begin(shard, position(), meta.into()).unwrap();
    writer.write_all(body).unwrap();
    writer.finish().unwrap();
    let newest = Shelf::open(&store, shard).newest(shard)?;
    let (mut machine, mut sessions) = (Bytes::default(), Sessions::new(SESSIONS_MAX));
    let at = restore((&mut machine, &mut sessions), EntryId::ZERO, newest)?;
    assert_eq!(at.last, position().id);
    Ok((machine, sessions))
}

fn position() -> Position {
    let id = EntryId::new(Epoch::new(3), Lsn::new(9));
    Position { id, chain: Chain::new(5), hlc: Hlc::from_ms(6) }
}

fn config() -> antiphon_proto::Config {
    let alone = Member { node: NodeId::new(1), region: String::new() };
    let shard = ShardId::default();
    antiphon_proto::Config::initial(shard, vec![alone], Shape::Star, Policy::Quorum).unwrap()
}

#[test]
fn a_snapshot_from_before_sessions_is_the_state_alone() {
    let (machine, sessions) = restored(config().encode(), b"AFST and more state").unwrap();
    assert_eq!(machine.0, b"AFST and more state", "whatever it looks like");
    assert!(sessions.is_empty());
}

#[test]
fn a_snapshot_is_the_sessions_and_then_the_state() {
    let mut body = Vec::new();
    table(position()).cut().write(&mut body).unwrap();
    body.extend_from_slice(b"state");
    let (machine, sessions) = restored(snapshot_meta(&config()), &body).unwrap();
    assert_eq!(machine.0, b"state");
    assert!(sessions.is_open(SessionId::opened_by(position().id)));
}

#[test]
fn a_snapshot_of_a_newer_build_or_without_its_table_is_refused() {
    let newer = [config().encode(), vec![0x78, 2]].concat();
    let refused = |meta, body: &[u8]| match restored(meta, body) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was taken"),
    };
    assert!(refused(newer, b"state").contains("body 2 is not known"));
    assert!(refused(snapshot_meta(&config()), b"state that is long").contains("not a table"));
}
