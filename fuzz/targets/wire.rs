//! Messages between nodes: decoded or refused, and what is decoded encodes to the same message.
//!
//! Each input is read as it is, and with its constants, its length and its checksum made right.
#![no_main]

use antiphon_fuzz::within;
use antiphon_proto::{Envelope, WIRE_VERSION, crc32c};
use bytes::{Bytes, BytesMut};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    within(input, 64, 4096, || check(&Bytes::copy_from_slice(input)));
    if let Some(message) = repaired(input) {
        within(input, 64, 4096, || check(&message));
    }
});

fn check(bytes: &Bytes) {
    let Ok(envelope) = Envelope::decode(bytes) else { return };
    let encoded = envelope.encode();
    let again = Bytes::from([encoded.head, encoded.body].concat());
    assert_eq!(Envelope::decode(&again), Ok(envelope));
}

/// The input as a message whose head is well formed: checksum (4 bytes), magic (2), version,
/// kind, length of the head (4), shard (4), epoch (8), fields.
fn repaired(input: &[u8]) -> Option<Bytes> {
    const HEAD_BYTES: usize = 24;
    let mut bytes = BytesMut::from(input);
    let claimed = u32::from_le_bytes(*input.get(8..)?.first_chunk()?);
    let most = u32::try_from(input.len()).ok()?;
    let length = claimed.clamp(u32::try_from(HEAD_BYTES).ok()?, most.max(24));
    bytes.get_mut(4..7)?.copy_from_slice(&[b'A', b'W', WIRE_VERSION]);
    bytes.get_mut(8..12)?.copy_from_slice(&length.to_le_bytes());
    let crc = crc32c(bytes.get(4..usize::try_from(length).ok()?)?);
    bytes.get_mut(..4)?.copy_from_slice(&crc.to_le_bytes());
    Some(bytes.freeze())
}
