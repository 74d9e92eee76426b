//! What a command costs through everything: client, session, log on real files, other nodes.
//!
//! The clusters live in this process, with links in memory. A write is acknowledged when a
//! quorum has it on disk, so its time is mostly that of the machine's disk.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use antiphon::{
    Builder, Cut, MemberConfig, MemoryNetwork, Node, NodeConfig, NodeId, Stamp, StateMachine,
    TransportConfig,
};
use antiphon_server::node::Names;
use antiphon_server::resp::reply::Value;
use antiphon_server::resp::{Proto, Writer};
use antiphon_server::{Config, Serving, Setup};
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const VALUE: [u8; 100] = [b'v'; 100];
const PIPELINES: [u64; 2] = [1, 16];
const PROPOSALS: [u64; 2] = [1, 64];
/// Everything that is waited for has come by then, or never will.
const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime needs nothing that a machine lacks")
}

/// Ends the run instead of hanging.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_late| panic!("waited too long for {what}"))
}

fn dirs(nodes: u64) -> Vec<TempDir> {
    (0..nodes).map(|_| tempfile::tempdir().expect("a directory for the files")).collect()
}

/// Nodes that serve clients.
struct Cluster {
    nodes: Vec<Serving>,
    runtime: Runtime,
    _dirs: Vec<TempDir>, // removed when the nodes have stopped
}

impl Cluster {
    /// Starts them, and returns when the first one serves and the others have what it wrote.
    fn start(nodes: u64) -> Self {
        let (dirs, network) = (dirs(nodes), MemoryNetwork::new());
        let started = (1..).zip(&dirs).map(|(id, dir)| {
            let setup = setup((id, nodes), dir, &network);
            Serving::start(setup).expect("a node starts in an empty directory")
        });
        let cluster = Self { nodes: started.collect(), runtime: runtime(), _dirs: dirs };
        cluster.settle();
        cluster
    }

    fn settle(&self) {
        let first = self.nodes.first().expect("there is a first node").node();
        self.runtime.block_on(within("a cluster that is level", async {
            let mut progress = first.progress();
            let serves = progress.wait_for(|progress| progress.serving).await;
            let stable = serves.expect("the first node runs").stable;
            for node in &self.nodes {
                let mut progress = node.node().progress();
                let level = progress.wait_for(|progress| progress.applied >= stable).await;
                drop(level.expect("all nodes run"));
            }
        }));
    }

    /// Where the primary's clients connect.
    fn address(&self) -> SocketAddr {
        self.nodes.first().expect("there is a first node").address()
    }

    fn stop(self) {
        self.nodes.iter().for_each(|node| node.node().stop());
        self.runtime.block_on(within("the stop", async {
            for node in self.nodes {
                node.ended().await.expect("a node stops in order");
            }
        }));
    }
}

/// What node `id` of `nodes` is told.
fn setup((id, nodes): (u64, u64), dir: &TempDir, network: &MemoryNetwork) -> Setup {
    let me = NodeId::new(id);
    let transport = TransportConfig::Memory { network: network.clone(), me };
    let mut node = NodeConfig::new("bench", me, dir.path(), transport);
    let member = |id: u64| MemberConfig {
        node: NodeId::new(id),
        peer: id.to_string(),
        region: String::new(),
        role: antiphon::MemberRole::Voter,
    };
    node.members = (1..=nodes).map(member).collect();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    Setup {
        node,
        server: Config { listen, http: None, ..Config::default() },
        names: Names { cluster: "bench".to_owned(), shape: "star".to_owned(), members: Vec::new() },
        limits: antiphon_kv::Limits::default(),
    }
}

/// A connection that knows what the server will say.
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the client port is open");
        stream.set_nodelay(true).expect("a TCP connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP connection");
        Self { stream, input: Vec::new() }
    }

    /// Sends requests at once, and waits for all their replies.
    fn ask(&mut self, requests: &[u8], replies: &[u8]) {
        self.stream.write_all(requests).expect("the server reads");
        self.input.resize(replies.len(), 0);
        self.stream.read_exact(&mut self.input).expect("the server answers in time");
        assert_eq!(self.input, replies, "the server does what it was asked");
    }
}

/// Commands and what is answered to them.
struct Exchange {
    name: String,
    commands: u64,
    requests: BytesMut,
    replies: BytesMut,
}

