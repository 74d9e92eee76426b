//! Damage that is found while a node runs, in real files under real processes.

use crate::kit::{Cluster, flip, get, until_so};

const KEYS: usize = 400;

/// More than one segment's worth of keys, in the order of their numbers.
#[track_caller]
fn fill(cluster: &Cluster) {
    let mut client = cluster.client(1);
    for number in 0..KEYS {
        let reply = client.call(&["SET", &format!("fill:{number}"), &value(number)]);
        assert!(reply.is_ok(), "{reply:?}");
    }
}

fn value(number: usize) -> String {
    format!("{number:05}").repeat(1_000)
}

/// A cluster whose node 3 was away while the others wrote several segments, and whose node
/// `parent` holds nothing of them in memory, with one byte of them wrong on its disk.
fn damaged_under(parent: u16, settings: &[&str]) -> Cluster {
    let mut cluster = Cluster::start(3, settings);
    cluster.level();
    cluster.stop(3);
    fill(&cluster);
    cluster.stop(parent);
    cluster.launch(parent);
    cluster.serves();
    let path = cluster.data(parent).join("log/0000000000000001.log");
    let bytes = std::fs::read(&path).expect("the first segment");
    let place = value(KEYS / 8);
    let at = bytes.windows(place.len()).position(|window| window == place.as_bytes());
    flip(&path, at.expect("it is in the first segment") + place.len() / 2);
    cluster
}

/// The node notices when the late one asks, fetches the entries from the third, and goes on.
#[track_caller]
fn check_mended(parent: u16, settings: &[&str]) {
    let mut cluster = damaged_under(parent, settings);
    // The page follows the node a moment later: before, it tells of the epoch that was.
    until_so("the status to tell of this run", || cluster.status(parent)["serving"] == true);
    let (pid, epoch) = (cluster.node(parent).pid(), cluster.status(parent)["epoch"].clone());
    let path = cluster.data(parent).join("log/0000000000000001.log");
    let damaged = std::fs::read(&path).expect("the first segment");
    cluster.launch(3);
    cluster.node(parent).says("fetching what can't be read from another node");
    cluster.node(parent).says("mended the log");
    cluster.level();
    let mut client = cluster.client(3);
    for number in 0..KEYS {
        assert_eq!(client.get(&format!("fill:{number}")), Some(value(number)), "key {number}");
    }
    until_so("the status to tell of it", || {
        let status = cluster.status(parent);
        status["damage"].is_null() && status["damage_mended"] == 1 && status["damage_found"] == 1
    });
    let now = cluster.status(parent)["epoch"].clone();
    assert_eq!((cluster.node(parent).pid(), now), (pid, epoch), "it went on");
    let mended = std::fs::read(&path).expect("the first segment");
    let differ = damaged.iter().zip(&mended).filter(|(old, new)| old != new).count();
    assert_eq!(differ, 1, "what was good is as it was");
    // Nothing is left of it at the next start.
    cluster.stop(parent);
    cluster.launch(parent);
    cluster.serves();
    cluster.level();
    assert!(!cluster.node(parent).log().contains("is damaged at byte"));
}

#[test]
fn a_primary_mends_what_it_finds_for_a_late_replica() {
    check_mended(1, &[]);
}

#[test]
fn a_replica_mends_what_it_finds_for_a_late_child() {
    check_mended(2, &["cluster.shape=chain"]);
}

#[test]
fn what_nobody_can_give_is_waited_for() {
    let mut cluster = damaged_under(1, &[]);
    cluster.stop(2);
    cluster.launch(3);
    cluster.node(1).says("no other node could give the entries; asking again");
    until_so("the status to name the file", || {
        let open = &cluster.status(1)["damage"];
        open.as_str().is_some_and(|text| text.contains("0000000000000001.log"))
    });
    let page = get(cluster.http(1), "/metrics").expect("a page").1;
    assert!(page.contains("antiphon_log_damaged 1"), "{page}");
    cluster.launch(2);
    until_so("the damage to be mended", || cluster.status(1)["damage"].is_null());
    cluster.level();
}
