//! `antiphon log append`: one write, and where it is in the log.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use antiphon::Level;
use antiphon_proto::Token;
use clap::Args;
use serde::Serialize;

use crate::bench::scan::{Reply, scan};
use crate::bench::wire::request;
use crate::commands::changes::feed::password_in;
use crate::errors::{Code, Coded, Problem};
use crate::exit::Exit;
use crate::output::Screen;

/// Name and version of the document.
const SCHEMA: &str = "antiphon.append/1";
/// Longest value that is read from stdin: what a node takes.
const VALUE_BYTES_MAX: u64 = 64 << 20;

/// Flags of `log append`.
#[derive(Debug, Args)]
pub(crate) struct AppendArgs {
    /// Key that the entry puts
    key: String,
    /// Its value; - reads it from stdin
    value: String,
    /// Client port of a node, as in resp.listen of its configuration
    #[arg(long, default_value = "127.0.0.1:7101", value_name = "HOST:PORT")]
    address: String,
    /// File with the password of the client port [default: none]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How far the entry must have come [default: the server's own]
    #[arg(long)]
    policy: Option<Level>,
    /// Longest wait for the node
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// An entry that was acknowledged.
#[derive(Debug, Serialize)]
struct Appended {
    schema: &'static str,
    token: String,
    lsn: u64,
    epoch: u64,
}

/// Writes once.
///
/// # Errors
/// When the write was refused, or whether it happened is not known.
pub(crate) fn run(args: &AppendArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let value = match args.value.as_str() {
        "-" => {
            let mut value = Vec::new();
            let read = std::io::stdin().lock().take(VALUE_BYTES_MAX + 1).read_to_end(&mut value);
            read.coded(Code::ReadFile, || "cannot read stdin".to_owned())?;
            value
        }
        value => value.as_bytes().to_vec(),
    };
    let mut client = Client::connect(args)?;
    if let Some(path) = &args.password_file {
        client.call(&[b"AUTH", password_in(path)?.as_bytes()])?;
    }
    if let Some(policy) = args.policy {
        client.call(&[b"XPOLICY", policy.to_string().as_bytes()])?;
    }
    client.writing = true;
    client.call(&[b"SET", args.key.as_bytes(), &value])?;
    client.writing = false;
    let token = client.call(&[b"XTOKEN"])?;
    let other = || Problem::new(Code::NotAnAnswer, format!("{} gives no token", args.address));
    let token: Token = token.parse().map_err(|_error| other())?;
    let entry = token.entry;
    if screen.format().is_json() {
        let (lsn, epoch) = (entry.lsn.get(), entry.epoch.get());
        screen.answer_json(&Appended { schema: SCHEMA, token: token.to_string(), lsn, epoch })?;
    } else {
        screen.answer(&format!("{token}\n"))?;
    }
    Ok(Exit::Done)
}

/// A connection that asks one thing after another.
struct Client<'a> {
    stream: TcpStream,
    address: &'a str,
    writing: bool, // what was sent may happen even if no answer comes
}

impl<'a> Client<'a> {
    fn connect(args: &'a AppendArgs) -> Result<Self, Problem> {
        let address = &args.address;
        let next = "An address is HOST:PORT, such as 127.0.0.1:7101 or [::1]:7101.";
        let found = address.to_socket_addrs().map(|mut found| found.next());
        let found = found
            .ok()
            .flatten()
            .ok_or_else(|| Problem::usage(format!("cannot use the address {address}"), next))?;
        let stream = TcpStream::connect_timeout(&found, args.timeout);
        let connected = stream.and_then(|stream| {
            stream.set_read_timeout(Some(args.timeout))?;
            stream.set_write_timeout(Some(args.timeout))?;
            Ok(stream)
        });
        let stream = connected.coded(Code::NoAnswer, || format!("cannot connect to {address}"))?;
        Ok(Self { stream, address, writing: false })
    }

    /// Sends a request; its answer as text.
    fn call(&mut self, arguments: &[&[u8]]) -> Result<String, Problem> {
        let (address, writing) = (self.address, self.writing);
        let lost = |why: String| {
            let code = if writing { Code::WriteUnknown } else { Code::NoAnswer };
            Problem::new(code, format!("no answer from {address}: {why}"))
        };
        let mut out = Vec::new();
        request(&mut out, arguments);
        self.stream.write_all(&out).map_err(|error| lost(error.to_string()))?;
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        loop {
            let scanned = scan(&answer).map_err(|error| lost(error.to_string()))?;
            if let Some((reply, _)) = scanned {
                return self.judge(reply);
            }
            let read = self.stream.read(&mut part).map_err(|error| lost(error.to_string()))?;
            if read == 0 {
                return Err(lost("it closed the connection".to_owned()));
            }
            answer.extend(part.iter().take(read));
        }
    }

    fn judge(&self, reply: Reply<'_>) -> Result<String, Problem> {
        match reply {
            Reply::Error(text) => {
                let text = String::from_utf8_lossy(text);
                let code = match text.split(' ').next().unwrap_or_default() {
                    "NOAUTH" | "WRONGPASS" => Code::Denied,
                    "XUNKNOWN" => Code::WriteUnknown,
                    _ => Code::WriteRefused,
                };
                Err(Problem::new(code, format!("{} says: {text}", self.address)))
            }
            Reply::Status(text) | Reply::Bulk(text) => {
                Ok(String::from_utf8_lossy(text).into_owned())
            }
            Reply::Integer(_) | Reply::Null | Reply::Push | Reply::Other => Ok(String::new()),
        }
    }
}
