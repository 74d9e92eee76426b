//! What happens to a data directory: taken, foreign, newer, full, read-only, damaged, failing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use antiphon_proto::crc32c;
use rustix::process::Signal;

use crate::expect;
use crate::kit::{Client, Cluster, Dice, failed, flip, get, is_installed, newest, until, until_so};

/// Writes keys one after the other, each answered before the next: each is a group on disk.
#[track_caller]
fn fill(cluster: &Cluster, count: usize) {
    let mut client = cluster.client(1);
    for number in 0..count {
        let reply = client.call(&["SET", &format!("fill:{number}"), &"x".repeat(300)]);
        assert!(reply.is_ok(), "{reply:?}");
    }
}

#[test]
fn a_directory_belongs_to_one_process() {
    let mut cluster = Cluster::start(1, &[]);
    let said = cluster.refused(1, "X0301");
    let data = cluster.data(1);
    let pid = cluster.node(1).pid();
    assert!(said.contains(&format!("{} is in use by process {pid}", data.display())), "{said}");
    assert!(cluster.client(1).call(&["SET", "k", "v"]).is_ok());
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let mut cluster = Cluster::start(2, &["peer.transport=quic"]);
    fill(&cluster, 1);
    cluster.stop(1);
    cluster.stop(2);
    let before = files(&cluster.data(2));
    cluster.set(&format!("node.data_dir={}", cluster.data(2).display()));
    let said = cluster.refused(1, "X0302");
    assert!(said.contains("belongs to node 2, not to node 1"), "{said}");
    // Links in memory ask for no certificate, so only the directory tells that it is another's.
    cluster.set("cluster.name=bakery");
    cluster.set("peer.transport=memory");
    let said = cluster.refused(2, "X0302");
    assert!(said.contains("belongs to cluster \"shop\", not to \"bakery\""), "{said}");
    assert_eq!(files(&cluster.data(2)), before, "nothing was changed in it");
}

/// Every file in a directory and below with its content, but for what says who has it open.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("it is there") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name() != Some("lock".as_ref()) {
            let bytes = std::fs::read(&path).expect("readable");
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

#[test]
fn a_directory_of_a_newer_version_is_refused() {
    let mut cluster = Cluster::start(1, &[]);
    cluster.stop(1);
    let path = cluster.data(1).join("superblock");
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[10] = 9;
    let sum = crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&path, bytes).expect("written");
    let said = cluster.refused(1, "X0303");
    assert!(said.contains("format version 9, this build reads up to 1"), "{said}");
}

#[test]
fn a_damaged_superblock_is_refused() {
    let mut cluster = Cluster::start(1, &[]);
    cluster.stop(1);
    let path = cluster.data(1).join("superblock");
    flip(&path, 40);
    let said = cluster.refused(1, "X0307");
    assert!(said.contains(&format!("{} is damaged", path.display())), "{said}");
}

/// One byte in the middle of a node's log is wrong: it says so, sets what it can't trust aside,
/// and fetches that again.
#[track_caller]
fn check_damage(node: u16) {
    let mut cluster = Cluster::start(3, &[]);
    fill(&cluster, 200);
    cluster.level();
    cluster.kill(node);
    let (path, end) = newest(&cluster.data(node)).expect("it has entries");
    flip(&path, end / 2);
    cluster.launch(node);
    let process = cluster.node(node);
    process.says(&format!("{} is damaged at byte ", path.display()));
    process.says("setting entries aside, other nodes have them");
    cluster.serves();
    cluster.level();
    let aside = cluster.data(node).join("diverged/0000000000");
    let kept = std::fs::read_dir(aside).expect("what was readable is kept").count();
    assert_eq!(kept, 1);
    let mut client = cluster.client(node);
    for number in 0..200 {
        let value = client.get(&format!("fill:{number}"));
        assert_eq!(value.map(|value| value.len()), Some(300), "write {number}");
    }
    // It is a full member again: with one of the others it is a majority.
    cluster.stop(2);
    assert!(cluster.client(1).call(&["SET", "k", "v"]).is_ok());
}

#[test]
fn damage_in_the_middle_of_a_replica_is_named_and_healed() {
    check_damage(3);
}

#[test]
fn damage_in_the_middle_of_the_primary_is_named_and_healed() {
    check_damage(1);
}

