//! Holds a configuration against itself, and against this machine.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::time::Duration;

use antiphon::Level;
use antiphon_net::certs::{CredentialFiles, Credentials};
use antiphon_proto::{PAYLOAD_BYTES_MAX, Policy, VOTERS_MAX};
use rustix::fs::{Access, access};

use crate::config::{ByteLen, Complaint, Endpoint, Listen, NodeConfig, Refused, TransportKind};

/// The packets that QUIC can use, and at most jumbo frames.
const MTU: std::ops::RangeInclusive<u16> = 1228..=9000;
/// Below, a busy machine's pauses look like lost links; above, nobody would call it noticing.
const IDLE_TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(500)..=Duration::from_secs(60);
/// Segments of a useful size: below, the disk rolls all the time; above, one is slow to prewrite.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

/// What a configuration is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Itself only.
    Text,
    /// This machine too: files, directories and ports. Nothing is changed or kept.
    Machine,
}

/// Checks `config` within `scope`.
///
/// # Errors
/// All that is wrong.
pub fn check(config: &NodeConfig, scope: Scope) -> Result<(), Refused> {
    let mut complaints = Vec::new();
    members(config, &mut complaints);
    policies(config, &mut complaints);
    options(config, &mut complaints);
    if scope == Scope::Machine {
        files(config, &mut complaints);
        ports(config, &mut complaints);
    }
    if complaints.is_empty() { Ok(()) } else { Err(Refused(complaints)) }
}

fn members(config: &NodeConfig, complaints: &mut Vec<Complaint>) {
    let members = &config.cluster.members;
    if config.own_member().is_none() {
        let known: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
        let (id, known) = (config.node.id, known.join(", "));
        complain(complaints, format!("`node.id` is {id}, but `cluster.members` has {known}"));
    }
    if members.len() > VOTERS_MAX {
        let count = members.len();
        complain(complaints, format!("`cluster.members`: {count} are more than {VOTERS_MAX}"));
    }
    let mut ids = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for member in members {
        if !ids.insert(member.id) {
            complain(complaints, format!("`cluster.members`: {} is there twice", member.id));
        }
        for address in [&member.peer, &member.resp] {
            if !addresses.insert(address) {
                complain(complaints, format!("`cluster.members`: {address} is there twice"));
            }
            if address.port() == 0 {
                complain(complaints, format!("`cluster.members`: {address} has no port to dial"));
            }
        }
    }
}

fn policies(config: &NodeConfig, complaints: &mut Vec<Complaint>) {
    let cluster = &config.cluster;
    if let Policy::Received(_) = cluster.floor {
        let floor = cluster.floor;
        complain(complaints, format!("`cluster.floor`: {floor} does not survive a power failure"));
    }
    let regions: BTreeSet<_> = cluster.members.iter().map(|member| &member.region).collect();
    let default = match cluster.default_policy {
        Some(Level::At(policy)) => Some(("default_policy", policy)),
        Some(Level::Floor) | None => None,
    };
    for (key, policy) in [("floor", cluster.floor)].into_iter().chain(default) {
        let (needed, of, there) = match policy {
            Policy::Local | Policy::Quorum | Policy::All => continue,
            Policy::Received(count) | Policy::Ack(count) | Policy::Prefix(count) => {
                (count, "members", cluster.members.len())
            }
            Policy::Region(count) => (count, "regions", regions.len()),
        };
        if usize::from(needed) > there {
            complain(complaints, format!("`cluster.{key}`: {policy} needs more than {there} {of}"));
        }
    }
}

fn options(config: &NodeConfig, complaints: &mut Vec<Complaint>) {
    let (resp, peer, log, limits) = (&config.resp, &config.peer, &config.log, &config.limits);
    if resp.tls_cert.is_some() != resp.tls_key.is_some() {
        complain(complaints, "`resp.tls_cert` and `resp.tls_key` belong together");
    }
    let open = resp.password_file.is_none() && resp.tls_cert.is_none();
    if open && !resp.listen.ip().is_loopback() {
        let what = "needs `resp.password_file` or `resp.tls_cert`: other machines reach it";
        complain(complaints, format!("`resp.listen`: {} {what}", resp.listen));
    }
    if let (Listen::At(pages), true) = (config.http.listen, config.http.changes)
        && resp.password_file.is_none()
        && !pages.ip().is_loopback()
    {
        let what = "needs `resp.password_file`: other machines reach the data by `http.listen`";
        complain(complaints, format!("`http.changes` {what}"));
    }
    let missing = [("ca", &peer.ca), ("cert", &peer.cert), ("key", &peer.key)];
    for (name, _) in missing.into_iter().filter(|(_, path)| path.is_none()) {
        if peer.transport == TransportKind::Quic {
            complain(complaints, format!("`peer.{name}` is needed for quic; see antiphon cert"));
        }
    }
    if !MTU.contains(&peer.mtu) {
        let (least, most) = (MTU.start(), MTU.end());
        complain(complaints, format!("`peer.mtu`: {} is not within {least} to {most}", peer.mtu));
    }
    if !IDLE_TIMEOUT.contains(&peer.idle_timeout) {
        let found = peer.idle_timeout;
        complain(complaints, format!("`peer.idle_timeout`: {found:?} is not within 500ms to 1m"));
    }
    if !SEGMENT_BYTES.contains(&log.segment_bytes.get()) {
        let (least, most) =
            (ByteLen::new(*SEGMENT_BYTES.start()), ByteLen::new(*SEGMENT_BYTES.end()));
        let found = log.segment_bytes;
        complain(
            complaints,
            format!("`log.segment_bytes`: {found} is not within {least} to {most}"),
        );
    }
    at_least(
        ("log.retain_bytes", log.retain_bytes),
        ("log.segment_bytes", log.segment_bytes),
        complaints,
    );
    let hard = ("limits.output_hard_bytes", limits.output_hard_bytes);
    at_least(hard, ("limits.output_soft_bytes", limits.output_soft_bytes), complaints);
    let entry = ByteLen::new(u64::try_from(PAYLOAD_BYTES_MAX).unwrap_or(u64::MAX));
    at_least(
        ("what an entry holds", entry),
        ("resp.value_bytes_max", resp.value_bytes_max),
        complaints,
    );
    for (name, time) in [
        ("resp.policy_timeout", resp.policy_timeout),
        ("peer.round_trip", peer.round_trip),
        ("limits.authenticate_within", limits.authenticate_within),
    ] {
        if time == Duration::ZERO {
            complain(complaints, format!("`{name}`: zero is no time"));
        }
    }
}

