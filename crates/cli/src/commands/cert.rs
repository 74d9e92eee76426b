//! `antiphon cert`: an authority for a cluster, a certificate for each node, and reading of both.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use antiphon_net::certs::{self, CertInfo, IssueRequest, IssuedFiles};
use antiphon_proto::NodeId;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::errors::certificate_problem;
use crate::exit::Exit;
use crate::output::{Format, Screen};

/// Name and version of the document.
const SCHEMA: &str = "antiphon.cert/1";
const SECONDS_A_DAY: u64 = 86_400;

/// The actions of `cert`.
#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Make the authority of a cluster: ca.pem and ca.key
    #[command(after_help = "Examples:
  antiphon cert init --dir certs --cluster shop
  antiphon cert init --dir certs --cluster shop --dry-run
  antiphon cert init --dir certs --cluster shop --overwrite

Keep ca.key away from the nodes: they need ca.pem only.")]
    Init(InitArgs),
    /// Make the certificate of a node: node-ID.pem and node-ID.key
    #[command(after_help = "Examples:
  antiphon cert issue --dir certs --node 1
  antiphon cert issue --dir certs --node 1 --name node-1.example --address 10.0.0.1
  antiphon cert issue --dir certs --node 1 --days 90 --overwrite")]
    Issue(IssueArgs),
    /// Show what certificates say; one that is not valid now ends with 3
    #[command(after_help = "Examples:
  antiphon cert show certs/node-1.pem
  antiphon cert show certs/*.pem
  antiphon cert show certs/ca.pem -o json")]
    Show(ShowArgs),
}

/// Flags of `cert init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Directory for the files; made if it is not there
    #[arg(long, default_value = "certs")]
    dir: PathBuf,
    /// Name of the cluster, as in cluster.name of the configuration
    #[arg(long, value_name = "NAME", default_value = "antiphon")]
    cluster: String,
    /// Replace an authority that is there; certificates it issued stop to be believed
    #[arg(long)]
    overwrite: bool,
    /// Say what would be written and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Flags of `cert issue`.
#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    /// Directory with ca.pem and ca.key; the new files go there too
    #[arg(long, default_value = "certs")]
    dir: PathBuf,
    /// Number of the node, as in node.id of the configuration
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    node: u64,
    /// Further DNS name, as often as needed [default: node-ID]
    #[arg(long, value_name = "DNS")]
    name: Vec<String>,
    /// Further IP address, as often as needed [default: none]
    #[arg(long, value_name = "IP")]
    address: Vec<IpAddr>,
    /// Days that it is valid
    #[arg(long, default_value_t = certs::NODE_DAYS_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// Replace a certificate that is there
    #[arg(long)]
    overwrite: bool,
    /// Say what would be written and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Flags of `cert show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Files with certificates in PEM
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs an action of `cert`.
///
/// # Errors
/// When a file cannot be read or written, or is there and may not be replaced.
pub(crate) fn run(command: &CertCommand, screen: &mut Screen) -> anyhow::Result<Exit> {
    match command {
        CertCommand::Init(args) => {
            if args.dry_run {
                return preview(&[args.dir.join("ca.pem"), args.dir.join("ca.key")], screen);
            }
            let files = certs::init_ca(&args.dir, &args.cluster, args.overwrite)
                .map_err(|error| certificate_problem(&error))?;
            report(&files, screen)
        }
        CertCommand::Issue(args) => {
            let file = |end: &str| args.dir.join(format!("node-{}.{end}", args.node));
            if args.dry_run {
                return preview(&[file("pem"), file("key")], screen);
            }
            let request = IssueRequest {
                node: NodeId::new(args.node),
                names: args.name.clone(),
                addresses: args.address.clone(),
                days: args.days,
            };
            let files = certs::issue(&args.dir, &request, args.overwrite)
                .map_err(|error| certificate_problem(&error))?;
            report(&files, screen)
        }
        CertCommand::Show(args) => show(args, screen),
    }
}

fn preview(files: &[PathBuf; 2], screen: &mut Screen) -> anyhow::Result<Exit> {
    for file in files {
        let verb = if file.exists() { "replace" } else { "write" };
        screen.answer(&format!("would {verb} {}\n", file.display()))?;
    }
    Ok(Exit::Done)
}

fn report(files: &IssuedFiles, screen: &mut Screen) -> anyhow::Result<Exit> {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    screen.answer(&format!("{certificate}\n{key}\n"))?;
    Ok(Exit::Done)
}

fn show(args: &ShowArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let now = SystemTime::now();
    let mut shown = Vec::new();
    for file in &args.files {
        for info in certs::show(file).map_err(|error| certificate_problem(&error))? {
            shown.push(Shown::of(file.display().to_string(), &info, now));
        }
    }
    match screen.format() {
        Format::Jsonl => screen.answer_lines(SCHEMA, &shown)?,
        Format::Json => {
            screen.answer_json(&Document { schema: SCHEMA, certificates: &shown })?;
        }
        Format::Table | Format::Wide => {
            let blocks: Vec<String> = shown.iter().map(Shown::text).collect();
            screen.answer(&blocks.join("\n"))?;
        }
    }
    let all = shown.iter().all(|shown| shown.valid);
    Ok(if all { Exit::Done } else { Exit::Unhealthy })
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: &'static str,
    certificates: &'a [Shown],
}

/// One certificate.
#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    subject: String,
    issuer: String,
    node: Option<u64>,
    cluster: Option<String>,
    authority: bool,
    names: Vec<String>,
    not_before: String,
    not_after: String,
    /// Whole days left; absent once it is over.
    days_left: Option<u64>,
    valid: bool,
    serial: String,
    sha256: String,
}

impl Shown {
    fn of(file: String, info: &CertInfo, now: SystemTime) -> Self {
        let left = info.not_after.duration_since(now).ok();
        Self {
            file,
            subject: info.subject.clone(),
            issuer: info.issuer.clone(),
            node: info.node.map(NodeId::get),
            cluster: info.cluster.clone(),
            authority: info.is_authority,
            names: info.names.clone(),
            not_before: humantime::format_rfc3339_seconds(info.not_before).to_string(),
            not_after: humantime::format_rfc3339_seconds(info.not_after).to_string(),
            days_left: left.map(|left| left.as_secs() / SECONDS_A_DAY),
            valid: left.is_some() && info.not_before <= now,
            serial: info.serial.clone(),
            sha256: info.fingerprint.clone(),
        }
    }

    fn text(&self) -> String {
        let role = match (self.node, self.authority) {
            (Some(node), _) => format!("node {node}"),
            (None, true) => "authority".to_owned(),
            (None, false) => "names no node".to_owned(),
        };
        let cluster = self.cluster.as_deref().unwrap_or("not named");
        let state = match self.days_left {
            Some(days) if self.valid => format!("good for {days} days"),
            Some(_) => "NOT VALID YET".to_owned(),
            None => "EXPIRED".to_owned(),
        };
        let mut out = String::new();
        let names = self.names.join(", ");
        for (key, value) in [
            ("file", self.file.as_str()),
            ("role", &role),
            ("cluster", cluster),
            ("subject", &self.subject),
            ("issuer", &self.issuer),
            ("names", &names),
            ("from", &self.not_before),
            ("until", &format!("{} ({state})", self.not_after)),
            ("serial", &self.serial),
            ("sha256", &self.sha256),
        ] {
            writeln!(out, "{key:<9}{value}").expect("a string takes all that is written to it");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    //! What is said about a certificate.

    use std::time::Duration;

    use super::*;

    fn shown_at(days: u64) -> Shown {
        let dir = tempfile::tempdir().expect("a directory");
        certs::init_ca(dir.path(), "shop", false).expect("an authority");
        let files = certs::issue(dir.path(), &IssueRequest::new(NodeId::new(7)), false);
        let infos = certs::show(&files.expect("issued").certificate).expect("readable");
        let now = SystemTime::now() + Duration::from_secs(days * SECONDS_A_DAY + 60);
        Shown::of("x.pem".to_owned(), infos.first().expect("one"), now)
    }

    #[test]
    fn a_certificate_says_whose_it_is_and_for_how_long() {
        let shown = shown_at(0);
        assert!(shown.valid);
        assert_eq!((shown.node, shown.days_left), (Some(7), Some(29)));
        let text = shown.text();
        assert!(text.contains("role     node 7\ncluster  shop\n"), "{text}");
        assert!(text.contains("(good for 29 days)"), "{text}");
    }

    #[test]
    fn an_expired_one_is_not_valid() {
        let shown = shown_at(31);
        assert!(!shown.valid);
        assert!(shown.text().contains("(EXPIRED)"));
    }
}
