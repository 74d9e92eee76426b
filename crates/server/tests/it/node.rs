//! A server on an ephemeral port, for as long as a test runs.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use antiphon_server::{Config, Listener, Server};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::fake::Fake;

/// Everything that a test waits for has come by then, or never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct Node {
    pub(crate) server: Rc<Server<Fake>>,
    pub(crate) shard: Fake,
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs a test on one thread, as the owner thread runs its shard.
pub(crate) fn local<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs nothing that a test machine lacks");
    let set = LocalSet::new();
    set.block_on(&runtime, async {
        tokio::time::timeout(PATIENCE * 3, test).await.expect("the test ends in time");
    });
}

/// A configuration that takes any free port.
pub(crate) fn config() -> Config {
    Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), http: None, ..Config::default() }
}

impl Node {
    /// Starts a server before a shard.
    pub(crate) async fn start(shard: &Fake, config: Config) -> Self {
        let server = Server::new(shard.clone(), config, 42);
        let listener = Listener::open(Rc::clone(&server)).await.expect("a free port is there");
        let address = listener.address();
        let task = spawn_local(listener.run());
        Self { server, shard: shard.clone(), address, task }
    }

    /// Starts a primary with the usual settings.
    pub(crate) async fn usual() -> Self {
        Self::start(&Fake::primary(), config()).await
    }
}

/// Waits until something holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "what is waited for does not come");
        tokio::task::yield_now().await;
    }
}
