//! Nothing that was acknowledged is lost, whoever is killed and whenever.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::kit::{Client, Cluster, Dice, Reply, newest, until, until_so};

/// Nodes are killed for this long.
const KILLING: Duration = Duration::from_secs(10);
/// And at least so often, however slow the machine is.
const KILLS_MIN: u32 = 5;
/// Writers beside each other.
const WRITERS: u16 = 3;

/// Writers that remember what was acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    tried: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Each of them writes keys of its own, each key once, at one node after the other.
    fn start(ports: &[u16]) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            tried: Arc::default(),
            acknowledged: Arc::default(),
            threads: Vec::new(),
        };
        for writer in 0..WRITERS {
            let (stop, tried) = (Arc::clone(&load.stop), Arc::clone(&load.tried));
            let (acknowledged, ports) = (Arc::clone(&load.acknowledged), ports.to_vec());
            load.threads.push(std::thread::spawn(move || {
                let mut turn = usize::from(writer);
                let mut client = None;
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let port = *ports.get(turn % ports.len()).expect("within");
                    number += 1;
                    let key = format!("w{writer}:{number}");
                    tried.fetch_add(1, Ordering::Relaxed);
                    if write(&mut client, port, &key) {
                        acknowledged.lock().expect("no writer fails").push(key);
                    } else {
                        turn += 1;
                        client = None;
                    }
                }
            }));
        }
        load
    }

    fn tried(&self) -> u64 {
        self.tried.load(Ordering::Relaxed)
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().expect("no writer fails").len()
    }

    /// Ends the writers; all keys that were acknowledged.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a writer takes whatever comes");
        }
        std::mem::take(&mut *self.acknowledged.lock().expect("no writer fails"))
    }
}

/// One write; whether it was acknowledged.
fn write(client: &mut Option<Client>, port: u16, key: &str) -> bool {
    if client.is_none() {
        *client = Client::try_connect(port).ok();
    }
    let Some(client) = client else { return false };
    client.try_call(&["SET", key, key]).is_ok_and(|reply| reply.is_ok())
}

/// Every key is there with its value, at every node.
#[track_caller]
fn all_there(cluster: &Cluster, keys: &[String]) {
    for node in cluster.all() {
        let mut client = cluster.client(node);
        for some in keys.chunks(500) {
            let words: Vec<&str> =
                std::iter::once("MGET").chain(some.iter().map(String::as_str)).collect();
            let Reply::Array(values) = client.call(&words) else { panic!("MGET answers a list") };
            assert_eq!(values.len(), some.len());
            for (key, value) in some.iter().zip(values) {
                assert_eq!(value.text(), *key, "{key} was acknowledged, node {node} lost it");
            }
        }
    }
}

/// What a power failure in the middle of a write that nobody heard of leaves behind the log's
/// end: some sectors with anything in them.
fn tear(data: &Path, dice: &mut Dice) {
    let Some((path, end)) = newest(data) else { return };
    let mut bytes = std::fs::read(&path).expect("readable");
    let from = end.next_multiple_of(512);
    let length = usize::try_from(dice.below(3 * 512)).expect("small");
    for byte in bytes.iter_mut().skip(from).take(length) {
        *byte = u8::try_from(dice.below(256)).expect("a byte");
    }
    std::fs::write(&path, bytes).expect("written");
}

