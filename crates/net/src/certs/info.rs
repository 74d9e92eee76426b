//! What a certificate says, for people and for metrics.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use antiphon_proto::NodeId;
use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::CertError;
use super::identity::{self, Named, SPIFFE};

/// What stands in one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertInfo {
    /// Whom it names, as a distinguished name.
    pub subject: String,
    /// Who signed it, as a distinguished name.
    pub issuer: String,
    /// Its alternative names: `URI:…`, `DNS:…`, `IP:…`.
    pub names: Vec<String>,
    /// The node that it names, if it does.
    pub node: Option<NodeId>,
    /// The cluster of its spiffe name, if it has one.
    pub cluster: Option<String>,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when it is valid.
    pub not_after: SystemTime,
    /// Its number, hexadecimal, bytes parted by colons.
    pub serial: String,
    /// SHA-256 of the whole certificate, hexadecimal.
    pub fingerprint: String,
}

/// A certificate in a PEM text.
pub(super) struct Block {
    pub(super) der: Vec<u8>,
    pub(super) info: CertInfo,
    pub(super) public_key: Vec<u8>,
}

impl Block {
    /// Whether its time has come and is not over.
    pub(super) fn check_time(&self, now: SystemTime) -> Result<(), CertError> {
        let subject = self.info.subject.clone();
        if now < self.info.not_before {
            return Err(CertError::NotYetValid { subject, at: spell(self.info.not_before) });
        }
        if now > self.info.not_after {
            return Err(CertError::Expired { subject, at: spell(self.info.not_after) });
        }
        Ok(())
    }
}

/// Every certificate of a PEM text, at least one.
pub(super) fn blocks(pem: &str, place: &str) -> Result<Vec<Block>, CertError> {
    let unreadable = |reason| CertError::Unreadable { place: place.to_owned(), reason };
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|error| unreadable(error.to_string()))?;
        if block.label == "CERTIFICATE" {
            found.push(parse(block.contents).map_err(unreadable)?);
        }
    }
    match found.is_empty() {
        true => Err(unreadable("no block BEGIN CERTIFICATE".to_owned())),
        false => Ok(found),
    }
}

pub(super) fn read_all(pem: &str, place: &str) -> Result<Vec<CertInfo>, CertError> {
    Ok(blocks(pem, place)?.into_iter().map(|block| block.info).collect())
}

fn parse(der: Vec<u8>) -> Result<Block, String> {
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
    let extension = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
    let named = identity::named(&certificate).ok();
    let info = CertInfo {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        names: names.iter().map(spell_name).collect(),
        node: named.as_ref().map(Named::node),
        cluster: names.iter().find_map(cluster_of),
        is_authority: certificate.is_ca(),
        not_before: system_time(certificate.validity().not_before),
        not_after: system_time(certificate.validity().not_after),
        serial: certificate.raw_serial_as_string(),
        fingerprint: fingerprint(&der),
    };
    let public_key = certificate.public_key().subject_public_key.data.to_vec();
    Ok(Block { der, info, public_key })
}

fn cluster_of(name: &GeneralName<'_>) -> Option<String> {
    let GeneralName::URI(uri) = name else { return None };
    let cluster = uri.strip_prefix(SPIFFE)?.split('/').next()?;
    Some(cluster.to_owned())
}

fn spell_name(name: &GeneralName<'_>) -> String {
    if let GeneralName::URI(uri) = name {
        return format!("URI:{uri}");
    }
    if let GeneralName::DNSName(dns) = name {
        return format!("DNS:{dns}");
    }
    if let GeneralName::IPAddress(bytes) = name {
        let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
        let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
        return address.map_or_else(|_| "IP:?".to_owned(), |address| format!("IP:{address}"));
    }
    name.to_string()
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

/// A point in time for an error's text.
fn spell(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let parsed = i64::try_from(since).ok().and_then(|at| ASN1Time::from_timestamp(at).ok());
    parsed.map_or_else(|| format!("second {since} since 1970"), |time| time.to_string())
}

/// SHA-256, hexadecimal.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}
