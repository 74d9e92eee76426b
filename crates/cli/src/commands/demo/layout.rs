//! The files of a demo: certificates, a configuration for each node, and their directories.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use antiphon_net::certs::{self, IssueRequest};
use antiphon_proto::NodeId;

use crate::commands::demo::DemoArgs;
use crate::errors::{Code, Coded, certificate_problem};

/// The demo's cluster.
pub(crate) const CLUSTER: &str = "demo";
/// Certificates of a demo that is kept last this long.
const DAYS: u32 = 365;

/// The files of a demo.
pub(crate) struct Layout {
    dir: PathBuf,
    remove: bool,
}

impl Layout {
    /// Makes what is not there yet.
    ///
    /// # Errors
    /// When a file can't be written.
    pub(crate) fn make(args: &DemoArgs) -> anyhow::Result<Self> {
        let dir = match (&args.dir, args.keep) {
            (Some(dir), _) => dir.clone(),
            (None, true) => PathBuf::from("antiphon-demo"),
            (None, false) => {
                std::env::temp_dir().join(format!("antiphon-demo-{}", std::process::id()))
            }
        };
        // A directory that was there before is somebody's: it is used, and never removed.
        let remove = !args.keep && !dir.exists();
        fs::create_dir_all(&dir)
            .coded(Code::WriteFile, || format!("cannot make {}", dir.display()))?;
        let layout = Self { dir: fs::canonicalize(dir)?, remove };
        if !args.in_process {
            layout.certificates(args)?;
        }
        for node in 1..=args.nodes {
            let file = layout.config(node);
            fs::create_dir_all(layout.node_dir(node))
                .and_then(|()| fs::write(&file, layout.config_text(args, node)))
                .coded(Code::WriteFile, || format!("cannot write {}", file.display()))?;
        }
        Ok(layout)
    }

    /// Where all of it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn node_dir(&self, node: u16) -> PathBuf {
        self.dir.join(format!("node-{node}"))
    }

    /// The configuration of a node.
    pub(crate) fn config(&self, node: u16) -> PathBuf {
        self.node_dir(node).join("node.toml")
    }

    /// What a node says about itself.
    pub(crate) fn log(&self, node: u16) -> PathBuf {
        self.node_dir(node).join("log.txt")
    }

    fn certificates(&self, args: &DemoArgs) -> anyhow::Result<()> {
        let certs = self.dir.join("certs");
        if !certs.join("ca.pem").exists() {
            certs::init_ca(&certs, CLUSTER, false).map_err(|error| certificate_problem(&error))?;
        }
        for node in 1..=args.nodes {
            if !certs.join(format!("node-{node}.pem")).exists() {
                let request =
                    IssueRequest { days: DAYS, ..IssueRequest::new(NodeId::new(node.into())) };
                certs::issue(&certs, &request, false)
                    .map_err(|error| certificate_problem(&error))?;
            }
        }
        Ok(())
    }

    fn config_text(&self, args: &DemoArgs, node: u16) -> String {
        let port = |first: u16, node: u16| first.saturating_add(node - 1);
        let mut members = String::new();
        for member in 1..=args.nodes {
            let (peer, resp) = (port(args.peer_port, member), port(args.resp_port, member));
            let line = writeln!(
                members,
                "  {{ id = {member}, peer = \"127.0.0.1:{peer}\", resp = \"127.0.0.1:{resp}\" }},"
            );
            line.expect("a string takes whatever is written to it");
        }
        let (dir, certs) = (self.node_dir(node).join("data"), self.dir.join("certs"));
        let (dir, certs) = (dir.display(), certs.display());
        let (resp, http, peer) =
            (port(args.resp_port, node), port(args.http_port, node), port(args.peer_port, node));
        let shape = args.shape;
        let links = if args.in_process {
            "transport = \"memory\"".to_owned()
        } else {
            format!(
                "ca = \"{certs}/ca.pem\"\ncert = \"{certs}/node-{node}.pem\"\nkey = \"{certs}/node-{node}.key\""
            )
        };
        format!(
            "# Node {node} of a demo. Start it by itself: antiphon serve --config THIS-FILE
[node]
id = {node}
data_dir = \"{dir}\"

[cluster]
name = \"{CLUSTER}\"
shape = \"{shape}\"
members = [
{members}]

[resp]
listen = \"127.0.0.1:{resp}\"

[peer]
listen = \"127.0.0.1:{peer}\"
{links}

[http]
listen = \"127.0.0.1:{http}\"
changes = true

[log]
segment_bytes = \"16 MiB\"
"
        )
    }

    /// Removes the files, unless they are to be kept. Returns where they are then.
    ///
    /// # Errors
    /// When they can't be removed.
    pub(crate) fn finish(mut self) -> anyhow::Result<Option<PathBuf>> {
        if std::mem::take(&mut self.remove) {
            fs::remove_dir_all(&self.dir)
                .coded(Code::WriteFile, || format!("cannot remove {}", self.dir.display()))?;
            return Ok(None);
        }
        Ok(Some(self.dir.clone()))
    }
}

impl Drop for Layout {
    /// A demo that fails at its start leaves no files behind either.
    fn drop(&mut self) {
        if self.remove {
            // The failure at the start is what its user hears of.
            drop(fs::remove_dir_all(&self.dir));
        }
    }
}
