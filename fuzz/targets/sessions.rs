//! Sessions: entries and tables are decoded or refused, a refused one leaves no trace, and what is
//! written restores to the same table.
#![no_main]

use antiphon_fuzz::within;
use antiphon_proto::{
    BatchBuilder, Chain, EntryId, Epoch, Hlc, Kind, SESSION_REPLIES_BYTES_MAX, SESSIONS_MAX,
    SessionEntry, SessionFault, Sessions, ShardId,
};
use bytes::{BufMut, BytesMut};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    entries(input);
    restore(input);
    round_trip(input);
});

fn entries(input: &[u8]) {
    for kind in [Kind::SessionOpen, Kind::SessionClose, Kind::SessionData] {
        if let Ok(entry) = SessionEntry::decode(kind, input) {
            let mut again = BytesMut::new();
            entry.encode(&mut again);
            assert_eq!(again.as_ref(), input);
        }
    }
}

fn written(sessions: &Sessions) -> Vec<u8> {
    let mut bytes = Vec::new();
    sessions.cut().write(&mut bytes).expect("memory takes what is written");
    bytes
}

fn restore(bytes: &[u8]) {
    let mut sessions = Sessions::new(SESSIONS_MAX);
    let before = written(&sessions);
    // An empty table has its parts; a session is read as a whole.
    let room = (1 << 16) + 4 * SESSION_REPLIES_BYTES_MAX;
    match within(bytes, 64, room, || sessions.restore(&mut &bytes[..])) {
        Ok(()) => assert!(bytes.starts_with(&written(&sessions)), "one encoding of a table"),
        Err(_) => assert_eq!(written(&sessions), before, "a refused table leaves no trace"),
    }
}

/// The input as entries: kind, length, payload. Those that the table does not take are left out.
fn round_trip(mut input: &[u8]) {
    let mut sessions = Sessions::new(SESSIONS_MAX);
    let mut builder = BatchBuilder::new(ShardId::new(0), EntryId::ZERO, Chain::ZERO, Hlc::ZERO);
    while let [kind, length, rest @ ..] = input {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        let kinds = [Kind::SessionOpen, Kind::SessionClose, Kind::SessionData];
        let kind = kinds[usize::from(kind.wrapping_sub(4) % 3)];
        builder.push(Epoch::new(1), kind, 1_000, |out| out.put_slice(payload));
        let batch = builder.take().expect("a frame was pushed");
        for frame in batch.frames() {
            // What can't be read or contradicts the table is refused.
            let _refused = sessions.apply(&frame, |_, _| Ok::<_, SessionFault>(None));
        }
        input = rest;
    }
    let bytes = written(&sessions);
    let mut other = Sessions::new(SESSIONS_MAX);
    other.restore(&mut &bytes[..]).expect("what is written restores");
    assert_eq!(written(&other), bytes);
    assert_eq!(other.digest_with([0; 16]), sessions.digest_with([0; 16]));
}
