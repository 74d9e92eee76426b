//! Who is let in over QUIC, and who is not.

use std::process::Command;

use antiphon_net::certs::{CertError, Credentials};
use antiphon_net::{
    Agreed, BindError, Closed, Codec, Codecs, ConnectError, Lane, Link, Offer, QuicConfig,
    QuicTransport, Refusal, ReloadError, Transport, Violation,
};
use bytes::{Bytes, BytesMut};
use s2n_quic::stream::BidirectionalStream;

use crate::contract::ByPeer;
use crate::raw::{self, PROTOCOL, Pair, Signer, Time};
use crate::world::{CLUSTER, node, until, within};

fn trusting(pair: &Pair, trust: &str) -> Result<Credentials, CertError> {
    Credentials::from_pem(&pair.certificate, &pair.key, trust, CLUSTER)
}

async fn bind(signer: &Signer, id: u64) -> QuicTransport {
    let pair = signer.sign(&[&format!("spiffe://{CLUSTER}/node/{id}")], Time::Now);
    bind_as(id, trusting(&pair, signer.pem()).unwrap()).await
}

async fn bind_as(id: u64, credentials: Credentials) -> QuicTransport {
    let transport = QuicTransport::bind(QuicConfig::new(node(id), "127.0.0.1:0", credentials));
    let transport = transport.await.unwrap();
    transport.admit(&[node(1), node(2)]);
    transport
}

/// A caller with this certificate is refused by node 1 for this reason.
async fn check_caller(show: Option<&Pair>, signer: &Signer, protocol: &str, kind: &str) {
    within(async {
        let one = bind(signer, 1).await;
        let call = raw::call(&one.local_address(), show, signer.pem(), protocol).await;
        // In TLS 1.3 a caller believes itself connected until the refusal reaches it.
        if let Ok(connection) = call {
            let (mut handle, _acceptor) = connection.split();
            let opened = handle.open_bidirectional_stream().await;
            if let Ok(mut stream) = opened {
                assert!(matches!(stream.receive().await, Err(_) | Ok(None)), "{kind}");
            }
        }
        until(|| !one.refusals().counts().is_empty()).await;
        // A caller without an answer asks again, and is refused again.
        let kinds: Vec<&str> = one.refusals().counts().into_keys().collect();
        assert_eq!(kinds, [kind]);
    })
    .await;
}

const NODE_2: &str = "spiffe://test/node/2";

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused() {
    check_caller(None, &Signer::new(), PROTOCOL, "no_certificate").await;
}

#[tokio::test]
async fn a_caller_out_of_its_time_is_refused() {
    let signer = Signer::new();
    check_caller(Some(&signer.sign(&[NODE_2], Time::Past)), &signer, PROTOCOL, "expired").await;
    let future = signer.sign(&[NODE_2], Time::Future);
    check_caller(Some(&future), &signer, PROTOCOL, "not_yet_valid").await;
}

#[tokio::test]
async fn a_caller_of_a_foreign_authority_is_refused() {
    let foreign = Signer::new().sign(&[NODE_2], Time::Now);
    check_caller(Some(&foreign), &Signer::new(), PROTOCOL, "unknown_authority").await;
}

#[tokio::test]
async fn a_caller_with_other_names_is_refused() {
    for (names, kind) in [
        (&["spiffe://other/node/2"][..], "wrong_cluster"),
        // A cluster's name counts, even if a DNS name would fit.
        (&["spiffe://other/node/2", "node-2"], "wrong_cluster"),
        (&["spiffe://test/admin/2", "node-2"], "no_identity"),
        (&["www.example.org"], "no_identity"),
        (&[NODE_2, "spiffe://test/node/1"], "ambiguous"),
        (&["node-1", "node-2"], "ambiguous"),
        (&["spiffe://test/node/3"], "unknown_node"),
    ] {
        let signer = Signer::new();
        check_caller(Some(&signer.sign(names, Time::Now)), &signer, PROTOCOL, kind).await;
    }
}

#[tokio::test]
async fn a_caller_with_another_protocol_is_refused() {
    let signer = Signer::new();
    check_caller(Some(&signer.sign(&[NODE_2], Time::Now)), &signer, "h3", "unfinished").await;
}

/// Node 2 calls a node 1 that shows this certificate, and refuses it for this reason.
async fn check_called(show: &Pair, signer: &Signer, want: Refusal) {
    within(async {
        let two = bind(signer, 2).await;
        let (_server, address) = raw::serve(show, signer.pem());
        let refused = two.connect(node(1), &address).await.unwrap_err();
        assert_eq!(refused, ConnectError::Refused(want.clone()));
        assert_eq!(two.refusals().count(want.kind()), 1);
    })
    .await;
}

