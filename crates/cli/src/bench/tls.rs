//! Connections with TLS or without: what is written and read is the same.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream, crypto};

use crate::errors::{Code, Coded, Problem};

/// The files of a load over TLS, PEM.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// Authorities to believe.
    pub(crate) authorities: PathBuf,
    /// What to show if the server asks for it: a certificate chain and its key.
    pub(crate) own: Option<(PathBuf, PathBuf)>,
}

/// How the connections of a plan speak TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    /// What the certificates of the servers must name, in the order of the addresses.
    names: Vec<ServerName<'static>>,
}

impl Tls {
    /// Reads the files; `hosts` are the servers as they were written.
    ///
    /// # Errors
    /// A [`Problem`] when a file cannot be used, or a host is no name of a server.
    pub(crate) fn new(files: &Files, hosts: &[&str]) -> Result<Self, Problem> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(&files.authorities)? {
            roots.add(authority).coded(Code::ReadFile, || unusable(&files.authorities))?;
        }
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .coded(Code::Other, || "cannot set up TLS".to_owned())?
            .with_root_certificates(roots);
        let config = match &files.own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let shown = certificates(chain)?;
                let secret = PrivateKeyDer::from_pem_file(key);
                let secret = secret.coded(Code::ReadFile, || unusable(key))?;
                let config = builder.with_client_auth_cert(shown, secret);
                config.coded(Code::ReadFile, || unusable(chain))?
            }
        };
        let name = |host: &&str| {
            ServerName::try_from((*host).to_owned()).map_err(|error| {
                let next = "A certificate names a host or an address, such as localhost.";
                Problem::usage(format!("cannot use the name {host}: {error}"), next)
            })
        };
        let names = hosts.iter().map(name).collect::<Result<_, _>>()?;
        Ok(Self { config: Arc::new(config), names })
    }

    /// Speaks TLS on a socket that blocks with a time limit, to server number `server`.
    ///
    /// # Errors
    /// When the two sides do not come to terms in time.
    pub(crate) fn secure<S: Read + Write>(
        &self,
        mut socket: S,
        server: usize,
    ) -> io::Result<Channel<S>> {
        let name = self.names.get(server).expect("there is a name for each address").clone();
        let session = ClientConnection::new(Arc::clone(&self.config), name);
        let mut session = session.map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Channel { socket, session: Some(Box::new(session)) })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let text = fs::read(path).coded(Code::ReadFile, || unusable(path))?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.coded(Code::ReadFile, || unusable(path))?;
    if found.is_empty() {
        let what = format!("{}: no certificate is in it", unusable(path));
        return Err(Problem::new(Code::ReadFile, what));
    }
    Ok(found)
}

fn unusable(path: &Path) -> String {
    format!("cannot use {}", path.display())
}

/// A socket, with TLS or without.
#[derive(Debug)]
pub(crate) struct Channel<S> {
    socket: S,
    session: Option<Box<ClientConnection>>,
}

impl<S> Channel<S> {
    /// Without TLS.
    pub(crate) const fn plain(socket: S) -> Self {
        Self { socket, session: None }
    }

    /// The socket itself, to wait for it and to set it up.
    pub(crate) const fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// The same with another kind of socket.
    pub(crate) fn map<T>(self, change: impl FnOnce(S) -> T) -> Channel<T> {
        Channel { socket: change(self.socket), session: self.session }
    }

    /// Whether a read that did not fill its buffer has taken all that the socket held. TLS hands
    /// over one record after the other.
    pub(crate) const fn short_read_is_all(&self) -> bool {
        self.session.is_none()
    }
}

impl<S: Read + Write> Read for Channel<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.read(into),
            Some(session) => Stream::new(&mut **session, &mut self.socket).read(into),
        }
    }
}

impl<S: Read + Write> Write for Channel<S> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.write(from),
            Some(session) => Stream::new(&mut **session, &mut self.socket).write(from),
        }
    }

    /// With TLS, what was taken may still wait for the socket.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.session {
            None => Ok(()),
            Some(session) => Stream::new(&mut **session, &mut self.socket).flush(),
        }
    }
}
