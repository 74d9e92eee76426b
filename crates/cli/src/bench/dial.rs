//! Connects and introduces itself, one request after the other, before the load begins.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use crate::bench::plan::Plan;
use crate::bench::scan::{Reply, scan};
use crate::bench::tls::Channel;
use crate::bench::wire::{Requests, request};
use crate::errors::{Code, Coded, Problem};

/// Requests in flight while keys are filled or read back.
const GROUP: usize = 256;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// A blocking connection with a time limit on every answer.
#[derive(Debug)]
pub(crate) struct Dialled {
    stream: Channel<TcpStream>,
    address: SocketAddr,
    rest: Vec<u8>,
}

impl Dialled {
    /// Connects client number `client` of `plan`, authenticates it and sets its policy.
    ///
    /// # Errors
    /// When the server is not there, does not answer in time, or refuses; a refused password or
    /// policy is a [`Problem`].
    pub(crate) fn connect(plan: &Plan, client: u32) -> anyhow::Result<Self> {
        let address = plan.address_of(client);
        let stream = connect(address, plan.patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(plan.patience))?;
        stream.set_write_timeout(Some(plan.patience))?;
        let stream = match &plan.tls {
            None => Channel::plain(stream),
            Some(tls) => tls
                .secure(stream, plan.server_of(client))
                .coded(Code::BenchConnection, || format!("no TLS with {address}"))?,
        };
        let mut dialled = Self { stream, address, rest: Vec::new() };
        if let Some(password) = &plan.password {
            dialled.introduce(&[b"AUTH", password.as_bytes()], Code::Denied)?;
        }
        dialled.introduce(&[b"PING"], Code::Denied)?;
        if let Some(policy) = &plan.load.policy {
            dialled.introduce(&[b"XPOLICY", policy.as_bytes()], Code::BenchRefused)?;
        }
        Ok(dialled)
    }

    /// Wraps a stream that already knows the server, to use it request by request.
    ///
    /// # Errors
    /// When the stream cannot be set to block with a time limit.
    pub(crate) fn again(mut stream: Channel<TcpStream>, patience: Duration) -> io::Result<Self> {
        let socket = stream.socket();
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        let address = socket.peer_addr()?;
        Ok(Self { stream, address, rest: Vec::new() })
    }

    /// The stream, for the loop that takes over.
    ///
    /// # Errors
    /// When it cannot be set to not block.
    pub(crate) fn into_stream(mut self) -> io::Result<Channel<TcpStream>> {
        assert!(self.rest.is_empty(), "every answer was read");
        self.stream.socket().set_nonblocking(true)?;
        Ok(self.stream)
    }

    /// Writes each of `keys` once, with sequence `sequence`.
    ///
    /// # Errors
    /// When the server refuses a write or the connection breaks.
    pub(crate) fn fill(
        &mut self,
        requests: &Requests,
        keys: Range<u32>,
        sequence: u32,
    ) -> anyhow::Result<()> {
        let address = self.address;
        let write = |out: &mut Vec<u8>, key| requests.set(out, key, sequence);
        self.each(keys, write, |key, reply| match reply {
            Reply::Status(_) => Ok(()),
            Reply::Error(_)
            | Reply::Integer(_)
            | Reply::Bulk(_)
            | Reply::Null
            | Reply::Push
            | Reply::Other => {
                let said = say(reply);
                broken(format!("{address} does not take the first write of key {key}: {said}"))
            }
        })
    }

    /// Reads each of `keys` and shows what it holds.
    ///
    /// # Errors
    /// When the server refuses a read or the connection breaks.
    pub(crate) fn read_back(
        &mut self,
        requests: &Requests,
        keys: Range<u32>,
        mut see: impl FnMut(u32, Option<&[u8]>),
    ) -> anyhow::Result<()> {
        let address = self.address;
        let read = |out: &mut Vec<u8>, key| requests.get(out, key);
        self.each(keys, read, |key, reply| {
            match reply {
                Reply::Bulk(value) => see(key, Some(value)),
                Reply::Null => see(key, None),
                Reply::Status(_)
                | Reply::Error(_)
                | Reply::Integer(_)
                | Reply::Push
                | Reply::Other => {
                    let said = say(reply);
                    return broken(format!("{address} does not read key {key}: {said}"));
                }
            }
            Ok(())
        })
    }

