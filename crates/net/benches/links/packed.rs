//! What compression costs and saves: for a message by itself, and for a stream between peers.

use std::sync::Arc;
use std::time::Instant;

use antiphon_net::{
    Codec, Codecs, Compression, Lane, Outgoing, PeerEvent, SendError, pack, unpack,
};
use bytes::Bytes;

use crate::quic::{ONE, TWO, authority, bind, counter, serve_peer, start_with};
use crate::tools::{Stretch, block_on};

/// Messages queued before the sender gives way.
const TURN: u64 = 16;

/// What a batch of writes looks like: frames of 64 bytes that hardly shrink, values that do.
fn body(bytes: usize) -> Bytes {
    let mut seed = 1_u64;
    let mut body = Vec::with_capacity(bytes);
    while body.len() < bytes {
        for _ in 0..5 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            body.extend_from_slice(&(seed ^ (seed >> 33)).to_le_bytes());
        }
        body.extend_from_slice(
            format!("{{\"user\":{},\"state\":\"active\",", seed >> 48).as_bytes(),
        );
        body.extend_from_slice(b"\"roles\":[\"reader\",\"writer\"],\"since\":\"2026-11-20\"}");
    }
    body.truncate(bytes);
    body.into()
}

#[expect(clippy::print_stdout, reason = "a bench answers on stdout")]
pub(crate) fn cost(rounds: u64) {
    for bytes in [1 << 10, 8 << 10, 64 << 10] {
        let sent = Outgoing::new(Bytes::from_static(&[7; 72]), body(bytes));
        for codec in Codec::ALL {
            let packed = pack(&sent, codec).expect("it shrinks");
            let began = Instant::now();
            for _ in 0..rounds {
                assert!(pack(&sent, codec).is_some());
            }
            let there = began.elapsed();
            let wire = packed.clone().into_bytes();
            let began = Instant::now();
            for _ in 0..rounds {
                assert!(unpack(wire.clone(), Codecs::ALL, 1 << 20).is_ok());
            }
            let back = began.elapsed();
            let each = |time: std::time::Duration| time.as_nanos() / u128::from(rounds.max(1));
            let (there, back, left) = (each(there), each(back), 100 * packed.len() / sent.len());
            let what = format!("{}, a message of {bytes} B", codec.name());
            println!("{what:<44} {there:>8} ns packed {back:>8} ns unpacked {left:>6} % left");
        }
    }
}

/// The same stream with each setting.
pub(crate) fn streams(count: u64) {
    for (compression, name) in [
        (Compression::Off, "off"),
        (Compression::Lz4, "lz4"),
        (Compression::Zstd, "zstd"),
        (Compression::Auto, "auto"),
    ] {
        stream(count, compression, &format!("quic peers, 8 KiB stream, compression {name}"));
    }
}

fn stream(count: u64, compression: Compression, what: &str) {
    let message = body(8 << 10);
    let length = message.len();
    let authority = authority();
    let (taken, finished) = counter(count, length);
    let (server, address) = serve_peer(Arc::clone(&authority), taken);
    block_on(async {
        let transport = bind(&authority, TWO).await;
        let (peers, mut events) = start_with(transport, ONE, address, compression);
        assert!(matches!(events.next().await, Some(PeerEvent::Connected { .. })));
        let stretch = Stretch::begin();
        let mut sent = 0;
        while sent < count {
            // A body of its own each time, as new entries are.
            let body = Bytes::copy_from_slice(&message);
            match peers.try_send(ONE, Lane::Log, body.into()) {
                Ok(()) => sent += 1,
                Err(SendError::Full) => peers.room(ONE, Lane::Log).await,
                Err(error) => panic!("the link stands: {error}"),
            }
            if sent % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        finished.await.expect("the receiver counts them all");
        stretch.end(what, count);
        peers.shutdown().await;
    });
    server.join().expect("the server ends with the link");
}
