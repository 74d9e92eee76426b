//! The commands on the pages, run as a reader would.
//!
//! A block that is marked `console` is run by trycmd: commands that need nothing but this
//! program. A block that is marked `console cluster` is run by a shell beside a demo of three
//! nodes without a load; its ports and its directory stand in the place of the page's. The blocks of
//! a page run one after another in one directory. `[..]` in what is expected stands for anything
//! within a line, a line `...` for any lines.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use antiphon_kv::Command as RedisCommand;

/// Nodes of the demo.
const NODES: u16 = 3;
/// Tries to start a demo: somebody may take a port that was free a moment ago.
const TRIES: usize = 5;

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

#[test]
fn commands_that_need_no_cluster() {
    trycmd::TestCases::new().case("../../docs/operations.md").case("../../docs/errors.md");
}

#[test]
fn readme() {
    run("README.md");
}

#[test]
fn redis() {
    run("docs/redis.md");
}

#[test]
fn operations() {
    run("docs/operations.md");
}

#[test]
fn every_command_of_the_server_is_on_its_page() {
    let text = fs::read_to_string(page("docs/redis.md")).expect("the page");
    let (_, text) = text.split_once("## Commands").expect("its commands");
    let (table, _) = text.split_once("A test holds this list").expect("the list's end");
    let mut listed: Vec<_> = table.split('`').skip(1).step_by(2).map(str::to_lowercase).collect();
    listed.sort();
    let known: Vec<_> = RedisCommand::all().iter().map(|command| command.name.to_owned()).collect();
    assert_eq!(listed, known);
}

#[test]
fn every_metric_is_on_its_page() {
    let text = fs::read_to_string(page("docs/operations.md")).expect("the page");
    let (_, text) = text.split_once("### Metrics").expect("the metrics");
    let (table, _) = text.split_once("\n## ").expect("the next part");
    let names =
        table.lines().filter_map(|line| line.strip_prefix("| `antiphon_")?.split('`').next());
    let listed: BTreeSet<_> = names.map(|name| format!("antiphon_{name}")).collect();
    let demo = Demo::start();
    let served: BTreeSet<_> = (0..NODES).flat_map(|node| metrics(demo.http + node)).collect();
    let only_with_tls = BTreeSet::from(["antiphon_client_certificate_expiry_seconds".to_owned()]);
    assert_eq!(listed, &served | &only_with_tls);
}

/// The names on a node's metrics page.
fn metrics(port: u16) -> Vec<String> {
    let mut link = TcpStream::connect(("127.0.0.1", port)).expect("the pages are open");
    link.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request is sent");
    let mut text = String::new();
    link.read_to_string(&mut text).expect("an answer");
    let names = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
    names.map(str::to_owned).collect()
}

/// Runs the blocks of a page.
fn run(name: &str) {
    let text = fs::read_to_string(page(name)).expect("the page");
    let steps = steps(&text);
    assert!(!steps.is_empty(), "{name} has commands to run");
    let demo = Demo::start();
    let dir = tempfile::tempdir().expect("a directory");
    for step in steps {
        let (command, expected) = (demo.at_its_ports(&step.command), step.expected);
        // A reader has a terminal, for which redis-cli shows types.
        let command = command.replace("redis-cli", "redis-cli --no-raw");
        let expected: Vec<_> = expected.iter().map(|line| demo.at_its_ports(line)).collect();
        let found = shell(&command, dir.path());
        let lines: Vec<_> = found.lines().collect();
        let as_expected: Vec<_> = expected.iter().map(String::as_str).collect();
        assert!(is_like(&as_expected, &lines), "{name}: {command}\nprinted:\n{found}");
    }
}

struct Step {
    command: String,
    expected: Vec<String>,
}

/// The commands of all blocks that need a cluster, with what they print.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```console cluster";
        } else if inside {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { command: command.to_owned(), expected: Vec::new() });
                }
                (None, Some(step)) => step.expected.push(line.to_owned()),
                (None, None) => panic!("a block begins with a command: {line}"),
            }
        }
    }
    steps
}

/// What a command prints, on stdout and stderr.
fn shell(command: &str, dir: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_antiphon"));
    let ours = program.parent().expect("a program is in a directory").display();
    let path = std::env::var("PATH").expect("a search path");
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .current_dir(dir)
        .env("PATH", format!("{ours}:{path}"))
        .output()
        .expect("a shell runs");
    String::from_utf8(output.stdout).expect("commands print text")
}

/// Whether the lines are as expected.
fn is_like(expected: &[&str], found: &[&str]) -> bool {
    match (expected, found) {
        ([], []) => true,
        (["...", rest @ ..], [_, lines @ ..]) => is_like(rest, found) || is_like(expected, lines),
        (["...", rest @ ..], []) => is_like(rest, found),
        ([one, rest @ ..], [line, lines @ ..]) => is_line(one, line) && is_like(rest, lines),
        ([], _) | (_, []) => false,
    }
}