    fn introduce(&mut self, arguments: &[&[u8]], refusal: Code) -> anyhow::Result<()> {
        let mut out = Vec::new();
        request(&mut out, arguments);
        let address = self.address;
        let name = String::from_utf8_lossy(arguments.first().copied().unwrap_or_default());
        let mut answer = Ok(());
        self.stream
            .write_all(&out)
            .coded(Code::BenchConnection, || format!("cannot write to {address}"))?;
        self.answers(1, |reply| {
            if let Reply::Error(text) = reply {
                let text = String::from_utf8_lossy(text);
                let what = format!("{address} refuses {name}: {text}");
                answer = Err(Problem::new(refusal, what).or_do(advice(&text)));
            }
            Ok(())
        })?;
        Ok(answer?)
    }

    fn each(
        &mut self,
        keys: Range<u32>,
        write: impl Fn(&mut Vec<u8>, u32),
        mut see: impl FnMut(u32, Reply<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut out = Vec::new();
        let mut keys = keys.peekable();
        while keys.peek().is_some() {
            out.clear();
            let group: Vec<u32> = keys.by_ref().take(GROUP).collect();
            for &key in &group {
                write(&mut out, key);
            }
            self.stream
                .write_all(&out)
                .coded(Code::BenchConnection, || format!("cannot write to {}", self.address))?;
            let mut of = group.iter();
            self.answers(group.len(), |reply| {
                let key = *of.next().expect("as many answers as keys are read");
                see(key, reply)
            })?;
        }
        Ok(())
    }

    /// Reads `count` replies; pushes are not among them.
    fn answers(
        &mut self,
        count: usize,
        mut see: impl FnMut(Reply<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut left = count;
        let mut scratch = vec![0; READ_BYTES];
        while left > 0 {
            let mut at = 0;
            while left > 0 {
                let unread = self.rest.get(at..).unwrap_or_default();
                let Some((reply, length)) = scan(unread)? else { break };
                at += length;
                if reply != Reply::Push {
                    left -= 1;
                    see(reply)?;
                }
            }
            self.rest.drain(..at);
            if left > 0 {
                let address = self.address;
                let read = self.stream.read(&mut scratch);
                let read =
                    read.coded(Code::BenchConnection, || format!("no answer from {address}"))?;
                if read == 0 {
                    return broken(format!("{address} closed the connection"));
                }
                self.rest.extend(scratch.iter().take(read));
            }
        }
        Ok(())
    }
}

fn connect(address: SocketAddr, patience: Duration) -> Result<TcpStream, Problem> {
    TcpStream::connect_timeout(&address, patience)
        .coded(Code::BenchConnection, || format!("cannot connect to {address}"))
}

fn broken(what: String) -> anyhow::Result<()> {
    Err(Problem::new(Code::BenchConnection, what).into())
}

fn say(reply: Reply<'_>) -> String {
    match reply {
        Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Status(_)
        | Reply::Integer(_)
        | Reply::Bulk(_)
        | Reply::Null
        | Reply::Push
        | Reply::Other => format!("unexpected answer {reply:?}"),
    }
}

fn advice(refusal: &str) -> &'static str {
    match refusal.split(' ').next() {
        Some("NOAUTH") => "Give the password with --password-file.",
        Some("WRONGPASS") => "Check the file given with --password-file.",
        Some("ERR") => "This server may not know the command: leave the flag out.",
        Some(_) | None => "See the log of the server.",
    }
}
