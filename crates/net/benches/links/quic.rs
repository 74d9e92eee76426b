//! Messages over QUIC, by link and by peers.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use antiphon_net::certs::Authority;
use antiphon_net::{
    Compression, Lane, Link, Member, PeerEvent, PeerEvents, Peers, PeersConfig, QuicConfig,
    QuicTransport, SendError, Transport,
};
use antiphon_proto::NodeId;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::tools::{Stretch, block_on, quantiles, thread};
use crate::{CLUSTER, credentials};

pub(crate) const ONE: NodeId = NodeId::new(1);
pub(crate) const TWO: NodeId = NodeId::new(2);
/// Rounds before those that count.
const WARM: u64 = 500;
const STREAM_BYTES: usize = 100;
/// Messages that the owner queues before it gives way, as a turn of a busy shard does.
const TURN: u64 = 256;

pub(crate) async fn bind(authority: &Authority, id: NodeId) -> QuicTransport {
    let config = QuicConfig::new(id, "127.0.0.1:0", credentials(authority, id.get()));
    let transport = QuicTransport::bind(config).await.expect("loopback has a free port");
    transport.admit(&[ONE, TWO]);
    transport
}

pub(crate) fn authority() -> Arc<Authority> {
    let (authority, _key) = Authority::create(CLUSTER, 1).expect("the name is good");
    Arc::new(authority)
}

pub(crate) fn link_round_trips(bytes: usize, rounds: u64) {
    let authority = authority();
    let (tell, told) = mpsc::channel();
    let served = Arc::clone(&authority);
    let server = thread(move || async move {
        let transport = bind(&served, ONE).await;
        tell.send(transport.local_address()).expect("the other end waits for it");
        let link = transport.accept().await.expect("it is called");
        while let Ok(message) = link.receive(Lane::Control).await {
            if link.send(Lane::Control, message.into()).await.is_err() {
                return;
            }
        }
    });
    let address = told.recv().expect("the server starts");
    let times = block_on(async {
        let transport = bind(&authority, TWO).await;
        let link = transport.connect(ONE, &address).await.expect("it is admitted");
        let message = Bytes::from(vec![7; bytes]);
        let mut times = Vec::new();
        for round in 0..rounds + WARM {
            let began = Instant::now();
            link.send(Lane::Control, message.clone().into()).await.expect("the link stands");
            let answer = link.receive(Lane::Control).await.expect("the link stands");
            assert_eq!(answer.len(), bytes);
            if round >= WARM {
                times.push(began.elapsed());
            }
        }
        times
    });
    server.join().expect("the server ends with the link");
    quantiles(&format!("quic link, {bytes} B"), times);
}

/// A new link for each message: handshake, one message, its answer.
pub(crate) fn first_messages(links: u64) {
    let authority = authority();
    let (tell, told) = mpsc::channel();
    let served = Arc::clone(&authority);
    let server = thread(move || async move {
        let transport = bind(&served, ONE).await;
        tell.send(transport.local_address()).expect("the other end waits for it");
        for _ in 0..links {
            let link = transport.accept().await.expect("it is called");
            let message = link.receive(Lane::Control).await.expect("one message comes");
            link.send(Lane::Control, message.into()).await.expect("the link stands");
            // The caller ends the link when it has its answer.
            let end = link.receive(Lane::Control).await;
            assert!(end.is_err(), "nothing else was sent");
        }
    });
    let address = told.recv().expect("the server starts");
    let times = block_on(async {
        let transport = bind(&authority, TWO).await;
        let mut times = Vec::new();
        for _ in 0..links {
            let began = Instant::now();
            let link = transport.connect(ONE, &address).await.expect("it is admitted");
            let message = Bytes::from(vec![7; STREAM_BYTES]);
            link.send(Lane::Control, message.into()).await.expect("the link stands");
            link.receive(Lane::Control).await.expect("the answer comes");
            times.push(began.elapsed());
        }
        times
    });
    server.join().expect("the server ends with the last link");
    quantiles("quic, a new link and one message there and back", times);
}

pub(crate) fn start(
    transport: QuicTransport,
    peer: NodeId,
    address: String,
) -> (Peers, PeerEvents) {
    start_with(transport, peer, address, Compression::Off)
}

