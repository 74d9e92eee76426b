//! A cluster whose nodes can be stopped, broken and started again at the same place.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use antiphon_net::certs::{self, IssueRequest};
use antiphon_proto::NodeId;
use serde_json::Value;

use crate::kit::node::{Process, serve_command};
use crate::kit::ports::free_ports;
use crate::kit::resp::Client;
use crate::kit::{failed, http, until, until_so};

/// Ports of one node: for clients, for pages, for other nodes.
const PORTS: u16 = 3;

/// Files of a cluster, and its nodes as far as they run. Dropped, all of it is gone.
#[derive(Debug)]
pub(crate) struct Cluster {
    running: BTreeMap<u16, Process>, // first, so that nobody writes when the files are removed
    dir: tempfile::TempDir,
    first_port: u16,
    count: u16,
    settings: Vec<String>,
}

impl Cluster {
    /// Files for `count` nodes of the cluster `shop`. `settings` are as for `serve --set`.
    pub(crate) fn new(count: u16, settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let certs = dir.path().join("certs");
        certs::init_ca(&certs, "shop", false).expect("an authority");
        for node in 1..=count {
            let request = IssueRequest::new(NodeId::new(node.into()));
            certs::issue(&certs, &request, false).expect("a certificate");
        }
        let settings = settings.iter().map(ToString::to_string).collect();
        let first_port = free_ports(count * PORTS);
        let cluster = Self { running: BTreeMap::new(), dir, first_port, count, settings };
        for node in cluster.all() {
            std::fs::write(cluster.config(node), cluster.config_text(node)).expect("written");
        }
        cluster
    }

    /// The same, running and accepting writes.
    #[track_caller]
    pub(crate) fn start(count: u16, settings: &[&str]) -> Self {
        let mut cluster = Self::new(count, settings);
        for node in cluster.all() {
            cluster.launch(node);
        }
        cluster.serves();
        cluster
    }

    /// The numbers of the nodes.
    pub(crate) fn all(&self) -> std::ops::RangeInclusive<u16> {
        1..=self.count
    }

    /// A place among the cluster's files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration of a node.
    pub(crate) fn config(&self, node: u16) -> PathBuf {
        self.path(&format!("node-{node}.toml"))
    }

    /// The data directory of a node.
    pub(crate) fn data(&self, node: u16) -> PathBuf {
        self.path(&format!("data-{node}"))
    }

    /// The port of a node for clients.
    pub(crate) const fn resp(&self, node: u16) -> u16 {
        self.first_port + node - 1
    }

    /// The port of its pages.
    pub(crate) const fn http(&self, node: u16) -> u16 {
        self.resp(node) + self.count
    }

    /// Its port for other nodes.
    pub(crate) const fn peer(&self, node: u16) -> u16 {
        self.http(node) + self.count
    }

    fn config_text(&self, node: u16) -> String {
        let mut members = String::new();
        for member in self.all() {
            let (peer, resp) = (self.peer(member), self.resp(member));
            let line = writeln!(
                members,
                "{{ id = {member}, peer = \"127.0.0.1:{peer}\", resp = \"127.0.0.1:{resp}\" }},"
            );
            line.expect("a string takes it");
        }
        let (data, certs) = (self.data(node), self.path("certs"));
        let certs = certs.display();
        format!(
            "[node]\nid = {node}\ndata_dir = {data:?}\n\
             [cluster]\nname = \"shop\"\nmembers = [\n{members}]\n\
             [resp]\nlisten = \"127.0.0.1:{}\"\n[http]\nlisten = \"127.0.0.1:{}\"\n\
             [peer]\nlisten = \"127.0.0.1:{}\"\nca = \"{certs}/ca.pem\"\n\
             cert = \"{certs}/node-{node}.pem\"\nkey = \"{certs}/node-{node}.key\"\n\
             [log]\nsegment_bytes = \"1 MiB\"\n",
            self.resp(node),
            self.http(node),
            self.peer(node),
        )
    }

    /// The command that starts a node.
    pub(crate) fn command(&self, node: u16) -> Command {
        let mut command = serve_command(&self.config(node));
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command
    }

    /// Changes what nodes are told when they start from now on.
    pub(crate) fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Starts a node.
    pub(crate) fn launch(&mut self, node: u16) {
        let command = self.command(node);
        self.launch_as(node, command);
    }

