//! Who is let in as another node, and who is not.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use antiphon_net::certs::{self, IssueRequest};
use antiphon_proto::NodeId;
use rustix::process::Signal;

use crate::kit::{Cluster, Dice, until, until_so};
use crate::text;

fn authority(dir: &Path, cluster: &str) {
    certs::init_ca(dir, cluster, false).expect("an authority");
    certs::issue(dir, &IssueRequest::new(NodeId::new(3)), false).expect("a certificate");
}

/// Node 3 with files out of `dir` in the place of its own.
fn with_files(cluster: &Cluster, dir: &Path, keys: &[&str]) -> Command {
    let mut command = cluster.command(3);
    for key in keys {
        let file = match *key {
            "ca" => "ca.pem",
            "cert" => "node-3.pem",
            _ => "node-3.key",
        };
        command.args(["--set", &format!("peer.{key}={}", dir.join(file).display())]);
    }
    command
}

/// Nodes 1 and 2, which serve without node 3. It was seen once, and has an empty directory.
#[track_caller]
fn two(cluster: &mut Cluster) {
    for node in cluster.all() {
        cluster.launch(node);
    }
    cluster.serves();
    cluster.level();
    cluster.stop(3);
    std::fs::remove_dir_all(cluster.data(3)).expect("removed");
}

/// Node 1 sees nothing of node 3, which was linked to it before.
#[track_caller]
fn is_away(cluster: &Cluster) {
    let linked = || cluster.status(1)["replicas"][1]["connected"].clone();
    until_so("node 3 to be away", || linked() == false);
}

/// Node 3 runs with files of an authority of its own, believing in `authorities`: it is not let
/// in, and each side says what it can know.
#[track_caller]
fn check_stranger(authorities: &[&str], node_3: &str, node_1: &str) {
    let mut cluster = Cluster::new(3, &[]);
    two(&mut cluster);
    let dir = cluster.path("other");
    authority(&dir, "shop");
    let believed: Vec<String> = authorities
        .iter()
        .map(|file| std::fs::read_to_string(cluster.path(file)).expect("an authority"))
        .collect();
    std::fs::write(cluster.path("believed.pem"), believed.concat()).expect("written");
    let mut command = with_files(&cluster, &dir, &["cert", "key"]);
    let believed = cluster.path("believed.pem");
    command.args(["--set", &format!("peer.ca={}", believed.display())]);
    cluster.launch_as(3, command);
    cluster.node(3).says(node_3);
    cluster.node(1).says(node_1);
    is_away(&cluster);
    assert_eq!(cluster.status(3)["last"], 0, "it has nothing of the cluster's");
    assert!(cluster.client(1).call(&["SET", "k", "v"]).is_ok());
}

#[test]
fn a_cluster_of_another_authority_is_refused() {
    let refused = "the certificate is signed by an authority that is not ours";
    check_stranger(&["other/ca.pem"], refused, "refused a connection");
}

#[test]
fn a_node_with_a_certificate_of_another_authority_is_refused() {
    let refused = "the certificate is signed by an authority that is not ours";
    check_stranger(&["other/ca.pem", "certs/ca.pem"], "refused by the other side", refused);
}

#[test]
fn a_node_of_another_cluster_is_refused_even_with_our_authority() {
    let mut cluster = Cluster::new(3, &["cluster.name=shop"]);
    two(&mut cluster);
    // The same authority signed it, for another cluster.
    let dir = cluster.path("other");
    std::fs::create_dir(&dir).expect("made");
    openssl_node(&cluster.path("certs"), &dir, "URI:spiffe://bakery/node/3");
    let mut command = with_files(&cluster, &dir, &["cert", "key"]);
    command.args(["--set", "cluster.name=bakery"]);
    cluster.launch_as(3, command);
    cluster.node(3).says("the certificate is of cluster \"shop\"");
    cluster.node(1).says("refused");
    is_away(&cluster);
    assert_eq!(cluster.status(3)["last"], 0);
    assert!(cluster.client(1).call(&["SET", "k", "v"]).is_ok());
}

