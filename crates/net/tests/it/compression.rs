//! Links that compress what they carry, between nodes that want the same, that do not, and with
//! one that lies.

use antiphon_net::{
    Agreed, CloseReason, Closed, Codec, Codecs, Compression, Lane, Link, Offer, Outgoing,
    PeerStats, PeersConfig, SendError, Transport, UnpackError, Violation, pack,
};
use bytes::Bytes;

use crate::peers::{Owner, members_of, start_with};
use crate::world::{World, node, numbered, until};

/// A node with these settings, linked to all others that are started.
async fn nodes<const COUNT: usize>(
    world: &World,
    set: impl Fn(u64, &mut PeersConfig),
) -> [Owner; COUNT] {
    let mut transports = Vec::new();
    for id in (1..).take(COUNT) {
        transports.push(world.bind(id).await);
    }
    let addresses: Vec<String> = transports.iter().map(Transport::local_address).collect();
    let members: Vec<(u64, &str)> = (1..).zip(addresses.iter().map(String::as_str)).collect();
    let mut owners: Vec<Owner> = Vec::new();
    for (id, transport) in (1..).zip(transports) {
        let mut config = PeersConfig::new(members_of(&members));
        set(id, &mut config);
        owners.push(start_with(transport, config));
    }
    let linked = |owner: &Owner| owner.peers.stats().iter().all(|it| it.generation.is_some());
    until(|| owners.iter().all(linked)).await;
    for owner in &mut owners {
        for _ in 1..COUNT {
            let event = owner.events.next().await;
            assert!(matches!(event, Some(antiphon_net::PeerEvent::Connected { .. })), "{event:?}");
        }
    }
    owners.try_into().expect("as many as were asked for")
}

fn stats(owner: &Owner) -> PeerStats {
    owner.peers.stats().pop().unwrap()
}

/// Sends in each lane what shrinks, what is short and what does not shrink.
async fn exchange(from: &Owner, to: &mut Owner, peer: u64) -> u64 {
    let mut noise = numbered(0, 3000).to_vec();
    let mut seed = 1_u64;
    for byte in &mut noise {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = seed.to_le_bytes()[7];
    }
    let bodies = [numbered(1, 5000), numbered(2, 100), Bytes::new(), Bytes::from(noise)];
    let mut sum = 0;
    for lane in Lane::ALL {
        for body in &bodies {
            let message = Outgoing::new(Bytes::from_static(b"head"), body.clone());
            sum += u64::try_from(message.len()).unwrap();
            from.peers.try_send(node(peer), lane, message.clone()).unwrap();
            let (_, found, came) = to.received().await;
            assert_eq!((found, came), (lane, message.into_bytes()));
        }
    }
    until(|| stats(from).sent_messages == 12).await;
    sum
}

pub(crate) async fn lz4_carries_messages(world: &World) {
    carries_messages(world, Compression::Lz4, Codec::Lz4).await;
}

pub(crate) async fn zstd_carries_messages(world: &World) {
    carries_messages(world, Compression::Zstd, Codec::Zstd).await;
}

async fn carries_messages(world: &World, mode: Compression, codec: Codec) {
    let [one, mut two] = nodes(world, |_, config| config.compression = mode).await;
    let sum = exchange(&one, &mut two, 2).await;
    let (sent, came) = (stats(&one), stats(&two));
    let way = Codecs::of(codec);
    assert_eq!(sent.agreed, Agreed { send: way, receive: way });
    assert_eq!((sent.sent_bytes, came.received_bytes), (sum, sum));
    assert_eq!(sent.sent_wire_bytes, came.received_wire_bytes);
    assert!(sent.sent_wire_bytes < sum - 3 * 4000, "{sent:?}");
    assert_eq!((sent.packed_messages, sent.skipped_messages, came.unpacked_messages), (3, 3, 3));
}

pub(crate) async fn each_side_decides_what_it_sends(world: &World) {
    let [mut one, mut two] = nodes(world, |id, config| {
        config.compression = if id == 1 { Compression::Lz4 } else { Compression::Off };
    })
    .await;
    let sum = exchange(&one, &mut two, 2).await;
    assert!(stats(&one).sent_wire_bytes < sum);
    let sum = exchange(&two, &mut one, 1).await;
    let plain = stats(&two);
    assert_eq!((plain.sent_wire_bytes, plain.packed_messages), (sum, 0));
    assert_eq!(plain.agreed, Agreed { send: Codecs::NONE, receive: Codecs::of(Codec::Lz4) });
}

