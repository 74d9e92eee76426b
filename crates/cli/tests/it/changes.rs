//! The log as a script uses it: append, read back, follow, all in JSON.

use std::process::Command;

use serde_json::Value;

use crate::expect;
use crate::kit::{Client, Cluster, Process, exit_of, failed, until, until_so};

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// The documents of a command that must succeed, one on each line.
#[track_caller]
fn lines(arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "jsonl"]).collect();
    let out = expect(0, &arguments);
    out.lines().map(|line| serde_json::from_str(line).expect("a document")).collect()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    command.args(arguments);
    command
}

/// A cluster whose nodes hand out changes.
fn cluster(nodes: u16) -> Cluster {
    let mut cluster = Cluster::start(nodes, &["http.changes=true"]);
    cluster.level();
    cluster
}

#[track_caller]
fn append(cluster: &Cluster, node: u16, key: &str, value: &str) -> u64 {
    let appended = lines(&["log", "append", key, value, "--address", &at(cluster.resp(node))]);
    assert_eq!(appended[0]["schema"], "antiphon.append/1");
    appended[0]["lsn"].as_u64().expect("a position")
}

#[test]
fn a_script_appends_reads_and_follows() {
    let cluster = cluster(3);
    let first = append(&cluster, 1, "greeting", "hello");
    // Through a replica, too.
    let second = append(&cluster, 2, "greeting", "good-bye");
    assert_eq!(second, first + 1);
    until_so("all to have it", || {
        cluster.all().all(|node| cluster.status(node)["applied"].as_u64() >= Some(second))
    });
    for node in cluster.all() {
        let pages = at(cluster.http(node));
        let latest = lines(&["log", "latest", "--address", &pages]);
        assert_eq!(latest[0]["lsn"], second, "of node {node}");
        assert_eq!(latest[0]["schema"], "antiphon.change/1");
        let put = serde_json::json!({"do": "put", "db": 0, "key": "greeting", "value": "good-bye"});
        assert_eq!(latest[0]["effects"], serde_json::json!([put]));
        let (from, to) = (first.to_string(), second.to_string());
        let range = lines(&["log", "read", "--from", &from, "--to", &to, "--address", &pages]);
        assert_eq!(range.len(), 2);
        assert_eq!(range[0]["effects"][0]["value"], "hello");
        let tail = lines(&["log", "tail", "--from", &from, "-n", "2", "--address", &pages]);
        assert_eq!(tail, range);
        // The same from the files below.
        let data = cluster.data(node).display().to_string();
        assert_eq!(lines(&["log", "read", &data, "--from", &from, "--to", &to]), range);
        assert_eq!(lines(&["log", "latest", &data]), latest);
        let text = expect(0, &["log", "latest", &data]);
        assert!(text.ends_with("put \"greeting\" \"good-bye\"\n"), "{text}");
        let segments = lines(&["log", "list", &data]);
        assert_eq!(segments[0]["schema"], "antiphon.log-segment/1");
    }
}

#[test]
fn a_reader_goes_on_where_it_was_when_its_node_comes_back() {
    let mut cluster = cluster(3);
    let first = append(&cluster, 1, "k", "0");
    let (from, pages) = (first.to_string(), at(cluster.http(3)));
    let mut tail = command(&["changes", "tail", "--from", &from, "--address", &pages]);
    tail.args(["-n", "20", "-o", "jsonl", "--timeout", "30s"]);
    let mut tail = Process::start(&mut tail, cluster.path("tail.txt"));
    tail.says("\n");
    let mut client = cluster.client(1);
    for number in 1..20 {
        if number == 7 {
            cluster.kill(3);
        }
        if number == 14 {
            cluster.launch(3);
        }
        assert!(client.call(&["SET", "k", &number.to_string()]).is_ok());
    }
    assert!(tail.ended().success(), "{}", tail.log());
    let text = tail.log();
    let values: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let values: Vec<_> =
        values.iter().map(|change| change["effects"][0]["value"].as_str().unwrap()).collect();
    let want: Vec<String> = (0..20).map(|number: i32| number.to_string()).collect();
    assert_eq!(values, want, "each once and in order");
}

