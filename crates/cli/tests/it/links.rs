//! Links between nodes: what they compress, and when they count as lost.

use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{Cluster, get, until, until_so};

/// The figures of node `of`'s link to `to`.
fn link(cluster: &Cluster, of: u16, to: u16) -> Value {
    let page = cluster.status(of);
    let links = page["links"].as_array().expect("links are a list");
    links.iter().find(|link| link["node"] == to).expect("a link to each other node").clone()
}

/// A number of a metric by its whole line but the number.
fn metric(cluster: &Cluster, of: u16, line: &str) -> f64 {
    let (_, text) = get(cluster.http(of), "/metrics").expect("the page");
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{line} in\n{text}")).parse().expect("a number")
}

/// Two hundred values of words, 350 kB together.
fn write(cluster: &Cluster) {
    let mut client = cluster.client(1);
    for number in 0..200 {
        let value = format!("the words of value {number} come again, ").repeat(50);
        assert!(client.call(&["SET", &format!("k{number}"), &value]).is_ok());
    }
}

/// What node 1 sends compressed by `mode` is less than what it would be.
#[track_caller]
fn check_compressed(mode: &str) {
    let setting = format!("peer.compression={mode}");
    let mut cluster = Cluster::start(3, &[&setting]);
    write(&cluster);
    cluster.level();
    for replica in [2, 3] {
        let found = until("the messages to be counted", || {
            let found = link(&cluster, 1, replica);
            (found["sent_bytes"].as_u64()? > 300_000).then_some(found)
        });
        assert_eq!(found["compression"], mode);
        let wire = found["sent_wire_bytes"].as_u64().expect("a number");
        assert!(wire < 150_000, "{found}");
        assert!(found["packed_messages"].as_u64() > Some(0), "{found}");
        let ratio =
            metric(&cluster, 1, &format!("antiphon_link_compression_ratio{{peer=\"{replica}\"}}"));
        assert!(ratio > 2.0, "{ratio}");
        let came = link(&cluster, replica, 1);
        assert!(came["received_bytes"].as_u64() > Some(300_000), "{came}");
        let line = "antiphon_link_received_wire_bytes_total{peer=\"1\"}";
        assert!(metric(&cluster, replica, line) < 150_000.0);
    }
}

#[test]
fn lz4_sends_less() {
    check_compressed("lz4");
}

#[test]
fn zstd_sends_less() {
    check_compressed("zstd");
}

#[test]
fn one_node_compresses_and_the_others_do_not() {
    let mut cluster = Cluster::new(3, &[]);
    let mut command = cluster.command(1);
    command.args(["--set", "peer.compression=lz4"]);
    cluster.launch_as(1, command);
    cluster.launch(2);
    cluster.launch(3);
    cluster.serves();
    write(&cluster);
    cluster.level();
    for replica in [2, 3] {
        let sent = link(&cluster, 1, replica);
        assert!(sent["packed_messages"].as_u64() > Some(0), "{sent}");
        let back = link(&cluster, replica, 1);
        assert_eq!(back["compression"], "off");
        assert_eq!(back["sent_bytes"], back["sent_wire_bytes"]);
    }
}

/// Nodes that stand still close nothing: only their silence tells.
#[test]
fn nodes_that_fall_silent_are_missed() {
    let mut cluster = Cluster::start(3, &["peer.idle_timeout=1s"]);
    cluster.level();
    let mut client = cluster.client(1);
    for replica in [2, 3] {
        cluster.node(replica).pause();
    }
    // Written before the silence was noticed, a write waits; behind that it is refused.
    until("writes to be refused", || {
        let reply = client.call(&["SET", "k", "v"]);
        reply.text().contains("NOREPLICAS").then_some(())
    });
    cluster.node(1).says("nothing was heard for too long");
    for replica in [2, 3] {
        let line = format!("antiphon_link_losses_total{{peer=\"{replica}\"}}");
        until_so("the loss to be on the page", || metric(&cluster, 1, &line) > 0.0);
        cluster.node(replica).signal(Signal::CONT);
    }
    cluster.serves();
    cluster.level();
}