#[test]
fn damage_at_the_end_is_fetched_again() {
    let mut cluster = Cluster::start(3, &[]);
    fill(&cluster, 200);
    cluster.level();
    cluster.stop(3);
    let (path, end) = newest(&cluster.data(3)).expect("it has entries");
    flip(&path, end - 20);
    cluster.launch(3);
    cluster.node(3).says(&format!("{} is damaged at byte ", path.display()));
    cluster.level();
    assert_eq!(cluster.client(3).get("fill:199").map(|value| value.len()), Some(300));
    // Now it must do as a member of a majority.
    cluster.kill(2);
    assert!(cluster.client(1).call(&["SET", "k", "v"]).is_ok());
}

#[test]
fn a_write_that_was_never_finished_is_cut() {
    let mut cluster = Cluster::start(3, &[]);
    fill(&cluster, 50);
    cluster.level();
    cluster.kill(3);
    let (path, end) = newest(&cluster.data(3)).expect("it has entries");
    // What a power failure in the middle of a write leaves: a sector with something in it.
    let mut bytes = std::fs::read(&path).expect("readable");
    let sector = end.next_multiple_of(512);
    bytes[sector..sector + 100].fill(0x5a);
    std::fs::write(&path, bytes).expect("written");
    cluster.launch(3);
    cluster.level();
    fill(&cluster, 50);
    cluster.level();
}

/// A replica comes back with other files than it went with, and is a full member again later.
#[track_caller]
fn check_replaced(replace: impl FnOnce(&Cluster)) {
    let mut cluster = Cluster::start(3, &[]);
    fill(&cluster, 20);
    cluster.level();
    cluster.stop(3);
    copy(&cluster.data(3), &cluster.path("image"));
    cluster.launch(3);
    fill(&cluster, 100);
    cluster.level();
    cluster.kill(3);
    std::fs::remove_dir_all(cluster.data(3)).expect("removed");
    replace(&cluster);
    cluster.launch(3);
    cluster.level();
    assert_eq!(cluster.client(3).get("fill:99").map(|value| value.len()), Some(300));
    cluster.stop(2);
    assert!(cluster.client(1).call(&["SET", "k", "v"]).is_ok());
}

#[test]
fn a_replica_with_an_empty_disk_is_filled() {
    check_replaced(|_| {});
}

#[test]
fn a_replica_with_an_older_image_of_its_disk_catches_up() {
    check_replaced(|cluster| copy(&cluster.path("image"), &cluster.data(3)));
}

/// Starts 1 and 2 and looks at what node 1 says of its waiting, everywhere the same.
#[track_caller]
fn check_waits(cluster: &mut Cluster, words: &str) {
    for node in [1, 2] {
        cluster.launch(node);
    }
    cluster.node(1).says(words);
    until_so("the page to say it", || {
        cluster.status(1).get("waiting").is_some_and(|said| said == words)
    });
    let ready = get(cluster.http(1), "/readyz").expect("the page");
    assert_eq!(ready, (503, format!("not ready: {words}\n")));
    let address = format!("127.0.0.1:{}", cluster.http(1));
    let shown = expect(3, &["status", "--address", &address]);
    assert!(shown.contains(&format!("! node 1: {words}\n")), "{shown}");
    let refused = cluster.client(1).call(&["SET", "k", "v"]);
    assert!(refused.is_error("LOADING"), "{refused:?}");
}

#[test]
fn a_first_start_waits_for_every_node_and_says_so() {
    let mut cluster = Cluster::new(3, &[]);
    check_waits(&mut cluster, "first start, waiting for node 3 to be seen once");
    cluster.launch(3);
    cluster.serves();
    cluster.level();
    assert_eq!(cluster.status(1)["waiting"], serde_json::Value::Null);
}

