//! What is packed unpacks to the same; any other bytes are refused without much memory.

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;
const PAGE: &str = include_str!("../../../../docs/format.md");

/// The bytes of the page's block with this name: hexadecimal digits, with remarks behind bars.
#[track_caller]
fn golden(name: &str) -> Bytes {
    let (_, block) = PAGE.split_once(&format!("```hex {name}\n")).expect("a block of this name");
    let (block, _) = block.split_once("```").expect("the block ends");
    let hex = block.lines().filter_map(|line| line.split('|').next());
    let digits: Vec<_> = hex.flat_map(str::chars).filter_map(|digit| digit.to_digit(16)).collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit));
    pairs.map(|byte| u8::try_from(byte).expect("two digits are a byte")).collect()
}

fn message(head: &[u8], body: &[u8]) -> Outgoing {
    Outgoing::new(Bytes::copy_from_slice(head), Bytes::copy_from_slice(body))
}

#[track_caller]
fn check_refused(message: impl Into<Bytes>, why: UnpackError) {
    assert_eq!(unpack(message.into(), Codecs::ALL, LIMIT), Err(why));
}

/// A compressed message with this header, head "h" and what follows.
fn crafted(code: u8, body_bytes: u32, packed_bytes: u32, rest: &[u8]) -> Vec<u8> {
    let mut whole = vec![code, 0, 1, 0];
    whole.extend_from_slice(&body_bytes.to_le_bytes());
    whole.extend_from_slice(&packed_bytes.to_le_bytes());
    whole.push(b'h');
    whole.extend_from_slice(rest);
    whole
}

#[test]
fn messages_have_these_bytes() {
    let sent = message(b"head", b"body");
    assert_eq!(plain(sent).into_bytes(), golden("message as it is"));
    let read = unpack(golden("message as it is"), Codecs::ALL, LIMIT);
    assert_eq!(read.as_deref(), Ok(&b"headbody"[..]));

    let long = [b"head".to_vec(), vec![b'a'; 4000]].concat();
    for (codec, name) in [(Codec::Lz4, "message with LZ4"), (Codec::Zstd, "message with zstd")] {
        let read = unpack(golden(name), Codecs::of(codec), LIMIT);
        assert!(read == Ok(Bytes::from(long.clone())), "{name}");
        // A later library may find fewer bytes; the header is ours.
        let made = pack(&message(b"head", &long[4..]), codec).expect("it shrinks").into_bytes();
        assert_eq!(made.get(..8), golden(name).get(..8), "{name}");
    }
}

#[test]
fn what_does_not_shrink_is_not_packed() {
    let mut seed = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_le_bytes()[7]
    })
    .take(10_000)
    .collect();
    for codec in Codec::ALL {
        assert_eq!(pack(&message(b"", &noise), codec), None);
        assert_eq!(pack(&message(b"head", b""), codec), None);
        assert_eq!(pack(&message(b"", b"aaaa"), codec), None);
        let long_head = message(&[b'a'; 1 << 16], &[b'a'; 1 << 16]);
        assert_eq!(pack(&long_head, codec), None, "a head has two bytes of length");
    }
}

#[test]
fn what_packs_too_well_gets_zeros() {
    for codec in Codec::ALL {
        for bytes in [4_000, 100_000, 10_000_000] {
            let sent = message(b"h", &vec![7; bytes]);
            let made = pack(&sent, codec).expect("it shrinks");
            assert!(made.body.len() * RATIO_MAX >= bytes, "{codec:?} {bytes}");
            let read = unpack(made.into_bytes(), Codecs::ALL, bytes + 1);
            assert!(read == Ok(sent.into_bytes()), "{codec:?} {bytes}");
        }
    }
}

#[test]
fn a_bomb_is_refused_before_it_costs() {
    for codec in [1, 2] {
        let past = crafted(codec, 1 << 21, 100, &[1; 100]);
        check_refused(past, UnpackError::TooLarge { bytes: (1 << 21) + 1, limit: LIMIT });
        let most = crafted(codec, u32::MAX, 100, &[1; 100]);
        let bytes = usize::try_from(u32::MAX).unwrap() + 1;
        check_refused(most, UnpackError::TooLarge { bytes, limit: LIMIT });
        let steep = crafted(codec, 20_001, 100, &[1; 100]);
        check_refused(steep, UnpackError::Ratio { body: 20_001, packed: 100 });
    }
    // A frame that holds more than its message announces: its first bytes and no more are read.
    let large = zstd::bulk::compress(&vec![0; 100_000], 1).unwrap();
    let packed_bytes = u32::try_from(large.len()).unwrap();
    check_refused(crafted(2, 1000, packed_bytes, &large), UnpackError::Malformed);
    let large = lz4_flex::block::compress(&[0; 20_000]);
    let packed_bytes = u32::try_from(large.len()).unwrap();
    check_refused(crafted(1, 1000, packed_bytes, &large), UnpackError::Malformed);
}

