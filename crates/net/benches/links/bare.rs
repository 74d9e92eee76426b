//! The QUIC library alone, with the same certificates and the same windows: what is to be reached.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use antiphon_net::certs::{Authority, IssueRequest};
use antiphon_proto::NodeId;
use bytes::Bytes;
use s2n_quic::client::Connect;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::tls::s2n_tls;
use s2n_quic::stream::{BidirectionalStream, ReceiveStream};
use s2n_quic::{Client, Server};

use crate::CLUSTER;
use crate::tools::{Stretch, block_on, quantiles, thread};

const WARM: u64 = 500;
const WINDOW: u64 = 12_500_000;
const STREAM_BYTES: usize = 104; // a message of 100 and its length

fn limits() -> Limits {
    let build = || {
        Limits::new()
            .with_data_window(3 * WINDOW)?
            .with_bidirectional_local_data_window(WINDOW)?
            .with_bidirectional_remote_data_window(WINDOW)?
            .with_max_send_buffer_size(u32::try_from(WINDOW).expect("12.5 MB"))?
            .with_initial_round_trip_time(Duration::from_millis(10))?
            .with_max_idle_timeout(Duration::from_secs(5))
    };
    build().expect("they are within the library's ranges")
}

/// Serves one stream on a thread, and runs the caller's end of it here.
fn with_stream<S, F, G, T>(serve: S, call: impl FnOnce(BidirectionalStream) -> G) -> T
where
    S: FnOnce(BidirectionalStream) -> F + Send + 'static,
    F: Future<Output = ()>,
    G: Future<Output = T>,
{
    let (authority, _key) = Authority::create(CLUSTER, 1).expect("the name is good");
    let request = IssueRequest::new(NodeId::new(1));
    let (certificate, key) = authority.issue(&request).expect("the names are good");
    let (tell, told) = mpsc::channel();
    let server = thread(move || async move {
        let tls = s2n_tls::Server::builder()
            .with_application_protocols(["bench"])
            .and_then(|tls| tls.with_certificate(&certificate, &key))
            .and_then(s2n_tls::server::Builder::build)
            .expect("the certificate is good");
        let server = Server::builder().with_tls(tls).expect("infallible");
        let server = server.with_limits(limits()).expect("infallible");
        let server = server.with_io("127.0.0.1:0").expect("loopback has a free port");
        let mut server = server.start().expect("loopback has a free port");
        tell.send(server.local_addr().expect("it is bound")).expect("the caller waits for it");
        let mut connection = server.accept().await.expect("it is called");
        let stream = connection.accept_bidirectional_stream().await.expect("it stands");
        serve(stream.expect("a stream is opened")).await;
    });
    let address = told.recv().expect("the server starts");
    let result = block_on(async {
        let tls = s2n_tls::Client::builder()
            .with_application_protocols(["bench"])
            .and_then(s2n_tls::client::Builder::with_empty_trust_store)
            .and_then(|tls| tls.with_certificate(authority.certificate_pem()))
            .and_then(s2n_tls::client::Builder::build)
            .expect("the certificate is good");
        let client = Client::builder().with_tls(tls).expect("infallible");
        let client = client.with_limits(limits()).expect("infallible");
        let client = client.with_io("127.0.0.1:0").expect("loopback has a free port");
        let client = client.start().expect("loopback has a free port");
        let call_it = Connect::new(address).with_server_name("node-1");
        let mut connection = client.connect(call_it).await.expect("the server is there");
        let stream = connection.open_bidirectional_stream().await.expect("one is allowed");
        call(stream).await
    });
    server.join().expect("the server ends with the stream");
    result
}

async fn receive_exactly(stream: &mut BidirectionalStream, bytes: usize) -> bool {
    let mut received = 0;
    while received < bytes {
        match stream.receive().await {
            Ok(Some(piece)) => received += piece.len(),
            Ok(None) | Err(_) => return false,
        }
    }
    true
}

pub(crate) fn round_trips(bytes: usize, rounds: u64) {
    let message = Bytes::from(vec![7; bytes]);
    let answer = message.clone();
    let times = with_stream(
        move |mut stream| async move {
            while receive_exactly(&mut stream, bytes).await {
                if stream.send(answer.clone()).await.is_err() {
                    return;
                }
            }
        },
        |mut stream| async move {
            let mut times = Vec::new();
            for round in 0..rounds + WARM {
                let began = Instant::now();
                stream.send(message.clone()).await.expect("the stream stands");
                assert!(receive_exactly(&mut stream, bytes).await);
                if round >= WARM {
                    times.push(began.elapsed());
                }
            }
            stream.finish().expect("the stream stands");
            times
        },
    );
    quantiles(&format!("bare s2n-quic, {bytes} B"), times);
}

async fn receive_all(mut stream: ReceiveStream, mut bytes: usize) {
    let mut pieces: [Bytes; 16] = std::array::from_fn(|_| Bytes::new());
    while bytes > 0 {
        let (count, open) = stream.receive_vectored(&mut pieces).await.expect("the stream stands");
        assert!(open || count > 0, "the stream ended early");
        let received: usize =
            pieces.iter_mut().take(count).map(|it| std::mem::take(it).len()).sum();
        bytes -= received;
    }
}

fn stream_of(what: &str, pieces: u64, piece_messages: usize) {
    let piece = Bytes::from(vec![7; STREAM_BYTES * piece_messages]);
    let all = usize::try_from(pieces).expect("some millions") * piece.len();
    let stretch = with_stream(
        move |stream| async move {
            let (receive, mut send) = stream.split();
            receive_all(receive, all).await;
            send.send(Bytes::from_static(b"all")).await.expect("the stream stands");
            send.close().await.expect("the stream stands");
        },
        |mut stream| async move {
            let stretch = Stretch::begin();
            for _ in 0..pieces {
                stream.send(piece.clone()).await.expect("the stream stands");
            }
            assert!(receive_exactly(&mut stream, 3).await);
            stretch
        },
    );
    stretch.end(what, pieces * u64::try_from(piece_messages).expect("a few"));
}

pub(crate) fn stream_one_by_one(count: u64) {
    stream_of("bare s2n-quic, 100 B stream, one by one", count, 1);
}

pub(crate) fn stream_in_batches(count: u64) {
    const MESSAGES: usize = 64;
    let pieces = count / 64;
    stream_of("bare s2n-quic, 100 B stream, by 64", pieces, MESSAGES);
}
