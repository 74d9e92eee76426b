//! `antiphon bench` against a real server, and against ones that lie, refuse or go away.

use std::path::Path;

use serde_json::Value;

use crate::kit::{Cluster, free_ports, until_so};
use crate::server::{Fake, Redis};
use crate::{antiphon, expect, text};

/// The report of a run that ends with 0.
#[track_caller]
fn report(arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["bench", "--json"].iter().chain(arguments).copied().collect();
    serde_json::from_str(&expect(0, &arguments)).expect("the report is JSON")
}

#[test]
fn a_closed_loop_answers_every_request_and_finds_the_server() {
    let redis = Redis::start(&[]);
    let report = report(&["--address", &redis.address(), "-n", "5000"]);
    assert_eq!(report["schema"], "antiphon.bench/1");
    assert_eq!(report["operations"], 5_000);
    assert_eq!(report["writes"]["count"], 5_000);
    assert_eq!(report["errors"], serde_json::json!({}));
    assert_eq!(report["reads"], Value::Null);
    assert_eq!(report["cpu"]["servers"][0]["name"], "redis-server");
    for figure in ["throughput", "seconds"] {
        assert!(report[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}");
    }
    let latency = |name: &str| report["latency"][name].as_f64().unwrap_or_default();
    assert!(latency("p50_us") > 0.0);
    assert!(latency("p50_us") <= latency("p99_us"));
    assert!(latency("p99_us") <= latency("p999_us"));
    assert!(latency("p999_us") <= latency("max_us"));
}

#[test]
fn pipelined_reads_and_writes_are_verified_on_several_threads() {
    let redis = Redis::start(&[]);
    let load = ["-n", "20000", "-P", "16", "-c", "10", "-k", "1000", "--threads", "2"];
    let mix = ["--read-share", "0.5", "--verify", "--seed", "7"];
    let address = redis.address();
    let arguments: Vec<&str> =
        load.iter().chain(&mix).chain(&["--address", &address]).copied().collect();
    let report = report(&arguments);
    assert_eq!(report["operations"], 20_000);
    assert_eq!(report["wrong"], 0);
    let reads = report["reads"]["count"].as_u64().unwrap_or_default();
    assert!((9_000..11_000).contains(&reads), "about half of 20,000, not {reads}");
    assert_eq!(report["verified"].as_u64(), Some(reads + 1_000), "each read, and each key at last");
    assert_eq!(report["empty_reads"], 0, "keys are filled before there are reads");
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let redis = Redis::start(&[]);
    let report = report(&["--address", &redis.address(), "-n", "500", "--rate", "5000", "-c", "4"]);
    assert_eq!(report["operations"], 500);
    assert_eq!(report["load"]["rate"], 5_000);
    // The last of 500 is due after 99.8 ms, so an honest run cannot be shorter.
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0998), "{report}");
}

#[test]
fn time_ends_a_run_too() {
    let redis = Redis::start(&[]);
    let time = ["--duration", "200ms", "--warmup", "50ms", "-c", "5"];
    let address = redis.address();
    let arguments: Vec<&str> = time.iter().chain(&["--address", &address]).copied().collect();
    let report = report(&arguments);
    assert_eq!(report["seconds"], 0.2);
    assert_eq!(report["warmup_seconds"], 0.05);
    assert!(report["operations"].as_u64().is_some_and(|count| count > 0));
}

#[test]
fn wait_counts_replicas_and_too_few_are_failures() {
    let redis = Redis::start(&[]);
    let address = redis.address();
    let report = report(&["--address", &address, "-n", "100", "-P", "10", "--wait", "0"]);
    assert_eq!(report["operations"], 100);
    let fake = Fake::start(|words| match words.first().map(String::as_str) {
        Some("WAIT") => Some(b":1\r\n".to_vec()),
        _ => Some(b"+OK\r\n".to_vec()),
    });
    let bench = ["bench", "-n", "4", "-c", "1", "--wait", "2", "--address", fake.address()];
    let out = expect(1, &bench);
    assert!(out.contains("error       4 x WAIT answered with fewer replicas"), "{out}");
}

#[test]
fn a_password_comes_from_a_file() {
    let redis = Redis::start(&["--requirepass", "secret"]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path.display().to_string()
    };
    let (right, wrong) = (file("right", "secret\n"), file("wrong", "guess"));
    let address = redis.address();
    let bench = ["bench", "-n", "10", "-c", "1", "--address", &address];
    let with = |path| bench.iter().chain(&["--password-file", path]).copied().collect::<Vec<_>>();
    expect(0, &with(&right));
    expect(6, &with(&wrong));
    let refused = antiphon(&bench);
    assert_eq!(refused.status.code(), Some(6));
    let hint = text(&refused.stderr);
    assert!(hint.contains("NOAUTH") && hint.contains("--password-file"), "{hint}");
}

