//! The transport over QUIC with mutual TLS: one connection for each pair of nodes, one stream
//! for each lane.

mod close;
mod config;
mod establish;
mod link;
mod reset;
mod tls;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use antiphon_proto::NodeId;
use s2n_quic::{Client, Server, provider};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::certs::{CertInfo, Credentials};
use crate::codec::Offer;
use crate::error::{BindError, CloseReason, Closed, ConnectError};
use crate::refusals::Refusals;
use crate::transport::Transport;
pub(crate) use config::MESSAGE_BYTES_MAX_DEFAULT;
pub use config::QuicConfig;
use establish::Establish;
pub use link::QuicLink;
use reset::ResetTokens;
pub use tls::ReloadError;
use tls::Tls;
use watch::Watcher;

/// Links that may wait to be accepted.
const ACCEPT_MAX: usize = 64;
/// Connections that may be in their handshake with us at once.
const HANDSHAKES_MAX: usize = 64;

/// Links over QUIC.
pub struct QuicTransport {
    client: Client,
    shared: Arc<Shared>,
    local: SocketAddr,
    accepted: tokio::sync::Mutex<mpsc::Receiver<QuicLink>>,
    acceptor: JoinHandle<()>,
}

/// What the accepting and the calling side have in common.
struct Shared {
    me: NodeId,
    cluster: String,
    config: QuicConfig,
    tls: Tls,
    admitted: Mutex<BTreeSet<NodeId>>,
    offer: Mutex<Offer>,
    refusals: Arc<Refusals>,
}

impl Shared {
    /// What this node tells the other side of the next link.
    fn offer(&self) -> Offer {
        *self.offer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for QuicTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("QuicTransport");
        shown.field("me", &self.shared.me).field("local", &self.local).finish_non_exhaustive()
    }
}

impl QuicTransport {
    /// Starts to listen. Must be called within a tokio runtime, which then carries the links.
    ///
    /// # Errors
    /// [`BindError`] for a setting out of range, an address in use, another node's certificate.
    pub async fn bind(config: QuicConfig) -> Result<Self, BindError> {
        config.check()?;
        let listen = resolve(&config.listen).await.map_err(|reason| BindError::Listen {
            address: config.listen.clone(),
            source: std::io::Error::other(reason),
        })?;
        let listen = listen.first().copied().ok_or_else(|| BindError::Listen {
            address: config.listen.clone(),
            source: std::io::Error::other("the name has no address"),
        })?;
        let refusals = Arc::<Refusals>::default();
        let tls = Tls::new(&config.credentials)?;
        let server = start_server(&config, &tls, &refusals, listen)?;
        let client = start_client(&config, &tls, &refusals, listen)?;
        let local = server.local_addr();
        let local =
            local.map_err(|source| BindError::Listen { address: config.listen.clone(), source })?;
        let shared = Arc::new(Shared {
            me: config.me,
            cluster: config.credentials.cluster().to_owned(),
            config,
            tls,
            admitted: Mutex::default(),
            offer: Mutex::default(),
            refusals,
        });
        let (ready, accepted) = mpsc::channel(ACCEPT_MAX);
        let acceptor = tokio::spawn(accept_all(server, Arc::clone(&shared), ready));
        let accepted = tokio::sync::Mutex::new(accepted);
        Ok(Self { client, shared, local, accepted, acceptor })
    }

    /// Shows another certificate and believes other authorities from the next handshake on.
    /// Links that stand are not touched.
    ///
    /// # Errors
    /// [`ReloadError`]; the old certificates stay in use then.
    pub fn reload(&self, credentials: &Credentials) -> Result<(), ReloadError> {
        self.shared.tls.reload(credentials)
    }

    /// The certificate that is shown.
    #[must_use]
    pub fn certificate(&self) -> CertInfo {
        self.shared.tls.info()
    }

    /// Until when the certificate that is shown is valid.
    #[must_use]
    pub fn certificate_not_after(&self) -> SystemTime {
        self.certificate().not_after
    }
}

impl Drop for QuicTransport {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Transport for QuicTransport {
    type Link = QuicLink;

    fn me(&self) -> NodeId {
        self.shared.me
    }

    fn local_address(&self) -> String {
        self.local.to_string()
    }