#[test]
fn an_emptied_replica_does_not_make_a_majority() {
    let mut cluster = Cluster::start(3, &[]);
    fill(&cluster, 20);
    cluster.level();
    for node in cluster.all() {
        cluster.kill(node);
    }
    std::fs::remove_dir_all(cluster.data(2)).expect("removed");
    let words = "waiting for voters whose logs count: node 2 (disk is new), node 3 (unreachable)";
    check_waits(&mut cluster, words);
    cluster.launch(3);
    cluster.serves();
    cluster.level();
    // Now it counts again.
    for node in cluster.all() {
        cluster.kill(node);
    }
    cluster.launch(1);
    cluster.launch(2);
    cluster.serves();
    assert_eq!(cluster.client(2).get("fill:19").map(|value| value.len()), Some(300));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("made");
    for (path, bytes) in files(from) {
        let place = to.join(path.strip_prefix(from).expect("listed below it"));
        std::fs::create_dir_all(place.parent().expect("in a directory")).expect("made");
        std::fs::write(place, bytes).expect("written");
    }
}

/// A file system of its own in memory, gone with this value. None where that is not allowed.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&at).expect("made");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&at);
        let output = command.output().expect("mount is installed");
        output.status.success().then_some(Self(at))
    }

    #[track_caller]
    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let output = Command::new("mount").args(["-o", &options]).arg(&self.0).output();
        let output = output.expect("mount is installed");
        assert!(output.status.success(), "{}", crate::text(&output.stderr));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let output = Command::new("umount").arg("-l").arg(&self.0).output();
        let done = output.is_ok_and(|output| output.status.success());
        assert!(done || std::thread::panicking(), "{} stays mounted", self.0.display());
    }
}

#[test]
fn a_full_disk_stops_its_node_alone_until_there_is_room() {
    let cluster = Cluster::new(3, &[]);
    let Some(small) = Mounted::new(cluster.data(3), "6m") else {
        println!("left out: this user cannot mount a file system");
        return;
    };
    let mut cluster = cluster;
    for node in cluster.all() {
        cluster.launch(node);
    }
    cluster.serves();
    let mut client = cluster.client(1);
    let value = "x".repeat(50_000);
    until("the disk to be full", || {
        let reply = client.call(&["SET", "k", &value]);
        assert!(reply.is_ok(), "two of three have room: {reply:?}");
        (!cluster.node(3).is_running()).then_some(())
    });
    let said = failed(cluster.take(3), "X0306");
    assert!(said.contains("no space left for ") && said.contains("free space"), "{said}");
    small.remount("size=64m");
    cluster.launch(3);
    cluster.level();
    cluster.stop(3);
    small.remount("ro");
    let said = cluster.refused(3, "X0305");
    assert!(said.contains("cannot be written") && said.contains("Mount it writable"), "{said}");
    small.remount("rw");
    cluster.launch(3);
    cluster.level();
    cluster.stop(3);
}

/// A node whose syncs go as `inject` says. None where programs can't be traced.
fn with_syncs(cluster: &Cluster, node: u16, inject: &str) -> Option<Command> {
    if !is_installed("strace", &["-o", "/dev/null", "true"]) {
        return None;
    }
    let own = cluster.command(node);
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", "trace=fdatasync"]);
    command.args(["-e", &format!("inject=fdatasync:{inject}")]);
    command.arg(own.get_program()).args(own.get_args());
    Some(command)
}

/// A write that needs one of `slow` to have it on disk is not acknowledged before it has.
#[track_caller]
fn check_slow(slow: &[u16], policy: &str) {
    const SYNC: Duration = Duration::from_millis(200);
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    for node in slow {
        cluster.stop(*node);
        let inject = format!("delay_enter={}", SYNC.as_micros());
        let Some(command) = with_syncs(&cluster, *node, &inject) else { return };
        cluster.launch_as(*node, command);
    }
    cluster.serves();
    cluster.level();
    let mut client = cluster.client(1);
    for number in 0..3 {
        let begun = Instant::now();
        let reply = client.call(&["XWITH", policy, "SET", "k", &number.to_string()]);
        assert!(reply.is_ok(), "{reply:?}");
        let took = begun.elapsed();
        assert!(took >= SYNC, "acknowledged after {took:?}, a sync takes {SYNC:?}");
    }
}

#[test]
fn nothing_is_acknowledged_before_the_primary_has_synced_it() {
    check_slow(&[1], "local");
}

#[test]
fn nothing_is_acknowledged_before_a_majority_has_synced_it() {
    check_slow(&[2, 3], "floor");
}

#[test]
fn all_waits_for_the_slowest() {
    check_slow(&[2], "all");
}

