//! Frames: round trips, limits, every flipped byte, golden bytes.

use super::*;

fn builder() -> BatchBuilder {
    BatchBuilder::new(ShardId::new(2), EntryId::ZERO, Chain::ZERO, Hlc::ZERO)
}

fn batch(payloads: &[&[u8]]) -> Batch {
    let mut builder = builder();
    for payload in payloads {
        builder.push(Epoch::new(1), Kind::Data, 1_000, |out| out.put_slice(payload));
    }
    builder.take().expect("there are payloads")
}

#[test]
fn a_batch_reads_back_what_was_written() {
    let written = batch(&[b"one", b"", b"three"]);
    let read = Batch::decode(ShardId::new(2), Chain::ZERO, written.bytes().clone()).unwrap();
    assert_eq!(read, written);
    let payloads: Vec<_> = read.frames().map(|frame| frame.payload.to_vec()).collect();
    assert_eq!(payloads, [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
    assert_eq!(read.last(), EntryId::new(Epoch::new(1), Lsn::new(3)));
}

#[test]
fn every_flipped_bit_is_found() {
    let good = batch(&[b"payload", b"second"]);
    for index in 0..good.bytes().len() {
        for bit in 0..8 {
            let mut bytes = good.bytes().to_vec();
            bytes[index] ^= 1 << bit;
            let read = Batch::decode(ShardId::new(2), Chain::ZERO, bytes.into());
            assert!(read.is_err(), "byte {index} bit {bit}");
        }
    }
}

#[test]
fn a_cut_batch_says_how_much_is_missing() {
    let good = batch(&[b"payload"]);
    for length in 0..good.bytes().len() {
        let need = if length < HEADER_BYTES { HEADER_BYTES } else { HEADER_BYTES + 7 };
        let cut = good.bytes().slice(..length);
        let error = FrameError::Short { have: length, need };
        assert_eq!(Frame::decode(&cut), Err(error));
    }
}

#[test]
fn a_length_over_the_limit_is_refused_before_the_bytes_are_there() {
    let mut bytes = batch(&[b"x"]).bytes().to_vec();
    let long = u32::try_from(PAYLOAD_BYTES_MAX).unwrap() + 1;
    bytes[8..12].copy_from_slice(&long.to_le_bytes());
    assert_eq!(Frame::decode(&bytes), Err(FrameError::TooLong(long)));
    assert_eq!(frame_bytes(&bytes[..HEADER_BYTES]), Err(FrameError::TooLong(long)));
}

#[test]
fn a_foreign_predecessor_is_found_by_the_chain() {
    let good = batch(&[b"one", b"two"]);
    let second = good.after(Lsn::new(1)).unwrap();
    let read = |before| Batch::decode(ShardId::new(2), before, second.bytes().clone());
    assert!(read(second.before()).is_ok());
    assert_eq!(read(Chain::new(1)).unwrap_err().error, FrameError::Chain);
}

#[test]
fn another_shard_is_refused() {
    let good = batch(&[b"one"]);
    let read = Batch::decode(ShardId::new(3), Chain::ZERO, good.bytes().clone());
    assert_eq!(read.unwrap_err().error, FrameError::Chain);
}

#[test]
fn a_batch_splits_between_frames() {
    let whole = batch(&[b"one", b"two", b"three"]);
    let left = whole.up_to(Lsn::new(2)).unwrap();
    let right = whole.after(Lsn::new(2)).unwrap();
    assert_eq!((left.last().lsn, right.first().lsn), (Lsn::new(2), Lsn::new(3)));
    assert_eq!(left.chain(), right.before());
    assert_eq!(left.bytes().len() + right.bytes().len(), whole.bytes().len());
    assert_eq!(whole.after(Lsn::new(3)), None);
    assert_eq!(whole.up_to(Lsn::ZERO), None);
    assert_eq!(Batch::decode(ShardId::new(2), left.chain(), right.bytes().clone()).unwrap(), right);
}

#[test]
fn taking_leaves_the_builder_at_the_end() {
    let mut builder = builder();
    assert_eq!(builder.take(), None);
    builder.push(Epoch::new(1), Kind::Noop, 5, |_| {});
    let first = builder.take().unwrap();
    builder.push(Epoch::new(2), Kind::Noop, 5, |_| {});
    let second = builder.take().unwrap();
    assert_eq!(second.before(), first.chain());
    assert!(second.last_hlc() > first.last_hlc());
}
