//! What a message costs: in memory, over QUIC, and over the QUIC library alone in the same run.
//!
//! `cargo bench -p antiphon-net` prints the figures. Both ends run on this machine, each on a
//! thread and a runtime of its own; the CPU is that of both together.

mod bare;
mod memory;
mod packed;
mod quic;
mod stalled;
mod tools;

use antiphon_net::certs::{Authority, Credentials, IssueRequest};
use antiphon_proto::NodeId;

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    memory_messages: u64,
    rounds: u64,
    stream_messages: u64,
}

const CLUSTER: &str = "bench";

fn credentials(authority: &Authority, id: u64) -> Credentials {
    let request = IssueRequest::new(NodeId::new(id));
    let (certificate, key) = authority.issue(&request).expect("the names are good");
    let authorities = authority.certificate_pem();
    Credentials::from_pem(&certificate, &key, authorities, CLUSTER).expect("they were just made")
}

fn main() {
    // Under `cargo test` this only shows that it runs.
    let scale = if std::env::args().any(|argument| argument == "--bench") {
        Scale { memory_messages: 5_000_000, rounds: 20_000, stream_messages: 5_000_000 }
    } else {
        Scale { memory_messages: 1_000, rounds: 10, stream_messages: 1_000 }
    };
    memory::same_thread(scale);
    memory::same_thread_in_batches(scale);
    memory::across_threads(scale);
    for bytes in [64, 1 << 10, 64 << 10] {
        let rounds = if bytes > 10_000 { scale.rounds / 4 } else { scale.rounds };
        bare::round_trips(bytes, rounds);
        quic::link_round_trips(bytes, rounds);
        quic::peer_round_trips(bytes, rounds);
    }
    quic::first_messages(scale.rounds / 40 + 1);
    stalled::control_beside_bulk(scale.rounds / 4);
    packed::cost(scale.rounds / 4);
    packed::streams(scale.stream_messages / 40 + 1);
    bare::stream_one_by_one(scale.stream_messages / 4);
    bare::stream_in_batches(scale.stream_messages);
    quic::peer_stream(scale.stream_messages);
}
