//! Two nodes and a link between them, without anything above: bind, connect, send, receive.
//!
//! `cargo run -p antiphon-net --example direct` speaks QUIC; `-- memory` behind it stays within
//! the process. Nothing else changes.

use std::error::Error;

use antiphon_net::certs::{Authority, Credentials, IssueRequest};
use antiphon_net::{
    AnyTransport, CloseReason, Closed, Lane, Link, MemoryNetwork, QuicConfig, Transport,
    TransportConfig,
};
use antiphon_proto::NodeId;
use bytes::Bytes;

const MESSAGES: u64 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let ids = [NodeId::new(1), NodeId::new(2)];
    let configs = if std::env::args().any(|argument| argument == "memory") {
        let network = MemoryNetwork::new();
        ids.map(|me| TransportConfig::Memory { network: network.clone(), me })
    } else {
        let (authority, _key) = Authority::create("example", 1)?;
        [quic(&authority, ids[0])?, quic(&authority, ids[1])?]
    };
    let [first, second] = configs;
    let called = AnyTransport::bind(first).await?;
    let caller = AnyTransport::bind(second).await?;

    // Nobody is let in who was not named before.
    called.admit(&ids);
    let address = called.local_address();
    tokio::try_join!(answer(called), ask(caller, ids[0], address))?;
    Ok(())
}

fn quic(authority: &Authority, me: NodeId) -> Result<TransportConfig, Box<dyn Error>> {
    let (certificate, key) = authority.issue(&IssueRequest::new(me))?;
    let authorities = authority.certificate_pem();
    let credentials = Credentials::from_pem(&certificate, &key, authorities, "example")?;
    Ok(TransportConfig::Quic(Box::new(QuicConfig::new(me, "127.0.0.1:0", credentials))))
}

/// Sends back what comes, until the other side closes the link.
async fn answer(transport: AnyTransport) -> Result<(), Box<dyn Error>> {
    let link = transport.accept().await?;
    loop {
        match link.receive(Lane::Log).await {
            Ok(message) => link.send(Lane::Log, message.into()).await?,
            Err(Closed::There(CloseReason::Shutdown)) => return Ok(()),
            Err(closed) => return Err(closed.into()),
        }
    }
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn ask(transport: AnyTransport, peer: NodeId, address: String) -> Result<(), Box<dyn Error>> {
    let link = transport.connect(peer, &address).await?;
    for number in 1..=MESSAGES {
        let message = Bytes::from(format!("message {number}"));
        link.send(Lane::Log, message.clone().into()).await?;
        let answer = link.receive(Lane::Log).await?;
        assert_eq!(answer, message);
        println!("node {} sent {message:?} to node {} and back", transport.me(), link.peer());
    }
    link.close(CloseReason::Shutdown);
    Ok(())
}
