//! What batches become on their way to a link, and what comes back out.

use super::*;
use crate::packing;

fn packer(mode: Compression) -> Arc<Packer> {
    Arc::new(Packer::new(mode, 512, Codecs::ALL))
}

fn even(bytes: usize) -> Outgoing {
    Outgoing::new(Bytes::from_static(b"head"), Bytes::from(vec![7; bytes]))
}

fn noise(bytes: usize) -> Outgoing {
    let mut seed = 1_u64;
    let body = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_le_bytes()[7]
    });
    Outgoing::from(body.take(bytes).collect::<Bytes>())
}

async fn wrap(wrapper: &mut Wrapper, messages: Vec<Outgoing>) -> (VecDeque<Outgoing>, Wrapped) {
    let mut batch = VecDeque::from(messages);
    let wrapped = wrapper.wrap(&mut batch).await;
    wrapper.sent(Duration::from_micros(1));
    (batch, wrapped)
}

#[tokio::test]
async fn without_an_agreement_messages_stay_as_they_are() {
    let packer = packer(Compression::Lz4);
    let mut wrapper = Wrapper::new(&packer, Codecs::NONE);
    let (batch, wrapped) = wrap(&mut wrapper, vec![even(10_000)]).await;
    assert_eq!(batch, [even(10_000)]);
    assert_eq!(wrapped, Wrapped { wire_bytes: 10_004, packed: 0, skipped: 0 });
}

#[tokio::test]
async fn short_ones_travel_plain_and_do_not_count_as_skipped() {
    let packer = packer(Compression::Zstd);
    let mut wrapper = Wrapper::new(&packer, packer.offer().sends);
    let (batch, wrapped) = wrap(&mut wrapper, vec![even(511), even(512), noise(600)]).await;
    assert_eq!((wrapped.packed, wrapped.skipped), (1, 1));
    let flags: Vec<bool> =
        batch.into_iter().map(|message| packing::is_packed(&message.into_bytes())).collect();
    assert_eq!(flags, [false, true, false]);
}

#[tokio::test]
async fn two_peers_cost_one_compression() {
    let packer = packer(Compression::Lz4);
    let send = packer.offer().sends;
    let links = [packer.link(send), packer.link(send)];
    let (mut one, mut two) = (Wrapper::new(&packer, send), Wrapper::new(&packer, send));
    for bytes in [1000, 100_000, 2 * INLINE_BYTES_MAX] {
        let message = even(bytes);
        let other_head = Outgoing::new(Bytes::from_static(b"other"), message.body.clone());
        let (first, _) = wrap(&mut one, vec![message]).await;
        let (second, _) = wrap(&mut two, vec![other_head]).await;
        assert!(std::ptr::eq(first[0].body.as_ptr(), second[0].body.as_ptr()), "{bytes}");
        assert_ne!(first[0].head, second[0].head);
        // The same again: the second took it along, so it is made anew.
        let (third, _) = wrap(&mut one, vec![even(bytes)]).await;
        assert!(!std::ptr::eq(first[0].body.as_ptr(), third[0].body.as_ptr()));
    }
    drop(links);
    assert_eq!(packer.links.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_does_not_shrink_is_let_go() {
    let packer = packer(Compression::Lz4);
    let mut wrapper = Wrapper::new(&packer, packer.offer().sends);
    let (_, wrapped) = wrap(&mut wrapper, vec![noise(1000); 5]).await;
    assert_eq!(wrapped.skipped, 5);
    let (_, wrapped) = wrap(&mut wrapper, vec![even(1000)]).await;
    assert_eq!(wrapped.packed, 0, "after misses one that would shrink is not tried either");
    let (_, wrapped) = wrap(&mut wrapper, vec![even(1000); 100]).await;
    assert_eq!((wrapped.packed, wrapped.skipped), (86, 14));
}

#[tokio::test]
async fn auto_leaves_a_fast_link_alone_and_prefers_zstd_on_a_slow_one() {
    let packer = packer(Compression::Auto);
    let mut wrapper = Wrapper::new(&packer, Codecs::ALL);
    let mut packed = 0;
    for _ in 0..640 {
        let mut batch = VecDeque::from([even(10_000)]);
        packed += wrapper.wrap(&mut batch).await.packed;
        wrapper.sent(Duration::from_nanos(if batch[0].len() < 10_000 { 50_000 } else { 1_000 }));
    }
    assert_eq!(packed, 10, "one of 64 is a trial");
    let mut codes = Vec::new();
    for _ in 0..640 {
        let mut batch = VecDeque::from([even(10_000)]);
        wrapper.wrap(&mut batch).await;
        // A link of 10 MB/s.
        wrapper.sent(Duration::from_nanos(u64::try_from(batch[0].len()).unwrap() * 100));
        codes.push(batch[0].clone().into_bytes()[0]);
    }
    let compressed = codes.iter().filter(|code| **code == Codec::Zstd.code()).count();
    assert!(compressed > 500, "{compressed}");
    assert!(codes.iter().all(|code| *code != Codec::Lz4.code()));
}

#[tokio::test]
async fn what_grows_is_unpacked_in_steps() {
    let message = packing::pack(&even(UNPACK_BYTES_MAX), Codec::Lz4).unwrap().into_bytes();
    let mut came = VecDeque::from(vec![message.clone(); 10]);
    let mut ready = VecDeque::new();
    let sum = unpack_some(Codecs::ALL, 1 << 20, &mut came, &mut ready).await.unwrap();
    assert_eq!((came.len(), ready.len()), (9, 1));
    assert_eq!((sum.packed, sum.wire_bytes), (1, wide(message.len())));
    assert_eq!(ready[0], even(UNPACK_BYTES_MAX).into_bytes());
}

#[tokio::test]
async fn a_long_one_is_unpacked_beside_and_refused_alike() {
    let message = packing::pack(&even(4 * INLINE_BYTES_MAX), Codec::Zstd).unwrap().into_bytes();
    let long = unpack_beside(message.clone(), Codecs::ALL, 1 << 24).await;
    assert_eq!(long.map(|message| message.len()), Ok(4 * INLINE_BYTES_MAX + 4));
    let mut broken = message.to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let refused = unpack_beside(broken.into(), Codecs::ALL, 1 << 24).await;
    assert_eq!(refused, Err(UnpackError::Malformed));
}
