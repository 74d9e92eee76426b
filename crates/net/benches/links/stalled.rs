//! Round trips on the control lane, with nothing else on the link and beside a bulk lane that
//! stands still with all its room taken.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use antiphon_net::certs::Authority;
use antiphon_net::{Lane, PeerEvent, Peers, SendError};
use bytes::Bytes;

use crate::quic::{ONE, TWO, authority, bind, start};
use crate::tools::{block_on, quantiles, thread};

const BYTES: usize = 64;
const MASS_BYTES: usize = 256 << 10;
/// Round trips without progress of the bulk lane after which it counts as stalled.
const QUIET: u32 = 100;

/// The called end: answers on control, and never takes anything from bulk.
fn serve(authority: Arc<Authority>) -> (std::thread::JoinHandle<()>, String) {
    let (tell, told) = mpsc::channel();
    let server = thread(move || async move {
        let transport = bind(&authority, ONE).await;
        let address = antiphon_net::Transport::local_address(&transport);
        tell.send(address).expect("the other end waits for it");
        let (peers, mut events) = start(transport, TWO, "127.0.0.1:9".to_owned());
        events.hold(Lane::Bulk, true);
        while let Some(event) = events.next().await {
            match event {
                PeerEvent::Received { lane, message, .. } => {
                    peers.try_send(TWO, lane, message.into()).expect("one message has room");
                }
                PeerEvent::Disconnected { .. } => break,
                PeerEvent::Connected { .. } => {}
            }
        }
        peers.shutdown().await;
    });
    (server, told.recv().expect("the server starts"))
}

/// Takes all room of the bulk lane; false when there was none.
fn fill(peers: &Peers) -> bool {
    let mut any = false;
    loop {
        match peers.try_send(ONE, Lane::Bulk, Bytes::from(vec![7; MASS_BYTES]).into()) {
            Ok(()) => any = true,
            Err(SendError::Full) => return any,
            Err(error) => panic!("the link stands: {error}"),
        }
    }
}

pub(crate) fn control_beside_bulk(rounds: u64) {
    let authority = authority();
    let (server, address) = serve(Arc::clone(&authority));
    block_on(async {
        let (peers, mut events) = start(bind(&authority, TWO).await, ONE, address);
        assert!(matches!(events.next().await, Some(PeerEvent::Connected { .. })));
        let message = Bytes::from(vec![7; BYTES]);
        let mut round = async || {
            let began = Instant::now();
            peers.try_send(ONE, Lane::Control, message.clone().into()).expect("it has room");
            let event = events.next().await;
            assert!(matches!(event, Some(PeerEvent::Received { .. })), "{event:?}");
            began.elapsed()
        };
        let mut alone = Vec::new();
        for _ in 0..rounds {
            alone.push(round().await);
        }
        let mut quiet = 0;
        while quiet < QUIET {
            quiet = if fill(&peers) { 0 } else { quiet + 1 };
            round().await;
        }
        let mut beside = Vec::new();
        for _ in 0..rounds {
            beside.push(round().await);
        }
        quantiles("quic peers, control alone", alone);
        quantiles("quic peers, control beside a stalled bulk", beside);
        peers.shutdown().await;
    });
    server.join().expect("the server ends with the link");
}
