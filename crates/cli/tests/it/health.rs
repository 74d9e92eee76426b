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
    assert_eq!(code(&cluster, 1, "/replica"), 503);
    assert_eq!(code(&cluster, 2, "/replica"), 200);
    until_so("a fresh replica", || code(&cluster, 2, "/replica?max_lag=10s") == 200);
    cluster.kill(1);
    cluster.kill(2);
    until_so("node 3 to be not ready", || code(&cluster, 3, "/readyz") == 503);
    assert_eq!(code(&cluster, 3, "/livez"), 200, "waiting is no reason to be restarted");
    assert_eq!(code(&cluster, 3, "/replica?max_lag=10s"), 503);
}

/// The document of a command that must succeed.
#[track_caller]
fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&expect(0, arguments)).expect("JSON")
}

#[test]
fn a_chain_is_healthy_down_to_its_end() {
    let mut cluster = Cluster::start(3, &["cluster.shape=chain"]);
    cluster.level();
    let pages = pages(&cluster);
    expect(0, &["status", "--address", &pages, "--wait", "healthy", "--timeout", "30s"]);
    let mut client = cluster.client(1);
    assert!(client.call(&["XWITH", "all", "SET", "k", "v"]).is_ok());
    let lag = ["lag", "--over", "1ms", "-o", "json", "--address", &pages];
    until_so("all to be level", || {
        let lag = json(&lag);
        let replicas = lag["replicas"].as_array().expect("a list");
        assert_eq!(replicas[0]["source"], "memory");
        assert_eq!(replicas[1]["source"], "node 2");
        replicas.iter().all(|replica| {
            assert!(replica["applied"].as_u64() <= replica["durable"].as_u64(), "{replica}");
            replica["applied"] == lag["last"] && replica["level_in_seconds"] == 0.0
        })
    });
    cluster.kill(3);
    // Its parent tells with what it acknowledges next.
    until_so("the end to be away", || {
        assert!(client.call(&["SET", "k", "w"]).is_ok());
        json(&lag)["replicas"][1]["state"] == "away"
    });
    expect(1, &["lag", "--address", &format!("127.0.0.1:{}", cluster.http(2))]);
}

#[test]
fn a_screen_that_is_watched_is_printed_again_and_again() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let pages = pages(&cluster);
    expect(0, &["status", "--address", &pages, "--wait", "healthy", "--timeout", "30s"]);
    let watch = ["--watch=1ms", "--count", "3", "-o", "jsonl", "--address", &pages];
    let of = |command| {
        let arguments: Vec<&str> = std::iter::once(command).chain(watch).collect();
        let out = crate::text(&crate::antiphon(&arguments).stdout);
        let lines = out.lines().map(|line| serde_json::from_str(line).expect("a document"));
        lines.collect::<Vec<Value>>()
    };
    let status = of("status");
    assert_eq!(status.len(), 3);
    assert!(status.iter().all(|look| look["schema"] == "antiphon.cluster-status/1"));
    let own = &status[0]["rows"][2];
    assert_eq!(own["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(own["links"].as_array().map(Vec::len), Some(2));
    let lag = of("lag");
    assert_eq!(lag.len(), 6, "a line per replica");
    assert!(lag.iter().all(|row| row["schema"] == "antiphon.lag/1"));
    expect(2, &["status", "--watch=1s", "--wait", "healthy"]);
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
