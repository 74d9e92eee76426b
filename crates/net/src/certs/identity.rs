//! Which node a certificate names.

use antiphon_proto::NodeId;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::error::Refusal;

/// What the names of a certificate say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// `spiffe://<cluster>/node/<id>`.
    Spiffe { cluster: String, node: NodeId },
    /// `node-<id>` or `node-<id>.<anything>`.
    Dns { node: NodeId },
}

impl Named {
    pub(super) const fn node(&self) -> NodeId {
        match self {
            Self::Spiffe { node, .. } | Self::Dns { node } => *node,
        }
    }
}

/// The node that a peer's certificate names, if it is one of this cluster.
pub(crate) fn node_in(der: &[u8], cluster: &str) -> Result<NodeId, Refusal> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| Refusal::Invalid(format!("it cannot be parsed: {error}")))?;
    let known = named(&certificate)?;
    let node = known.node();
    match known {
        Named::Spiffe { cluster: found, .. } if found != cluster => {
            Err(Refusal::WrongCluster { found })
        }
        Named::Spiffe { .. } | Named::Dns { .. } => Ok(node),
    }
}

/// What a certificate says of its node. A spiffe name decides; DNS names count without one.
pub(super) fn named(certificate: &X509Certificate<'_>) -> Result<Named, Refusal> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|error| Refusal::Invalid(format!("its alternative names: {error}")))?;
    let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
    let mut found: Option<Named> = None;
    let spiffe = names.iter().filter_map(uri).filter(|uri| uri.starts_with(SPIFFE));
    for uri in spiffe {
        // A spiffe name of another role is not a node's, whatever else stands beside it.
        agree(&mut found, parse_spiffe(uri).ok_or(Refusal::NoIdentity)?)?;
    }
    if found.is_none() {
        for node in names.iter().filter_map(dns).filter_map(parse_dns) {
            agree(&mut found, Named::Dns { node })?;
        }
    }
    found.ok_or(Refusal::NoIdentity)
}

fn agree(found: &mut Option<Named>, next: Named) -> Result<(), Refusal> {
    match found {
        Some(known) if *known != next => {
            Err(Refusal::Ambiguous { one: known.node(), other: next.node() })
        }
        Some(_) => Ok(()),
        None => {
            *found = Some(next);
            Ok(())
        }
    }
}

pub(super) const SPIFFE: &str = "spiffe://";

const fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name { Some(uri) } else { None }
}

const fn dns<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::DNSName(dns) = name { Some(dns) } else { None }
}

fn parse_spiffe(uri: &str) -> Option<Named> {
    let (cluster, path) = uri.strip_prefix(SPIFFE)?.split_once('/')?;
    let node = parse_node(path.strip_prefix("node/")?)?;
    (!cluster.is_empty()).then(|| Named::Spiffe { cluster: cluster.to_owned(), node })
}

fn parse_dns(name: &str) -> Option<NodeId> {
    let label = name.split('.').next()?;
    let prefix = label.get(..DNS_PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(DNS_PREFIX) {
        return None;
    }
    parse_node(label.get(DNS_PREFIX.len()..)?)
}

const DNS_PREFIX: &str = "node-";

/// Only digits, no leading zero, not 0: one node has one spelling.
fn parse_node(text: &str) -> Option<NodeId> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok().map(NodeId::new)).flatten()
}

#[cfg(test)]
mod tests;
