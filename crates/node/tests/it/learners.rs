//! Many replicas for real: three that count and seventeen that only receive.

use antiphon::{Builder, Consistency, Limits};
use antiphon_net::MemoryNetwork;

use crate::cluster::{Counter, within};

const VOTERS: u64 = 3;
const NODES: u64 = 20;

fn builder(id: u64, dir: &std::path::Path, network: &MemoryNetwork) -> Builder<Counter> {
    let mut builder = Builder::new(Counter::default())
        .id(id)
        .data_dir(dir.join(id.to_string()))
        .segment_bytes(1 << 20)
        .limits(Limits { retry_ms: 50, ..Limits::default() });
    for member in 1..=NODES {
        let address = member.to_string();
        builder = if member <= VOTERS {
            builder.member(member, &address)
        } else {
            builder.learner(member, &address)
        };
    }
    builder.memory(network)
}

#[tokio::test]
async fn twenty_nodes_have_what_was_written() {
    let (dir, network) = (tempfile::tempdir().unwrap(), MemoryNetwork::new());
    let mut nodes = Vec::new();
    for id in 1..=NODES {
        nodes.push(builder(id, dir.path(), &network).start().await.unwrap());
    }
    within("serving", nodes[0].serving()).await.unwrap();
    let mut last = None;
    for number in 1..=100_u64 {
        last = Some(within("a write", nodes[0].propose(number)).await.unwrap().token);
    }
    for node in &nodes {
        let at = Consistency::AtLeast(last.unwrap());
        let seen = within("a read", node.read(at, ())).await.unwrap();
        assert_eq!(seen.answer, (5_050, 100));
    }
    let primary = nodes[0].status().await.unwrap().replica;
    assert_eq!(primary.children.len(), 2, "it sends to the voters only");
    let digest = nodes[0].status().await.unwrap().digest;
    for node in &nodes {
        assert_eq!(node.status().await.unwrap().digest, digest);
    }
    for node in nodes {
        within("the stop", node.shutdown()).await.unwrap();
    }
}
