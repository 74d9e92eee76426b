//! `antiphon status` against nodes that answer, answer late, or are something else.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use crate::{antiphon, expect, text};

/// Answers one request after the other with `answers`, then ends.
fn node(answers: Vec<String>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    let thread = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client comes");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("the request goes on");
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /status HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).expect("the client reads");
        }
    });
    (address, thread)
}

fn page(code: &str, state: &str) -> String {
    let replica = |node: u64, state: &str| {
        serde_json::json!({
            "node": node, "host": "127.0.0.1", "port": 7100 + node, "connected": true,
            "state": state, "received": 90, "durable": 90, "lag_entries": 10, "lag_bytes": 1000,
            "lag_seconds": 0.5,
        })
    };
    let page = serde_json::json!({
        "schema": "antiphon.status/1", "cluster": "shop", "node": 1, "role": "primary",
        "serving": true, "epoch": 3, "floor": "quorum", "shape": "star", "last": 100,
        "durable": 100, "stable": 100, "applied": 100, "digest": "00",
        "replicas": [replica(2, "in sync"), replica(3, state)],
        "a_field_of_a_newer_version": true,
    });
    format!("HTTP/1.0 {code}\r\nContent-Type: application/json\r\n\r\n{page}")
}

#[test]
fn a_healthy_cluster_ends_with_0() {
    let (address, thread) = node(vec![page("200 OK", "in sync")]);
    let out = expect(0, &["status", "--address", &address]);
    assert!(out.contains("cluster shop   epoch 3   primary 1   floor quorum"), "{out}");
    assert!(out.ends_with("Can lose 1 node without losing writes or service.\n"), "{out}");
    thread.join().expect("asked once");
}

#[test]
fn one_that_is_not_ends_with_3_and_says_why() {
    let (address, thread) = node(vec![page("503 Service Unavailable", "catching up")]);
    let out = expect(3, &["status", "--address", &address, "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(shown["healthy"], false);
    assert_eq!(shown["can_lose"], 0);
    assert_eq!(shown["problems"][0], "node 3 is catching up: 10 entries behind");
    thread.join().expect("asked once");
}

#[test]
fn waiting_looks_again_until_it_is_healthy() {
    let behind = page("200 OK", "catching up");
    let (address, thread) = node(vec![behind.clone(), behind, page("200 OK", "in sync")]);
    expect(0, &["status", "--address", &address, "--wait", "healthy", "--timeout", "60s"]);
    thread.join().expect("asked three times");
}

#[test]
fn waiting_ends_with_3_when_the_time_is_over() {
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        listener.local_addr().expect("bound").to_string()
    };
    let arguments = ["status", "--address", &gone, "--wait", "serving", "--timeout", "300ms"];
    let out = expect(3, &arguments);
    assert!(out.contains("does not answer"), "{out}");
}

#[test]
fn something_else_at_the_address_is_named_as_such() {
    let other_page = page("200 OK", "in sync").replace("antiphon.status/1", "other/1");
    for (answer, want) in [
        ("HTTP/1.0 404 Not Found\r\n\r\n", "it answers with HTTP 404"),
        ("HTTP/1.0 200 OK\r\n\r\n{}", "it answers without a status page"),
        ("hello", "it does not speak HTTP"),
        (&other_page, "it answers with a page of schema \"other/1\""),
    ] {
        let (address, thread) = node(vec![answer.to_owned()]);
        let output = antiphon(&["status", "--address", &address]);
        assert_eq!(output.status.code(), Some(3));
        let out = text(&output.stdout);
        assert!(out.contains(want), "{out}");
        thread.join().expect("asked once");
    }
}
