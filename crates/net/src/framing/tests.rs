//! The framing under every split of the stream.

use super::*;

fn encode(messages: &[Outgoing]) -> Vec<u8> {
    let mut pieces = VecDeque::new();
    let mut encoder = Encoder::default();
    for message in messages {
        encoder.put(message.clone(), &mut pieces);
    }
    encoder.finish(&mut pieces);
    pieces.iter().flat_map(|piece| piece.to_vec()).collect()
}

fn sample() -> Vec<Outgoing> {
    let body = Bytes::from(vec![7_u8; COPY_BYTES_MAX + 3]);
    vec![
        Outgoing::default(),
        Bytes::from_static(b"a").into(),
        Outgoing::new(Bytes::from_static(b"head"), Bytes::from_static(b"body")),
        Outgoing::new(Bytes::from_static(b"h"), body.clone()),
        Outgoing::default(),
        body.into(),
    ]
}

#[test]
fn every_split_gives_the_same_messages() {
    let messages = sample();
    let want: Vec<Bytes> = messages.iter().cloned().map(Outgoing::into_bytes).collect();
    let stream = encode(&messages);
    for step in [1, 2, 3, 4, 5, 7, 64, 1000, stream.len()] {
        let mut ready = VecDeque::new();
        let mut decoder = Decoder::new(Lane::Log, 1 << 20);
        for piece in stream.chunks(step) {
            decoder.feed(Bytes::copy_from_slice(piece), &mut ready).unwrap();
        }
        assert_eq!(Vec::from(ready), want, "pieces of {step} bytes");
    }
}

#[test]
fn every_pair_of_pieces_gives_the_same_messages() {
    let messages = [sample()[1].clone(), sample()[2].clone(), sample()[1].clone()];
    let want: Vec<Bytes> = messages.iter().cloned().map(Outgoing::into_bytes).collect();
    let stream = Bytes::from(encode(&messages));
    for cut in 0..=stream.len() {
        let mut ready = VecDeque::new();
        let mut decoder = Decoder::new(Lane::Log, 8);
        decoder.feed(stream.slice(..cut), &mut ready).unwrap();
        decoder.feed(stream.slice(cut..), &mut ready).unwrap();
        assert_eq!(Vec::from(ready), want, "cut at {cut}");
    }
}

#[test]
fn the_limit_holds_to_the_byte() {
    for (length, fits) in [(99, true), (100, true), (101, false)] {
        let stream = encode(&[Bytes::from(vec![0_u8; length]).into()]);
        for step in [1, stream.len()] {
            let mut decoder = Decoder::new(Lane::Bulk, 100);
            let mut ready = VecDeque::new();
            let outcome = stream
                .chunks(step)
                .try_for_each(|piece| decoder.feed(Bytes::copy_from_slice(piece), &mut ready));
            assert_eq!(outcome.is_ok(), fits, "{length} bytes in pieces of {step}");
            assert_eq!(ready.len(), usize::from(fits));
        }
    }
}

#[test]
fn an_announced_giant_allocates_nothing() {
    let mut decoder = Decoder::new(Lane::Log, 100);
    let refused = decoder.feed(Bytes::from_static(&[0xff; 64]), &mut VecDeque::new());
    let want = Violation::TooLarge { lane: Lane::Log, bytes: u64::from(u32::MAX), limit: 100 };
    assert_eq!(refused, Err(want));
    assert_eq!(decoder.partial.capacity(), 0);
}

#[test]
fn a_whole_message_is_shared_with_its_piece() {
    let stream = Bytes::from(encode(&[Bytes::from_static(b"shared").into()]));
    let mut ready = VecDeque::new();
    Decoder::new(Lane::Log, 100).feed(stream.clone(), &mut ready).unwrap();
    let message = ready.pop_front().unwrap();
    assert_eq!(message.as_ptr(), stream.slice(PREFIX_BYTES..).as_ptr());
}

#[test]
fn a_large_body_is_not_copied() {
    let body = Bytes::from(vec![1_u8; COPY_BYTES_MAX]);
    let mut pieces = VecDeque::new();
    let mut encoder = Encoder::default();
    encoder.put(Outgoing::new(Bytes::from_static(b"h"), body.clone()), &mut pieces);
    assert_eq!(pieces.len(), 2);
    assert_eq!(pieces[1].as_ptr(), body.as_ptr());
}