#[test]
fn what_is_not_as_it_says_is_refused() {
    check_refused(Bytes::new(), UnpackError::Short);
    check_refused(vec![1; 11], UnpackError::Short);
    check_refused(vec![3; 100], UnpackError::Code(3));
    check_refused(vec![0; LIMIT + 2], UnpackError::TooLarge { bytes: LIMIT + 1, limit: LIMIT });
    let packed = lz4_flex::block::compress(&[7; 100]);
    let bytes = u32::try_from(packed.len()).unwrap();
    assert!(unpack(crafted(1, 100, bytes, &packed).into(), Codecs::ALL, LIMIT).is_ok());
    for (code, body, packed_bytes) in
        [(1, 99, bytes), (1, 101, bytes), (1, 100, bytes - 1), (1, 100, bytes + 1), (2, 100, bytes)]
    {
        check_refused(crafted(code, body, packed_bytes, &packed), UnpackError::Malformed);
    }
    let zero_behind = [packed.clone(), vec![0]].concat();
    check_refused(crafted(1, 100, bytes, &zero_behind), UnpackError::Malformed);
    let mut reserved = crafted(1, 100, bytes, &packed);
    reserved[1] = 1;
    check_refused(reserved, UnpackError::Malformed);
    let mut cut = crafted(1, 100, bytes, &packed);
    cut[2] = 200;
    check_refused(cut, UnpackError::Short);
}

#[test]
fn zeros_behind_a_body_are_zeros() {
    let made = pack(&message(b"h", &vec![7; 100_000]), Codec::Zstd).expect("it shrinks");
    let mut other = made.into_bytes().to_vec();
    assert_eq!(other.last(), Some(&0));
    *other.last_mut().unwrap() = 1;
    check_refused(other, UnpackError::Malformed);
}

#[test]
fn a_way_that_was_not_agreed_on_is_refused() {
    let made = pack(&message(b"", &[7; 1000]), Codec::Zstd).expect("it shrinks").into_bytes();
    let read = unpack(made.clone(), Codecs::of(Codec::Lz4), LIMIT);
    assert_eq!(read, Err(UnpackError::Code(2)));
    assert!(unpack(made, Codecs::ALL, LIMIT).is_ok());
}

fn compressible() -> impl Strategy<Value = Vec<u8>> {
    let runs = proptest::collection::vec((any::<u8>(), 1..400_usize), 0..50);
    runs.prop_map(|runs| runs.iter().flat_map(|(byte, count)| vec![*byte; *count]).collect())
}

proptest! {
    #[test]
    fn messages_round_trip(
        head in proptest::collection::vec(any::<u8>(), 0..300),
        body in compressible(),
        noise in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let sent = message(&head, &[body, noise].concat());
        let whole = sent.clone().into_bytes();
        let read = unpack(plain(sent.clone()).into_bytes(), Codecs::ALL, LIMIT);
        prop_assert_eq!(read, Ok(whole.clone()));
        for codec in Codec::ALL {
            let Some(made) = pack(&sent, codec) else { continue };
            prop_assert!(made.len() < whole.len());
            let made = made.into_bytes();
            prop_assert_eq!(body_bytes(&made), sent.body.len());
            prop_assert_eq!(unpack(made.clone(), Codecs::of(codec), LIMIT), Ok(whole.clone()));
            prop_assert!(unpack(made, Codecs::of(codec), whole.len() - 1).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let came = bytes.len();
        if let Ok(read) = unpack(bytes.into(), Codecs::ALL, LIMIT) {
            prop_assert!(read.len() <= came * RATIO_MAX);
        }
    }

    #[test]
    fn a_flipped_bit_never_lengthens_a_message(
        body in compressible(),
        codec in proptest::sample::select(&Codec::ALL[..]),
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let Some(made) = pack(&message(b"head", &body), codec) else { return Ok(()) };
        let mut bytes = made.into_bytes().to_vec();
        *at.get_mut(&mut bytes) ^= 1 << bit;
        let came = bytes.len();
        if let Ok(read) = unpack(bytes.into(), Codecs::ALL, LIMIT) {
            prop_assert!(read.len() <= came * RATIO_MAX);
        }
    }
}
