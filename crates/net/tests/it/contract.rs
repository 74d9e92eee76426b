//! What every transport promises.

use std::sync::atomic::{AtomicU64, Ordering};

use antiphon_net::{
    AnyLink, CloseReason, Closed, ConnectError, Lane, Link, LinkError, Outgoing, Refusal, Transport,
};
use bytes::Bytes;
use tokio::task::yield_now;

use crate::world::{World, node, numbered, until};

const SIZES: [usize; 9] = [0, 1, 4, 100, 2047, 2048, 5000, 70_000, 900_000];

pub(crate) async fn messages_arrive_whole_and_in_order(world: &World) {
    let (_transports, one, two) = world.pair().await;
    for (from, to) in [(&one, &two), (&two, &one)] {
        for lane in Lane::ALL {
            let send = async {
                for (number, bytes) in (0..).zip(SIZES) {
                    let head = numbered(number, bytes.min(9));
                    let body = numbered(number, bytes.saturating_sub(9));
                    from.send(lane, Outgoing::new(head, body)).await.unwrap();
                }
            };
            let receive = async {
                for (number, bytes) in (0..).zip(SIZES) {
                    let head = numbered(number, bytes.min(9));
                    let body = numbered(number, bytes.saturating_sub(9));
                    let want = Outgoing::new(head, body).into_bytes();
                    assert!(to.receive(lane).await.unwrap() == want, "{bytes} bytes on {lane}");
                }
            };
            tokio::join!(send, receive);
        }
    }
}

pub(crate) async fn nothing_is_echoed(world: &World) {
    let (_transports, one, two) = world.pair().await;
    one.send(Lane::Control, Bytes::from_static(b"from one").into()).await.unwrap();
    two.send(Lane::Control, Bytes::from_static(b"from two").into()).await.unwrap();
    assert_eq!(two.receive(Lane::Control).await.unwrap(), "from one");
    assert_eq!(one.receive(Lane::Control).await.unwrap(), "from two");
    assert!(!is_ready(one.receive(Lane::Control)).await);
    assert!(!is_ready(two.receive(Lane::Log)).await);
}

/// Whether a future is ready, after everybody else had some turns.
async fn is_ready<T>(future: impl Future<Output = T>) -> bool {
    tokio::select! {
        biased;
        _ = future => true,
        () = turns() => false,
    }
}

async fn turns() {
    for _ in 0..1000 {
        yield_now().await;
    }
}

pub(crate) async fn both_sides_know_the_other(world: &World) {
    let ([first, second], one, two) = world.pair().await;
    assert_eq!((one.peer(), two.peer()), (node(2), node(1)));
    assert_eq!((first.me(), second.me()), (node(1), node(2)));
}

pub(crate) async fn a_message_past_the_limit_is_refused_and_the_link_lives(world: &World) {
    let (_transports, one, two) = world.pair().await;
    let limit = *one.message_bytes_max().of(Lane::Control);
    for (bytes, fits) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        let sent = one.send(Lane::Control, numbered(7, bytes).into());
        if fits {
            let (sent, received) = tokio::join!(sent, two.receive(Lane::Control));
            sent.unwrap();
            assert_eq!(received.unwrap().len(), bytes);
        } else {
            let want = LinkError::TooLarge { lane: Lane::Control, bytes, limit };
            assert_eq!(sent.await, Err(want));
        }
    }
    one.send(Lane::Control, Bytes::from_static(b"alive").into()).await.unwrap();
    assert_eq!(two.receive(Lane::Control).await.unwrap(), "alive");
}

pub(crate) async fn a_closed_link_says_why(world: &World) {
    let (_transports, one, two) = world.pair().await;
    one.close(CloseReason::Shutdown);
    let (here, there) = (Closed::Here(CloseReason::Shutdown), Closed::There(CloseReason::Shutdown));
    for lane in Lane::ALL {
        assert_eq!(two.receive(lane).await, Err(there.clone()));
        assert_eq!(one.receive(lane).await, Err(here.clone()));
        let sent = two.send(lane, Bytes::from_static(b"late").into()).await;
        assert_eq!(sent, Err(LinkError::Closed(there.clone())));
        let sent = one.send(lane, Bytes::from_static(b"late").into()).await;
        assert_eq!(sent, Err(LinkError::Closed(here.clone())));
    }
}

const MASS: u64 = 100;
const MASS_BYTES: usize = 1 << 20;

async fn send_mass(link: &AnyLink, lane: Lane, sent: &AtomicU64) {
    for number in 0..MASS {
        link.send(lane, numbered(number, MASS_BYTES).into()).await.unwrap();
        sent.store(number + 1, Ordering::Relaxed);
    }
}