#[tokio::test]
async fn a_called_node_that_is_not_the_one_is_refused() {
    let signer = Signer::new();
    let sign = |name, time| signer.sign(&[name], time);
    let (wanted, found) = (node(1), node(2));
    let wrong = Refusal::WrongNode { wanted, found };
    check_called(&sign(NODE_2, Time::Now), &signer, wrong).await;
    let cluster = Refusal::WrongCluster { found: "other".to_owned() };
    check_called(&sign("spiffe://other/node/1", Time::Now), &signer, cluster).await;
    check_called(&sign("spiffe://test/node/1", Time::Past), &signer, Refusal::Expired).await;
    check_called(&sign("spiffe://test/node/1", Time::Future), &signer, Refusal::NotYetValid).await;
    let foreign = Signer::new().sign(&["spiffe://test/node/1"], Time::Now);
    check_called(&foreign, &signer, Refusal::UnknownAuthority).await;
}

#[tokio::test]
async fn a_refused_caller_is_told_why() {
    within(async {
        let (ours, theirs) = (Signer::new(), Signer::new());
        let both = format!("{}{}", ours.pem(), theirs.pem());
        let one = bind(&ours, 1).await;
        let pair = theirs.sign(&[NODE_2], Time::Now);
        let two = bind_as(2, trusting(&pair, &both).unwrap()).await;
        let refused = two.connect(node(1), &one.local_address()).await.unwrap_err();
        assert_eq!(refused, ByPeer::error("handshake refused"));
    })
    .await;
}

async fn link(one: &QuicTransport, two: &QuicTransport) {
    let caller = two.connect(node(1), &one.local_address()).await.unwrap();
    let called = one.accept().await.unwrap();
    caller.send(Lane::Control, Bytes::from_static(b"hello").into()).await.unwrap();
    assert_eq!(called.receive(Lane::Control).await.unwrap(), "hello");
}

#[tokio::test]
async fn dns_names_of_other_authorities_are_understood() {
    within(async {
        let signer = Signer::new();
        let one = bind(&signer, 1).await;
        for name in ["node-2", "node-2.rack-7.example.org"] {
            let pair = signer.sign(&[name, "www.example.org"], Time::Now);
            link(&one, &bind_as(2, trusting(&pair, signer.pem()).unwrap()).await).await;
        }
    })
    .await;
}

/// What `openssl req` makes, as an operator would: each node's own, and signed by an authority.
#[tokio::test]
async fn certificates_of_openssl_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let mut arguments = line.split(' ');
        let mut command = Command::new(arguments.next().unwrap());
        let output = command.args(arguments).current_dir(dir.path()).output();
        // Without the program there is nothing to understand.
        let output = output.ok()?;
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        Some(())
    };
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let own = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    for id in [1, 2] {
        let names = format!("-subj /CN=node-{id} -addext subjectAltName=DNS:node-{id}");
        if run(&format!("{own} -keyout own-{id}.key -out own-{id}.pem {names}")).is_none() {
            return;
        }
    }
    run(&format!("{own} -keyout ca.key -out ca.pem -subj /CN=authority")).unwrap();
    for id in [1, 2] {
        std::fs::write(dir.path().join("ext"), format!("subjectAltName=DNS:node-{id}.a.b"))
            .unwrap();
        let subject = format!("-subj /CN=node-{id}");
        run(&format!(
            "openssl req -new -newkey rsa:2048 -nodes -keyout by-{id}.key -out by.csr {subject}"
        ))
        .unwrap();
        let sign = "openssl x509 -req -in by.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1";
        run(&format!("{sign} -extfile ext -out by-{id}.pem")).unwrap();
    }
    let pair = |kind: &str, id: u64| Pair {
        certificate: read(&format!("{kind}-{id}.pem")),
        key: read(&format!("{kind}-{id}.key")),
    };
    let each = format!("{}{}", read("own-1.pem"), read("own-2.pem"));
    for (kind, trust) in [("own", each), ("by", read("ca.pem"))] {
        within(async {
            let one = bind_as(1, trusting(&pair(kind, 1), &trust).unwrap()).await;
            let two = bind_as(2, trusting(&pair(kind, 2), &trust).unwrap()).await;
            link(&one, &two).await;
        })
        .await;
    }
}

fn opening(lane: u8) -> Bytes {
    Bytes::copy_from_slice(&[b'A', b'N', b'T', b'I', 1, lane, 0, 0])
}