/// The node with the failing disk stops and says why; with a sound disk nothing is missing.
#[track_caller]
fn check_failing(node: u16, when: u32) {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    cluster.stop(node);
    let Some(command) = with_syncs(&cluster, node, &format!("error=EIO:when={when}")) else {
        return;
    };
    cluster.launch_as(node, command);
    cluster.serves();
    let mut acknowledged = Vec::new();
    let mut client = cluster.client(1);
    until("the disk to fail", || {
        let key = format!("k{}", acknowledged.len());
        match client.try_call(&["SET", &key, &key]) {
            Ok(reply) if reply.is_ok() => acknowledged.push(key),
            Ok(_) | Err(_) => {}
        }
        (!cluster.node(node).is_running()).then_some(())
    });
    let said = failed(cluster.take(node), "X0309");
    assert!(said.contains("durable: Input/output error"), "{said}");
    assert!(said.contains("the store has stopped, check the device"), "{said}");
    cluster.launch(node);
    cluster.serves();
    cluster.level();
    for node in cluster.all() {
        let mut client = cluster.client(node);
        for key in &acknowledged {
            assert_eq!(client.get(key).as_deref(), Some(key.as_str()), "at node {node}");
        }
    }
}

#[test]
fn a_sync_that_fails_stops_a_replica() {
    check_failing(3, 6);
}

#[test]
fn a_sync_that_fails_stops_the_primary() {
    check_failing(1, 12);
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    for replica in [2, 3] {
        cluster.node(replica).pause();
    }
    // Not held by the replicas, so a stop in order would wait for them.
    let mut client = cluster.client(1);
    client.send(&["SET", "k", "v"]).expect("sent");
    until_so("the write to be on its way", || {
        let page = cluster.status(1);
        page["last"] != page["stable"]
    });
    let process = cluster.take(1);
    process.signal(Signal::INT);
    process.says("stopping; once more to stop at once");
    process.signal(Signal::INT);
    failed(process, "X0404");
    for replica in [2, 3] {
        cluster.node(replica).signal(Signal::CONT);
    }
    cluster.launch(1);
    cluster.serves();
    cluster.level();
}

#[test]
fn a_signal_at_any_moment_of_the_start_is_a_stop_in_order() {
    let mut cluster = Cluster::new(1, &[]);
    let mut dice = Dice::new(3);
    for _ in 0..30 {
        cluster.launch(1);
        let mut process = cluster.take(1);
        // From the directory's lock on it hears signals; some of them come while it opens.
        let lock = cluster.data(1).join("lock");
        until_so("its directory", || lock.exists());
        for _ in 0..dice.below(2_000) {
            std::thread::yield_now();
        }
        process.signal(if dice.below(2) == 0 { Signal::TERM } else { Signal::HUP });
        process.signal(Signal::INT);
        let status = process.ended();
        let at_once = process.log().contains("stopped at once");
        assert!(status.success() || at_once, "{status}: {}", process.log());
        std::fs::remove_file(lock).expect("nobody has it any more");
    }
    cluster.launch(1);
    cluster.serves();
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_with_the_nearest() {
    let cluster = Cluster::new(1, &[]);
    let text = std::fs::read_to_string(cluster.config(1)).expect("readable");
    let wrong = text.replace("segment_bytes", "segment_byte");
    std::fs::write(cluster.config(1), wrong).expect("written");
    let said = cluster.refused(1, "X0101");
    assert!(said.contains("did you mean `log.segment_bytes`"), "{said}");
    assert!(!cluster.data(1).exists(), "nothing was begun");
}

#[test]
fn a_port_in_use_is_named_with_its_key() {
    let cluster = Cluster::new(1, &[]);
    for (port, key, error) in
        [(cluster.resp(1), "resp.listen", "X0201"), (cluster.http(1), "http.listen", "X0202")]
    {
        let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it was free");
        let said = cluster.refused(1, error);
        assert!(said.contains(&format!("127.0.0.1:{port}: Address already in use")), "{said}");
        assert!(said.contains(key), "{said}");
        drop(taken);
    }
    let mut cluster = cluster;
    cluster.launch(1);
    cluster.serves();
    assert!(Client::connect(cluster.resp(1)).call(&["SET", "k", "v"]).is_ok());
}
