//! The authority of a cluster: made once, it signs a certificate for each node.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use antiphon_proto::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use x509_parser::time::ASN1Time;

use super::files::{self, Readers};
use super::info::{self, Block};
use super::{CertError, identity};

/// Days that a node's certificate is valid, if nothing else is asked: stolen ones die soon.
pub const NODE_DAYS_DEFAULT: u32 = 30;
/// Days that an authority is valid: ten years.
pub const AUTHORITY_DAYS_DEFAULT: u32 = 3653;
/// Clocks of other nodes may be this much behind.
const BACKDATE_SECONDS: i64 = 300;
const DAY_SECONDS: i64 = 86_400;
const CLUSTER_CHARS_MAX: usize = 63;

/// An authority, with its private key.
pub struct Authority {
    cluster: String,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// What to issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueRequest {
    /// For which node.
    pub node: NodeId,
    /// DNS names beside `node-<id>`.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Days that it is valid, from 1. Default 30.
    pub days: u32,
}

impl IssueRequest {
    /// For a node, without further names, for the default time.
    #[must_use]
    pub const fn new(node: NodeId) -> Self {
        Self { node, names: Vec::new(), addresses: Vec::new(), days: NODE_DAYS_DEFAULT }
    }
}

/// Files that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The certificate, readable for all.
    pub certificate: PathBuf,
    /// The private key, readable for its owner only.
    pub key: PathBuf,
}

