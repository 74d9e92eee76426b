//! Replicas that are late, away, or too few.

use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{Client, Cluster, Reply, until, until_so};

/// The primary's picture of a replica of three.
fn seen(cluster: &Cluster, replica: u16) -> Value {
    let page = cluster.status(1);
    let listed = page["replicas"].as_array().expect("the primary lists them").clone();
    let mut found = listed.into_iter().filter(|entry| entry["node"] == u64::from(replica));
    found.next().expect("it is a member")
}

/// Waits until a node has applied the last write of a connection.
#[track_caller]
fn follows(cluster: &Cluster, node: u16, client: &mut Client) {
    let token = client.call(&["XTOKEN"]).text();
    let lsn = token.rsplit('-').next().and_then(|lsn| lsn.parse::<u64>().ok());
    let lsn = lsn.expect("a token ends with a position");
    until_so("the node to follow", || {
        cluster.status(node)["applied"].as_u64().is_some_and(|applied| applied >= lsn)
    });
}

#[track_caller]
fn away(cluster: &Cluster, replica: u16) {
    until_so("the replica to be missed", || seen(cluster, replica)["connected"] == false);
}

/// Writes `count` keys in one go.
#[track_caller]
fn fill(client: &mut Client, count: usize) {
    for number in 0..count {
        client.send(&["SET", &format!("fill:{number}"), &"x".repeat(300)]).expect("sent");
    }
    for _ in 0..count {
        let reply = client.read().expect("a reply for each");
        assert!(reply.is_ok(), "{reply:?}");
    }
}

#[test]
fn a_replica_that_was_paused_catches_up_from_the_log() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let mut client = cluster.client(1);
    cluster.node(3).pause();
    fill(&mut client, 3_000);
    away(&cluster, 3);
    fill(&mut client, 500);
    cluster.node(3).signal(Signal::CONT);
    follows(&cluster, 3, &mut client);
    let page = cluster.status(3);
    assert_eq!(page["snapshot_lsn"], 0, "no copy was needed");
    assert_eq!(page["applied_entries"], page["applied"], "each entry came once, none was left out");
}

#[test]
fn a_replica_that_the_log_does_not_reach_back_to_says_what_it_needs() {
    let mut cluster = Cluster::start(3, &["log.snapshot_entries=100", "log.retain_bytes=1 MiB"]);
    cluster.level();
    cluster.kill(3);
    let had = seen(&cluster, 3)["durable"].as_u64().expect("a position");
    let mut client = cluster.client(1);
    until("the log to be trimmed", || {
        fill(&mut client, 500);
        cluster.status(1)["log_first"].as_u64().filter(|first| *first > had + 1)
    });
    cluster.launch(3);
    until_so("its state", || seen(&cluster, 3)["state"] == "needs a snapshot");
    let page = cluster.status(3);
    assert_eq!(page["serving"], false);
    let behind = page["upstream"]["lag_seconds"].as_f64().expect("a figure");
    assert!(behind < 1e6, "not since 1970: {behind}");
    assert!(client.call(&["SET", "k", "v"]).is_ok(), "the others go on");
    let shown = crate::expect(3, &["status", "--address", &page_of(&cluster, 1)]);
    assert!(shown.contains("needs a snapshot"), "{shown}");
}

fn page_of(cluster: &Cluster, node: u16) -> String {
    format!("127.0.0.1:{}", cluster.http(node))
}

#[test]
fn a_replica_stays_who_it_is_through_twenty_restarts() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let mut client = cluster.client(1);
    for round in 1..=20 {
        cluster.kill(3);
        let reply = client.call(&["SET", "round", &round.to_string()]);
        assert!(reply.is_ok(), "two of three are enough: {reply:?}");
        cluster.launch(3);
        let runs = format!("node=3 incarnation={} ", round + 1);
        cluster.node(3).says(&runs);
        follows(&cluster, 3, &mut client);
    }
    cluster.level();
    assert_eq!(cluster.client(3).get("round").as_deref(), Some("20"));
    until_so("the links to be counted", || {
        cluster.status(1)["reconnects"].as_u64().is_some_and(|count| count >= 20)
    });
}

