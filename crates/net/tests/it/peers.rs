//! What the keeper of links promises its owner.

use std::collections::BTreeSet;
use std::sync::Arc;

use antiphon_net::{
    AnyTransport, CloseReason, Closed, Lane, Link, Member, PeerEvent, PeerEvents, Peers,
    PeersConfig, SendError, StartError, Transport, TransportConfig,
};
use bytes::Bytes;

use crate::contract::ByPeer;
use crate::world::{World, node, numbered, until};

/// A node, and what its owner holds.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) peers: Peers,
    pub(crate) events: PeerEvents,
}

impl Owner {
    pub(crate) async fn connected(&mut self, to: u64) -> u64 {
        match self.events.next().await {
            Some(PeerEvent::Connected { peer, generation }) if peer == node(to) => generation,
            other => panic!("{other:?} instead of a link to {to}"),
        }
    }

    pub(crate) async fn disconnected(&mut self, from: u64) -> (u64, Closed) {
        match self.events.next().await {
            Some(PeerEvent::Disconnected { peer, generation, why }) if peer == node(from) => {
                (generation, why)
            }
            other => panic!("{other:?} instead of the loss of {from}"),
        }
    }

    pub(crate) async fn received(&mut self) -> (u64, Lane, Bytes) {
        match self.events.next().await {
            Some(PeerEvent::Received { generation, lane, message, .. }) => {
                (generation, lane, message)
            }
            other => panic!("{other:?} instead of a message"),
        }
    }

    pub(crate) fn send(&self, to: u64, lane: Lane, message: Bytes) -> Result<(), SendError> {
        self.peers.try_send(node(to), lane, message.into())
    }
}

pub(crate) fn start(transport: AnyTransport, members: &[(u64, &str)]) -> Owner {
    start_with(transport, PeersConfig::new(members_of(members)))
}

pub(crate) fn start_with(transport: AnyTransport, config: PeersConfig) -> Owner {
    let (peers, events) = Peers::start(Arc::new(transport), config).unwrap();
    Owner { peers, events }
}

pub(crate) fn members_of(members: &[(u64, &str)]) -> Vec<Member> {
    let member = |(id, address): &(u64, &str)| Member {
        id: node(*id),
        addresses: vec![(*address).to_owned()],
    };
    members.iter().map(member).collect()
}

/// Nodes 1 and 2, linked.
async fn pair(world: &World) -> (Owner, Owner) {
    pair_with(world, |_| {}).await
}

pub(crate) async fn pair_with(world: &World, set: impl Fn(&mut PeersConfig)) -> (Owner, Owner) {
    let (one, two) = (world.bind(1).await, world.bind(2).await);
    let addresses = [one.local_address(), two.local_address()];
    let mut config = PeersConfig::new(members_of(&[(1, &addresses[0]), (2, &addresses[1])]));
    set(&mut config);
    let mut one = start_with(one, config.clone());
    let mut two = start_with(two, config);
    let (first, second) = tokio::join!(one.connected(2), two.connected(1));
    assert_eq!((first, second), (1, 1));
    (one, two)
}

pub(crate) async fn links_are_made_once_and_carry_messages(world: &World) {
    let (mut one, mut two) = pair(world).await;
    for lane in Lane::ALL {
        one.send(2, lane, Bytes::from_static(b"down")).unwrap();
        two.send(1, lane, Bytes::from_static(b"up")).unwrap();
        assert_eq!(two.received().await, (1, lane, Bytes::from_static(b"down")));
        assert_eq!(one.received().await, (1, lane, Bytes::from_static(b"up")));
    }
    let stats = one.peers.stats().pop().unwrap();
    assert_eq!((stats.peer, stats.generation, stats.connects), (node(2), Some(1), 1));
    assert_eq!((stats.received_messages, stats.received_bytes), (3, 6));
    until(|| one.peers.stats().pop().unwrap().sent_bytes == 12).await;
    assert_eq!(one.peers.generation(node(2)), Some(1));
    assert_eq!(one.send(3, Lane::Log, Bytes::new()), Err(SendError::UnknownPeer));
    assert_eq!(one.send(1, Lane::Log, Bytes::new()), Err(SendError::UnknownPeer));
}

