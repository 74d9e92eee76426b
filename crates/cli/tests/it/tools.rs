//! Tools and libraries that people have already, against a cluster, as they are.

use std::process::Command;

use rustix::process::Signal;

use crate::kit::{Cluster, Process, is_installed, run};

#[test]
fn redis_py_works_at_every_node() {
    if !is_installed("python3", &["-c", "import redis"]) {
        return;
    }
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let script = cluster.path("tools.py");
    std::fs::write(&script, include_str!("tools.py")).expect("written");
    let script = script.display().to_string();
    for node in cluster.all() {
        cluster.client(1).call(&["FLUSHALL"]);
        cluster.level();
        let said = run("python3", &[&script, &cluster.resp(node).to_string()]);
        assert_eq!(said, "all good\n", "at node {node}");
    }
}

#[test]
fn redis_benchmark_runs() {
    let cluster = Cluster::start(3, &[]);
    let port = cluster.resp(1).to_string();
    let said = run("redis-benchmark", &["-p", &port, "-q", "-n", "10000", "-t", "set,get"]);
    for test in ["SET: ", "GET: "] {
        let ran = said
            .split(['\r', '\n'])
            .any(|line| line.starts_with(test) && line.contains("requests per second"));
        assert!(ran, "{said}");
    }
    assert!(!said.contains("rror"), "{said}");
}

/// A tool that goes on until it is interrupted.
fn watch(cluster: &Cluster, arguments: &[&str], wanted: &str) {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &cluster.resp(1).to_string()]).args(arguments);
    let mut process = Process::start(&mut command, cluster.path("tool.txt"));
    process.says(wanted);
    process.signal(Signal::INT);
    process.ended();
}

#[test]
fn redis_cli_looks_around() {
    let mut cluster = Cluster::start(3, &[]);
    let mut client = cluster.client(1);
    for number in 0..200 {
        assert!(client.call(&["SET", &format!("key:{number}"), "a value"]).is_ok());
    }
    assert!(client.call(&["SET", "the:biggest", &"x".repeat(1_000)]).is_ok());
    cluster.level();
    for node in cluster.all() {
        let port = cluster.resp(node).to_string();
        let scanned = run("redis-cli", &["-p", &port, "--scan", "--pattern", "key:*"]);
        assert_eq!(scanned.lines().count(), 200, "at node {node}");
        let biggest = run("redis-cli", &["-p", &port, "--bigkeys"]);
        assert!(biggest.contains("'\"the:biggest\"' has 1000 bytes"), "{biggest}");
        let memory = run("redis-cli", &["-p", &port, "--memkeys"]);
        assert!(memory.contains("the:biggest"), "{memory}");
        let info = run("redis-cli", &["-p", &port, "info", "replication"]);
        assert!(info.contains("role:"), "{info}");
    }
    watch(&cluster, &["--stat", "-i", "0.05"], "203");
    watch(&cluster, &["--latency-history", "-i", "1"], " ");
}
