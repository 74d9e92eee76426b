//! Accepts clients, within limits, and gives each its session.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;

use crate::config::ConfigError;
use crate::server::{Server, TICK};
use crate::session::Session;
use crate::shard::Shard;
use crate::stats::Refusal;
use crate::tls::{Tls, TlsError};

/// Why the client port does not open.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be taken.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The open client port of one server.
#[derive(Debug)]
pub struct Listener<S> {
    server: Rc<Server<S>>,
    socket: TcpListener,
    tls: Option<Tls>,
}

/// How often the certificate's files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(10);
/// Time for a TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// A client that is silent for this long is asked whether it is there, as Redis does. One that
/// is gone without a word would hold its place for ever.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(300);
/// Questions without an answer after which it is gone, a third of the time apart.
const KEEP_ALIVE_PROBES: u32 = 3;
/// Pause after the system refused to hand out a connection, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl<S: Shard> Listener<S> {
    /// Opens the client port.
    ///
    /// # Errors
    /// When the configuration is refused, or the port or the certificate cannot be used.
    pub async fn open(server: Rc<Server<S>>) -> Result<Self, ListenError> {
        server.config.check()?;
        let address = server.config.listen;
        let bind = |error| ListenError::Bind { address, error };
        let socket = TcpListener::bind(address).await.map_err(bind)?;
        server.address.set(socket.local_addr().map_err(bind)?);
        let tls = server.config.tls.clone().map(Tls::open).transpose()?;
        let listener = Self { server, socket, tls };
        listener.note_certificate();
        Ok(listener)
    }

    /// Where it listens: the port that the system chose, when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address.get()
    }

    /// Serves clients until the future is dropped; then all sessions end with it.
    pub async fn run(mut self) {
        let mut sessions = JoinSet::new();
        let mut reload = interval(RELOAD_EVERY);
        reload.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(&mut sessions, stream, peer),
                    Err(error) => {
                        tracing::warn!(%error, "failed to accept a client");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a client's session broke off");
                    }
                }
                _ = reload.tick() => self.reload(),
                now = tick.tick() => self.server.tick(now.into_std()),
            }
        }
    }

    fn admit(&self, sessions: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr) {
        let server = Rc::clone(&self.server);
        if let Some((refusal, text)) = full(&server) {
            server.stats.refuse(refusal);
            sessions.spawn_local(turn_away(stream, text));
            return;
        }
        if let Err(error) = set_up(&stream) {
            tracing::debug!(%error, %peer, "failed to set a client's socket up");
            return;
        }
        let local = stream.local_addr().unwrap_or_else(|_closed| server.address.get());
        let client = server.enter(peer, local);
        match self.tls.as_ref().map(Tls::acceptor) {
            None => sessions.spawn_local(Session::new(server, client, stream).run()),
            Some(acceptor) => sessions.spawn_local(async move {
                match handshake(acceptor, stream).await {
                    Ok(stream) => Session::new(server, client, stream).run().await,
                    Err(error) => {
                        server.stats.refuse(Refusal::Handshake);
                        server.leave(&client);
                        tracing::debug!(%error, %peer, "failed to agree on TLS with a client");
                    }
                }
            }),
        };
    }

    fn reload(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        match tls.reload() {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!("the client port has a new certificate");
                self.note_certificate();
            }
            Err(error) => {
                tracing::warn!(%error, "failed to read the new certificate, the old one stays");
            }
        }
    }

    fn note_certificate(&self) {
        let end = self.tls.as_ref().and_then(Tls::ends_at_s);
        let end = end.and_then(|end| u64::try_from(end).ok()).unwrap_or(0);
        self.server.stats.certificate_end_s.set(end);
    }
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE / KEEP_ALIVE_PROBES)
        .with_retries(KEEP_ALIVE_PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keep_alive)
}

/// Why no more clients are taken now, and what one more is told.
fn full<S: Shard>(server: &Server<S>) -> Option<(Refusal, &'static [u8])> {
    if server.clients.borrow().len() >= server.live.clients_max.get() {
        return Some((Refusal::Clients, b"-ERR max number of clients reached\r\n"));
    }
    if server.strangers.get() >= server.config.limits.strangers_max {
        return Some((
            Refusal::Strangers,
            b"-ERR max number of unauthenticated clients reached\r\n",
        ));
    }
    None
}

/// Says why, and closes.
async fn turn_away(mut stream: TcpStream, text: &'static [u8]) {
    // Whoever is turned away may be gone already; there is nobody left to tell.
    if let Err(error) = stream.write_all(text).await {
        tracing::trace!(%error, "failed to tell a client that it is turned away");
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    match timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
        Ok(stream) => stream,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}
