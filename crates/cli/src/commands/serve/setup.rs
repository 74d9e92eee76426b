//! From the configuration of a node to what its crates are told.

use std::path::PathBuf;

use antiphon::{MemberConfig, MemoryNetwork, QuicConfig, TransportConfig};
use antiphon_net::certs::{CredentialFiles, Credentials};
use antiphon_proto::{Limits, Shape};
use antiphon_server::node::{Names, member_address};
use antiphon_server::{ClientLimits, Config, Password, Setup, TlsFiles};

use crate::config::{ByteLen, Listen, NodeConfig, RespOptions, TransportKind};
use crate::errors::{Code, Coded, Problem, certificate_problem};

/// A password is kept as its SHA-256, which is safe only for what nobody can guess: 128 bits in
/// hexadecimal digits or in base 64 are longer.
const PASSWORD_BYTES_MIN: usize = 20;

/// Everything that a node needs to serve.
///
/// # Errors
/// When a file that the configuration names can't be used.
pub(crate) fn setup(config: &NodeConfig) -> anyhow::Result<Setup> {
    let transport = match config.peer.transport {
        TransportKind::Quic => TransportConfig::Quic(Box::new(quic(config)?)),
        TransportKind::Memory => {
            TransportConfig::Memory { network: MemoryNetwork::new(), me: config.node.id }
        }
    };
    setup_over(config, transport)
}

/// As [`setup`], over links that the caller chose.
///
/// # Errors
/// When a file that the configuration names can't be used.
pub(crate) fn setup_over(config: &NodeConfig, transport: TransportConfig) -> anyhow::Result<Setup> {
    let members = config.cluster.members.iter();
    let names = Names {
        cluster: config.cluster.name.clone(),
        shape: config.cluster.shape.to_string(),
        members: members.map(|member| member_address(member.id, member.resp.as_str())).collect(),
    };
    let limits = antiphon_kv::Limits {
        value_bytes_max: usize_of(config.resp.value_bytes_max),
        ..antiphon_kv::Limits::default()
    };
    Ok(Setup { node: node(config, transport), server: server(config)?, names, limits })
}

fn usize_of(bytes: ByteLen) -> usize {
    usize::try_from(bytes.get()).unwrap_or(usize::MAX)
}

fn node(config: &NodeConfig, transport: TransportConfig) -> antiphon::NodeConfig {
    let data_dir = config.node.data_dir.clone();
    let mut node =
        antiphon::NodeConfig::new(&config.cluster.name, config.node.id, data_dir, transport);
    let members = config.cluster.members.iter();
    node.members = members
        .map(|member| MemberConfig {
            node: member.id,
            peer: member.peer.as_str().to_owned(),
            region: member.region.clone().unwrap_or_default(),
            role: antiphon::MemberRole::Voter,
        })
        .collect();
    node.shape = Shape::from(config.cluster.shape);
    node.floor = config.cluster.floor;
    node.limits = Limits { window_bytes: usize_of(config.peer.window_bytes), ..Limits::default() };
    node.compression = config.peer.compression;
    node.compression_bytes_min = usize_of(config.peer.compression_bytes_min);
    node.segment_bytes = config.log.segment_bytes.get();
    node.snapshot_bytes = config.log.snapshot_bytes.get();
    node.snapshot_entries = config.log.snapshot_entries;
    node.retain_bytes = config.log.retain_bytes.get();
    node.sessions_max = usize::try_from(config.resp.max_sessions).unwrap_or(usize::MAX);
    node
}

/// The files that a node's links need.
///
/// # Errors
/// When one is not named.
pub(crate) fn credential_files(config: &NodeConfig) -> anyhow::Result<CredentialFiles> {
    let need = |path: &Option<PathBuf>, key: &str| {
        path.clone().ok_or_else(|| {
            let what = format!("{key} is needed for peer.transport = \"quic\"");
            Problem::new(Code::CertificateMissing, what)
        })
    };
    Ok(CredentialFiles {
        certificate: need(&config.peer.cert, "peer.cert")?,
        key: need(&config.peer.key, "peer.key")?,
        authorities: need(&config.peer.ca, "peer.ca")?,
    })
}

/// How often a silent link is asked for a sign of life before it counts as lost.
const SIGNS_OF_LIFE: u32 = 4;

fn quic(config: &NodeConfig) -> anyhow::Result<QuicConfig> {
    let credentials = Credentials::load(&credential_files(config)?, &config.cluster.name)
        .map_err(|error| certificate_problem(&error))?;
    let mut quic = QuicConfig::new(config.node.id, config.peer.listen.as_str(), credentials);
    quic.bandwidth_bytes_per_second = config.peer.bandwidth.get();
    quic.round_trip = config.peer.round_trip;
    quic.mtu = config.peer.mtu;
    quic.idle_timeout = config.peer.idle_timeout;
    quic.keep_alive = config.peer.idle_timeout / SIGNS_OF_LIFE;
    Ok(quic)
}

fn server(config: &NodeConfig) -> anyhow::Result<Config> {
    let RespOptions { listen, max_clients, value_bytes_max, forward_writes, .. } = config.resp;
    let limits = &config.limits;
    let value_bytes = usize_of(value_bytes_max);
    Ok(Config {
        listen,
        http: match config.http.listen {
            Listen::Off => None,
            Listen::At(address) => Some(address),
        },
        changes: config.http.changes,
        tls: tls(&config.resp),
        password: password(&config.resp)?,
        policy: config.cluster.default_policy.unwrap_or_default(),
        policy_timeout: config.resp.policy_timeout,
        forward: forward_writes,
        allow_shutdown: false,
        limits: ClientLimits {
            clients_max: usize::try_from(max_clients).unwrap_or(usize::MAX),
            strangers_max: usize::try_from(limits.unauthenticated_clients).unwrap_or(usize::MAX),
            auth_timeout: limits.authenticate_within,
            idle_timeout: limits.idle_timeout,
            bulk_bytes_max: value_bytes,
            query_bytes_max: value_bytes.saturating_add(1 << 20),
            output_soft_bytes: usize_of(limits.output_soft_bytes),
            output_hard_bytes: usize_of(limits.output_hard_bytes),
            memory_bytes_max: usize_of(limits.connection_bytes_max),
            ..ClientLimits::default()
        },
    })
}

fn tls(resp: &RespOptions) -> Option<TlsFiles> {
    let certificate = resp.tls_cert.clone()?;
    let key = resp.tls_key.clone()?;
    Some(TlsFiles { certificate, key })
}

fn password(resp: &RespOptions) -> anyhow::Result<Option<Password>> {
    let Some(path) = &resp.password_file else { return Ok(None) };
    let text = std::fs::read_to_string(path)
        .coded(Code::Password, || format!("cannot read the password in {}", path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        let what = format!("the password in {} is empty", path.display());
        return Err(Problem::new(Code::Password, what).into());
    }
    if text.len() < PASSWORD_BYTES_MIN {
        tracing::warn!(
            "the password in {} is short: what is kept of it can be guessed fast, use the output of \
             `openssl rand -base64 32`",
            path.display()
        );
    }
    Ok(Some(Password::of(text)))
}