pub(crate) fn start_with(
    transport: QuicTransport,
    peer: NodeId,
    address: String,
    compression: Compression,
) -> (Peers, PeerEvents) {
    let members = vec![Member { id: peer, addresses: vec![address] }];
    let config = PeersConfig { compression, ..PeersConfig::new(members) };
    Peers::start(Arc::new(transport), config).expect("the configuration is good")
}

/// The called end: answers every message with `answer`, until the link is lost.
pub(crate) fn serve_peer(
    authority: Arc<Authority>,
    answer: impl Fn(&Peers, Lane, Bytes) + Send + 'static,
) -> (std::thread::JoinHandle<()>, String) {
    let (tell, told) = mpsc::channel();
    let server = thread(move || async move {
        let transport = bind(&authority, ONE).await;
        tell.send(transport.local_address()).expect("the other end waits for it");
        let (peers, mut events) = start(transport, TWO, "127.0.0.1:9".to_owned());
        while let Some(event) = events.next().await {
            match event {
                PeerEvent::Received { lane, message, .. } => answer(&peers, lane, message),
                PeerEvent::Disconnected { .. } => break,
                PeerEvent::Connected { .. } => {}
            }
        }
        peers.shutdown().await;
    });
    (server, told.recv().expect("the server starts"))
}

pub(crate) fn peer_round_trips(bytes: usize, rounds: u64) {
    let authority = authority();
    let (server, address) = serve_peer(Arc::clone(&authority), |peers, lane, message| {
        peers.try_send(TWO, lane, message.into()).expect("one message has room");
    });
    let times = block_on(async {
        let (peers, mut events) = start(bind(&authority, TWO).await, ONE, address);
        assert!(matches!(events.next().await, Some(PeerEvent::Connected { .. })));
        let message = Bytes::from(vec![7; bytes]);
        let mut times = Vec::new();
        for round in 0..rounds + WARM {
            let began = Instant::now();
            peers.try_send(ONE, Lane::Control, message.clone().into()).expect("it has room");
            let event = events.next().await;
            assert!(matches!(event, Some(PeerEvent::Received { .. })), "{event:?}");
            if round >= WARM {
                times.push(began.elapsed());
            }
        }
        peers.shutdown().await;
        times
    });
    server.join().expect("the server ends with the link");
    quantiles(&format!("quic peers, {bytes} B"), times);
}

/// What a called end does with messages of `bytes`, and a word when `count` of them have come.
pub(crate) fn counter(
    count: u64,
    bytes: usize,
) -> (impl Fn(&Peers, Lane, Bytes) + Send + 'static, oneshot::Receiver<()>) {
    let (done, finished) = oneshot::channel();
    let state = Mutex::new((0_u64, Some(done)));
    let taken = move |_: &Peers, _, message: Bytes| {
        assert_eq!(message.len(), bytes);
        let mut state = state.lock().expect("one thread has it");
        state.0 += 1;
        if state.0 == count
            && let Some(done) = state.1.take()
        {
            done.send(()).expect("the sender waits for it");
        }
    };
    (taken, finished)
}

pub(crate) fn peer_stream(count: u64) {
    let authority = authority();
    let (taken, finished) = counter(count, STREAM_BYTES);
    let (server, address) = serve_peer(Arc::clone(&authority), taken);
    block_on(async {
        let (peers, mut events) = start(bind(&authority, TWO).await, ONE, address);
        assert!(matches!(events.next().await, Some(PeerEvent::Connected { .. })));
        let message = Bytes::from(vec![7; STREAM_BYTES]);
        let stretch = Stretch::begin();
        let mut sent = 0;
        while sent < count {
            match peers.try_send(ONE, Lane::Log, message.clone().into()) {
                Ok(()) => sent += 1,
                Err(SendError::Full) => peers.room(ONE, Lane::Log).await,
                Err(error) => panic!("the link stands: {error}"),
            }
            if sent % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        finished.await.expect("the receiver counts them all");
        stretch.end("quic peers, 100 B stream", count);
        peers.shutdown().await;
    });
    server.join().expect("the server ends with the link");
}
