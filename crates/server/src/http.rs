//! The pages: `/metrics`, `/status`, probes and `/changes`, on a thread of their own.
//!
//! They only read what the owner thread published, and the log beside it, so a slow reader here
//! slows nobody else.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::oneshot;

use crate::pages::Pages;

mod bounded;
mod change_json;
mod changes;
mod metrics;
mod probes;
mod query;
mod status_json;

pub use change_json::{ChangeJson, EffectJson};
pub use changes::Feed;
pub use status_json::{LinkJson, ReplicaJson, StatusJson, UpstreamJson};

/// The running pages. Dropping it ends them.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Why the pages are not served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be taken.
    #[error("cannot serve pages on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The thread or its runtime cannot be started.
    #[error("cannot start the pages' thread: {0}")]
    Start(io::Error),
}

impl Http {
    /// Serves the pages, and the changes of the log if there is a feed.
    ///
    /// # Errors
    /// When the address is taken, or the system has no thread to give.
    pub fn start(
        address: SocketAddr,
        pages: Arc<Pages>,
        feed: Option<Feed>,
    ) -> Result<Self, HttpError> {
        let router = router(pages, feed.map(Arc::new));
        let bind = |error| HttpError::Bind { address, error };
        let socket = std::net::TcpListener::bind(address).map_err(bind)?;
        socket.set_nonblocking(true).map_err(bind)?;
        let address = socket.local_addr().map_err(bind)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(HttpError::Start)?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            if let Err(error) = runtime.block_on(serve(socket, router, stopped)) {
                tracing::error!(%error, "failed to go on serving pages");
            }
        };
        let thread = thread::Builder::new().name("http".to_owned()).spawn(serve);
        let thread = Some(thread.map_err(HttpError::Start)?);
        Ok(Self { address, stop: Some(stop), thread })
    }

    /// Where the pages are: the port that the system chose, when 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(thread::JoinHandle::join);
        if let Some(Err(_)) = ended {
            tracing::error!("the pages' thread broke off");
        }
    }
}

async fn serve(
    socket: std::net::TcpListener,
    router: Router,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let socket = tokio::net::TcpListener::from_std(socket)?;
    let served = axum::serve(bounded::Bounded::new(socket), router).into_future();
    tokio::select! {
        served = served => served,
        // Nobody waits for a page of a node that is gone.
        _ = stopped => Ok(()),
    }
}

fn router(pages: Arc<Pages>, feed: Option<Arc<Feed>>) -> Router {
    let changes = Router::new().route("/changes", get(changes::page)).with_state(feed);
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/status", get(status_page))
        .route("/livez", get(probes::alive))
        .route("/startupz", get(probes::alive))
        .route("/readyz", get(probes::ready))
        .route("/primary", get(probes::primary))
        .route("/replica", get(probes::replica))
        .with_state(pages)
        .merge(changes)
}

async fn metrics_page(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics::text(pages, now_s()) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, TYPE)], text),
        Err(error) => {
            let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::INTERNAL_SERVER_ERROR, headers, error.to_string())
        }
    }
}

async fn status_page(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    let Some(newest) = pages.newest() else {
        return (StatusCode::SERVICE_UNAVAILABLE, headers, "{}\n".to_owned());
    };
    let json = StatusJson::from(newest.status.as_ref());
    match serde_json::to_string_pretty(&json) {
        Ok(text) => (StatusCode::OK, headers, text + "\n"),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, headers, error.to_string()),
    }
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
