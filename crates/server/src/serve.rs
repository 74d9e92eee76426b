//! A node with its doors open: the shard on its thread, clients before it, other nodes behind it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use antiphon::{Fatal, Local, NodeConfig, Running, StartError, launch};
use antiphon_kv::Engine;

use crate::config::Config;
use crate::http::{Feed, Http, HttpError};
use crate::listener::{ListenError, Listener};
use crate::node::{Keyspace, Names, NodeShard};
use crate::pages::Pages;
use crate::server::Server;
use crate::stats::Stats;

/// Everything that a serving node is told at its start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The node: its log, its state, its links.
    pub node: NodeConfig,
    /// The client port and the pages.
    pub server: Config,
    /// Names that pages show.
    pub names: Names,
    /// What keys and values may take.
    pub limits: antiphon_kv::Limits,
}

/// Why a node does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The node can't start.
    #[error(transparent)]
    Node(#[from] StartError),
    /// The client port does not open.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The pages cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The node stopped while it started.
    #[error(transparent)]
    Stopped(#[from] Fatal),
}

/// A node that serves.
#[derive(Debug)]
pub struct Serving {
    node: Running,
    address: SocketAddr,
    pages: Arc<Pages>,
    http: Option<Http>,
}

/// What the shard's thread tells when the client port is open.
type Opened = Result<(SocketAddr, Arc<Pages>), ListenError>;

impl Serving {
    /// Starts the node. Returns when its directory, its links and its client port are open; it
    /// accepts writes when [`Running::progress`] says so.
    ///
    /// # Errors
    /// What could not be opened.
    pub fn start(setup: Setup) -> Result<Self, ServeError> {
        let seed = seed().map_err(StartError::Thread)?;
        let (opened, opens) = mpsc::sync_channel::<Opened>(1);
        let Setup { node, server, names, limits } = setup;
        server.check().map_err(ListenError::Config)?;
        let pages_at = server.http;
        let feeds = server.changes.then(|| server.password.clone());
        let engine = move || Keyspace(Engine::new(seed, limits));
        let node = launch(node, engine, move |local| async move {
            front(local, server, (names, seed), opened).await;
        })?;
        match opens.recv() {
            Ok(Ok((address, pages))) => {
                let http = pages_at.map(|at| {
                    let feed = feeds.map(|password| Feed::new(node.log().clone(), password));
                    Http::start(at, Arc::clone(&pages), feed)
                });
                let http = http.transpose();
                if http.is_err() {
                    node.stop();
                }
                Ok(Self { http: http?, node, address, pages })
            }
            Ok(Err(error)) => {
                node.stop();
                Err(error.into())
            }
            // The shard's thread is gone, and its end says why.
            Err(_gone) => Err(ServeError::Stopped(Fatal::Front)),
        }
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        self.pages.stats()
    }

    /// Where the pages are served, if they are.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(Http::address)
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Running {
        &self.node
    }

    /// Waits until the node has stopped.
    ///
    /// # Errors
    /// Why it stopped by itself.
    pub async fn ended(self) -> Result<(), Fatal> {
        self.node.ended().await
    }
}

fn seed() -> std::io::Result<u128> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(u128::from_le_bytes(random))
}

/// Runs beside the shard, on its thread, until the node stops.
async fn front(
    local: Local<Keyspace>,
    config: Config,
    (names, seed): (Names, u128),
    opened: mpsc::SyncSender<Opened>,
) {
    let mut stopping = local.stopping();
    let shard = NodeShard::new(local.clone(), names);
    let server = Server::new(shard, config, seed);
    let listener = match Listener::open(Rc::clone(&server)).await {
        Ok(listener) => {
            // Nobody waits any more when the starter gave up.
            drop(opened.send(Ok((listener.address(), server.pages()))));
            listener
        }
        Err(error) => {
            drop(opened.send(Err(error)));
            return;
        }
    };
    let hosts = Rc::clone(&server);
    local.on_disconnect(move |node| hosts.peer_left(node));
    let guests = Rc::clone(&server);
    local.on_call(move |from, request| {
        let server = Rc::clone(&guests);
        Box::pin(async move { server.serve_peer(from, request).await.ok() })
    });
    tokio::select! {
        () = listener.run() => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}