fn is_line(expected: &str, found: &str) -> bool {
    let (expected, found) = (expected.trim_end(), found.trim_end());
    let Some((first, rest)) = expected.split_once("[..]") else { return expected == found };
    let Some(mut found) = found.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once("[..]").map_or(("", rest), |parts| parts);
    for part in middle.split("[..]") {
        let Some((_, behind)) = found.split_once(part) else { return false };
        found = behind;
    }
    found.ends_with(last)
}

#[test]
fn lines_are_compared_as_promised() {
    for (expected, found) in
        [("a", "a"), ("a[..]", "abc"), ("[..]c", "abc"), ("a[..]c[..]", "abcd")]
    {
        assert!(is_line(expected, found), "{expected} {found}");
    }
    for (expected, found) in [("a", "ab"), ("a[..]", "ba"), ("a[..]c", "abcd"), ("[..]", "")] {
        assert_eq!(is_line(expected, found), expected == "[..]", "{expected} {found}");
    }
    assert!(is_like(&["a", "...", "d"], &["a", "b", "c", "d"]));
    assert!(!is_like(&["a", "...", "d"], &["a", "b", "c"]));
    assert!(!is_like(&["a"], &["a", "b"]));
}

/// A demo on ports of its own.
struct Demo {
    process: Child,
    dir: String,
    resp: u16,
    http: u16,
    peer: u16,
}

impl Demo {
    fn start() -> Self {
        let tries = (0..TRIES).find_map(|_| Self::try_start());
        tries.expect("a demo starts at one of these ports")
    }

    fn try_start() -> Option<Self> {
        let (resp, http, peer) = (free_ports(), free_ports(), free_ports());
        let ports = [resp, http, peer].map(|port| port.to_string());
        let [resp_port, http_port, peer_port] = &ports;
        let mut process = Command::new(env!("CARGO_BIN_EXE_antiphon"))
            .args(["demo", "--no-load", "--resp-port", resp_port, "--http-port", http_port])
            .args(["--peer-port", peer_port])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut out = BufReader::new(process.stdout.take().expect("its output is ours"));
        let mut lines = out.by_ref().lines().map_while(Result::ok);
        let heading = lines.next().unwrap_or_default();
        // It prints this line or ends, within its own time.
        if !lines.any(|line| line == "ready") {
            process.wait().expect("it ended");
            return None;
        }
        // What it says later has to go somewhere.
        std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
        let (_, dir) = heading.split_once("files in ").expect("it says where its files are");
        let demo = Self { process, dir: dir.to_owned(), resp, http, peer };
        demo.wait_until_all_are_there();
        Some(demo)
    }

    /// It is ready when a majority is; the pages speak of three nodes.
    fn wait_until_all_are_there(&self) {
        let pages: Vec<_> =
            (0..NODES).map(|node| format!("127.0.0.1:{}", self.http + node)).collect();
        let waited = Command::new(env!("CARGO_BIN_EXE_antiphon"))
            .args(["status", "--wait", "healthy", "--timeout", "30s", "--address"])
            .arg(pages.join(","))
            .output()
            .expect("the program starts");
        assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stdout));
    }

    /// The text with our ports and directory in the place of the page's.
    fn at_its_ports(&self, text: &str) -> String {
        let parts = text.split_inclusive(|character: char| !character.is_ascii_digit());
        let text: String = parts.map(|part| self.at_its_port(part)).collect();
        text.replace("/tmp/antiphon-demo-6515", &self.dir)
    }

    /// The same for digits and what stands behind them.
    fn at_its_port(&self, part: &str) -> String {
        let digits = part.trim_end_matches(|character: char| !character.is_ascii_digit());
        let behind = part.strip_prefix(digits).expect("digits come first");
        let port: Option<u16> = digits.parse().ok();
        for (shown, first) in [(7101, self.resp), (7201, self.http), (7301, self.peer)] {
            if let Some(node) = port.and_then(|port| port.checked_sub(shown))
                && node < NODES
            {
                return format!("{}{behind}", first + node);
            }
        }
        part.to_owned()
    }
}

impl Drop for Demo {
    /// As Ctrl-C: it ends its nodes and removes its files.
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        let told = Command::new("kill").args(["-INT", &pid]).status();
        assert!(told.is_ok_and(|status| status.success()), "the demo runs until here");
        self.process.wait().expect("it ends");
    }
}

/// Where ports for the tests begin, and how many rows of them there are.
const PORTS_FROM: u16 = 10_000;
const ROWS: u16 = 20_000 / NODES;

/// The first of some ports that are free now, one behind the other: below those that the system
/// gives to clients, so that a machine with many old connections has them too.
fn free_ports() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let free = |port: u16| {
        TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
    };
    // Tests of one process take turns; those of another begin elsewhere.
    let begin = u16::try_from(std::process::id() % 1_000).expect("below a thousand");
    let mut firsts = (0..1_500).map(|_| {
        let turn = TAKEN.fetch_add(1, Ordering::Relaxed);
        PORTS_FROM + (begin.wrapping_mul(7) + turn) % ROWS * NODES
    });
    let found = firsts.find(|port| (0..NODES).all(|node| free(port + node)));
    found.expect("so many ports in a row are free")
}
