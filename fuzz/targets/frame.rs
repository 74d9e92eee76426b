//! Frames and batches: decoded or refused, and what is decoded encodes to the same bytes.
//!
//! A mutated frame nearly never has the right checksum, so each input is read twice: as it is,
//! and with checksum, chain and constant fields made right.
#![no_main]

use antiphon_fuzz::within;
use antiphon_proto::{
    Batch, Chain, EntryId, Epoch, Frame, HEADER_BYTES, Header, Hlc, Kind, Lsn, ShardId, encode,
};
use bytes::{BufMut, Bytes, BytesMut};

const KINDS: [Kind; 6] = [
    Kind::Data,
    Kind::EpochStart,
    Kind::Noop,
    Kind::SessionOpen,
    Kind::SessionClose,
    Kind::SessionData,
];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    within(input, 8, 4096, || check(Bytes::copy_from_slice(input)));
    let frames = repaired(input);
    within(&frames.clone(), 8, 4096, || check(frames));
});

fn check(bytes: Bytes) {
    let Ok(frame) = Frame::decode(&bytes) else { return };
    assert_eq!(frame.bytes, &bytes[..frame.bytes.len()]);
    assert_eq!(frame.payload, &frame.bytes[HEADER_BYTES..]);
    if frame.continues(Chain::ZERO) {
        let mut again = BytesMut::new();
        let chain =
            encode(&mut again, frame.header, Chain::ZERO, |out| out.put_slice(frame.payload));
        assert_eq!((again.as_ref(), chain), (frame.bytes, frame.chain));
    }
    if let Ok(batch) = Batch::decode(frame.header.shard, Chain::ZERO, bytes.clone()) {
        check_batch(&batch, &bytes);
    }
}

/// The frames cover the bytes, in order, and the batch parts between any two of them.
fn check_batch(batch: &Batch, bytes: &Bytes) {
    let mut offset = 0;
    for frame in batch.frames() {
        assert_eq!(Frame::decode(&bytes[offset..]), Ok(frame));
        offset += frame.bytes.len();
        let lsn = frame.header.id.lsn;
        let left = batch.up_to(lsn).expect("this frame at least");
        assert_eq!((left.bytes().len(), left.chain()), (offset, frame.chain));
        if let Some(right) = batch.after(lsn) {
            let read = Batch::decode(frame.header.shard, left.chain(), right.bytes().clone());
            assert_eq!(read.as_ref(), Ok(&right));
        }
    }
    assert_eq!(offset, bytes.len());
}

/// The input as frames whose lengths, constants, chain and checksums are right.
fn repaired(mut input: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    let mut chain = Chain::ZERO;
    while let Some((raw, rest)) = input.split_first_chunk::<HEADER_BYTES>() {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| raw[at + byte]));
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| raw[at + byte]));
        let header = Header {
            kind: KINDS[usize::from(raw[7]) % KINDS.len()],
            shard: ShardId::new(word(12)),
            id: EntryId::new(Epoch::new(number(16)), Lsn::new(number(24))),
            hlc: Hlc::new(number(32)),
        };
        let (payload, rest) = rest.split_at(rest.len().min(word(8) as usize));
        chain = encode(&mut out, header, chain, |out| out.put_slice(payload));
        input = rest;
    }
    out.freeze()
}
