//! The nodes of a demo: processes, or threads of this one.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use antiphon::{MemoryNetwork, TransportConfig};
use antiphon_server::Serving;

use crate::commands::config::layers_of;
use crate::commands::demo::DemoArgs;
use crate::commands::demo::layout::Layout;
use crate::commands::serve::LISTENS;
use crate::commands::serve::setup::setup_over;
use crate::config::NodeConfig;
use crate::errors::{Code, Coded, Problem};

/// A node that was told to stop gets this long.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// How often a cluster that is not ready is asked again.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// Lines of a node's log that are shown when it failed to start.
const LOG_LINES: usize = 5;

/// Running nodes.
pub(crate) enum Nodes {
    /// One process each.
    Processes(Vec<Process>),
    /// One thread each.
    Threads(Vec<Serving>),
}

/// A node as a process of its own.
pub(crate) struct Process {
    node: u16,
    child: Child,
    log: std::path::PathBuf,
    config: std::path::PathBuf,
}

impl Nodes {
    /// Starts them all.
    ///
    /// # Errors
    /// When one can't be started.
    pub(crate) fn start(args: &DemoArgs, layout: &Layout) -> anyhow::Result<Self> {
        if args.in_process {
            let network = MemoryNetwork::new();
            let nodes = (1..=args.nodes).map(|node| thread(layout, node, &network));
            return Ok(Self::Threads(nodes.collect::<anyhow::Result<_>>()?));
        }
        let nodes = (1..=args.nodes).map(|node| process(layout, node));
        Ok(Self::Processes(nodes.collect::<anyhow::Result<_>>()?))
    }

    /// Waits until a write is acknowledged.
    ///
    /// # Errors
    /// When a node ended, or the time is over.
    pub(crate) async fn ready(&mut self, args: &DemoArgs, within: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        let first = SocketAddr::from(([127, 0, 0, 1], args.resp_port));
        let mut said = "nothing yet".to_owned();
        while begun.elapsed() < within {
            self.check_alive()?;
            // Answers come within the policy's time; asking is cheap and stays on this machine.
            match tokio::task::spawn_blocking(move || write_once(first)).await? {
                // Some nodes are enough for a write; those that are late may still fail.
                Ok(reply) if reply == "+OK" => match self.late() {
                    None => return Ok(()),
                    Some(node) => said = format!("node {node} has not opened its ports"),
                },
                Ok(reply) => said = reply,
                Err(error) => said = error.to_string(),
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        let told = self.tails();
        let what = format!("no write was accepted within {} s: {said}{told}", within.as_secs());
        Err(Problem::new(Code::DemoNotReady, what).into())
    }

    fn check_alive(&mut self) -> anyhow::Result<()> {
        let Self::Processes(nodes) = self else { return Ok(()) };
        for node in nodes {
            if let Some(status) = node.child.try_wait()? {
                let number = node.node;
                let what = format!("node {number} ended at its start, {status}:\n{}", node.tail());
                return Err(Problem::new(Code::DemoNode, what).into());
            }
        }
        Ok(())
    }

    /// A node that has not said yet that it listens.
    fn late(&self) -> Option<u16> {
        let Self::Processes(nodes) = self else { return None };
        let late = |node: &&Process| !node.words().contains(LISTENS);
        nodes.iter().find(late).map(|node| node.node)
    }

    /// The last words of each node; their files may be removed with the demo.
    fn tails(&self) -> String {
        let Self::Processes(nodes) = self else { return String::new() };
        nodes.iter().map(|node| format!("\nnode {}:\n{}", node.node, node.tail())).collect()
    }

    /// Process numbers, by node.
    pub(crate) fn pids(&self) -> Vec<(u16, u32)> {
        match self {
            Self::Processes(nodes) => {
                nodes.iter().map(|node| (node.node, node.child.id())).collect()
            }
            Self::Threads(_) => Vec::new(),
        }
    }

    /// Says which nodes ended since the last time.
    pub(crate) fn ended(&mut self) -> Vec<String> {
        let Self::Processes(nodes) = self else { return Vec::new() };
        let gone = nodes.extract_if(.., |node| matches!(node.child.try_wait(), Ok(Some(_))));
        gone.map(|mut node| {
            let status = node.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
            let (number, config) = (node.node, node.config.display());
            format!(
                "node {number} has ended, {status}. Start it again: antiphon serve --config {config}"
            )
        })
        .collect()
    }

    /// Whether none is left.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Processes(nodes) => nodes.is_empty(),
            Self::Threads(nodes) => nodes.is_empty(),
        }
    }

    /// Ends them in order, at once where that takes too long.
    ///
    /// # Errors
    /// When a node did not end in order.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Processes(mut nodes) => {
                for node in &mut nodes {
                    // The end of its stdin is what a node of a demo stops at.
                    drop(node.child.stdin.take());
                }
                let begun = Instant::now();
                for mut node in nodes {
                    node.wait(begun)?;
                }
                Ok(())
            }
            Self::Threads(nodes) => {
                for node in &nodes {
                    node.node().stop();
                }
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                // Another runtime, since this one may be what called.
                std::thread::spawn(move || {
                    runtime.block_on(async {
                        for node in nodes {
                            let ended = node.ended().await;
                            ended.map_err(|fatal| crate::commands::serve::stopped(&fatal))?;
                        }
                        anyhow::Ok(())
                    })
                })
                .join()
                .map_err(|_panic| Problem::new(Code::Fault, "a node's thread failed"))?
            }
        }
    }
}

impl Process {
    fn words(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines that the node said.
    fn tail(&self) -> String {
        let text = self.words();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    fn wait(&mut self, begun: Instant) -> anyhow::Result<()> {
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() >= STOP_WITHIN {
                self.child.kill()?;
                self.child.wait()?;
                let what = format!("node {} did not stop in order and was ended", self.node);
                return Err(Problem::new(Code::DemoStop, what).into());
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Process {
    /// A demo that fails half-way leaves no node behind.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn process(layout: &Layout, node: u16) -> anyhow::Result<Process> {
    let program =
        std::env::current_exe().coded(Code::Other, || "cannot find this program".to_owned())?;
    let log = layout.log(node);
    let file =
        File::create(&log).coded(Code::WriteFile, || format!("cannot write {}", log.display()))?;
    let config = layout.config(node);
    let child = Command::new(program)
        .arg("serve")
        .arg("--config")
        .arg(&config)
        .arg("--stop-with-stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(file)
        .process_group_of_its_own()
        .spawn()
        .coded(Code::Other, || format!("cannot start node {node}"))?;
    Ok(Process { node, child, log, config })
}

/// So that Ctrl-C reaches the demo alone, which then ends its nodes in order.
trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

fn thread(layout: &Layout, node: u16, network: &MemoryNetwork) -> anyhow::Result<Serving> {
    let config = NodeConfig::read(&layers_of(&layout.config(node))?)
        .map_err(|error| crate::commands::config::refused(&error))?;
    let transport = TransportConfig::Memory { network: network.clone(), me: config.node.id };
    let setup = setup_over(&config, transport)?;
    let serving = Serving::start(setup);
    Ok(serving.map_err(|error| crate::commands::serve::explained(&error))?)
}

/// One write to the cluster; the first line of what it said.
fn write_once(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"SET antiphon:demo ready\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
