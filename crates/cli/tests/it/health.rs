//! The pages of a running node, and `antiphon status` on real clusters.

use serde_json::Value;

use crate::expect;
use crate::kit::{Cluster, get, until, until_so};

/// The pages of all nodes, for `--address`.
fn pages(cluster: &Cluster) -> String {
    let nodes = cluster.all().map(|node| format!("127.0.0.1:{}", cluster.http(node)));
    nodes.collect::<Vec<_>>().join(",")
}

#[track_caller]
fn code(cluster: &Cluster, node: u16, path: &str) -> u16 {
    until(path, || get(cluster.http(node), path).ok()).0
}

#[test]
fn probes_follow_the_node() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    for node in cluster.all() {
        for path in ["/livez", "/startupz", "/readyz", "/status", "/metrics"] {
            assert_eq!(code(&cluster, node, path), 200, "{path} of node {node}");
        }
        assert_eq!(code(&cluster, node, "/nonsense"), 404);
    }
    assert_eq!(code(&cluster, 1, "/primary"), 200);
    assert_eq!(code(&cluster, 2, "/primary"), 503);
    cluster.kill(1);
    cluster.kill(2);
    until_so("node 3 to be not ready", || code(&cluster, 3, "/readyz") == 503);
    assert_eq!(code(&cluster, 3, "/livez"), 200, "waiting is no reason to be restarted");
}

#[test]
fn metrics_count_what_was_done() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let mut client = cluster.client(1);
    for number in 0..50 {
        assert!(client.call(&["SET", &format!("k{number}"), "v"]).is_ok());
    }
    let metric = |text: &str, name: &str| -> Option<f64> {
        let lines = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).reduce(f64::max)
    };
    until_so("the writes in the metrics", || {
        let (code, text) = get(cluster.http(1), "/metrics").expect("the page");
        assert_eq!(code, 200);
        assert!(text.ends_with("# EOF\n"), "the whole text");
        metric(&text, "antiphon_").is_some_and(|most| most >= 50.0)
    });
}

#[test]
fn the_status_command_ends_as_the_cluster_is() {
    let mut cluster = Cluster::start(3, &[]);
    let pages = pages(&cluster);
    let wait = ["status", "--address", &pages, "--wait", "healthy", "--timeout", "30s"];
    let out = expect(0, &wait);
    assert!(out.contains("cluster shop"), "{out}");
    assert!(out.contains("Can lose 1 node"), "{out}");
    cluster.kill(3);
    let mut out = String::new();
    until_so("the loss to be seen", || {
        let shown = crate::antiphon(&["status", "--address", &pages, "-o", "json"]);
        out = crate::text(&shown.stdout);
        shown.status.code() == Some(3)
    });
    let shown: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(shown["healthy"], false);
    assert!(shown["problems"].to_string().contains("does not answer"), "{out}");
    expect(0, &["status", "--address", &pages, "--wait", "serving"]);
    cluster.kill(1);
    cluster.kill(2);
    let gone = ["status", "--address", &pages, "--wait", "serving", "--timeout", "300ms"];
    expect(3, &gone);
}
