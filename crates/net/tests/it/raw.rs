//! Peers that do not keep the rules: the QUIC library with certificates of any kind.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_net::certs::Authority;
use rcgen::{CertificateParams, Issuer, KeyPair, SanType, date_time_ymd};
use s2n_quic::client::Connect;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::tls::s2n_tls::callbacks::VerifyHostNameCallback;
use s2n_quic::provider::tls::s2n_tls::config::{Builder, Config};
use s2n_quic::provider::tls::s2n_tls::enums::ClientAuthType;
use s2n_quic::provider::tls::s2n_tls::{Client as TlsClient, Server as TlsServer, security};
use s2n_quic::{Client, Connection, Server};

use crate::world::CLUSTER;

/// An authority whose key is at hand.
pub(crate) struct Signer {
    pub(crate) authority: Authority,
    key: String,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) enum Time {
    Now,
    Past,
    Future,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let (authority, key) = Authority::create(CLUSTER, 1).unwrap();
        Self { authority, key }
    }

    pub(crate) fn pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// A certificate with these names: with a colon a URI, otherwise DNS.
    pub(crate) fn sign(&self, names: &[&str], time: Time) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.contains(':') {
                true => SanType::URI((*name).try_into().unwrap()),
                false => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        (params.not_before, params.not_after) = match time {
            Time::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1)),
            Time::Past => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Time::Future => (date_time_ymd(2120, 1, 1), date_time_ymd(2121, 1, 1)),
        };
        let issuer_key = KeyPair::from_pem(&self.key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(self.pem(), issuer_key).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

struct AnyName;

impl VerifyHostNameCallback for AnyName {
    fn verify_host_name(&self, _name: &str) -> bool {
        true
    }
}

pub(crate) const PROTOCOL: &str = "antiphon/1";

fn config(show: Option<&Pair>, trust: &str, protocol: &str) -> Config {
    let mut builder = Builder::new();
    builder.enable_quic().unwrap();
    builder.set_security_policy(&security::DEFAULT_TLS13).unwrap();
    builder.set_application_protocol_preference([protocol]).unwrap();
    builder.wipe_trust_store().unwrap();
    builder.trust_pem(trust.as_bytes()).unwrap();
    builder.set_verify_host_callback(AnyName).unwrap();
    builder.set_client_auth_type(ClientAuthType::Optional).unwrap();
    if let Some(pair) = show {
        builder.load_pem(pair.certificate.as_bytes(), pair.key.as_bytes()).unwrap();
        builder.set_client_auth_type(ClientAuthType::Required).unwrap();
    }
    builder.build().unwrap()
}

/// Connects, as far as the caller's own half of the handshake goes.
pub(crate) async fn call(
    address: &str,
    show: Option<&Pair>,
    trust: &str,
    protocol: &str,
) -> Result<Connection, s2n_quic::connection::Error> {
    let tls = TlsClient::from_loader(config(show, trust, protocol));
    let client = Client::builder().with_tls(tls).unwrap().with_io("127.0.0.1:0").unwrap();
    let limits = Limits::new().with_max_handshake_duration(Duration::from_secs(1)).unwrap();
    let client = client.with_limits(limits).unwrap();
    let address: SocketAddr = address.parse().unwrap();
    client.start().unwrap().connect(Connect::new(address).with_server_name("node-1")).await
}

/// A server that shows any certificate, and where it is.
pub(crate) fn serve(show: &Pair, trust: &str) -> (Server, String) {
    let tls = TlsServer::from_loader(config(Some(show), trust, PROTOCOL));
    let server = Server::builder().with_tls(tls).unwrap().with_io("127.0.0.1:0").unwrap();
    let server = server.start().unwrap();
    let address = server.local_addr().unwrap().to_string();
    (server, address)
}
