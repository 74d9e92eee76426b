//! What only the network in memory can do: cut, hold, delay.

use super::*;

const fn node(id: u64) -> NodeId {
    NodeId::new(id)
}

struct Fixture {
    network: MemoryNetwork,
    transports: [MemoryTransport; 2],
    one: MemoryLink,
    two: MemoryLink,
}

async fn linked() -> Fixture {
    let network = MemoryNetwork::new();
    let transports = [network.bind(node(1)).unwrap(), network.bind(node(2)).unwrap()];
    transports.iter().for_each(|transport| transport.admit(&[node(1), node(2)]));
    let (two, one) = tokio::join!(transports[1].connect(node(1), ""), transports[0].accept());
    Fixture { network, transports, one: one.unwrap(), two: two.unwrap() }
}

fn word(text: &'static str) -> Outgoing {
    Bytes::from_static(text.as_bytes()).into()
}

/// What is there on a lane, without waiting.
fn there(link: &MemoryLink, lane: Lane) -> Option<Bytes> {
    let cx = std::task::Context::from_waker(Waker::noop());
    match link.end.poll_receive_one(&cx, lane) {
        Poll::Ready(Ok(Ok(message))) => Some(message),
        Poll::Ready(Ok(Err(_)) | Err(_)) | Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_cut_breaks_links_and_prevents_new_ones_until_healed() {
    let Fixture { network, transports, one, two } = linked().await;
    network.cut(node(1), node(2));
    let broken = Closed::Broken("the network was cut".to_owned());
    assert_eq!(one.receive(Lane::Log).await, Err(broken.clone()));
    assert_eq!(two.send(Lane::Log, word("late")).await, Err(LinkError::Closed(broken)));
    for (from, to) in [(0, 2), (1, 1)] {
        let refused = transports[from].connect(node(to), "").await;
        assert_eq!(refused.unwrap_err(), ConnectError::Timeout(node(to)));
    }
    network.heal(node(2), node(1));
    transports[1].connect(node(1), "").await.unwrap();
    assert!(transports[0].accept().await.unwrap().peer() == node(2));
}

#[tokio::test]
async fn a_held_direction_holds_and_loses_nothing() {
    let Fixture { network, transports, one, two } = linked().await;
    network.hold(node(1), node(2));
    for lane in Lane::ALL {
        one.send(lane, word("held")).await.unwrap();
        two.send(lane, word("free")).await.unwrap();
        assert_eq!(there(&two, lane), None);
        assert_eq!(there(&one, lane), Some(Bytes::from_static(b"free")));
    }
    let refused = transports[1].connect(node(1), "").await;
    assert_eq!(refused.unwrap_err(), ConnectError::Timeout(node(1)));
    network.heal(node(1), node(2));
    for lane in Lane::ALL {
        assert_eq!(two.receive(lane).await.unwrap(), "held");
    }
}

#[tokio::test]
async fn a_held_lane_holds_no_other() {
    let Fixture { network, one, two, transports: _transports } = linked().await;
    network.hold_lane(node(1), node(2), Lane::Bulk, true);
    for lane in Lane::ALL {
        one.send(lane, word("word")).await.unwrap();
        assert_eq!(there(&two, lane).is_some(), lane != Lane::Bulk);
    }
    network.hold_lane(node(1), node(2), Lane::Bulk, false);
    assert_eq!(two.receive(Lane::Bulk).await.unwrap(), "word");
}

#[tokio::test]
async fn a_delay_delays_and_keeps_the_order() {
    let Fixture { network, one, two, transports: _transports } = linked().await;
    network.delay(node(1), node(2), Duration::from_millis(30));
    let began = tokio::time::Instant::now();
    one.send(Lane::Log, word("first")).await.unwrap();
    network.delay(node(1), node(2), Duration::ZERO);
    one.send(Lane::Log, word("second")).await.unwrap();
    assert_eq!(there(&two, Lane::Log), None);
    let mut both = VecDeque::new();
    two.receive_batch(Lane::Log, &mut both).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert_eq!(both, ["first", "second"]);
}

#[tokio::test]
async fn a_snap_breaks_once() {
    let Fixture { network, transports, one, two: _two } = linked().await;
    network.snap(node(2), node(1));
    assert!(matches!(one.receive(Lane::Log).await, Err(Closed::Broken(_))));
    transports[1].connect(node(1), "").await.unwrap();
}

#[tokio::test]
async fn a_place_is_free_again_when_its_transport_is_gone() {
    let Fixture { network, transports, one, two } = linked().await;
    assert!(matches!(network.bind(node(1)), Err(BindError::Taken(id)) if id == node(1)));
    drop(transports);
    one.send(Lane::Log, word("links live on")).await.unwrap();
    assert_eq!(two.receive(Lane::Log).await.unwrap(), "links live on");
    let again = network.bind(node(1)).unwrap();
    assert_eq!(again.me(), node(1));
    assert_eq!(again.connect(node(2), "").await.unwrap_err(), ConnectError::Timeout(node(2)));
}

#[tokio::test]
async fn waiting_links_are_bounded() {
    let Fixture { transports, one: _one, two: _two, .. } = linked().await;
    let mut links = Vec::new();
    for _ in 0..ACCEPT_MAX {
        links.push(transports[1].connect(node(1), "").await.unwrap());
    }
    let refused = transports[1].connect(node(1), "").await.unwrap_err();
    assert_eq!(refused, ConnectError::Refused(Refusal::ByPeer("busy".to_owned())));
    assert_eq!(transports[0].refusals().count("busy"), 1);
}
