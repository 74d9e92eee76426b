//! Asks one node for its status page.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::commands::status::page::{Page, SCHEMA};

/// Longest answer that is read: thousands of replicas.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The status page of the node at `address`.
///
/// # Errors
/// When the node is not there, does not answer within `patience`, or with something else.
pub(crate) fn status(address: &str, patience: Duration) -> anyhow::Result<Page> {
    let body = get(address, "/status", patience)?;
    let page: Page = serde_json::from_str(&body).context("it answers without a status page")?;
    if !page.schema.starts_with(SCHEMA) {
        bail!("it answers with a page of schema {:?}", page.schema);
    }
    Ok(page)
}

fn get(address: &str, path: &str, patience: Duration) -> anyhow::Result<String> {
    let found = address.to_socket_addrs().context("it is no address")?.next();
    let found = found.context("its name has no address")?;
    let mut stream = TcpStream::connect_timeout(&found, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // Version 1.0 asks for the whole answer in one piece, ended by closing.
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer)?;
    if u64::try_from(answer.len()).is_ok_and(|length| length > ANSWER_BYTES_MAX) {
        bail!("its answer is longer than {ANSWER_BYTES_MAX} bytes");
    }
    let answer = String::from_utf8(answer).context("its answer is no text")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("it does not speak HTTP")?;
    let code = head.split(' ').nth(1).unwrap_or_default();
    // A node that is not ready says so with 503 and the page all the same.
    if code != "200" && code != "503" {
        bail!("it answers with HTTP {code}");
    }
    Ok(body.to_owned())
}
