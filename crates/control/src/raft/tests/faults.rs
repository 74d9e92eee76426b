//! Disks that fail and messages that are wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use antiphon_proto::NodeId;
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::impls::EmptyNode;
use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};

use super::{Cluster, TIMING, Wire, advance, eventually, next_epoch};
use crate::raft::calls::{Frame, HEAD_BYTES};
use crate::raft::codec::WireEntry;
use crate::raft::message::{
    Append, Nothing, Reply, Request, Why, decode_reply, decode_request, encode_request,
};
use crate::raft::types::{Entry, LeaderId, LogId, Membership, Vote};
use crate::raft::{RaftRegister, StorageError};
use crate::{
    ClusterUuid, Command, ConfigRegister as _, RegisterError, RegisterWatch as _, Role, Version,
};

/// A disk that fails on demand.
#[derive(Debug, Clone)]
struct Disk {
    memory: Arc<InMemoryBackend>,
    fails: Arc<AtomicBool>,
}

impl Disk {
    fn new() -> Self {
        Self { memory: Arc::new(InMemoryBackend::new()), fails: Arc::default() }
    }

    fn check(&self) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("planted"));
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.memory.write(offset, data)
    }
}

async fn on(cluster: &Cluster, node: u64, disk: Disk) -> Result<RaftRegister, StorageError> {
    let me = NodeId::new(node);
    let database = Database::builder().create_with_backend(disk);
    let database = database.map_err(|error| StorageError::File(error.to_string()))?;
    let wire = Arc::new(Wire { me, network: cluster.network.clone() });
    let register = RaftRegister::start(me, TIMING, database, wire).await;
    let register = register.map_err(|error| StorageError::File(error.to_string()))?;
    cluster.network.lock().nodes.insert(me, register.clone());
    Ok(register)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_stops_its_register_and_no_other() {
    let cluster = Cluster::of(2, TIMING).await;
    let disk = Disk::new();
    let broken = on(&cluster, 3, disk.clone()).await.expect("a good disk so far");
    broken.join(&[NodeId::new(1)]).await.expect("joined");
    cluster.set_role(3, Role::Voter).await;
    let version = advance(&broken, "before").await;
    let mut watch = broken.watch(version).expect("kept");
    disk.fails.store(true, Ordering::SeqCst);
    // The others are a majority; the third learns of the write and cannot keep it.
    let after = advance(&cluster.get(1), "after").await;
    eventually("it has stopped", || broken.status().stopped.is_some()).await;
    let refused = broken.swap(next_epoch(after, 9, "broken")).await;
    let Err(RegisterError::Stopped(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("planted"), "{why}");
    assert!(matches!(broken.read(&[super::key()]).await, Err(RegisterError::Stopped(_))));
    let told = loop {
        match watch.next().await {
            Ok(change) => assert!(change.version > version, "in order"),
            Err(error) => break error,
        }
    };
    assert!(matches!(told, RegisterError::Stopped(_)));
    let later = advance(&cluster.get(2), "without it").await;
    assert!(later > after);
    // Once its disk is good again, it goes on from what was durable.
    cluster.network.lock().nodes.remove(&NodeId::new(3));
    drop(broken.shutdown().await);
    drop((broken, watch));
    disk.fails.store(false, Ordering::SeqCst);
    on(&cluster, 3, disk).await.expect("what was durable is whole");
    cluster.converged(later).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_belongs_to_one_node() {
    let cluster = Cluster::of_one(TIMING).await;
    cluster.stop(1).await;
    let database = Database::create(cluster.file(1)).expect("the file");
    let opened = crate::raft::storage::LogStore::open(database, NodeId::new(2));
    let error = opened.map(|_| ()).expect_err("another node's");
    assert!(error.to_string().contains("belongs to node 1"), "{error}");
}

#[test]
fn a_frame_is_whole_or_refused() {
    let body = Bytes::from_static(b"body");
    let frame = Frame { is_reply: true, call: 7, cluster: ClusterUuid::new(0xC1), body };
    let bytes = frame.encode();
    assert_eq!(bytes.len(), HEAD_BYTES + 4);
    assert_eq!(Frame::decode(&bytes), Ok(frame));
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1;
        assert!(Frame::decode(&damaged.into()).is_err(), "byte {at}");
        assert!(Frame::decode(&bytes.slice(..at)).is_err(), "cut at {at}");
    }
}

/// The bytes of the page's block with this name: hexadecimal digits, with remarks behind bars.
fn golden(name: &str) -> Vec<u8> {
    let page = include_str!("../../../../../docs/format.md");
    let (_, block) = page.split_once(&format!("```hex {name}\n")).expect("a block of this name");
    let (block, _) = block.split_once("```").expect("the block ends");
    let hex = block.lines().filter_map(|line| line.split('|').next());
    let digits: Vec<_> = hex.flat_map(str::chars).filter_map(|digit| digit.to_digit(16)).collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit));
    pairs.map(|byte| u8::try_from(byte).expect("two digits are a byte")).collect()
}