fn seed() -> u64 {
    let given = std::env::var("ANTIPHON_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let now = || std::time::UNIX_EPOCH.elapsed().expect("after 1970").subsec_nanos().into();
    given.unwrap_or_else(now)
}

/// Kills nodes at random and starts them again, under load. The cluster goes on after each.
#[track_caller]
fn check(settings: &[&str]) {
    let seed = seed();
    println!("ANTIPHON_TEST_SEED={seed}");
    let mut dice = Dice::new(seed);
    let settings: Vec<&str> = settings.iter().chain(&["resp.policy_timeout=1s"]).copied().collect();
    let mut cluster = Cluster::start(3, &settings);
    let ports: Vec<u16> = cluster.all().map(|node| cluster.resp(node)).collect();
    let load = Load::start(&ports);
    let begun = Instant::now();
    let mut kills = 0;
    while begun.elapsed() < KILLING || kills < KILLS_MIN {
        let first = 1 + u16::try_from(dice.below(3)).expect("small");
        let also = (dice.below(3) == 0).then_some(1 + first % 3);
        let victims: Vec<u16> = std::iter::once(first).chain(also).collect();
        for victim in &victims {
            cluster.kill(*victim);
            kills += 1;
        }
        let (tried, more) = (load.tried(), dice.below(40));
        until("clients to see it", || (load.tried() >= tried + more).then_some(()));
        for victim in &victims {
            if dice.below(2) == 0 {
                tear(&cluster.data(*victim), &mut dice);
            }
            cluster.launch(*victim);
        }
        let (had, more) = (load.acknowledged(), usize::try_from(dice.below(200)).expect("small"));
        until("writes to be acknowledged again", || {
            (load.acknowledged() > had + more).then_some(())
        });
    }
    let keys = load.end();
    println!("{kills} kills, {} writes acknowledged", keys.len());
    cluster.level();
    all_there(&cluster, &keys);
}

#[test]
fn nodes_of_a_star_are_killed_at_random() {
    check(&["cluster.shape=star"]);
}

#[test]
fn nodes_of_a_chain_are_killed_at_random() {
    check(&["cluster.shape=chain"]);
}

#[test]
fn nodes_that_write_snapshots_are_killed_at_random() {
    check(&["log.snapshot_entries=50"]);
}

#[test]
fn all_nodes_at_once() {
    let mut cluster = Cluster::start(3, &[]);
    let ports: Vec<u16> = cluster.all().map(|node| cluster.resp(node)).collect();
    let load = Load::start(&ports);
    until("some writes", || (load.acknowledged() > 300).then_some(()));
    for node in cluster.all() {
        cluster.kill(node);
    }
    let keys = load.end();
    for node in cluster.all() {
        cluster.launch(node);
    }
    cluster.serves();
    cluster.level();
    all_there(&cluster, &keys);
}

#[test]
fn a_stop_under_load_ends_connections_between_replies() {
    let mut cluster = Cluster::start(3, &[]);
    let load = Load::start(&[cluster.resp(1)]);
    until("some writes", || (load.acknowledged() > 300).then_some(()));
    let mut silent = cluster.client(1);
    cluster.stop(1);
    assert_eq!(silent.rest(), "", "whoever asked nothing is told nothing");
    let keys = load.end();
    cluster.launch(1);
    cluster.serves();
    cluster.level();
    all_there(&cluster, &keys);
}

/// A ticket or token, after a reply or from the connection.
fn token(client: &mut Client) -> String {
    client.call(&["XTOKEN"]).text()
}

#[test]
fn what_only_the_primary_had_may_go_with_its_disk_and_its_fate_is_told() {
    let mut cluster = Cluster::start(3, &[]);
    let mut client = cluster.client(1);
    assert!(client.call(&["SET", "safe", "1"]).is_ok());
    let safe = token(&mut client);
    cluster.level();
    for replica in [2, 3] {
        cluster.node(replica).pause();
    }
    let reply = client.call(&["XWITH", "local", "SET", "risky", "1"]);
    assert!(reply.is_ok(), "{reply:?}");
    let risky = token(&mut client);
    assert_eq!(client.call(&["XFATE", &risky]).text(), "pending");
    // The machine burns; what was on its way to the others does not come to their disks.
    for node in cluster.all() {
        cluster.kill(node);
    }
    std::fs::remove_dir_all(cluster.data(1)).expect("removed");
    for node in cluster.all() {
        cluster.launch(node);
    }
    cluster.serves();
    cluster.level();
    let mut client = cluster.client(1);
    assert_eq!(client.get("safe").as_deref(), Some("1"));
    assert_eq!(client.call(&["XFATE", &safe]).text(), "stable");
    assert_eq!(client.get("risky"), None);
    assert_eq!(client.call(&["XFATE", &risky]).text(), "lost");
}

#[test]
fn what_only_the_primary_had_comes_back_with_it() {
    let mut cluster = Cluster::start(3, &[]);
    for replica in [2, 3] {
        cluster.node(replica).pause();
    }
    let mut client = cluster.client(1);
    assert!(client.call(&["XWITH", "local", "SET", "risky", "1"]).is_ok());
    let risky = token(&mut client);
    cluster.kill(1);
    for replica in [2, 3] {
        cluster.node(replica).signal(Signal::CONT);
    }
    cluster.launch(1);
    cluster.serves();
    let mut client = cluster.client(1);
    assert_eq!(client.get("risky").as_deref(), Some("1"));
    assert_eq!(client.call(&["XFATE", &risky]).text(), "stable");
}

#[test]
fn all_means_every_disk() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let mut client = cluster.client(1);
    let reply = client.call(&["XWITH", "all", "SET", "k", "v"]);
    assert!(reply.is_ok(), "{reply:?}");
    let token = token(&mut client);
    let lsn: u64 = token.rsplit('-').next().and_then(|lsn| lsn.parse().ok()).expect("a token");
    cluster.kill(3);
    until_so("its absence to be seen", || cluster.status(1)["replicas"][1]["connected"] == false);
    let reply = client.call(&["XWITH", "all", "SET", "k", "w"]);
    assert!(reply.is_error("NOREPLICAS"), "{reply:?}");
    assert!(client.call(&["SET", "k", "w"]).is_ok(), "a majority is there");
    // What it has on disk is what it has when it comes back alone.
    cluster.kill(1);
    cluster.kill(2);
    cluster.launch(3);
    let durable = cluster.status(3)["durable"].as_u64().expect("a position");
    assert!(durable >= lsn, "entry {lsn} was acknowledged by all, node 3 has {durable}");
}