fn at_least(more: (&str, ByteLen), less: (&str, ByteLen), complaints: &mut Vec<Complaint>) {
    if more.1 < less.1 {
        let what = format!("`{}` ({}) is more than {} ({})", less.0, less.1, more.0, more.1);
        complain(complaints, what);
    }
}

fn files(config: &NodeConfig, complaints: &mut Vec<Complaint>) {
    let (resp, peer) = (&config.resp, &config.peer);
    let named = [
        ("resp.password_file", &resp.password_file),
        ("resp.tls_cert", &resp.tls_cert),
        ("resp.tls_key", &resp.tls_key),
        ("peer.ca", &peer.ca),
        ("peer.cert", &peer.cert),
        ("peer.key", &peer.key),
    ];
    for (key, path) in named {
        let Some(path) = path else { continue };
        if let Err(error) = fs::read(path) {
            complain(complaints, format!("`{key}`: cannot read {}: {error}", path.display()));
        }
    }
    directory(&config.node.data_dir, complaints);
    if complaints.is_empty() {
        credentials(config, complaints);
    }
}

/// The certificate must be valid now, this node's, and signed by an authority that is believed.
fn credentials(config: &NodeConfig, complaints: &mut Vec<Complaint>) {
    let peer = &config.peer;
    let (Some(ca), Some(cert), Some(key)) = (&peer.ca, &peer.cert, &peer.key) else { return };
    let files =
        CredentialFiles { certificate: cert.clone(), key: key.clone(), authorities: ca.clone() };
    match Credentials::load(&files, &config.cluster.name) {
        Ok(found) if found.node() == config.node.id => {}
        Ok(found) => {
            let (found, id) = (found.node(), config.node.id);
            complain(complaints, format!("`peer.cert` is of node {found}, `node.id` is {id}"));
        }
        Err(error) => complain(complaints, format!("`peer.cert`: {error}")),
    }
}

/// The directory, or the nearest one above it that exists, must let us write.
fn directory(path: &Path, complaints: &mut Vec<Complaint>) {
    let here = Path::new(".");
    let above = path.ancestors().map(|path| if path.as_os_str().is_empty() { here } else { path });
    let nearest = above.into_iter().find(|path| path.exists()).unwrap_or(here);
    let outcome = if nearest.is_dir() {
        access(nearest, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    };
    if let Err(error) = outcome {
        let nearest = nearest.display();
        complain(complaints, format!("`node.data_dir`: cannot write in {nearest}: {error}"));
    }
}

fn ports(config: &NodeConfig, complaints: &mut Vec<Complaint>) {
    try_bind("resp.listen", TcpListener::bind(config.resp.listen).map(drop), complaints);
    if let Listen::At(address) = config.http.listen {
        try_bind("http.listen", TcpListener::bind(address).map(drop), complaints);
    }
    if config.peer.transport == TransportKind::Quic {
        let bound = resolve(&config.peer.listen).and_then(UdpSocket::bind);
        try_bind("peer.listen", bound.map(drop), complaints);
    }
}

fn resolve(endpoint: &Endpoint) -> io::Result<SocketAddr> {
    let mut found = endpoint.as_str().to_socket_addrs()?;
    found.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn try_bind(key: &str, outcome: io::Result<()>, complaints: &mut Vec<Complaint>) {
    let Err(error) = outcome else { return };
    let hint =
        if error.kind() == io::ErrorKind::AddrInUse { "; is this node running?" } else { "" };
    complain(complaints, format!("`{key}`: cannot listen there: {error}{hint}"));
}

fn complain(complaints: &mut Vec<Complaint>, what: impl Into<String>) {
    complaints.push(Complaint::new(what));
}