    /// Starts a node by another command.
    pub(crate) fn launch_as(&mut self, node: u16, mut command: Command) {
        assert!(!self.running.contains_key(&node), "node {node} runs already");
        let process = Process::start(&mut command, self.log(node));
        self.running.insert(node, process);
    }

    fn log(&self, node: u16) -> PathBuf {
        self.path(&format!("log-{node}.txt"))
    }

    /// A node that runs.
    #[track_caller]
    pub(crate) fn node(&mut self, node: u16) -> &mut Process {
        self.running.get_mut(&node).expect("it runs")
    }

    /// Ends a node as a crash does.
    pub(crate) fn kill(&mut self, node: u16) {
        self.running.remove(&node).expect("it runs").kill();
    }

    /// Tells a node to stop and waits until it has, in order.
    #[track_caller]
    pub(crate) fn stop(&mut self, node: u16) {
        self.running.remove(&node).expect("it runs").stop();
    }

    /// Takes over a node that is expected to end by itself.
    pub(crate) fn take(&mut self, node: u16) -> Process {
        self.running.remove(&node).expect("it runs")
    }

    /// Starts a node that can't run: it must end with 1. Answers what it said.
    #[track_caller]
    pub(crate) fn refused(&self, node: u16, error: &str) -> String {
        refused(self.command(node), self.path(&format!("refused-{node}.txt")), error)
    }

    /// A client of a node.
    #[track_caller]
    pub(crate) fn client(&self, node: u16) -> Client {
        until(&format!("node {node} to listen"), || Client::try_connect(self.resp(node)).ok())
    }

    /// Waits until a write is acknowledged; then every node that is there serves.
    #[track_caller]
    pub(crate) fn serves(&mut self) {
        let port = self.resp(1);
        let mut said = String::new();
        let write = || match Client::try_connect(port)
            .and_then(|mut c| c.try_call(&["SET", "ready", "1"]))
        {
            Ok(reply) if reply.is_ok() => Some(()),
            Ok(reply) => {
                said = reply.text();
                None
            }
            Err(_not_yet) => None,
        };
        let told: Vec<String> = self.running.values().map(Process::log).collect();
        until(&format!("writes to be accepted; {}", told.join("\n---\n")), write);
    }

    /// The status page of a node.
    #[track_caller]
    pub(crate) fn status(&self, node: u16) -> Value {
        until(&format!("the page of node {node}"), || http::status(self.http(node)))
    }

    /// Waits until all nodes that run have applied the same log and have the same content.
    #[track_caller]
    pub(crate) fn level(&mut self) {
        // A write behind all others: whoever has applied it has applied them. Pages are some
        // moments old, so they must have seen it.
        let mut client = self.client(1);
        until_so("a write to be accepted", || client.call(&["SET", "level", "1"]).is_ok());
        let token = client.call(&["XTOKEN"]).text();
        let lsn = token.rsplit('-').next().and_then(|lsn| lsn.parse::<u64>().ok());
        let lsn = lsn.expect("a token ends with a position");
        let nodes: Vec<u16> = self.running.keys().copied().collect();
        let mut look = || {
            let mut seen = Vec::new();
            for node in &nodes {
                let page = http::status(self.http(*node))?;
                seen.push((page["applied"].as_u64()?, page["digest"].clone()));
            }
            let first = seen.first()?;
            let equal = first.0 >= lsn && seen.iter().all(|other| other == first);
            // The primary's page may be of before the last of them was linked.
            let page = http::status(self.http(1))?;
            let replicas = page["replicas"].as_array()?;
            let mut running = replicas
                .iter()
                .filter(|replica| nodes.iter().any(|node| replica["node"] == u64::from(*node)));
            (equal && running.all(|replica| replica["connected"] == true)).then_some(())
        };
        until(&format!("nodes {nodes:?} to be level"), &mut look);
    }
}

/// Runs a command that must fail with this error; answers what it said.
#[track_caller]
pub(crate) fn refused(mut command: Command, log: PathBuf, error: &str) -> String {
    failed(Process::start(&mut command, log), error)
}

/// A file's bytes with one of them changed.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("the file is there");
    let byte = bytes.get_mut(at).expect("the file is that long");
    *byte ^= 0x10;
    std::fs::write(path, bytes).expect("written back");
}
