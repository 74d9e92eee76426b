//! TLS on the client port: certificate and key from files, read again when they change.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto};
use std::sync::RwLock;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no usable PEM: {error}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: rustls::pki_types::pem::Error,
    },
    /// The key and the certificate do not belong together, or are of an unknown kind.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The certificate in use, and the files it came from.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
    changed: Option<SystemTime>,
}

/// What handshakes are answered with. A lock that is held for one clone of a reference.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().ok().map(|current| Arc::clone(&current))
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be read or do not make a server's identity.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let changed = changed(&files);
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let key = load(&files, &provider)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(key))));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Current>::clone(&current));
        Ok(Self { files, current, config: Arc::new(config), changed })
    }

    /// What accepts a handshake.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Reads the files again if they changed; true when a new certificate is in use.
    ///
    /// # Errors
    /// When the new files cannot be used; the old certificate stays in use.
    pub fn reload(&mut self) -> Result<bool, TlsError> {
        let changed = changed(&self.files);
        if changed == self.changed {
            return Ok(false);
        }
        let key = load(&self.files, self.config.crypto_provider())?;
        if let Ok(mut current) = self.current.0.write() {
            *current = Arc::new(key);
        }
        self.changed = changed;
        Ok(true)
    }

    /// When the certificate in use ends. Unit: seconds since 1970.
    #[must_use]
    pub fn ends_at_s(&self) -> Option<i64> {
        let current = self.current.0.read().ok()?;
        let certificate = current.cert.first()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        Some(parsed.validity().not_after.timestamp())
    }
}

/// When one of the files changed last.
fn changed(files: &TlsFiles) -> Option<SystemTime> {
    let of = |path| fs::metadata(path).and_then(|data| data.modified()).ok();
    of(&files.certificate).max(of(&files.key))
}

fn load(files: &TlsFiles, provider: &crypto::CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|error| TlsError::Read { path: path.clone(), error })
    };
    let pem = |path: &PathBuf| {
        let path = path.clone();
        move |error| TlsError::Pem { path, error }
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(&files.certificate)?)
        .collect::<Result<_, _>>()
        .map_err(pem(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(pem(&files.key))?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}
