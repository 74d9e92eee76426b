//! Certificates: an authority for a cluster, a certificate for each node, and reading of both.
//!
//! A node's certificate names it as `spiffe://<cluster>/node/<id>`. Certificates made by other
//! means may name it as DNS name `node-<id>` or `node-<id>.<anything>` instead.

mod authority;
mod credentials;
mod files;
mod identity;
mod info;

use std::io;
use std::path::{Path, PathBuf};

pub use authority::{
    AUTHORITY_DAYS_DEFAULT, Authority, IssueRequest, IssuedFiles, NODE_DAYS_DEFAULT, init_ca, issue,
};
pub use credentials::{CredentialFiles, Credentials};
pub use info::CertInfo;

pub(crate) use identity::node_in;

use crate::error::Refusal;

/// What is wrong with certificates, keys and their files.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// There is no such file.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is there, and it was not asked to overwrite it.
    #[error("{} exists already; it is overwritten only on request", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The text is no PEM, or its content is no certificate.
    #[error("{place} holds no readable certificate: {reason}")]
    Unreadable {
        /// The file, or what the text was given as.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The text holds no private key that can be used.
    #[error("{place} holds no usable private key: {reason}")]
    Key {
        /// The file, or what the text was given as.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key do not belong together.
    #[error("the private key does not match the certificate of {subject}")]
    KeyMismatch {
        /// Whom the certificate names.
        subject: String,
    },
    /// The certificate's time is over.
    #[error("the certificate of {subject} expired on {at}")]
    Expired {
        /// Whom the certificate names.
        subject: String,
        /// When.
        at: String,
    },
    /// The certificate's time has not begun.
    #[error("the certificate of {subject} is valid only from {at} on")]
    NotYetValid {
        /// Whom the certificate names.
        subject: String,
        /// When.
        at: String,
    },
    /// A certificate that may not sign stands among the authorities.
    #[error("the certificate of {subject} is not that of an authority")]
    NotAuthority {
        /// Whom the certificate names.
        subject: String,
    },
    /// The certificate does not name a node of this cluster.
    #[error(transparent)]
    Identity(#[from] Refusal),
    /// A name does not fit into a certificate.
    #[error("{name:?} cannot stand in a certificate: {reason}")]
    Name {
        /// As given.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The library refused to make or to use a certificate.
    #[error("certificates cannot be made or used: {0}")]
    Library(String),
}

/// Reads what stands in a file of certificates: the first is its owner's, an authority's file
/// may hold several.
///
/// # Errors
/// [`CertError`] when the file cannot be read or holds no certificate.
pub fn show(path: &Path) -> Result<Vec<CertInfo>, CertError> {
    info::read_all(&files::read(path)?, &path.display().to_string())
}

#[cfg(test)]
mod tests;