impl Authority {
    /// Makes a new authority for a cluster.
    ///
    /// # Errors
    /// [`CertError::Name`] for a cluster's name that is not 1 to 63 letters, digits, `-`, `_`, `.`.
    pub fn create(cluster: &str, days: u32) -> Result<(Self, String), CertError> {
        check_cluster(cluster)?;
        let key = KeyPair::generate().map_err(library)?;
        let mut params = CertificateParams::default();
        // During an exchange two authorities of a cluster stand side by side; a name of its own
        // for each lets every implementation find the right one.
        let mark = info::fingerprint(key.public_key_raw());
        let mark = mark.get(..8).unwrap_or(&mark);
        params.distinguished_name = name(&format!("{cluster} authority {mark}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("{}{cluster}", identity::SPIFFE))?];
        set_validity(&mut params, days)?;
        let certificate_pem = params.self_signed(&key).map_err(library)?.pem();
        let key_pem = key.serialize_pem();
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(library)?;
        Ok((Self { cluster: cluster.to_owned(), certificate_pem, issuer }, key_pem))
    }

    /// Reads an authority. Of several certificates, the one that the key belongs to signs.
    ///
    /// # Errors
    /// [`CertError`] says what is missing or does not fit.
    pub fn from_pem(certificates_pem: &str, key_pem: &str) -> Result<Self, CertError> {
        Self::read(certificates_pem, key_pem, ("the authority", "the authority's key"))
    }

    fn read(
        certificates_pem: &str,
        key_pem: &str,
        (certificate_place, key_place): (&str, &str),
    ) -> Result<Self, CertError> {
        let key = key_from(key_pem, key_place)?;
        let blocks = info::blocks(certificates_pem, certificate_place)?;
        let first = blocks.first().map_or_else(String::new, |block| block.info.subject.clone());
        let block = blocks
            .into_iter()
            .find(|block| block.public_key == key.public_key_raw())
            .ok_or(CertError::KeyMismatch { subject: first })?;
        block.check_time(SystemTime::now())?;
        let Block { der, info, .. } = block;
        if !info.is_authority {
            return Err(CertError::NotAuthority { subject: info.subject });
        }
        let cluster = info.cluster.ok_or_else(|| CertError::Unreadable {
            place: certificate_place.to_owned(),
            reason: "the authority does not name its cluster as spiffe://<cluster>".to_owned(),
        })?;
        check_cluster(&cluster)?;
        let issuer = Issuer::from_ca_cert_der(&der.into(), key).map_err(library)?;
        Ok(Self { cluster, certificate_pem: certificates_pem.to_owned(), issuer })
    }

    /// The cluster whose nodes it signs for.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The certificates to give to every node as its authorities.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Makes a key and a certificate for a node: certificate first, then key, both PEM.
    ///
    /// # Errors
    /// [`CertError::Name`] for names that cannot stand in a certificate.
    pub fn issue(&self, request: &IssueRequest) -> Result<(String, String), CertError> {
        let key = KeyPair::generate().map_err(library)?;
        let node = request.node;
        if node.get() == 0 {
            return Err(CertError::Name { name: "node 0".to_owned(), reason: "not a node".into() });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("node-{node}"));
        params.subject_alt_names = vec![
            uri(&format!("{}{}/node/{node}", identity::SPIFFE, self.cluster))?,
            dns(&format!("node-{node}"))?,
        ];
        for extra in &request.names {
            params.subject_alt_names.push(dns(extra)?);
        }
        let addresses = request.addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, request.days)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(library)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// Makes an authority for a cluster in `dir`: `ca.pem` and `ca.key`, valid for ten years.
///
/// # Errors
/// [`CertError::Exists`] when one of the files stands there and `overwrite` is not set.
pub fn init_ca(dir: &Path, cluster: &str, overwrite: bool) -> Result<IssuedFiles, CertError> {
    let paths = IssuedFiles { certificate: dir.join("ca.pem"), key: dir.join("ca.key") };
    let (authority, key) = Authority::create(cluster, AUTHORITY_DAYS_DEFAULT)?;
    store(paths, (authority.certificate_pem(), &key), overwrite)
}

/// Makes a certificate for a node with the authority in `dir`: `node-<id>.pem`, `node-<id>.key`.
///
/// # Errors
/// [`CertError::Exists`] when one of the files stands there and `overwrite` is not set;
/// [`CertError::Missing`] without an authority.
pub fn issue(
    dir: &Path,
    request: &IssueRequest,
    overwrite: bool,
) -> Result<IssuedFiles, CertError> {
    let (ca_pem, ca_key) = (dir.join("ca.pem"), dir.join("ca.key"));
    let places = (ca_pem.display().to_string(), ca_key.display().to_string());
    let authority =
        Authority::read(&files::read(&ca_pem)?, &files::read(&ca_key)?, (&places.0, &places.1))?;
    let node = request.node;
    let paths = IssuedFiles {
        certificate: dir.join(format!("node-{node}.pem")),
        key: dir.join(format!("node-{node}.key")),
    };
    let (certificate, key) = authority.issue(request)?;
    store(paths, (&certificate, &key), overwrite)
}

fn store(
    paths: IssuedFiles,
    (certificate, key): (&str, &str),
    overwrite: bool,
) -> Result<IssuedFiles, CertError> {
    files::check_free(&paths.certificate, overwrite)?;
    files::check_free(&paths.key, overwrite)?;
    files::write(&paths.key, key, Readers::Owner, overwrite)?;
    files::write(&paths.certificate, certificate, Readers::All, overwrite)?;
    Ok(paths)
}

pub(super) fn key_from(pem: &str, place: &str) -> Result<KeyPair, CertError> {
    KeyPair::from_pem(pem)
        .map_err(|error| CertError::Key { place: place.to_owned(), reason: error.to_string() })
}

fn check_cluster(cluster: &str) -> Result<(), CertError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if cluster.is_empty() || cluster.len() > CLUSTER_CHARS_MAX || !cluster.bytes().all(plain) {
        let reason = "a cluster's name is 1 to 63 letters, digits, '-', '_' or '.'".to_owned();
        return Err(CertError::Name { name: cluster.to_owned(), reason });
    }
    Ok(())
}

fn set_validity(params: &mut CertificateParams, days: u32) -> Result<(), CertError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.map_err(|error| CertError::Library(error.to_string()))?;
    let now =
        i64::try_from(since.as_secs()).map_err(|error| CertError::Library(error.to_string()))?;
    let point = |seconds: i64| {
        let time = ASN1Time::from_timestamp(seconds);
        time.map(|time| time.to_datetime()).map_err(|error| CertError::Library(error.to_string()))
    };
    let days = i64::from(days.max(1));
    params.not_before = point(now.saturating_sub(BACKDATE_SECONDS))?;
    params.not_after = point(now.saturating_add(days.saturating_mul(DAY_SECONDS)))?;
    Ok(())
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn uri(text: &str) -> Result<SanType, CertError> {
    text.try_into().map(SanType::URI).map_err(|error: rcgen::Error| bad_name(text, &error))
}

fn dns(text: &str) -> Result<SanType, CertError> {
    text.try_into().map(SanType::DnsName).map_err(|error: rcgen::Error| bad_name(text, &error))
}

fn bad_name(text: &str, error: &rcgen::Error) -> CertError {
    CertError::Name { name: text.to_owned(), reason: error.to_string() }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn library(error: rcgen::Error) -> CertError {
    CertError::Library(error.to_string())
}