pub(crate) async fn one_that_says_nothing_is_sent_plain_messages(world: &World) {
    let [mut one, mut two] = nodes(world, |id, config| {
        config.compression = if id == 1 { Compression::Auto } else { Compression::Off };
        config.decodes = if id == 1 { Codecs::ALL } else { Codecs::NONE };
    })
    .await;
    let sum = exchange(&one, &mut two, 2).await;
    let sent = stats(&one);
    assert_eq!((sent.sent_wire_bytes, sent.packed_messages, sent.skipped_messages), (sum, 0, 0));
    assert_eq!(exchange(&two, &mut one, 1).await, stats(&two).sent_wire_bytes);
}

pub(crate) async fn a_message_at_the_limit_still_fits(world: &World) {
    let [one, mut two] = nodes(world, |_, config| config.compression = Compression::Lz4).await;
    let limit = (1 << 20) - 1; // a byte of the lane's limit says how a message travels
    let send = |bytes| one.send(2, Lane::Control, numbered(7, bytes));
    assert_eq!(send(limit + 1), Err(SendError::TooLarge { bytes: limit + 1, limit }));
    send(limit).unwrap();
    assert_eq!(two.received().await.2, numbered(7, limit));
    // The same, in the head: as it is.
    let whole = Outgoing::new(numbered(7, limit), Bytes::new());
    one.peers.try_send(node(2), Lane::Control, whole).unwrap();
    assert_eq!(two.received().await.2, numbered(7, limit));
}

pub(crate) async fn two_children_get_the_same_bytes(world: &World) {
    let [one, mut two, mut three] =
        nodes(world, |_, config| config.compression = Compression::Zstd).await;
    for number in 0..100 {
        let body = numbered(number, 20_000);
        for peer in [2, 3] {
            one.send(peer, Lane::Log, body.clone()).unwrap();
        }
        assert_eq!(two.received().await.2, body);
        assert_eq!(three.received().await.2, body);
    }
    until(|| one.peers.stats().iter().all(|it| it.packed_messages == 100)).await;
    let wire: Vec<u64> = one.peers.stats().iter().map(|it| it.sent_wire_bytes).collect();
    assert_eq!(wire[0], wire[1]);
    assert!(wire[0] < 100 * 20_000 / 50);
}

pub(crate) async fn a_bomb_ends_the_link(world: &World) {
    let (one, two) = (world.bind(1).await, world.bind(2).await);
    let address = one.local_address();
    let members = members_of(&[(1, &address), (2, &two.local_address())]);
    let mut one = start_with(one, PeersConfig::new(members));
    // A node that means to compress, and does not keep the rules.
    let lz4 = Codecs::of(Codec::Lz4);
    two.offer(Offer { decodes: Codecs::NONE, sends: lz4 });
    for generation in 1..3 {
        let link = two.connect(node(1), &address).await.unwrap();
        assert_eq!(one.connected(2).await, generation);
        assert_eq!(link.agreed(), Agreed { send: lz4, receive: Codecs::NONE });
        let sound = pack(&numbered(1, 1000).into(), Codec::Lz4).unwrap();
        link.send(Lane::Log, sound.clone()).await.unwrap();
        assert_eq!(one.received().await.2, numbered(1, 1000));
        let mut bomb = sound.into_bytes().to_vec();
        bomb[4..8].copy_from_slice(&1_000_000_u32.to_le_bytes());
        let packed = bomb.len() - 12;
        link.send(Lane::Log, Bytes::from(bomb).into()).await.unwrap();
        let error = UnpackError::Ratio { body: 1_000_000, packed };
        let why = Closed::Violation(Violation::Packed { lane: Lane::Log, error });
        assert_eq!(one.disconnected(2).await, (generation, why));
        let there = Closed::There(CloseReason::Violation);
        assert_eq!(link.receive(Lane::Log).await, Err(there));
    }
}