impl Exchange {
    /// `commands` times the same command, each on a key of its own.
    fn new(command: &str, commands: u64, reply: fn(&mut Writer<'_>)) -> Self {
        let (mut requests, mut replies) = (BytesMut::new(), BytesMut::new());
        for number in 0..commands {
            let key = format!("user:{number}").into_bytes();
            let mut words = vec![Value::Bulk(command.as_bytes().to_vec()), Value::Bulk(key)];
            if command == "SET" {
                words.push(Value::Bulk(VALUE.to_vec()));
            }
            Value::Array(words).encode(&mut requests);
            reply(&mut Writer::new(&mut replies, Proto::Two));
        }
        let name = match commands {
            1 => command.to_owned(),
            commands => format!("{command}, {commands} pipelined"),
        };
        Self { name, commands, requests, replies }
    }
}

/// GET and SET of 100 bytes at the primary of so many nodes, over TCP.
fn commands(c: &mut Criterion, group: &str, nodes: u64) {
    let cluster = Cluster::start(nodes);
    let mut client = Client::connect(cluster.address());
    let mut group = c.benchmark_group(group);
    let sets = PIPELINES.map(|commands| Exchange::new("SET", commands, |writer| writer.ok()));
    let gets =
        PIPELINES.map(|commands| Exchange::new("GET", commands, |writer| writer.bulk(&VALUE)));
    // A run may be filtered: the keys that are read are there all the same.
    sets.iter().for_each(|all| client.ask(&all.requests, &all.replies));
    for exchange in gets.iter().chain(&sets) {
        group.throughput(Throughput::Elements(exchange.commands));
        group.bench_function(&exchange.name, |b| {
            b.iter(|| client.ask(&exchange.requests, &exchange.replies));
        });
    }
    group.finish();
    cluster.stop();
}

fn one_node(c: &mut Criterion) {
    commands(c, "one node", 1);
}

fn three_nodes(c: &mut Criterion) {
    commands(c, "three nodes", 3);
}

/// Counts the bytes that were written.
#[derive(Debug, Default, Clone)]
struct Sum(u64);

impl Cut for Sum {
    fn write(self: Box<Self>, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        out.write_all(&self.0.to_le_bytes())
    }
}

impl StateMachine for Sum {
    type Command = Bytes;
    type Reply = u64;
    type Query = ();
    type Answer = u64;

    fn apply(&mut self, _at: Stamp, command: Bytes) -> u64 {
        self.0 += u64::try_from(command.len()).expect("a command fits into memory");
        self.0
    }

    fn query(&self, (): ()) -> u64 {
        self.0
    }

    fn snapshot(&self) -> Box<dyn Cut> {
        Box::new(self.clone())
    }

    fn restore(&mut self, from: &mut dyn std::io::Read) -> std::io::Result<()> {
        let mut number = [0; 8];
        from.read_exact(&mut number)?;
        self.0 = u64::from_le_bytes(number);
        Ok(())
    }

    fn digest(&self) -> [u8; 16] {
        u128::from(self.0).to_le_bytes()
    }
}

/// Nodes of the library, the primary first.
async fn embedded(dirs: &[TempDir]) -> Vec<Node<Sum>> {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for (id, dir) in (1..).zip(dirs) {
        let mut builder = Builder::new(Sum::default()).id(id).data_dir(dir.path());
        for (member, _dir) in (1_u64..).zip(dirs) {
            builder = builder.member(member, &member.to_string());
        }
        let node = builder.memory(&network).start().await;
        nodes.push(node.expect("a node starts in an empty directory"));
    }
    nodes
}

/// Writes at once, and waits until all are acknowledged.
async fn propose(node: &Node<Sum>, writes: u64) {
    if writes == 1 {
        node.propose(Bytes::from_static(&VALUE)).await.expect("the cluster is whole");
        return;
    }
    let mut waiting = JoinSet::new();
    for _ in 0..writes {
        let node = node.clone();
        waiting.spawn(async move { node.propose(Bytes::from_static(&VALUE)).await });
    }
    for receipt in waiting.join_all().await {
        receipt.expect("the cluster is whole");
    }
}

/// Writes of 100 bytes by a program that holds a node, without a socket.
fn library(c: &mut Criterion) {
    let (runtime, dirs) = (runtime(), dirs(3));
    let nodes = runtime.block_on(within("the start", embedded(&dirs)));
    let primary = nodes.first().expect("there are three");
    let serving = runtime.block_on(within("serving", primary.serving()));
    serving.expect("the primary runs");
    let mut group = c.benchmark_group("library, three nodes");
    for writes in PROPOSALS {
        group.throughput(Throughput::Elements(writes));
        group.bench_function(format!("propose, {writes} at once"), |b| {
            b.iter(|| runtime.block_on(within("the writes", propose(primary, writes))));
        });
    }
    group.finish();
    for node in nodes {
        runtime.block_on(within("the stop", node.shutdown())).expect("a node stops in order");
    }
}

/// Few samples: each of them waits for the disk many times.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = short();
    targets = one_node, three_nodes, library
}
criterion_main!(benches);
