//! `antiphon demo` as somebody who tries it sees it: it starts, serves, and leaves nothing behind.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::kit::{Client, Process, free_ports, run, until, until_so};

/// Three nodes with three ports each.
const PORTS: u16 = 9;

/// A demo with its files in `dir`.
struct Demo {
    process: Process,
    first_port: u16,
}

fn command(dir: &Path, first_port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    let ports = [("--resp-port", 0), ("--http-port", 3), ("--peer-port", 6)];
    command.arg("demo").args(arguments).env("TMPDIR", dir).current_dir(dir);
    for (flag, offset) in ports {
        command.arg(flag).arg((first_port + offset).to_string());
    }
    command
}

impl Demo {
    #[track_caller]
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let first_port = free_ports(PORTS);
        let mut command = command(dir, first_port, arguments);
        let process = Process::start(&mut command, dir.join("demo.txt"));
        process.says("\nready\n");
        Self { process, first_port }
    }

    fn ports(&self) -> std::ops::Range<u16> {
        self.first_port..self.first_port + 3
    }

    /// Ends it as Ctrl-C does; it must end well.
    #[track_caller]
    fn interrupt(mut self) -> String {
        self.process.signal(Signal::INT);
        let status = self.process.ended();
        assert!(status.success(), "{status}:\n{}", self.process.log());
        self.process.log()
    }
}

/// The processes whose parent is `pid`.
fn children(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_dir("/proc").expect("this system shows its processes");
    let pids = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|child| parent(*child) == Some(pid)).collect()
}

/// The parent of a process that has not ended.
fn parent(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z").then_some(parent)
}

fn entries(dir: &Path) -> Vec<String> {
    let listed = std::fs::read_dir(dir).expect("it is there");
    let names = listed.map(|entry| entry.expect("listed").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn any_node_takes_commands_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let demo = Demo::start(dir.path(), &[]);
    for port in demo.ports() {
        let (number, key) = (port.to_string(), format!("at:{port}"));
        assert_eq!(run("redis-cli", &["-p", &number, "set", &key, "here"]), "OK\n");
        for other in demo.ports() {
            let mut client = Client::connect(other);
            until_so("the write at every node", || client.get(&key).as_deref() == Some("here"));
        }
    }
    let nodes = children(demo.process.pid());
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    assert_eq!(entries(dir.path()).len(), 2, "its words and its own directory");
    let said = demo.interrupt();
    assert!(said.contains(" writes acknowledged in all, 0 failed\n"), "{said}");
    for node in nodes {
        assert_eq!(parent(node), None, "node {node} is gone");
    }
    assert_eq!(entries(dir.path()), ["demo.txt"]);
}

#[test]
fn kept_files_are_gone_on_with() {
    let dir = tempfile::tempdir().expect("a directory");
    let arguments = ["--keep", "--no-load", "--dir", "kept"];
    let demo = Demo::start(dir.path(), &arguments);
    assert!(Client::connect(demo.first_port).call(&["SET", "k", "v"]).is_ok());
    let said = demo.interrupt();
    assert!(said.contains("files are kept in "), "{said}");
    let demo = Demo::start(dir.path(), &arguments);
    for port in demo.ports() {
        let mut client = Client::connect(port);
        until_so("what the first demo wrote", || client.get("k").as_deref() == Some("v"));
    }
    demo.interrupt();
}

#[test]
fn in_one_process_there_are_no_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let demo = Demo::start(dir.path(), &["--in-process", "--no-load"]);
    let ports: Vec<u16> = demo.ports().collect();
    assert!(Client::connect(demo.first_port + 1).call(&["SET", "k", "v"]).is_ok());
    for port in ports {
        let mut client = Client::connect(port);
        until_so("the write at every node", || client.get("k").as_deref() == Some("v"));
    }
    assert_eq!(children(demo.process.pid()), [0_u32; 0]);
    demo.interrupt();
    assert_eq!(entries(dir.path()), ["demo.txt"]);
}

#[test]
fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let first_port = free_ports(PORTS);
    let taken = TcpListener::bind(("127.0.0.1", first_port + 1)).expect("it was free");
    let mut command = command(dir.path(), first_port, &["--no-load"]);
    let process = Process::start(&mut command, dir.path().join("demo.txt"));
    let said = crate::kit::failed(process, "X0801");
    let address = taken.local_addr().expect("bound");
    assert!(said.contains(&format!("{address}: Address already in use")), "{said}");
    assert!(said.contains("--resp-port"), "{said}");
    assert_eq!(entries(dir.path()), ["demo.txt"]);
}

#[test]
fn its_nodes_end_even_when_it_is_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut demo = Demo::start(dir.path(), &[]);
    let nodes = children(demo.process.pid());
    assert_eq!(nodes.len(), 3);
    demo.process.kill();
    for node in nodes {
        until(&format!("the end of node {node}"), || parent(node).is_none().then_some(()));
    }
}