#[test]
fn without_a_majority_writes_are_refused_and_weaker_ones_work() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let mut client = cluster.client(1);
    for replica in [2, 3] {
        cluster.kill(replica);
    }
    for replica in [2, 3] {
        away(&cluster, replica);
    }
    let last = cluster.status(1)["last"].clone();
    for policy in ["floor", "quorum", "all", "ack(2)", "received(2)"] {
        let reply = client.call(&["XWITH", policy, "SET", "k", "v"]);
        assert!(reply.is_error("NOREPLICAS"), "{policy}: {reply:?}");
    }
    assert_eq!(cluster.status(1)["last"], last, "what was refused is not in the log");
    assert_eq!(client.get("k"), None);
    let reply = client.call(&["XWITH", "local", "SET", "local", "v"]);
    assert!(reply.is_ok(), "{reply:?}");
    cluster.launch(2);
    cluster.serves();
    assert!(client.call(&["SET", "k", "v"]).is_ok(), "the same connection goes on");
    cluster.launch(3);
    cluster.level();
    for node in cluster.all() {
        let mut client = cluster.client(node);
        for key in ["k", "local"] {
            assert_eq!(client.get(key).as_deref(), Some("v"), "{key} at node {node}");
        }
    }
}

#[test]
fn what_a_weaker_policy_can_lose_is_bounded() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let mut client = cluster.client(1);
    for replica in [2, 3] {
        cluster.kill(replica);
    }
    // Each is acknowledged from the primary's disk, until the first of them is too old to be at
    // risk any longer.
    let mut acknowledged = 0;
    let ticket = until("the guard", || {
        let reply = client.call(&["XWITH", "local", "TIMEOUT", "50", "INCR", "count"]);
        if let Reply::Int(count) = reply {
            acknowledged = count;
            return None;
        }
        assert!(reply.is_error("XUNKNOWN ticket="), "{reply:?}");
        reply.text().split(['=', ' ']).nth(2).map(str::to_owned)
    });
    assert!(acknowledged > 0, "some were acknowledged before");
    cluster.launch(2);
    until_so("its fate", || client.call(&["XFATE", &ticket]).text() == "stable");
    let count = client.get("count").and_then(|count| count.parse::<i64>().ok());
    assert_eq!(count, Some(acknowledged + 1), "all of them, and the one whose fate was asked");
}

#[test]
fn a_write_that_waits_too_long_has_a_ticket_that_tells_its_fate() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let mut client = cluster.client(1);
    for replica in [2, 3] {
        cluster.node(replica).pause();
    }
    let reply = client.call(&["XWITH", "quorum", "TIMEOUT", "100", "SET", "k", "v"]);
    assert!(reply.is_error("XUNKNOWN ticket="), "{reply:?}");
    let text = reply.text();
    let ticket = text.split(['=', ' ']).nth(2).expect("a ticket").to_owned();
    assert_eq!(client.call(&["XFATE", &ticket]).text(), "pending");
    for replica in [2, 3] {
        cluster.node(replica).signal(Signal::CONT);
    }
    until_so("its fate", || client.call(&["XFATE", &ticket]).text() == "stable");
    assert_eq!(client.get("k").as_deref(), Some("v"));
    assert_eq!(client.call(&["XFATE", "0-1-999999"]).text(), "unknown");
    assert!(client.call(&["XFATE", "nonsense"]).is_error("ERR not a token"));
}

#[test]
fn a_replica_without_its_primary_reads_and_says_that_it_cannot_write() {
    let mut cluster = Cluster::start(3, &[]);
    assert!(cluster.client(1).call(&["SET", "k", "v"]).is_ok());
    cluster.level();
    cluster.stop(1);
    let mut client = cluster.client(2);
    until_so("the end of the link to be seen", || {
        client.call(&["SET", "k", "w"]).is_error("MASTERDOWN")
    });
    assert_eq!(client.get("k").as_deref(), Some("v"));
    cluster.launch(1);
    until_so("writes to go through again", || client.call(&["SET", "k", "w"]).is_ok());
}
