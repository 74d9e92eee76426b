//! The pages of a node.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::kit::LONG;

/// Code and body of a page.
pub(crate) fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), LONG)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(wrong)?;
    Ok((code, body.to_owned()))
}

/// The status page, once there is one.
pub(crate) fn status(port: u16) -> Option<Value> {
    let (code, body) = get(port, "/status").ok()?;
    let page = serde_json::from_str(&body).ok()?;
    (code == 200).then_some(page)
}