#[test]
fn a_policy_that_the_server_does_not_know_is_refused_before_the_load() {
    let redis = Redis::start(&[]);
    let address = redis.address();
    expect(4, &["bench", "-n", "10", "--policy", "quorum", "--address", &address]);
}

#[test]
fn csv_is_two_lines() {
    let redis = Redis::start(&[]);
    let out = expect(0, &["bench", "--csv", "-n", "10", "--address", &redis.address()]);
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.starts_with("started_at,clients,"), "{out}");
}

#[test]
fn a_regression_is_found_by_comparing() {
    let redis = Redis::start(&[]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("before.json");
    let (address, file) = (redis.address(), path.display().to_string());
    let bench = ["bench", "-n", "200", "--address", &address];
    let with = |more: &[&str]| -> Vec<String> {
        bench.iter().chain(more).map(ToString::to_string).collect()
    };
    let run = |code, arguments: Vec<String>| {
        expect(code, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run(0, with(&[&format!("--json={file}")]));
    change(&path, &[("throughput", 1e-3)], 1e12);
    run(0, with(&["--compare", &file]));
    change(&path, &[("throughput", 1e12)], 1e12);
    run(1, with(&["--compare", &file]));
    run(4, with(&["--compare", &file, "-P", "2"]));
}

/// Rewrites a report: top figures as given, all latencies as `latency`.
fn change(path: &Path, figures: &[(&str, f64)], latency: f64) {
    let text = std::fs::read_to_string(path).expect("written by the run");
    let mut report: Value = serde_json::from_str(&text).expect("a report");
    let latencies = ["latency/p50_us", "latency/p99_us"].map(|name| (name, latency));
    for (name, figure) in figures.iter().chain(&latencies) {
        let place = report.pointer_mut(&format!("/{name}"));
        *place.expect("every report has it") = (*figure).into();
    }
    std::fs::write(path, report.to_string()).expect("written back");
}

#[test]
fn a_server_that_lies_ends_with_7() {
    let fake = Fake::start(|words| match words.first().map(String::as_str) {
        Some("GET") => Some(b"$8\r\nnonsense\r\n".to_vec()),
        _ => Some(b"+OK\r\n".to_vec()),
    });
    let load = ["-n", "50", "-c", "1", "-k", "10", "-d", "8", "--read-share", "0.5", "--verify"];
    let arguments: Vec<&str> =
        ["bench", "--address", fake.address()].iter().chain(&load).copied().collect();
    let out = expect(7, &arguments);
    assert!(out.contains("its bytes are not those of write"), "{out}");
}

#[test]
fn a_server_that_loses_the_last_write_is_found_out_at_the_end() {
    let mut values = std::collections::HashMap::new();
    let mut writes = 0;
    let fake = Fake::start(move |words| match words {
        [verb, key, value] if verb == "SET" => {
            writes += 1;
            if writes < 20 {
                values.insert(key.clone(), value.clone());
            }
            Some(b"+OK\r\n".to_vec())
        }
        [verb, key] if verb == "GET" => Some(values.get(key).map_or_else(
            || b"$-1\r\n".to_vec(),
            |value| format!("${}\r\n{value}\r\n", value.len()).into_bytes(),
        )),
        _ => Some(b"+PONG\r\n".to_vec()),
    });
    // The name of the write is all of a value of 8 bytes, so these values are plain text here.
    let load = ["-n", "20", "-c", "1", "-k", "1", "-d", "8", "--verify"];
    let arguments: Vec<&str> =
        ["bench", "--address", fake.address()].iter().chain(&load).copied().collect();
    let out = expect(7, &arguments);
    assert!(out.contains("key 0: holds write 19, but write 20 was acknowledged"), "{out}");
}

#[test]
fn a_server_that_goes_away_is_an_error_unless_allowed() {
    for (code, allow) in [(1, None), (0, Some("--allow-errors"))] {
        let mut commands = 0;
        let fake = Fake::start(move |_| {
            commands += 1;
            (commands < 20).then(|| b"+OK\r\n".to_vec())
        });
        let bench = ["bench", "-n", "100", "-c", "1", "--address", fake.address()];
        let arguments: Vec<&str> = bench.into_iter().chain(allow).collect();
        let out = expect(code, &arguments);
        assert!(out.contains("connection"), "{out}");
    }
}

#[test]
fn error_replies_are_counted_by_their_first_word() {
    let fake = Fake::start(|words| match words.first().map(String::as_str) {
        Some("SET") => Some(b"-NOREPLICAS Not enough good replicas to write.\r\n".to_vec()),
        _ => Some(b"+PONG\r\n".to_vec()),
    });
    let out = expect(1, &["bench", "-n", "10", "-c", "1", "--address", fake.address()]);
    assert!(out.contains("error       10 x NOREPLICAS"), "{out}");
}

#[test]
fn a_server_that_does_not_answer_ends_the_run_in_time() {
    let mut asked = 0;
    let fake = Fake::start(move |words| {
        asked += 1;
        match words.first().map(String::as_str) {
            Some("SET") if asked > 5 => Some(Vec::new()),
            _ => Some(b"+OK\r\n".to_vec()),
        }
    });
    let bench =
        ["bench", "-n", "100", "-c", "1", "--timeout", "300ms", "--address", fake.address()];
    let out = expect(1, &bench);
    assert!(out.contains("error       1 x no answer in time"), "{out}");
}

#[test]
fn nobody_there_ends_with_1() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        listener.local_addr().expect("bound").to_string()
    };
    let output = antiphon(&["bench", "-n", "1", "--address", &gone]);
    assert_eq!(output.status.code(), Some(1));
    let hint = text(&output.stderr);
    assert!(
        hint.contains("cannot connect") && hint.contains("that the server is running"),
        "{hint}"
    );
}

/// A node whose client port speaks TLS with a certificate of `localhost`, and its authority.
fn over_tls() -> (Cluster, String) {
    let mut cluster = Cluster::new(1, &[]);
    let dir = cluster.path("port");
    std::fs::create_dir(&dir).expect("made");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        .expect("written");
    for words in [
        format!("req -x509 {key} -days 2 -subj /CN=house -keyout ca.key -out ca.pem"),
        format!("req -new {key} -subj /CN=port -keyout port.key -out port.csr"),
        "x509 -req -in port.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
         -out port.pem"
            .to_owned(),
    ] {
        let words: Vec<&str> = words.split_whitespace().collect();
        let output = std::process::Command::new("openssl").args(&words).current_dir(&dir).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    }
    let place = |name: &str| dir.join(name).display().to_string();
    cluster.set(&format!("resp.tls_cert={}", place("port.pem")));
    cluster.set(&format!("resp.tls_key={}", place("port.key")));
    cluster.launch(1);
    until_so("the node to serve", || cluster.status(1).get("serving") == Some(&Value::Bool(true)));
    (cluster, place("ca.pem"))
}

#[test]
fn a_load_goes_over_tls_and_is_verified() {
    let (cluster, ca) = over_tls();
    for host in ["localhost", "127.0.0.1"] {
        let address = format!("{host}:{}", cluster.resp(1));
        let tls = ["--address", &address, "--tls", "--ca", &ca];
        // Values longer than a record, and more in flight than a socket holds.
        let load = ["-n", "600", "-P", "16", "-c", "3", "-k", "50", "-d", "40000", "--verify"];
        let mix = ["--read-share", "0.5", "--seed", "7", "--timeout", "20s"];
        let report = report(&[&tls[..], &load, &mix].concat());
        assert_eq!(report["operations"], 600);
        assert_eq!(report["wrong"], 0);
        assert_eq!(report["errors"], serde_json::json!({}));
        assert!(report["verified"].as_u64() > Some(50), "{report}");
    }
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_no_load() {
    let (cluster, ca) = over_tls();
    let address = format!("localhost:{}", cluster.resp(1));
    let stranger = cluster.path("certs/ca.pem").display().to_string();
    let run =
        |flags: &[&str]| antiphon(&[&["bench", "-n", "1", "--address", &address], flags].concat());
    let refused = run(&["--tls", "--ca", &stranger]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("invalid peer certificate"), "{refused:?}");
    let nothing = run(&["--tls", "--ca", &cluster.config(1).display().to_string()]);
    assert!(text(&nothing.stderr).contains("no certificate is in it"), "{nothing:?}");
    for flags in [&["--tls"][..], &["--ca", &ca], &["--tls", "--ca", &ca, "--cert", &ca]] {
        assert_eq!(run(flags).status.code(), Some(2), "{flags:?}");
    }
    // Without TLS the same port answers nothing that is a reply.
    assert_eq!(run(&[]).status.code(), Some(1));
}

/// A server that asks who the client is.
#[test]
fn a_client_shows_its_certificate_if_it_is_asked_for() {
    let (cluster, ca) = over_tls();
    let place = |name: &str| cluster.path("port").join(name).display().to_string();
    let port = free_ports(1).to_string();
    let (chain, key) = (place("port.pem"), place("port.key"));
    let _redis = Redis::start(
        &[
            ["--tls-port", &port, "--tls-auth-clients", "yes"],
            ["--tls-cert-file", &chain, "--tls-key-file", &key],
            ["--tls-ca-cert-file", &ca, "--loglevel", "warning"],
        ]
        .concat(),
    );
    let address = format!("127.0.0.1:{port}");
    let tls = ["--address", &address, "-n", "100", "--tls", "--ca", &ca];
    let own = ["--cert", &chain, "--key", &key];
    assert_eq!(report(&[&tls[..], &own].concat())["operations"], 100);
    let unknown = antiphon(&[&["bench"], &tls[..]].concat());
    assert_ne!(unknown.status.code(), Some(0), "without one it is not let in");
}
