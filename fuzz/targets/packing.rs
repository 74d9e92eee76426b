//! Messages of links that compress: unpacked or refused within 200 times what came, and what is
//! packed unpacks to the same.
#![no_main]

use antiphon_fuzz::within;
use antiphon_net::{Codec, Codecs, Outgoing, pack, plain, unpack};
use bytes::Bytes;

/// A lane's limit that inputs of a fuzzer can reach.
const LIMIT: usize = 1 << 20;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let bytes = Bytes::copy_from_slice(input);
    for codecs in [Codecs::ALL, Codecs::of(Codec::Lz4), Codecs::NONE] {
        let read = within(input, 200, 4096, || unpack(bytes.clone(), codecs, LIMIT));
        if let Ok(read) = read {
            assert!(read.len() <= LIMIT.min(200 * input.len()), "{} bytes", read.len());
        }
    }
    if let Some(message) = made_right(input) {
        within(&message, 200, 4096, || drop(unpack(message.clone(), Codecs::ALL, LIMIT)));
    }
    let (head, body) = input.split_at(input.len() / 8);
    // A body that repeats itself, so that there is something to pack.
    let sent = Outgoing::new(Bytes::copy_from_slice(head), Bytes::from(body.repeat(8)));
    let whole = sent.clone().into_bytes();
    assert_eq!(unpack(plain(sent.clone()).into_bytes(), Codecs::NONE, LIMIT), Ok(whole.clone()));
    for codec in Codec::ALL {
        let Some(packed) = pack(&sent, codec) else { continue };
        assert!(packed.len() < whole.len());
        assert_eq!(unpack(packed.into_bytes(), Codecs::of(codec), LIMIT), Ok(whole.clone()));
    }
});

/// The input as a message whose lengths agree with each other, so that what is packed is read.
fn made_right(input: &[u8]) -> Option<Bytes> {
    const HEADER_BYTES: usize = 12;
    let mut bytes = input.to_vec();
    let first = bytes.first_mut()?;
    *first = 1 + (*first & 1);
    let packed = u32::try_from(input.len().checked_sub(HEADER_BYTES)?).ok()?;
    bytes.get_mut(1..4)?.fill(0);
    let body =
        u32::from_le_bytes(*input.get(4..)?.first_chunk()?) % (packed.saturating_mul(200) + 1);
    bytes.get_mut(4..8)?.copy_from_slice(&body.to_le_bytes());
    bytes.get_mut(8..12)?.copy_from_slice(&packed.to_le_bytes());
    Some(bytes.into())
}
