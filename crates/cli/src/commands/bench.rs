//! `antiphon bench`: flags to a plan, the plan to a report, the report to an exit code.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use antiphon::Level;
use clap::{Args, ValueEnum};

use crate::bench::cluster::start_cluster;
use crate::bench::compare;
use crate::bench::plan::{Length, Load, Plan};
use crate::bench::report::Report;
use crate::bench::run;
use crate::bench::tls::{Files, Tls};
use crate::errors::{Code, Coded, Problem};
use crate::exit::Exit;
use crate::output::Screen;

/// Shortest value that tells its write from all others.
const VERIFIED_VALUE_BYTES_MIN: u32 = 8;

/// Flags of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  antiphon bench --address 127.0.0.1:6379 --clients 50 --duration 10s
  antiphon bench --address 127.0.0.1:7101 --policy local --rate 20000 --json=before.json
  antiphon bench --address 127.0.0.1:7101 --read-share 0.9 --verify --compare before.json

A closed loop measures capacity: each client sends when it has its answer. With --rate the loop
is open: latency counts from the moment a request was due, whether or not it could be sent.")]
pub(crate) struct BenchArgs {
    /// Servers, comma-separated; clients are spread over them. Without it a cluster is started
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT")]
    address: Vec<String>,
    /// Connections
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,
    /// Operations in flight on each connection
    #[arg(short = 'P', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pipeline: u32,
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Stop after this many operations, counting all [default: --duration decides]
    #[arg(short = 'n', long, conflicts_with_all = ["duration", "warmup"], value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Time that counts
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Time before it that does not
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    warmup: Duration,
    /// Operations a second, sent on time whatever the server does [default: as fast as answered]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Size of a key
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    key_bytes: u32,
    /// Size of a value
    #[arg(short = 'd', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=67_108_864))]
    value_bytes: u32,
    /// Distinct keys, chosen evenly at random
    #[arg(short, long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// Share of GET among the operations, 0 to 1; the rest is SET
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    read_share: f64,
    /// Commit policy, sent with XPOLICY on connecting [default: the server's own]
    #[arg(long)]
    policy: Option<Level>,
    /// Send WAIT for this many replicas after each batch that wrote [default: none]
    #[arg(long, value_name = "REPLICAS")]
    wait: Option<u32>,
    /// Check every value that is read, and all keys at the end; a wrong one ends with 7
    #[arg(long)]
    verify: bool,
    /// Write every key once before the warm-up; auto does when there are reads
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    fill: Fill,
    /// File with the password of the default user [default: none]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Longest wait for a connection or an answer; a WAIT gives up after half of it
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Start of all random choices [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Further server processes of this machine whose CPU to count, comma-separated
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Write the report as JSON, to FILE or instead of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Write the report as CSV instead of the table
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Compare with an earlier JSON report; a regression ends with 1 [default: none]
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Change that counts as noise when comparing, 0.1 for a tenth
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    tolerance: f64,
    /// End with 0 even if some operations failed, as in a failover test
    #[arg(long)]
    allow_errors: bool,
}

/// Flags of a load over TLS.
#[derive(Debug, Args)]
struct TlsArgs {
    /// Speak TLS; certificates must name the hosts of --address
    #[arg(long, requires_all = ["address", "ca"])]
    tls: bool,
    /// Authorities to believe, in PEM [default: none]
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// Certificate to show if the server asks for one, in PEM [default: none]
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"])]
    cert: Option<PathBuf>,
    /// Private key of that certificate, in PEM [default: none]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// Whether keys are written before the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fill {
    /// When there are reads.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Runs the load and answers with the report.
///
/// # Errors
/// When the flags contradict each other, a server cannot be used, or a file cannot be.
pub(crate) fn run(args: &BenchArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let earlier = args.compare.as_deref().map(compare::load).transpose()?;
    let mut plan = plan(args)?;
    let mut pids = args.pid.clone();
    // The cluster lives until the report is made.
    let own = if plan.addresses.is_empty() { Some(start_cluster()?) } else { None };
    if let Some(own) = &own {
        plan.addresses = own.addresses.first().copied().into_iter().collect();
        pids.extend(&own.pids);
    }
    let report = run::execute(&plan, &pids)?;
    drop(own);
    answer(args, &report, screen)?;
    let regressions = match earlier {
        Some(earlier) => {
            let comparison = compare::compare(&report, &earlier, args.tolerance)?;
            screen.note(comparison.text.trim_end());
            comparison.regressions
        }
        None => Vec::new(),
    };
    judge(&report, args.allow_errors)?;
    if !regressions.is_empty() {
        let what = format!("regression: {}", regressions.join(", "));
        return Err(Problem::new(Code::BenchRegression, what).into());
    }
    Ok(Exit::Done)
}

fn answer(args: &BenchArgs, report: &Report, screen: &mut Screen) -> anyhow::Result<()> {
    let to_stdout = args.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
    if args.csv {
        screen.answer(&report.csv())?;
    } else if to_stdout || screen.format().is_json() {
        screen.answer_json(report)?;
    } else {
        screen.answer(&report.text())?;
    }
    if let Some(path) = args.json.as_ref().filter(|_| !to_stdout) {
        let mut text = serde_json::to_string_pretty(report)?;
        text.push('\n');
        std::fs::write(path, text)
            .coded(Code::WriteFile, || format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Whether the run was as it must be.
fn judge(report: &Report, allow_errors: bool) -> Result<(), Problem> {
    if report.wrong > 0 {
        let what = format!("{} of {} values were wrong", report.wrong, report.verified);
        return Err(Problem::new(Code::BenchWrong, what));
    }
    if report.operations == 0 {
        return Err(Problem::new(Code::BenchFailed, "no operation was answered"));
    }
    if !report.errors.is_empty() && !allow_errors {
        return Err(Problem::new(Code::BenchFailed, "some operations failed"));
    }
    Ok(())
}

/// The plan that the flags describe; its addresses are empty when none was given.
fn plan(args: &BenchArgs) -> anyhow::Result<Plan> {
    refuse_contradictions(args)?;
    let addresses = args.address.iter().map(|text| resolve(text)).collect::<Result<_, _>>()?;
    let password = args.password_file.as_ref().map(|path| {
        let text = std::fs::read_to_string(path);
        let text = text.coded(Code::ReadFile, || format!("cannot read {}", path.display()))?;
        anyhow::Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    });
    let length = match args.requests {
        Some(requests) => Length::Requests(requests),
        None => Length::Time { warmup: args.warmup, counted: args.duration },
    };
    Ok(Plan {
        addresses,
        tls: tls(args)?,
        password: password.transpose()?,
        length,
        patience: args.timeout,
        fill: match args.fill {
            Fill::Auto => args.read_share > 0.0,
            Fill::Always => true,
            Fill::Never => false,
        },
        seed: args.seed.unwrap_or_else(seed_from_the_clock),
        load: Load {
            clients: args.clients,
            pipeline: args.pipeline,
            threads: args.threads,
            key_bytes: args.key_bytes,
            value_bytes: args.value_bytes,
            keys: args.keys,
            read_share: args.read_share,
            policy: args.policy.map(|policy| policy.to_string()),
            wait: args.wait,
            rate: args.rate,
            verify: args.verify,
        },
    })
}

/// How the connections speak TLS, if they do.
fn tls(args: &BenchArgs) -> Result<Option<Tls>, Problem> {
    let Some(authorities) = args.tls.ca.clone() else { return Ok(None) };
    let files = Files { authorities, own: args.tls.cert.clone().zip(args.tls.key.clone()) };
    let hosts: Vec<&str> = args.address.iter().map(|address| host(address)).collect();
    Tls::new(&files, &hosts).map(Some)
}

/// The host of `host:port`; an address of version 6 without its brackets.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn refuse_contradictions(args: &BenchArgs) -> Result<(), Problem> {
    let refuse = |what: String, next: &str| Err(Problem::usage(what, next));
    let needed = crate::bench::wire::key_bytes_min(args.keys);
    if args.key_bytes < needed {
        let what = format!("{} B cannot tell {} keys apart", args.key_bytes, args.keys);
        return refuse(what, &format!("--key-bytes {needed} can."));
    }
    if args.threads > args.clients {
        let what = format!("{} threads have only {} clients", args.threads, args.clients);
        return refuse(what, "Give each thread a client at least.");
    }
    if args.duration.is_zero() || args.timeout.is_zero() {
        return refuse("a time of zero measures nothing".to_owned(), "Try --duration 10s.");
    }
    if args.verify && args.keys < args.clients {
        let what = format!("--verify gives each client keys of its own, and {} are", args.keys);
        return refuse(format!("{what} too few for {} clients", args.clients), "Raise --keys.");
    }
    if args.verify && args.value_bytes < VERIFIED_VALUE_BYTES_MIN {
        let what = format!("--verify cannot tell values of {} B apart", args.value_bytes);
        return refuse(what, "Use --value-bytes 8 or more.");
    }
    Ok(())
}

fn resolve(text: &str) -> Result<SocketAddr, Problem> {
    let next = "An address is HOST:PORT, such as 127.0.0.1:6379 or [::1]:6379.";
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| Problem::usage(format!("cannot use the address {text}: {error}"), next))?;
    found.next().ok_or_else(|| Problem::usage(format!("{text} has no address"), next))
}

fn seed_from_the_clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs().rotate_left(32)
}

/// A number from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("`{text}` is no number: {error}"))?;
    if (0.0..=1.0).contains(&number) {
        Ok(number)
    } else {
        Err("it must lie between 0 and 1".to_owned())
    }
}
