//! Listens to the library's events: who shows which certificate, and why a handshake failed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use s2n_quic::provider::event::events::{
    ConnectionClosed, ConnectionStarted, EndpointType, SocketAddress, TlsExporterReady,
    TlsHandshakeFailed,
};
use s2n_quic::provider::event::{ConnectionInfo, ConnectionMeta, Subscriber};
use s2n_quic::provider::tls::s2n_tls::error::Error as TlsError;

use super::close;
use crate::error::Refusal;
use crate::refusals::Refusals;

/// Where a caller finds the reason of a failed handshake.
pub(super) type Verdict = Arc<Mutex<Option<Refusal>>>;

/// What was seen of one connection.
pub(super) struct Seen {
    pub(super) certificate: Option<Vec<u8>>,
    judged: bool, // the handshake came to an end, good or bad
    remote: Option<SocketAddr>,
    verdict: Option<Verdict>,
}

/// The subscriber of one endpoint.
pub(super) struct Watcher {
    refusals: Arc<Refusals>,
}

impl Watcher {
    pub(super) const fn new(refusals: Arc<Refusals>) -> Self {
        Self { refusals }
    }
}

impl Subscriber for Watcher {
    type ConnectionContext = Seen;

    fn create_connection_context(
        &mut self,
        _meta: &ConnectionMeta,
        info: &ConnectionInfo<'_>,
    ) -> Seen {
        let verdict = info.application.and_then(|it| it.downcast_ref::<Verdict>()).cloned();
        Seen { certificate: None, judged: false, remote: None, verdict }
    }

    fn on_connection_started(
        &mut self,
        seen: &mut Seen,
        _meta: &ConnectionMeta,
        event: &ConnectionStarted<'_>,
    ) {
        seen.remote = address(&event.path.remote_addr);
    }

    fn on_tls_exporter_ready(
        &mut self,
        seen: &mut Seen,
        _meta: &ConnectionMeta,
        event: &TlsExporterReady<'_>,
    ) {
        seen.judged = true;
        // A failure here leaves no certificate, which is refused as such.
        let chain = event.session.peer_cert_chain_der().unwrap_or_default();
        seen.certificate = chain.into_iter().next();
    }

    fn on_tls_handshake_failed(
        &mut self,
        seen: &mut Seen,
        meta: &ConnectionMeta,
        event: &TlsHandshakeFailed<'_>,
    ) {
        seen.judged = true;
        let refusal = match event.error.downcast_ref::<TlsError>() {
            Some(error) => refusal_of(error),
            None => Refusal::Invalid(event.error.to_string()),
        };
        // A caller notes its refusals itself, with the node that it called.
        match &seen.verdict {
            Some(verdict) => {
                *verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
            }
            None if matches!(meta.endpoint_type, EndpointType::Server { .. }) => {
                self.refusals.note(&refusal, seen.remote);
            }
            None => {}
        }
    }

    fn on_connection_closed(
        &mut self,
        seen: &mut Seen,
        meta: &ConnectionMeta,
        event: &ConnectionClosed,
    ) {
        // What fails beside TLS, such as having no protocol in common, is found only here.
        if !seen.judged && matches!(meta.endpoint_type, EndpointType::Server { .. }) {
            let foreign = close::alert(event.error) == Some(close::NO_APPLICATION_PROTOCOL);
            let refusal = if foreign { Refusal::Foreign } else { Refusal::Unfinished };
            self.refusals.note(&refusal, seen.remote);
        }
    }
}

fn address(address: &SocketAddress<'_>) -> Option<SocketAddr> {
    if let SocketAddress::IpV4 { ip, port, .. } = address {
        return Some(SocketAddr::from((**ip, *port)));
    }
    if let SocketAddress::IpV6 { ip, port, .. } = address {
        return Some(SocketAddr::from((**ip, *port)));
    }
    None
}

/// The library's names are stable; its messages are for people.
fn refusal_of(error: &TlsError) -> Refusal {
    match error.name() {
        "S2N_ERR_MISSING_CLIENT_CERT" | "S2N_ERR_NO_CERT_FOUND" => Refusal::NoCertificate,
        "S2N_ERR_CERT_EXPIRED" => Refusal::Expired,
        "S2N_ERR_CERT_NOT_YET_VALID" => Refusal::NotYetValid,
        "S2N_ERR_CERT_UNTRUSTED" => Refusal::UnknownAuthority,
        name => Refusal::Invalid(format!("{} ({name})", error.message())),
    }
}
