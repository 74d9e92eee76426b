//! What bad clients get, and that good ones beside them do not notice.

use std::path::Path;
use std::process::Command;

use crate::kit::{Client, Cluster, Reply, run, run_any};
use crate::text;

const MIB: usize = 1 << 20;

/// A cluster of one node; it is enough for whatever a client can do.
#[track_caller]
fn one(settings: &[&str]) -> Cluster {
    Cluster::start(1, settings)
}

#[track_caller]
fn serves(cluster: &Cluster) {
    assert_eq!(cluster.client(1).call(&["PING"]), Reply::Simple("PONG".to_owned()));
}

#[test]
fn what_is_no_protocol_ends_the_connection_with_a_reason() {
    let cluster = one(&[]);
    let too_long = [b"x".repeat(70_000), b"\r\n".to_vec()].concat();
    for (bytes, reason) in [
        (&b"*1\r\n$-5\r\n"[..], "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*99999999999\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n+PING\r\n", "-ERR Protocol error: expected '$', got '+'"),
        (b"*1\r\n$four\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"SET \"k\r\n", "-ERR Protocol error: unbalanced quotes in request"),
        (&too_long, "-ERR Protocol error: too big inline request"),
    ] {
        let mut client = Client::connect(cluster.resp(1));
        client.send_raw(bytes).expect("sent");
        let said = client.rest();
        let shown = bytes.get(..20).unwrap_or(bytes).escape_ascii();
        assert!(said.starts_with(reason), "{shown}: {said:?}");
        serves(&cluster);
    }
}

#[test]
fn a_wrong_command_costs_nothing_but_its_answer() {
    let cluster = one(&[]);
    let mut client = cluster.client(1);
    assert!(client.call(&["SET", "text", "a"]).is_ok());
    for (words, error) in [
        (&["NONSENSE", "a"][..], "ERR unknown command 'NONSENSE'"),
        (&["GET"], "ERR wrong number of arguments for 'get' command"),
        (&["INCR", "text"], "ERR value is not an integer or out of range"),
        (&["EXPIRE", "text", "soon"], "ERR value is not an integer or out of range"),
        (&["SET", "k", "v", "EX", "0"], "ERR invalid expire time in 'set' command"),
        (&["REPLICAOF", "127.0.0.1", "1"], "ERR REPLICAOF is not used here"),
        (&["SHUTDOWN"], "ERR SHUTDOWN is refused here"),
        (&["XWITH", "most", "SET", "k", "v"], "ERR no such policy"),
    ] {
        let reply = client.call(words);
        assert!(reply.is_error(error), "{words:?}: {reply:?}");
    }
    assert_eq!(client.get("text").as_deref(), Some("a"));
}

#[test]
fn a_value_over_the_limit_is_refused_before_it_is_read() {
    let cluster = one(&["resp.value_bytes_max=1 MiB"]);
    let mut client = cluster.client(1);
    let most = "x".repeat(MIB);
    assert!(client.call(&["SET", "most", &most]).is_ok());
    assert!(client.get("most") == Some(most), "the most comes back whole");
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", MIB + 1);
    client.send_raw(head.as_bytes()).expect("sent");
    let said = client.rest();
    assert!(said.starts_with("-ERR Protocol error: invalid bulk length"), "{said:?}");
    serves(&cluster);
}

#[test]
fn a_slow_reader_gets_everything_and_slows_nobody() {
    const GETS: usize = 200;
    let cluster = one(&["limits.output_soft_bytes=1 MiB", "limits.output_hard_bytes=8 MiB"]);
    let mut slow = cluster.client(1);
    let value = "x".repeat(MIB / 2);
    assert!(slow.call(&["SET", "big", &value]).is_ok());
    for _ in 0..GETS {
        slow.send(&["GET", "big"]).expect("sent");
    }
    for _ in 0..100 {
        serves(&cluster);
    }
    for _ in 0..GETS {
        let Reply::Bulk(bytes) = slow.read().expect("a reply for each") else { panic!("a value") };
        assert!(bytes == value.as_bytes());
    }
}

#[test]
fn too_many_clients_are_told_so() {
    let cluster = one(&["resp.max_clients=5"]);
    let mut clients: Vec<Client> = (0..5).map(|_| cluster.client(1)).collect();
    for client in &mut clients {
        assert_eq!(client.call(&["PING"]).text(), "PONG");
    }
    let said = cluster.client(1).rest();
    assert_eq!(said, "-ERR max number of clients reached\r\n");
    assert_eq!(clients[0].call(&["PING"]).text(), "PONG");
    drop(clients);
    crate::kit::until_so("a place to be free", || {
        Client::connect(cluster.resp(1)).try_call(&["PING"]).is_ok_and(|pong| pong.text() == "PONG")
    });
}

