//! `antiphon serve`: one node, until it is told to stop.

mod renewal;
pub(crate) mod setup;

use std::io::Read;
use std::time::Duration;

use antiphon::{Fatal, StartError};
use antiphon_server::{HttpError, ListenError, ServeError, Serving, Setup};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::commands::config::ConfigArgs;
use crate::config::{NodeConfig, Scope, TransportKind, check};
use crate::errors::{Code, Problem, store_problem};
use crate::exit::Exit;
use crate::output::Screen;

/// What a node says when all its ports are open.
pub(crate) const LISTENS: &str = "listens for clients at";

/// Flags of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  antiphon serve --config node.toml
  antiphon serve --config node.toml --set resp.listen=127.0.0.1:7111
  ANTIPHON_NODE_ID=2 antiphon serve --config node.toml

SIGTERM and SIGINT stop the node in order; a second one stops it at once.
SIGHUP reads the certificates of its links again, as does a change of their files.
RUST_LOG chooses what is logged, such as RUST_LOG=debug.")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) from: ConfigArgs,
    /// Stop when stdin ends, as when the program that started this one is gone
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// Serves until the node has stopped.
///
/// # Errors
/// Why the node could not start, or why it stopped by itself.
pub(crate) fn run(args: &ServeArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    log_to_stderr();
    let layers = args.from.layers(screen)?;
    let config =
        NodeConfig::read(&layers).map_err(|error| crate::commands::config::refused(&error))?;
    check(&config, Scope::Text).map_err(|error| crate::commands::config::refused(&error))?;
    let setup = setup::setup(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(args, &config, setup, screen));
    // A start that was broken off may hang in the disk; it is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    args: &ServeArgs,
    config: &NodeConfig,
    setup: Setup,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    // Before anything is opened, so that no signal finds a node that serves and ends it.
    let mut signals = Signals::hear()?;
    let node = config.node.id;
    let starting = tokio::task::spawn_blocking(move || Serving::start(setup));
    let serving = tokio::select! {
        started = starting => started?.map_err(|error| explained(&error))?,
        () = signals.stop() => {
            screen.note(&format!("node {node} was stopped before it served"));
            return Ok(Exit::Done);
        }
    };
    screen.note(&format!("node {node} {LISTENS} {}", serving.address()));
    if args.stop_with_stdin {
        stop_with_stdin(serving.node().stopper());
    }
    if config.peer.transport == TransportKind::Quic {
        let (links, files) = (serving.node().links(), setup::credential_files(config)?);
        // Ends with the runtime.
        drop(tokio::spawn(renewal::follow(links, files, config.cluster.name.clone())));
    }
    let stopper = serving.node().stopper();
    let ended = serving.ended();
    tokio::pin!(ended);
    let mut asked = false;
    loop {
        tokio::select! {
            outcome = &mut ended => {
                outcome.map_err(|fatal| stopped(&fatal))?;
                screen.note(&format!("node {node} has stopped"));
                return Ok(Exit::Done);
            }
            () = signals.stop() => {}
        }
        if asked {
            return Err(Problem::new(Code::StoppedAtOnce, "stopped at once").into());
        }
        asked = true;
        screen.note("stopping; once more to stop at once");
        stopper.send_replace(true);
    }
}

/// The signals that would end this process by themselves.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Heard where certificates are renewed; here only so that it ends nothing before.
    _hangup: Signal,
}

impl Signals {
    fn hear() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one that asks to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What keeps a node from serving.
pub(crate) fn explained(error: &ServeError) -> Problem {
    let code = match error {
        ServeError::Node(StartError::Store(error)) => return store_problem(error),
        ServeError::Node(StartError::Alone { .. }) => Code::DamagedAlone,
        ServeError::Node(StartError::Links(_)) => Code::Links,
        ServeError::Node(StartError::Restore { .. } | StartError::State { .. }) => Code::State,
        ServeError::Node(StartError::Config(_)) | ServeError::Listen(ListenError::Config(_)) => {
            Code::Config
        }
        ServeError::Node(StartError::Thread(_)) | ServeError::Http(HttpError::Start(_)) => {
            Code::Other
        }
        ServeError::Listen(ListenError::Bind { .. }) => Code::ClientPort,
        ServeError::Listen(ListenError::Tls(_)) => Code::ClientTls,
        ServeError::Http(HttpError::Bind { .. }) => Code::PagesPort,
        ServeError::Stopped(fatal) => return stopped(fatal),
    };
    Problem::new(code, error.to_string())
}

/// Why a node stopped by itself.
pub(crate) fn stopped(fatal: &Fatal) -> Problem {
    let code = match fatal {
        Fatal::Disk(_) => Code::Disk,
        Fatal::Alone(_) => Code::DamagedAlone,
        Fatal::Full(_) => Code::Full,
        Fatal::Halted(_) => Code::Halted,
        Fatal::Links | Fatal::Front => Code::Fault,
        Fatal::Apply(..) => Code::Unappliable,
    };
    Problem::new(code, fatal.to_string())
}

/// The library's events go to stderr, with time and level.
pub(crate) fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    let installed = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
    // Somebody who called this program as a library may have a subscriber already.
    drop(installed);
}

/// Stops the node when whoever holds the other end of stdin is gone.
fn stop_with_stdin(stopper: tokio::sync::watch::Sender<bool>) {
    std::thread::spawn(move || {
        let mut sink = [0; 64];
        let mut stdin = std::io::stdin().lock();
        while stdin.read(&mut sink).is_ok_and(|bytes| bytes > 0) {}
        stopper.send_replace(true);
        // A node that can't stop in order must not outlive its cluster either.
        std::thread::sleep(Duration::from_secs(10));
        std::process::exit(i32::from(Exit::Failed.code()));
    });
}
