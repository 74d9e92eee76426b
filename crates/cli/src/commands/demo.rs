//! `antiphon demo`: a cluster on this machine, gone when it ends.

mod layout;
mod load;
mod nodes;
mod text;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::demo::layout::Layout;
use crate::commands::demo::load::Load;
use crate::commands::demo::nodes::Nodes;
use crate::config::ShapeKind;
use crate::errors::{Code, Problem};
use crate::exit::Exit;
use crate::output::Screen;

/// A demo that is not ready after this long says so and ends.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often nodes and load are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Flags of `demo`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  antiphon demo
  antiphon demo --nodes 5 --no-load
  antiphon demo --keep --dir /tmp/antiphon-demo

Node i listens at RESP-PORT + i - 1 for clients, and so on. It prints one line
`ready` when writes are accepted, and ends its nodes when it ends.")]
pub(crate) struct DemoArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=15), value_name = "N")]
    pub(crate) nodes: u16,
    /// How they replicate
    #[arg(long, value_enum, default_value_t = ShapeKind::Star)]
    pub(crate) shape: ShapeKind,
    /// First port for clients
    #[arg(long, default_value_t = 7101, value_name = "PORT")]
    pub(crate) resp_port: u16,
    /// First port of the pages
    #[arg(long, default_value_t = 7201, value_name = "PORT")]
    pub(crate) http_port: u16,
    /// First port for the other nodes
    #[arg(long, default_value_t = 7301, value_name = "PORT")]
    pub(crate) peer_port: u16,
    /// Where files go [default: a temporary directory; with --keep, antiphon-demo]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Keep the files, and go on with them the next time
    #[arg(long)]
    pub(crate) keep: bool,
    /// Write nothing by itself
    #[arg(long)]
    pub(crate) no_load: bool,
    /// Nodes as threads of this process, with links in memory instead of QUIC
    #[arg(long)]
    pub(crate) in_process: bool,
}

impl DemoArgs {
    /// A cluster for a program: no load, ports in a row from `first`, nothing kept.
    pub(crate) const fn quiet(nodes: u16, first: u16) -> Self {
        Self {
            nodes,
            shape: ShapeKind::Star,
            resp_port: first,
            http_port: first + nodes,
            peer_port: first + 2 * nodes,
            dir: None,
            keep: false,
            no_load: true,
            in_process: false,
        }
    }
}

/// A cluster without a screen. It ends with this value.
pub(crate) struct Cluster {
    addresses: Vec<SocketAddr>,
    nodes: Option<Nodes>,
    layout: Option<Layout>,
}

impl Cluster {
    /// Starts it and waits until it accepts writes.
    ///
    /// # Errors
    /// When the nodes can't be started or none accepts writes.
    pub(crate) fn start(args: &DemoArgs) -> anyhow::Result<Self> {
        let layout = Layout::make(args)?;
        let mut nodes = Nodes::start(args, &layout)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(nodes.ready(args, READY_WITHIN))?;
        let addresses = text::addresses(args.resp_port, args.nodes);
        Ok(Self { addresses, nodes: Some(nodes), layout: Some(layout) })
    }

    /// The client port of each node.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// The process of each node.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let pids = self.nodes.as_ref().map(Nodes::pids).unwrap_or_default();
        pids.into_iter().map(|(_, pid)| pid).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = self.nodes.take().map_or(Ok(()), Nodes::stop);
        let removed = self.layout.take().map_or(Ok(None), Layout::finish);
        for error in stopped.err().into_iter().chain(removed.err()) {
            tracing::warn!("failed to end a cluster in order: {error:#}");
        }
    }
}

/// Runs a cluster until it is interrupted.
///
/// # Errors
/// When the nodes can't be started or none accepts writes.
pub(crate) fn run(args: &DemoArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // From the first moment on an interrupt ends the nodes and not only this process.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let begun = Instant::now();
        let layout = Layout::make(args)?;
        screen.answer(&text::heading(args, layout.dir()))?;
        let mut nodes = Nodes::start(args, &layout)?;
        tokio::select! {
            ready = nodes.ready(args, READY_WITHIN) => ready?,
            _ = terminate.recv() => return end(nodes, layout, screen),
            _ = interrupt.recv() => return end(nodes, layout, screen),
        }
        screen.answer(&text::ready(args, &nodes, begun.elapsed()))?;
        let load =
            (!args.no_load).then(|| Load::start(text::addresses(args.resp_port, args.nodes)));
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    for line in nodes.ended() {
                        screen.note(&line);
                    }
                    if let Some(line) = load.as_ref().and_then(Load::line) {
                        screen.note(&line);
                    }
                    if nodes.is_empty() {
                        return Err(Problem::new(Code::DemoEmpty, "no node is left").into());
                    }
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        if let Some(load) = load {
            screen.answer(&load.stop())?;
        }
        end(nodes, layout, screen)
    })
}

fn end(nodes: Nodes, layout: Layout, screen: &mut Screen) -> anyhow::Result<Exit> {
    screen.note("ending the nodes");
    let ended = nodes.stop();
    let kept = layout.finish()?;
    if let Some(dir) = kept {
        screen.note(&format!("files are kept in {}", dir.display()));
    }
    ended?;
    Ok(Exit::Done)
}