#[test]
fn without_the_password_nothing_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("password");
    std::fs::write(&file, "open sesame\n").expect("written");
    let setting = format!("resp.password_file={}", file.display());
    let mut cluster = Cluster::new(1, &[&setting]);
    cluster.launch(1);
    let mut client = cluster.client(1);
    for words in [&["GET", "k"][..], &["INFO"], &["SET", "k", "v"], &["CONFIG", "GET", "*"]] {
        let reply = client.call(words);
        assert!(reply.is_error("NOAUTH"), "{words:?}: {reply:?}");
    }
    assert!(client.call(&["AUTH", "guess"]).is_error("WRONGPASS"));
    assert!(client.call(&["GET", "k"]).is_error("NOAUTH"));
    assert!(client.call(&["AUTH", "open sesame"]).is_ok());
    crate::kit::until_so("a write", || client.call(&["SET", "k", "v"]).is_ok());
    let port = cluster.resp(1).to_string();
    let got =
        run("redis-cli", &["-p", &port, "--no-auth-warning", "-a", "open sesame", "get", "k"]);
    assert_eq!(got, "v\n");
}

#[test]
fn strangers_are_few_and_do_not_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("password");
    std::fs::write(&file, "open sesame").expect("written");
    let setting = format!("resp.password_file={}", file.display());
    let mut cluster = Cluster::new(
        1,
        &[&setting, "limits.unauthenticated_clients=3", "limits.authenticate_within=300ms"],
    );
    cluster.launch(1);
    let mut known = cluster.client(1);
    assert!(known.call(&["AUTH", "open sesame"]).is_ok());
    let mut strangers: Vec<Client> = (0..3).map(|_| cluster.client(1)).collect();
    // Their places are taken; or, on a slow machine, the first of them is gone again.
    let said = crate::kit::until("one too many", || {
        let mut more = cluster.client(1);
        let reply = more.try_call(&["PING"]).map(|reply| reply.text());
        reply.ok().filter(|text| text.contains("unauthenticated")).or_else(|| {
            strangers.push(more);
            None
        })
    });
    assert_eq!(said, "ERR max number of unauthenticated clients reached");
    for stranger in &mut strangers {
        let said = stranger.rest();
        assert!(!said.contains("PONG"), "{said}");
    }
    assert_eq!(known.call(&["PING"]).text(), "PONG", "whoever said the word stays");
}

#[test]
fn other_machines_are_kept_out_until_there_is_a_password_or_tls() {
    let mut cluster = Cluster::new(1, &[]);
    cluster.set(&format!("resp.listen=0.0.0.0:{}", cluster.resp(1)));
    let said = cluster.refused(1, "X0101");
    assert!(said.contains("needs `resp.password_file` or `resp.tls_cert`"), "{said}");
    assert!(!cluster.data(1).exists(), "nothing was begun");
}

#[test]
fn the_client_port_speaks_tls() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = |name: &str| dir.path().join(name).display().to_string();
    let (certificate, key) = (place("port.pem"), place("port.key"));
    self_signed(&certificate, &key);
    let settings = [format!("resp.tls_cert={certificate}"), format!("resp.tls_key={key}")];
    let mut cluster = Cluster::new(1, &settings.each_ref().map(String::as_str));
    cluster.launch(1);
    let port = cluster.resp(1).to_string();
    let tls = |authority: &str, words: &[&str]| {
        let flags = ["-p", &port, "--tls", "--cacert", authority];
        run_any("redis-cli", &[&flags[..], words].concat())
    };
    crate::kit::until_so("a write over TLS", || {
        text(&tls(&certificate, &["set", "k", "v"]).stdout) == "OK\n"
    });
    assert_eq!(text(&tls(&certificate, &["get", "k"]).stdout), "v\n");
    let stranger = cluster.path("certs/ca.pem").display().to_string();
    let refused = tls(&stranger, &["get", "k"]);
    assert!(!refused.status.success(), "another authority did not sign it");
    let mut plain = Client::connect(cluster.resp(1));
    plain.send(&["GET", "k"]).expect("sent");
    let said = plain.rest();
    assert!(!said.contains('v'), "no answer without TLS: {said:?}");
}

/// A certificate of the client port, as an operator makes one.
fn self_signed(certificate: &str, key: &str) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    command.args(["-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    command.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    let output = command.args(["-keyout", key, "-out", certificate]).output();
    let output = output.expect("openssl is installed");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(Path::new(certificate).exists());
}