pub(crate) async fn a_lost_link_is_made_again_and_says_so(world: &World) {
    let (mut one, mut two) = pair(world).await;
    for round in 1..4 {
        // Either side may give the link up; both are told, and both are linked again.
        let dropped = if round % 2 == 0 { &one } else { &two };
        let peer = if round % 2 == 0 { 2 } else { 1 };
        dropped.peers.drop_link(node(peer));
        let (first, second) = tokio::join!(one.disconnected(2), two.disconnected(1));
        let (here, there) =
            (Closed::Here(CloseReason::Dropped), Closed::There(CloseReason::Dropped));
        let whys = if round % 2 == 0 { (here, there) } else { (there, here) };
        assert_eq!(((first.1, second.1), first.0, second.0), (whys, round, round));
        let (first, second) = tokio::join!(one.connected(2), two.connected(1));
        assert_eq!((first, second), (round + 1, round + 1));
        one.send(2, Lane::Log, numbered(round, 100)).unwrap();
        assert_eq!(two.received().await, (round + 1, Lane::Log, numbered(round, 100)));
    }
    assert_eq!(one.peers.stats().pop().unwrap().disconnects, 3);
}

pub(crate) async fn sends_are_refused_before_they_are_lost(world: &World) {
    let lone = start(world.bind(5).await, &[(6, "127.0.0.1:9")]);
    assert_eq!(lone.send(6, Lane::Log, Bytes::new()), Err(SendError::NotConnected));

    let (one, mut two) = pair_with(world, |config| config.send_bytes_max.log = 10_000).await;
    // No turn passes here, so nothing leaves: ten messages of 936 + 64 fill the lane.
    for number in 0..10 {
        one.send(2, Lane::Log, numbered(number, 936)).unwrap();
    }
    assert_eq!(one.send(2, Lane::Log, numbered(10, 936)), Err(SendError::Full));
    assert_eq!(one.peers.stats().pop().unwrap().queued_bytes.log, 10_000);
    one.send(2, Lane::Control, Bytes::from_static(b"has its own room")).unwrap();
    let limit = 1 << 20;
    let sent = one.send(2, Lane::Control, numbered(0, limit + 1));
    assert_eq!(sent, Err(SendError::TooLarge { bytes: limit + 1, limit }));
    one.peers.room(node(2), Lane::Log).await;
    one.send(2, Lane::Log, numbered(10, 100_000)).expect("a long one may wait alone, later");
    let mut log = Vec::new();
    while log.len() < 11 {
        let (_, lane, message) = two.received().await;
        if lane == Lane::Log {
            log.push(message);
        }
    }
    for (number, message) in (0..).zip(&log) {
        assert_eq!(*message, numbered(number, message.len()));
    }
}

pub(crate) async fn a_held_lane_bounds_the_sender_and_frees_the_others(world: &World) {
    let (one, mut two) = pair(world).await;
    two.events.hold(Lane::Log, true);
    let (mut sent, mut echoed) = (0, 0);
    // Send until the lane is full and stays full while control goes on.
    let mut full = 0;
    while full < 100 {
        match one.send(2, Lane::Log, numbered(sent, 100_000)) {
            Ok(()) => (sent, full) = (sent + 1, 0),
            Err(error) => {
                assert_eq!(error, SendError::Full);
                full += 1;
                one.send(2, Lane::Control, numbered(echoed, 8)).unwrap();
                assert_eq!(two.received().await, (1, Lane::Control, numbered(echoed, 8)));
                echoed += 1;
            }
        }
    }
    // 32 MiB here, 16 MiB there, 25 MB in between.
    assert!(sent < 1000, "{sent} messages of 100 kB were taken although nobody received");
    two.events.hold(Lane::Log, false);
    for number in 0..sent {
        assert_eq!(two.received().await, (1, Lane::Log, numbered(number, 100_000)));
    }
    one.send(2, Lane::Log, numbered(sent, 1)).unwrap();
    assert_eq!(two.received().await, (1, Lane::Log, numbered(sent, 1)));
}