#[test]
fn files_that_cannot_do_are_refused_at_the_start() {
    let mut cluster = Cluster::new(3, &[]);
    let place = |name: &str| cluster.path(name).display().to_string();
    let files = [
        (
            format!("peer.cert={}", place("certs/node-2.pem")),
            "does not match the certificate",
            "X0504",
        ),
        (format!("peer.cert={}", place("nowhere.pem")), "does not exist", "X0502"),
        (format!("peer.cert={}", place("certs/ca.key")), "holds no readable certificate", "X0504"),
        ("cluster.name=bakery".to_owned(), "the certificate is of cluster \"shop\"", "X0504"),
    ];
    for (setting, reason, error) in files {
        let mut other = cluster.command(3);
        other.args(["--set", &setting]);
        let said = crate::kit::refused(other, cluster.path("refused.txt"), error);
        assert!(said.contains(reason), "{setting}: {said}");
    }
    assert!(!cluster.data(3).exists(), "nothing was begun");
    let config = std::fs::read_to_string(cluster.config(3)).expect("its configuration");
    let without: Vec<&str> = config.lines().filter(|line| !line.starts_with("cert")).collect();
    std::fs::write(cluster.config(3), without.join("\n")).expect("written");
    let said = cluster.refused(3, "X0101");
    assert!(said.contains("`peer.cert` is needed for quic"), "{said}");
    std::fs::write(cluster.config(3), config).expect("written");
    two(&mut cluster);
}

#[test]
fn an_expired_certificate_is_refused() {
    let cluster = Cluster::new(3, &[]);
    let dir = cluster.path("other");
    std::fs::create_dir(&dir).expect("made");
    openssl_past(&cluster.path("certs"), &dir);
    let command = with_files(&cluster, &dir, &["cert", "key"]);
    let said = crate::kit::refused(command, cluster.path("refused.txt"), "X0503");
    assert!(said.contains("expired"), "{said}");
}

#[test]
fn certificates_of_an_authority_that_exists_already_work() {
    let mut cluster = Cluster::new(3, &[]);
    let certs = cluster.path("certs");
    openssl(
        &certs,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=house \
         -keyout ca.key -out ca.pem",
    );
    for node in cluster.all() {
        let id = node.to_string();
        let words = format!("DNS:node-{id}");
        openssl_sign(&certs, &certs, &id, &words);
    }
    for node in cluster.all() {
        cluster.launch(node);
    }
    cluster.serves();
    cluster.level();
    for replica in [0, 1] {
        assert_eq!(cluster.status(1)["replicas"][replica]["connected"], true);
    }
}

#[test]
fn certificates_are_renewed_under_load() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let certs = cluster.path("certs");
    for node in cluster.all() {
        let request = IssueRequest { days: 90, ..IssueRequest::new(NodeId::new(node.into())) };
        certs::issue(&certs, &request, true).expect("a certificate");
        assert!(cluster.client(1).call(&["SET", "k", "v"]).is_ok());
        cluster.node(node).signal(Signal::HUP);
        cluster.node(node).says("other nodes are shown the new certificate");
    }
    assert!(cluster.client(1).call(&["SET", "k", "v"]).is_ok());
    cluster.level();
    for node in cluster.all() {
        assert_eq!(cluster.status(node)["reconnects"], 0, "no link of node {node} was broken");
    }
    // A link that is made now is made with the new ones.
    cluster.kill(3);
    cluster.launch(3);
    cluster.level();
}

#[test]
fn a_new_certificate_that_cannot_do_is_not_taken() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    std::fs::write(cluster.path("certs/node-3.pem"), "nonsense").expect("written");
    cluster.node(3).signal(Signal::HUP);
    cluster.node(3).says("failed to read the new certificate, the old one stays");
    cluster.kill(2);
    cluster.launch(2);
    cluster.level();
    assert!(cluster.client(3).call(&["SET", "k", "v"]).is_ok());
}

