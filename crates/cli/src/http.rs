//! Asks a node for one of its pages.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};

/// A page to ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// `HOST:PORT` of the pages.
    pub(crate) address: &'a str,
    /// Path and query.
    pub(crate) path: &'a str,
    /// Sent as a bearer's token, if the page asks for it.
    pub(crate) password: Option<&'a str>,
    /// Longest wait for a connection and between two parts of the answer.
    pub(crate) patience: Duration,
    /// Longest answer that is read.
    pub(crate) bytes_max: u64,
}

/// What the node said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) code: u16,
    /// The body.
    pub(crate) body: String,
}

/// Asks once.
///
/// # Errors
/// When nobody answers in time, or with something that is no page of text.
pub(crate) fn get(ask: Ask<'_>) -> anyhow::Result<Answer> {
    let Ask { address, path, password, patience, bytes_max } = ask;
    let found = address.to_socket_addrs().context("it is no address")?.next();
    let found = found.context("its name has no address")?;
    let mut stream = TcpStream::connect_timeout(&found, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let credentials = password.map(|it| format!("Authorization: Bearer {it}\r\n"));
    let credentials = credentials.unwrap_or_default();
    // Version 1.0 asks for the whole answer in one piece, ended by closing.
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n{credentials}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(bytes_max + 1).read_to_end(&mut answer)?;
    if u64::try_from(answer.len()).is_ok_and(|length| length > bytes_max) {
        bail!("its answer is longer than {bytes_max} bytes");
    }
    let answer = String::from_utf8(answer).context("its answer is no text")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("it does not speak HTTP")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer { code: code.context("it does not speak HTTP")?, body: body.to_owned() })
}