/// Three streams that a caller with a good certificate opened with these bytes.
async fn streams(
    one: &QuicTransport,
    signer: &Signer,
    begin: [Bytes; 3],
) -> [BidirectionalStream; 3] {
    let pair = signer.sign(&[NODE_2], Time::Now);
    let address = one.local_address();
    let connection = raw::call(&address, Some(&pair), signer.pem(), PROTOCOL);
    let (mut handle, _acceptor) = connection.await.unwrap().split();
    let mut opened = Vec::new();
    for bytes in begin {
        let mut stream = handle.open_bidirectional_stream().await.unwrap();
        stream.send(bytes).await.unwrap();
        opened.push(stream);
    }
    opened.try_into().unwrap()
}

#[tokio::test]
async fn garbage_instead_of_an_opening_is_refused() {
    let garbage = Bytes::from(vec![0x5a; 100_000]);
    for begin in [
        [garbage.clone(), garbage.clone(), garbage],
        [opening(0), opening(1), opening(1)],
        [opening(0), opening(1), opening(3)],
        [opening(0), opening(1), Bytes::from_static(b"ANTI\x02\x02\0\0")],
        // It can read LZ4 in one lane and not in the others.
        [opening(0), opening(1), Bytes::from_static(b"ANTI\x01\x02\x01\0")],
    ] {
        within(async {
            let signer = Signer::new();
            let one = bind(&signer, 1).await;
            let [mut stream, _other, _third] = streams(&one, &signer, begin).await;
            stream.receive().await.unwrap_err();
            until(|| one.refusals().count("foreign") == 1).await;
        })
        .await;
    }
}

/// A later node may name ways to compress that this one does not know.
#[tokio::test]
async fn what_an_opening_offers_is_what_both_know() {
    within(async {
        let signer = Signer::new();
        let one = bind(&signer, 1).await;
        let offers = |codecs| Offer { decodes: codecs, sends: codecs };
        one.offer(offers(Codecs::of(Codec::Lz4)));
        let begin =
            [0, 1, 2].map(|lane| Bytes::from(vec![b'A', b'N', b'T', b'I', 1, lane, 0xff, 2]));
        let (link, streams) = tokio::join!(one.accept(), streams(&one, &signer, begin));
        let agreed = Agreed { send: Codecs::of(Codec::Lz4), receive: Codecs::NONE };
        assert_eq!(link.unwrap().agreed(), agreed);
        for (lane, mut stream) in (0..).zip(streams) {
            let answer = stream.receive().await.unwrap().unwrap();
            assert_eq!(answer[..], [b'A', b'N', b'T', b'I', 1, lane, 1, 1]);
        }
    })
    .await;
}

#[tokio::test]
async fn garbage_behind_the_opening_ends_the_link() {
    within(async {
        let signer = Signer::new();
        let one = bind(&signer, 1).await;
        let mut log = BytesMut::from(&opening(1)[..]);
        log.extend_from_slice(b"\x03\0\0\0abc\xff\xff\xff\xff and more");
        let begin = [opening(0), log.freeze(), opening(2)];
        let (link, streams) = tokio::join!(one.accept(), streams(&one, &signer, begin));
        let link = link.unwrap();
        let limit = *link.message_bytes_max().of(Lane::Log);
        let bytes = u64::from(u32::MAX);
        let want = Closed::Violation(Violation::TooLarge { lane: Lane::Log, bytes, limit });
        for lane in Lane::ALL {
            let ended = loop {
                match link.receive(lane).await {
                    Ok(message) => assert_eq!((lane, &message[..]), (Lane::Log, &b"abc"[..])),
                    Err(closed) => break closed,
                }
            };
            assert_eq!(ended, want, "{lane}");
        }
        let [mut control, ..] = streams;
        while let Ok(Some(piece)) = control.receive().await {
            assert_eq!(piece, opening(0));
        }
    })
    .await;
}

#[tokio::test]
async fn an_ended_lane_ends_the_link() {
    within(async {
        let signer = Signer::new();
        let one = bind(&signer, 1).await;
        let begin = [opening(0), opening(1), opening(2)];
        let (link, streams) = tokio::join!(one.accept(), streams(&one, &signer, begin));
        let [_control, mut log, _bulk] = streams;
        log.finish().unwrap();
        let ended = link.unwrap().receive(Lane::Log).await.unwrap_err();
        assert_eq!(ended, Closed::Violation(Violation::Ended(Lane::Log)));
    })
    .await;
}