#[track_caller]
fn check_refused(error: &str, arguments: &[&str]) -> String {
    let output = crate::antiphon(arguments);
    let said = crate::text(&output.stderr);
    assert_eq!(output.status.code(), Some(exit_of(error)), "{said}");
    assert!(said.contains(&format!("error[{error}]: ")), "{error} is not in {said}");
    said
}

#[test]
fn what_retention_removed_is_said_to_be_gone() {
    let small = ["log.segment_bytes=1 MiB", "log.retain_bytes=1 MiB", "log.snapshot_bytes=1 MiB"];
    let mut cluster = Cluster::new(1, &small);
    cluster.set("http.changes=true");
    cluster.launch(1);
    cluster.serves();
    let mut client = cluster.client(1);
    let value = "x".repeat(100_000);
    let first = until("the log to be trimmed", || {
        assert!(client.call(&["SET", "k", &value]).is_ok());
        cluster.status(1)["log_first"].as_u64().filter(|first| *first > 1)
    });
    let pages = at(cluster.http(1));
    let data = cluster.data(1).display().to_string();
    for source in [&["--address", pages.as_str()][..], &[&data]] {
        let read: Vec<&str> =
            ["log", "read", "--from", "2"].iter().chain(source).copied().collect();
        if first > 2 {
            let said = check_refused("X0308", &read);
            assert!(said.contains("the log begins with"), "{said}");
        }
        let all: Vec<&str> =
            ["log", "latest", "-n", "100000"].iter().chain(source).copied().collect();
        assert!(!lines(&all).is_empty());
    }
    check_refused("X0308", &["changes", "tail", "--from", "1", "--address", &pages]);
}

#[test]
fn changes_are_handed_out_to_nobody_unless_it_is_allowed() {
    let mut cluster = Cluster::new(1, &[]);
    let word = cluster.path("word");
    std::fs::write(&word, "correct horse battery\n").expect("written");
    cluster.launch(1);
    let pages = at(cluster.http(1));
    until_so("the pages", || crate::kit::get(cluster.http(1), "/livez").is_ok());
    check_refused("X0607", &["changes", "tail", "--address", &pages]);
    cluster.stop(1);
    cluster.set("http.changes=true");
    cluster.set(&format!("resp.password_file={}", word.display()));
    cluster.launch(1);
    until_so("the pages", || {
        crate::kit::get(cluster.http(1), "/readyz").is_ok_and(|it| it.0 == 200)
    });
    check_refused("X0606", &["changes", "tail", "--address", &pages]);
    let clients = at(cluster.resp(1));
    check_refused("X0606", &["log", "append", "k", "v", "--address", &clients]);
    let file = word.display().to_string();
    let with = ["--password-file", &file];
    let of = |arguments: &[&str]| lines(&[arguments, &with].concat());
    of(&["log", "append", "k", "v", "--address", &clients]);
    assert_eq!(of(&["log", "latest", "--address", &pages])[0]["effects"][0]["key"], "k");
    cluster.stop(1);
    check_refused("X0601", &["log", "read", "--address", &pages]);
    check_refused("X0601", &["log", "append", "k", "v", "--address", &clients]);
    let public = Cluster::new(1, &["http.changes=true", "http.listen=0.0.0.0:1"]);
    let said = public.refused(1, "X0101");
    assert!(said.contains("`http.changes` needs `resp.password_file`"), "{said}");
}

#[test]
fn an_append_says_whether_it_happened() {
    let mut cluster = cluster(3);
    let clients = at(cluster.resp(1));
    for replica in [2, 3] {
        cluster.node(replica).pause();
    }
    let mut client = Client::connect(cluster.resp(1));
    assert!(client.call(&["CONFIG", "SET", "x-policy-timeout-ms", "100"]).is_ok());
    let said = check_refused("X0604", &["log", "append", "k", "v", "--address", &clients]);
    assert!(said.contains("ticket=0-"), "{said}");
    for replica in [2, 3] {
        cluster.node(replica).signal(rustix::process::Signal::CONT);
    }
    cluster.level();
    cluster.stop(2);
    cluster.stop(3);
    until_so("the links to be down", || {
        client.call(&["SET", "k", "w"]).text().starts_with("NOREPLICAS")
    });
    check_refused("X0605", &["log", "append", "k", "v", "--address", &clients]);
    let late = command(&["log", "append", "k", "v", "--policy", "most"]);
    failed(Process::start(&mut { late }, cluster.path("late.txt")), "X0001");
}