async fn receive_mass(link: &AnyLink, lane: Lane) {
    for number in 0..MASS {
        let message = link.receive(lane).await.unwrap();
        assert!(message == numbered(number, MASS_BYTES), "message {number}");
    }
}

async fn ping_pong(one: &AnyLink, two: &AnyLink, lane: Lane, rounds: u64) {
    for number in 0..rounds {
        one.send(lane, numbered(number, 8).into()).await.unwrap();
        let message = two.receive(lane).await.unwrap();
        two.send(lane, message.into()).await.unwrap();
        assert_eq!(one.receive(lane).await.unwrap(), numbered(number, 8));
    }
}

pub(crate) async fn a_stalled_lane_stalls_no_other(world: &World) {
    let (_transports, one, two) = world.pair().await;
    let sent = AtomicU64::new(0);
    let mut mass = Box::pin(send_mass(&one, Lane::Bulk, &sent));
    tokio::select! {
        () = &mut mass => panic!("nobody received, and everything was taken"),
        () = async {
            ping_pong(&one, &two, Lane::Control, 200).await;
            ping_pong(&two, &one, Lane::Log, 200).await;
        } => {}
    }
    assert!(sent.load(Ordering::Relaxed) < MASS);
    tokio::join!(mass, receive_mass(&two, Lane::Bulk));
}

pub(crate) async fn a_slow_receiver_bounds_the_sender_and_loses_nothing(world: &World) {
    let (_transports, one, two) = world.pair().await;
    let sent = AtomicU64::new(0);
    let receive = async {
        // Until the sender has had no progress for a hundred round trips of another lane.
        let mut before = u64::MAX;
        while before != sent.load(Ordering::Relaxed) {
            before = sent.load(Ordering::Relaxed);
            ping_pong(&two, &one, Lane::Control, 100).await;
        }
        // 12.5 MB of room at each end over QUIC, 4 MiB in memory, and the message on its way.
        assert!(before < 40, "{before} MiB were taken although nobody received");
        receive_mass(&two, Lane::Log).await;
    };
    tokio::join!(send_mass(&one, Lane::Log, &sent), receive);
}

pub(crate) async fn a_cancelled_receive_loses_nothing(world: &World) {
    let (_transports, one, two) = world.pair().await;
    let send = async {
        for number in 0..2000 {
            one.send(Lane::Log, numbered(number, 3000).into()).await.unwrap();
        }
    };
    let receive = async {
        for number in 0..2000 {
            let message = loop {
                tokio::select! {
                    biased;
                    message = two.receive(Lane::Log) => break message.unwrap(),
                    () = yield_now() => {}
                }
            };
            assert_eq!(message, numbered(number, 3000));
        }
    };
    tokio::join!(send, receive);
}

pub(crate) async fn a_stranger_is_refused(world: &World) {
    let (one, two) = (world.bind(1).await, world.bind(2).await);
    let refused = two.connect(node(1), &one.local_address()).await;
    assert_eq!(refused.unwrap_err(), ByPeer::error("unknown_node"));
    until(|| one.refusals().count("unknown_node") == 1).await;
    one.admit(&[node(3)]);
    let refused = two.connect(node(1), &one.local_address()).await;
    assert_eq!(refused.unwrap_err(), ByPeer::error("unknown_node"));
    one.admit(&[node(3), node(2)]);
    let address = one.local_address();
    let (called, caller) = tokio::join!(one.accept(), two.connect(node(1), &address));
    assert_eq!(called.unwrap().peer(), node(2));
    assert_eq!(caller.unwrap().peer(), node(1));
}

/// The error of a caller that was refused.
pub(crate) struct ByPeer;

impl ByPeer {
    pub(crate) fn error(kind: &str) -> ConnectError {
        ConnectError::Refused(Refusal::ByPeer(kind.to_owned()))
    }
}

pub(crate) async fn nobody_there_is_an_error(world: &World) {
    let two = world.bind(2).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = socket.local_addr().unwrap().to_string();
    let refused = two.connect(node(1), &silent).await;
    assert_eq!(refused.unwrap_err(), ConnectError::Timeout(node(1)));
}

pub(crate) async fn flush_means_received(world: &World) {
    let (_transports, one, two) = world.pair().await;
    let receive = async {
        for number in 0..100 {
            assert_eq!(two.receive(Lane::Log).await.unwrap(), numbered(number, 10_000));
        }
    };
    let send = async {
        for number in 0..100 {
            one.send(Lane::Log, numbered(number, 10_000).into()).await.unwrap();
        }
        one.flush(Lane::Log).await.unwrap();
    };
    tokio::join!(send, receive);
}
