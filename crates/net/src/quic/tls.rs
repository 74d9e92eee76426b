//! The TLS configuration of both sides of QUIC, exchanged while links stand.

use std::sync::{Arc, PoisonError, RwLock};

use s2n_quic::provider::tls::s2n_tls::callbacks::VerifyHostNameCallback;
use s2n_quic::provider::tls::s2n_tls::config::{Builder, Config};
use s2n_quic::provider::tls::s2n_tls::enums::ClientAuthType;
use s2n_quic::provider::tls::s2n_tls::{
    Client, ConfigLoader, ConnectionContext, Server, error, security,
};

use crate::certs::{CertError, CertInfo, Credentials};

/// The protocol that both sides must name: ours, in its first version.
const PROTOCOL: &[u8] = b"antiphon/1";

/// Why other certificates were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// They are of another node or another cluster.
    #[error("the new certificate is of node {node} of cluster {cluster:?}")]
    OtherNode {
        /// The node in it.
        node: antiphon_proto::NodeId,
        /// Its cluster.
        cluster: String,
    },
    /// They are not usable.
    #[error(transparent)]
    Certificates(#[from] CertError),
}

/// What is shown and believed now.
pub(super) struct Tls {
    current: Arc<RwLock<Current>>,
}

struct Current {
    credentials: Credentials,
    config: Config,
}

impl Tls {
    pub(super) fn new(credentials: &Credentials) -> Result<Self, CertError> {
        let config = build(credentials)?;
        let current = Current { credentials: credentials.clone(), config };
        Ok(Self { current: Arc::new(RwLock::new(current)) })
    }

    pub(super) fn reload(&self, credentials: &Credentials) -> Result<(), ReloadError> {
        let config = build(credentials)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let known = &current.credentials;
        if known.node() != credentials.node() || known.cluster() != credentials.cluster() {
            return Err(ReloadError::OtherNode {
                node: credentials.node(),
                cluster: credentials.cluster().to_owned(),
            });
        }
        *current = Current { credentials: credentials.clone(), config };
        Ok(())
    }

    pub(super) fn info(&self) -> CertInfo {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.credentials.info().clone()
    }

    pub(super) fn server(&self) -> Server<Loader> {
        Server::from_loader(Loader { current: Arc::clone(&self.current) })
    }

    pub(super) fn client(&self) -> Client<Loader> {
        Client::from_loader(Loader { current: Arc::clone(&self.current) })
    }
}

/// Gives each new connection the configuration of its moment.
pub(super) struct Loader {
    current: Arc<RwLock<Current>>,
}

impl ConfigLoader for Loader {
    fn load(&mut self, _context: ConnectionContext<'_>) -> Config {
        self.current.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }
}

/// The chain is checked by the library; the names are ours to read, after the handshake.
struct AnyName;

impl VerifyHostNameCallback for AnyName {
    fn verify_host_name(&self, _name: &str) -> bool {
        true
    }
}

/// One configuration serves both sides: TLS 1.3 only, a certificate asked for and shown.
fn build(credentials: &Credentials) -> Result<Config, CertError> {
    let make = || -> Result<Config, error::Error> {
        let mut builder = Builder::new();
        builder.enable_quic()?;
        builder.set_security_policy(&security::DEFAULT_TLS13)?;
        builder.set_application_protocol_preference([PROTOCOL])?;
        builder.wipe_trust_store()?;
        builder.trust_pem(credentials.authorities_pem.as_bytes())?;
        builder.load_pem(credentials.certificate_pem.as_bytes(), credentials.key_pem.as_bytes())?;
        builder.set_client_auth_type(ClientAuthType::Required)?;
        builder.set_verify_host_callback(AnyName)?;
        builder.build()
    };
    make().map_err(|error| CertError::Library(format!("{}: {}", error.name(), error.message())))
}