#[test]
fn a_message_has_these_bytes() {
    let leader = LeaderId { term: 3, node_id: 2 };
    let id = |index| LogId::new(leader, index);
    let nodes = BTreeMap::from([1, 2, 4].map(|node| (node, EmptyNode::new())));
    let members = Membership::new(vec![BTreeSet::from([1, 2])], nodes).expect("voters are nodes");
    let entry = |index, payload| WireEntry::from(&Entry { log_id: id(index), payload });
    let append = Append {
        vote: (&Vote::new_committed(3, 2)).into(),
        before: Some((&id(6)).into()),
        entries: vec![
            entry(7, EntryPayload::Blank),
            entry(8, EntryPayload::Membership(members)),
            entry(9, EntryPayload::Normal(Command::default())),
        ],
        committed: Some((&id(5)).into()),
    };
    let body = Bytes::from(encode_request(Request::Append(append.clone())));
    let frame = Frame { is_reply: false, call: 7, cluster: ClusterUuid::new(0xC1), body };
    let shown = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
    assert_eq!(shown(&frame.encode()), shown(&golden("register message")));
    let read = Frame::decode(&Bytes::from(golden("register message"))).expect("golden");
    assert_eq!(decode_request(&read.body), Ok(Request::Append(append)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_refused() {
    let cluster = Cluster::of_one(TIMING).await;
    let register = cluster.get(1);
    register.receive(NodeId::new(9), &Bytes::from_static(b"noise"));
    let other = ClusterUuid::new(0xBAD);
    let mine = register.cluster().expect("founded");
    let none = ClusterUuid::default();
    let ask = async |cluster, body: Vec<u8>| {
        let frame = Frame { is_reply: false, call: 1, cluster, body: body.into() };
        let reply = register.shared.handle(NodeId::new(9), &frame).await;
        assert!(matches!(reply, Reply::ReadAt(_) | Reply::Refused(_)), "{reply:?}");
        if let Reply::Refused(refused) = reply { Some(refused.why()) } else { None }
    };
    let read = || encode_request(Request::ReadAt(Nothing {}));
    assert_eq!(ask(other, read()).await, Some(Why::OtherCluster));
    assert_eq!(ask(none, read()).await, Some(Why::OtherCluster));
    assert_eq!(ask(mine, b"noise".to_vec()).await, Some(Why::Malformed));
    assert_eq!(ask(mine, encode_request(Request::Swap(vec![1]))).await, Some(Why::Malformed));
    assert_eq!(ask(mine, vec![]).await, Some(Why::Malformed));
    assert_eq!(ask(mine, read()).await, None);
    assert!(decode_reply(b"noise").is_err());
    assert_eq!(register.machine().version(), Version::new(1));
    cluster.shutdown().await;
}