#[tokio::test]
async fn stray_datagrams_do_no_harm() {
    within(async {
        let signer = Signer::new();
        let (one, two) = (bind(&signer, 1).await, bind(&signer, 2).await);
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for first in 0..=255_u8 {
            let datagram = vec![first; 3 + 5 * usize::from(first)];
            socket.send_to(&datagram, one.local_address()).await.unwrap();
        }
        link(&one, &two).await;
    })
    .await;
}

#[tokio::test]
async fn certificates_are_exchanged_while_links_stand() {
    within(Box::pin(async {
        let (old, new) = (Signer::new(), Signer::new());
        let (one, two) = (bind(&old, 1).await, bind(&old, 2).await);
        let address = one.local_address();
        let (called, caller) = tokio::join!(one.accept(), two.connect(node(1), &address));
        let (called, caller) = (called.unwrap(), caller.unwrap());
        let load = async {
            for number in 0..20_000_u64 {
                let message = Bytes::copy_from_slice(&number.to_le_bytes());
                caller.send(Lane::Log, message.into()).await.unwrap();
            }
        };
        let received = async {
            for number in 0..20_000_u64 {
                assert_eq!(called.receive(Lane::Log).await.unwrap(), &number.to_le_bytes()[..]);
                if number == 10_000 {
                    exchange(&one, &two, &old, &new).await;
                }
            }
        };
        tokio::join!(load, received);
        // The old authority is gone: only the new certificates make a link.
        let stale = bind(&old, 2).await;
        let refused = stale.connect(node(1), &one.local_address()).await.unwrap_err();
        assert_eq!(refused, ConnectError::Refused(Refusal::UnknownAuthority));
        link(&one, &two).await;
    }))
    .await;
}

/// Both authorities first, then the new certificates, then the new authority alone.
async fn exchange(one: &QuicTransport, two: &QuicTransport, old: &Signer, new: &Signer) {
    let both = format!("{}{}", old.pem(), new.pem());
    let name = |id: u64| format!("spiffe://{CLUSTER}/node/{id}");
    for (signer, trust) in [(old, &*both), (new, &*both), (new, new.pem())] {
        for (transport, id) in [(one, 1), (two, 2)] {
            let before = transport.certificate();
            let pair = signer.sign(&[&name(id)], Time::Now);
            transport.reload(&trusting(&pair, trust).unwrap()).unwrap();
            assert_ne!(transport.certificate().fingerprint, before.fingerprint);
            assert_eq!(transport.certificate_not_after(), transport.certificate().not_after);
            // Halfway through, one node has the new state and the other the old one.
            link(one, two).await;
        }
    }
}

#[tokio::test]
async fn another_nodes_certificate_is_not_taken() {
    let signer = Signer::new();
    let pair = signer.sign(&[NODE_2], Time::Now);
    let credentials = trusting(&pair, signer.pem()).unwrap();
    let one = bind(&signer, 1).await;
    let before = one.certificate();
    let refused = one.reload(&credentials).unwrap_err();
    assert!(matches!(refused, ReloadError::OtherNode { node: found, .. } if found == node(2)));
    assert_eq!(one.certificate(), before);
    let bound = QuicTransport::bind(QuicConfig::new(node(1), "127.0.0.1:0", credentials)).await;
    assert!(matches!(bound, Err(BindError::Identity { .. })), "{bound:?}");
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let signer = Signer::new();
    let one = bind(&signer, 1).await;
    let pair = signer.sign(&[NODE_2], Time::Now);
    let credentials = trusting(&pair, signer.pem()).unwrap();
    let bound = QuicTransport::bind(QuicConfig::new(node(2), one.local_address(), credentials));
    let bound = bound.await;
    assert!(matches!(bound, Err(BindError::Listen { .. })), "{bound:?}");
}

/// A node that stopped can start again in the same process, at the same address.
#[tokio::test]
async fn an_address_is_free_again_after_its_transport() {
    within(Box::pin(async {
        let signer = Signer::new();
        let (one, two) = (bind(&signer, 1).await, bind(&signer, 2).await);
        link(&one, &two).await;
        let address = one.local_address();
        let pair = signer.sign(&["spiffe://test/node/1"], Time::Now);
        let credentials = trusting(&pair, signer.pem()).unwrap();
        drop(one);
        let again = loop {
            let config = QuicConfig::new(node(1), address.clone(), credentials.clone());
            match QuicTransport::bind(config).await {
                Ok(again) => break again,
                Err(BindError::Listen { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        again.admit(&[node(2)]);
        link(&again, &two).await;
    }))
    .await;
}