pub(crate) async fn shutdown_sends_what_was_queued(world: &World) {
    let (one, mut two) = pair(world).await;
    for number in 0..1000 {
        one.send(2, Lane::Log, numbered(number, 200)).unwrap();
    }
    let receive = async {
        for number in 0..1000 {
            assert_eq!(two.received().await, (1, Lane::Log, numbered(number, 200)));
        }
        two.disconnected(1).await
    };
    let (lost, ()) = tokio::join!(receive, one.peers.shutdown());
    assert_eq!(lost, (1, Closed::There(CloseReason::Shutdown)));
    let Owner { peers, mut events } = one;
    assert!(matches!(events.next().await, Some(PeerEvent::Disconnected { .. })));
    assert_eq!(events.next().await, None);
    let sent = peers.try_send(node(2), Lane::Log, Bytes::new().into());
    assert_eq!(sent, Err(SendError::NotConnected));
}

pub(crate) async fn a_dropped_owner_ends_the_links(world: &World) {
    let (one, mut two) = pair(world).await;
    drop(one.events);
    assert_eq!(two.disconnected(1).await, (1, Closed::There(CloseReason::Shutdown)));
}

pub(crate) async fn dropped_peers_end_the_events(world: &World) {
    let (one, mut two) = pair(world).await;
    let Owner { peers, mut events } = one;
    drop(peers);
    while events.next().await.is_some() {}
    let (generation, why) = two.disconnected(1).await;
    assert_eq!((generation, why), (1, Closed::There(CloseReason::Dropped)));
}

pub(crate) async fn control_comes_first(world: &World) {
    let (one, mut two) = pair(world).await;
    for lane in [Lane::Bulk, Lane::Log, Lane::Control] {
        for number in 0..100 {
            one.send(2, lane, numbered(number, 10)).unwrap();
        }
    }
    until(|| two.peers.stats()[0].received_messages == 300).await;
    let mut lanes = Vec::new();
    for _ in 0..300 {
        lanes.push(two.received().await.1);
    }
    assert!(lanes[..100].iter().all(|lane| *lane == Lane::Control));
    // Log is preferred, and bulk still gets its turn.
    let first_bulk = lanes.iter().position(|lane| *lane == Lane::Bulk);
    assert_eq!(first_bulk, Some(132));
}

pub(crate) async fn three_nodes_form_a_mesh(world: &World) {
    let transports = [world.bind(1).await, world.bind(2).await, world.bind(3).await];
    let addresses: Vec<String> = transports.iter().map(Transport::local_address).collect();
    let members = [(1, &*addresses[0]), (2, &*addresses[1]), (3, &*addresses[2])];
    for mut owner in transports.map(|transport| start(transport, &members)).into_iter().rev() {
        let mut linked = BTreeSet::new();
        while linked.len() < 2 {
            match owner.events.next().await {
                Some(PeerEvent::Connected { peer, .. }) => assert!(linked.insert(peer)),
                other => panic!("{other:?} instead of links"),
            }
        }
        for peer in linked {
            assert_eq!(owner.peers.generation(peer), Some(1));
        }
    }
}

/// Of two nodes only one may call: the other's link is closed with the reason.
pub(crate) async fn the_wrong_caller_is_refused(world: &World) {
    let (one, two) = (world.bind(1).await, world.bind(2).await);
    one.admit(&[node(2)]);
    let address = two.local_address();
    let mut owner = start(two, &[(1, &one.local_address())]);
    match one.connect(node(2), &address).await {
        Ok(link) => {
            let refused = Closed::There(CloseReason::Refused("duplicate"));
            assert_eq!(link.receive(Lane::Log).await, Err(refused));
        }
        // The refusal may overtake the last step of the opening.
        Err(refused) => assert_eq!(refused, ByPeer::error("duplicate")),
    }
    assert_eq!(owner.peers.refusals().count("duplicate"), 1);
    let called = one.accept().await.unwrap();
    assert_eq!((owner.connected(1).await, called.peer()), (1, node(2)));
}

