//! TLS on the client port.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use antiphon_server::{Tls, TlsError, TlsFiles};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::Client;
use crate::fake::Fake;
use crate::node::{Node, config, local};

/// Writes a fresh certificate and its key; returns the certificate.
fn issue(files: &TlsFiles) -> rcgen::Certificate {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(&files.certificate, certificate.pem()).expect("a file");
    std::fs::write(&files.key, key.serialize_pem()).expect("a file");
    certificate
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") }
}

fn connector(certificate: &rcgen::Certificate) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[test]
fn clients_over_tls_and_over_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let certificate = issue(&files);
    local(async move {
        let mut config = config();
        config.tls = Some(files);
        let node = Node::start(&Fake::primary(), config).await;
        let stream = TcpStream::connect(node.address).await.expect("the port is open");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector(&certificate).connect(name, stream).await.expect("a handshake");
        let mut client = Client::over(stream);
        client.check("PING", "+PONG\r\n").await;
        let value = vec![b'x'; 1 << 20];
        assert_eq!(client.raw(&[b"SET", b"k", &value]).await, b"+OK\r\n");
        assert_eq!(client.raw(&[b"GET", b"k"]).await.len(), value.len() + 12);
        let mut plain = Client::connect(node.address).await;
        plain.send(b"PING\r\nPING\r\n").await;
        let stats = node.server.stats();
        crate::node::until(|| stats.refused.iter().any(|count| count.get() > 0)).await;
        assert!(stats.certificate_end_s.get() > 0);
    });
}

#[test]
fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    issue(&files);
    let mut tls = Tls::open(files.clone()).expect("a certificate");
    assert!(!tls.reload().expect("nothing changed"));
    let touch = |seconds| {
        let file = std::fs::File::options().write(true).open(&files.key).expect("the key");
        let later = SystemTime::now() + std::time::Duration::from_secs(seconds);
        file.set_modified(later).expect("a time");
    };
    issue(&files);
    touch(60);
    assert!(tls.reload().expect("a new certificate"));
    std::fs::write(&files.certificate, "nonsense").expect("a file");
    touch(120);
    assert!(matches!(tls.reload(), Err(TlsError::Unusable(_) | TlsError::Pem { .. })));
}