#[test]
fn garbage_at_the_port_for_nodes_does_no_harm() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let mut dice = Dice::new(7);
    let mut throw = |first: Option<u8>| {
        let length = 1 + usize::try_from(dice.below(1_400)).expect("small");
        let byte = |_| u8::try_from(dice.below(256)).expect("a byte");
        let mut packet: Vec<u8> = (0..length).map(byte).collect();
        if let (Some(first), Some(place)) = (first, packet.first_mut()) {
            *place = first;
        }
        packet
    };
    for node in cluster.all() {
        for round in 0..1_000 {
            // Any bytes; what looks like the first packet of a connection; like a later one.
            let first = [None, Some(0xc0), Some(0x40)][round % 3];
            // A full buffer on the way may refuse one; others get through.
            drop(socket.send_to(&throw(first), ("127.0.0.1", cluster.peer(node))));
        }
    }
    assert!(cluster.client(2).call(&["SET", "k", "v"]).is_ok());
    cluster.level();
    for node in cluster.all() {
        assert_eq!(cluster.status(node)["reconnects"], 0, "no link of node {node} broke");
        assert!(cluster.node(node).is_running());
    }
}

#[test]
fn a_stranger_that_never_answers_keeps_nobody_from_serving() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.level();
    for node in cluster.all() {
        cluster.stop(node);
    }
    // Somebody else has node 2's port, and says nothing to whoever calls there.
    let silent = UdpSocket::bind(("127.0.0.1", cluster.peer(2))).expect("it was free");
    cluster.launch(1);
    cluster.launch(3);
    cluster.serves();
    silent.set_nonblocking(true).expect("set");
    until("a call to node 2", || silent.recv_from(&mut [0; 2_000]).ok());
    let said = cluster.refused(2, "X0203");
    assert!(said.contains(&format!("127.0.0.1:{}", cluster.peer(2))), "{said}");
    assert!(said.contains("Address already in use"), "{said}");
    assert!(said.contains("peer.listen"), "{said}");
    drop(silent);
    cluster.launch(2);
    cluster.level();
}

#[track_caller]
fn openssl(dir: &Path, words: &str) {
    let words: Vec<&str> = words.split_whitespace().collect();
    let output = Command::new("openssl").args(&words).current_dir(dir).output();
    let output = output.expect("openssl is installed");
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
}

/// A certificate of node 3 in `dir`, signed by the authority in `certs`.
#[track_caller]
fn openssl_node(certs: &Path, dir: &Path, names: &str) {
    openssl_sign(certs, dir, "3", names);
}

#[track_caller]
fn openssl_sign(certs: &Path, dir: &Path, node: &str, names: &str) {
    std::fs::write(dir.join("names"), format!("subjectAltName={names}\n")).expect("written");
    openssl(
        dir,
        &format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=node-{node} \
             -keyout node-{node}.key -out node-{node}.csr"
        ),
    );
    let certs = certs.display();
    openssl(
        dir,
        &format!(
            "x509 -req -in node-{node}.csr -CA {certs}/ca.pem -CAkey {certs}/ca.key \
             -CAcreateserial -CAserial serial -days 2 -extfile names -out node-{node}.pem"
        ),
    );
}

/// The same, of a time long ago.
#[track_caller]
fn openssl_past(certs: &Path, dir: &Path) {
    openssl_node(certs, dir, "URI:spiffe://shop/node/3");
    let certs = certs.display();
    let config = format!(
        "[ca]\ndefault_ca=own\n[own]\ndir=.\ndatabase=index\nserial=number\nnew_certs_dir=.\n\
         certificate={certs}/ca.pem\nprivate_key={certs}/ca.key\ndefault_md=sha256\n\
         policy=any\nx509_extensions=ext\n[any]\ncommonName=supplied\n\
         [ext]\nsubjectAltName=URI:spiffe://shop/node/3\n"
    );
    for (name, content) in [("ca.conf", config.as_str()), ("index", ""), ("number", "1000\n")] {
        std::fs::write(dir.join(name), content).expect("written");
    }
    openssl(
        dir,
        "ca -batch -config ca.conf -in node-3.csr -out node-3.pem -notext \
         -startdate 20200101000000Z -enddate 20200201000000Z",
    );
}