/// What a configuration must not say.
#[tokio::test]
async fn configurations_without_sense_are_refused() {
    let world = World::memory();
    let transport = Arc::new(world.bind(1).await);
    let refused = |config| Peers::start(Arc::clone(&transport), config).unwrap_err();
    let nowhere = Member { id: node(2), addresses: Vec::new() };
    assert_eq!(refused(PeersConfig::new(vec![nowhere])), StartError::NoAddress(node(2)));
    let twice = members_of(&[(2, "a"), (3, "b"), (2, "c")]);
    assert_eq!(refused(PeersConfig::new(twice)), StartError::Twice(node(2)));
    let mut config = PeersConfig::new(Vec::new());
    (config.retry_min, config.retry_max) = (config.retry_max, config.retry_min);
    let (min, max) = (config.retry_min, config.retry_max);
    assert_eq!(refused(config), StartError::Retry { min, max });
}

/// A node on a thread and a runtime of its own, which can die without a word.
struct Mortal {
    die: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
    address: String,
}

impl Mortal {
    fn start(config: TransportConfig, peer: (u64, String)) -> Self {
        let (die, death) = tokio::sync::oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let owner = runtime.block_on(async {
                let transport = AnyTransport::bind(config).await.unwrap();
                tell.send(transport.local_address()).unwrap();
                let owner = start(transport, &[(peer.0, &peer.1)]);
                death.await.unwrap();
                owner
            });
            // The tasks stop where they are: no link is closed in order.
            runtime.shutdown_background();
            drop(owner);
        });
        let address = told.recv().unwrap();
        Self { die, thread, address }
    }

    fn die(self) -> String {
        self.die.send(()).unwrap();
        self.thread.join().unwrap();
        self.address
    }
}

/// The peer with the lower id dies and comes back at its address: the other one calls it again.
#[tokio::test]
async fn a_killed_peer_is_found_again() {
    crate::world::within(async {
        let world = World::quic();
        let transport = world.bind(2).await;
        let mine = transport.local_address();
        let mortal = Mortal::start(world.config(1), (2, mine.clone()));
        let mut owner = start(transport, &[(1, &mortal.address)]);
        assert_eq!(owner.connected(1).await, 1);
        let address = mortal.die();
        assert_eq!(owner.disconnected(1).await, (1, Closed::Silent));
        let TransportConfig::Quic(mut config) = world.config(1) else { panic!("it is QUIC") };
        config.listen.clone_from(&address);
        let mortal = Mortal::start(TransportConfig::Quic(config), (2, mine));
        assert_eq!(owner.connected(1).await, 2);
        assert_eq!(mortal.die(), address);
    })
    .await;
}

/// The peer with the greater id dies and comes back elsewhere: its new call replaces the link
/// that this side still believes in.
#[tokio::test]
async fn a_new_call_replaces_a_dead_link() {
    crate::world::within(async {
        let world = World::quic();
        let transport = world.bind(1).await;
        let mine = transport.local_address();
        let mut owner = start(transport, &[(2, "127.0.0.1:9")]);
        let mortal = Mortal::start(world.config(2), (1, mine.clone()));
        assert_eq!(owner.connected(2).await, 1);
        mortal.die();
        let mortal = Mortal::start(world.config(2), (1, mine));
        let (generation, why) = owner.disconnected(2).await;
        assert_eq!(generation, 1);
        assert!(matches!(why, Closed::Here(CloseReason::Replaced) | Closed::Silent), "{why:?}");
        assert_eq!(owner.connected(2).await, 2);
        mortal.die();
    })
    .await;
}