    fn admit(&self, members: &[NodeId]) {
        let mut admitted = self.shared.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        *admitted = members.iter().copied().collect();
    }

    fn offer(&self, offer: Offer) {
        *self.shared.offer.lock().unwrap_or_else(PoisonError::into_inner) = offer;
    }

    fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.shared.refusals)
    }

    async fn connect(&self, peer: NodeId, address: &str) -> Result<QuicLink, ConnectError> {
        let patience = self.shared.config.connect_timeout;
        let unusable = |reason| ConnectError::Address { address: address.to_owned(), reason };
        let Ok(resolved) = timeout(patience, resolve(address)).await else {
            return Err(unusable("the resolver did not answer in time".to_owned()));
        };
        let mut places = resolved.map_err(unusable)?;
        places.retain(|place| place.is_ipv4() == self.local.is_ipv4());
        let mut outcome = Err(unusable(format!("no address of the family of {}", self.local)));
        // A name with several places is tried at each, and no dead one takes all the time.
        let share = patience / u32::try_from(places.len().max(1)).unwrap_or(u32::MAX);
        for place in places {
            let call = establish::call(&self.client, &self.shared, peer, place);
            outcome = timeout(share, call).await.unwrap_or(Err(ConnectError::Timeout(peer)));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn accept(&self) -> Result<QuicLink, Closed> {
        let mut accepted = self.accepted.lock().await;
        accepted.recv().await.ok_or(Closed::Here(CloseReason::Shutdown))
    }
}

/// Takes connections, checks whose they are beside one another, and hands the good ones over.
async fn accept_all(mut server: Server, shared: Arc<Shared>, ready: mpsc::Sender<QuicLink>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut tasks = JoinSet::new();
    while let Some(connection) = server.accept().await {
        while tasks.try_join_next().is_some() {}
        let establish = Establish { shared: Arc::clone(&shared), ready: ready.clone() };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                tasks.spawn(async move {
                    establish.answer(connection).await;
                    drop(place);
                });
            }
            Err(_) => establish.turn_away(&connection),
        }
    }
}

/// The places of an address, resolved now.
async fn resolve(address: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(literal) = address.parse() {
        return Ok(vec![literal]);
    }
    let found = tokio::net::lookup_host(address).await.map_err(|error| error.to_string())?;
    Ok(found.collect())
}

fn start_server(
    config: &QuicConfig,
    tls: &Tls,
    refusals: &Arc<Refusals>,
    listen: SocketAddr,
) -> Result<Server, BindError> {
    let io = config
        .io(listen)
        .map_err(|source| BindError::Listen { address: config.listen.clone(), source })?;
    // The builder's own errors cannot occur for values; `start` reports what can.
    let builder = Server::builder();
    let builder = builder.with_tls(tls.server()).map_err(start)?;
    let builder = builder.with_io(io).map_err(start)?;
    let builder = builder.with_limits(config.limits()?).map_err(start)?;
    let builder = builder.with_event(Watcher::new(Arc::clone(refusals))).map_err(start)?;
    let tokens = ResetTokens::of(&config.credentials);
    let builder = builder.with_stateless_reset_token(tokens).map_err(start)?;
    builder.start().map_err(|error| listen_error(config, &error))
}

fn start_client(
    config: &QuicConfig,
    tls: &Tls,
    refusals: &Arc<Refusals>,
    listen: SocketAddr,
) -> Result<Client, BindError> {
    let from = if listen.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    // Call from where we listen, so that a node bound to loopback stays there.
    let from = if listen.ip().is_unspecified() { from } else { listen.ip() };
    let io = config.io(SocketAddr::new(from, 0)).map_err(start)?;
    let builder = Client::builder();
    let builder = builder.with_tls(tls.client()).map_err(start)?;
    let builder = builder.with_io(io).map_err(start)?;
    let builder = builder.with_limits(config.limits()?).map_err(start)?;
    let builder = builder.with_event(Watcher::new(Arc::clone(refusals))).map_err(start)?;
    builder.start().map_err(start)
}

fn start(error: impl fmt::Display) -> BindError {
    BindError::Start(error.to_string())
}

fn listen_error(config: &QuicConfig, error: &provider::StartError) -> BindError {
    let source = std::io::Error::other(error.to_string());
    BindError::Listen { address: config.listen.clone(), source }
}
