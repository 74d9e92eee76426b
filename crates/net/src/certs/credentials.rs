//! What a node shows to others, and what it believes others by.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use antiphon_proto::NodeId;

use super::authority::key_from;
use super::info::{self, Block, CertInfo};
use super::{CertError, files, node_in};

/// Where a node's certificates stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The node's certificate, PEM; intermediate ones may follow it.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authorities that are believed, PEM; two or more while they are exchanged.
    pub authorities: PathBuf,
}

/// A node's certificate and key, and the authorities that it believes; checked.
#[derive(Clone)]
pub struct Credentials {
    node: NodeId,
    cluster: String,
    info: CertInfo,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    pub(crate) authorities_pem: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Credentials");
        shown.field("node", &self.node).field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads and checks the files of a node of `cluster`.
    ///
    /// # Errors
    /// [`CertError`] names the file and what is wrong with it.
    pub fn load(paths: &CredentialFiles, cluster: &str) -> Result<Self, CertError> {
        let texts = Texts {
            certificate: &files::read(&paths.certificate)?,
            key: &files::read(&paths.key)?,
            authorities: &files::read(&paths.authorities)?,
        };
        let places = Texts {
            certificate: &paths.certificate.display().to_string(),
            key: &paths.key.display().to_string(),
            authorities: &paths.authorities.display().to_string(),
        };
        Self::check(&texts, &places, cluster)
    }

    /// Checks the PEM texts of a node of `cluster`.
    ///
    /// # Errors
    /// [`CertError`] says which text is wrong, and how.
    pub fn from_pem(
        certificate: &str,
        key: &str,
        authorities: &str,
        cluster: &str,
    ) -> Result<Self, CertError> {
        let places = Texts {
            certificate: "the certificate",
            key: "the key",
            authorities: "the authorities",
        };
        Self::check(&Texts { certificate, key, authorities }, &places, cluster)
    }

    fn check(texts: &Texts<'_>, places: &Texts<'_>, cluster: &str) -> Result<Self, CertError> {
        let now = SystemTime::now();
        let key = key_from(texts.key, places.key)?;
        let chain = info::blocks(texts.certificate, places.certificate)?;
        let Block { der, info, public_key } = {
            let own = chain.into_iter().next().expect("blocks() refuses a text without any");
            own.check_time(now)?;
            own
        };
        if public_key != key.public_key_raw() {
            return Err(CertError::KeyMismatch { subject: info.subject });
        }
        let node = node_in(&der, cluster)?;
        let authorities = info::blocks(texts.authorities, places.authorities)?;
        if let Some(other) = authorities.iter().find(|block| !block.info.is_authority) {
            return Err(CertError::NotAuthority { subject: other.info.subject.clone() });
        }
        // During an exchange of authorities an old one may be over, as long as one holds.
        let times: Result<Vec<()>, CertError> =
            authorities.iter().map(|block| block.check_time(now)).collect();
        if authorities.iter().all(|block| block.check_time(now).is_err()) {
            times?;
        }
        Ok(Self {
            node,
            cluster: cluster.to_owned(),
            info,
            certificate_pem: texts.certificate.to_owned(),
            key_pem: texts.key.to_owned(),
            authorities_pem: texts.authorities.to_owned(),
        })
    }

    /// The node that the certificate names.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The cluster whose nodes are believed.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// What the certificate says; its end is worth a metric.
    #[must_use]
    pub const fn info(&self) -> &CertInfo {
        &self.info
    }
}

/// The three texts, or their places.
struct Texts<'a> {
    certificate: &'a str,
    key: &'a str,
    authorities: &'a str,
}
