//! A client of the Redis protocol, of its own making: it must not share a mistake with the server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::kit::LONG;

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+`
    Simple(String),
    /// `-`
    Error(String),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    Nil,
    /// `*`
    Array(Vec<Self>),
}

impl Reply {
    /// Its text, whatever kind it is.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Nil => "(nil)".to_owned(),
            Self::Array(items) => items.iter().map(Self::text).collect::<Vec<_>>().join(" "),
        }
    }

    /// Whether it is `+OK`.
    pub(crate) fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text == "OK")
    }

    /// Whether it is an error that begins with `word`.
    pub(crate) fn is_error(&self, word: &str) -> bool {
        matches!(self, Self::Error(text) if text.starts_with(word))
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to a port of this machine. Answers are waited for as long as for anything.
    pub(crate) fn try_connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), LONG)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// The same, and somebody must be there.
    #[track_caller]
    pub(crate) fn connect(port: u16) -> Self {
        Self::try_connect(port).expect("somebody listens there")
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a command.
    pub(crate) fn send(&mut self, words: &[&str]) -> io::Result<()> {
        self.send_raw(&encoded(words))
    }

    /// Sends a command and reads its reply.
    pub(crate) fn try_call(&mut self, words: &[&str]) -> io::Result<Reply> {
        self.send(words)?;
        self.read()
    }

    /// The same, and there must be a reply.
    #[track_caller]
    pub(crate) fn call(&mut self, words: &[&str]) -> Reply {
        match self.try_call(words) {
            Ok(reply) => reply,
            Err(error) => panic!("no reply to {words:?}: {error}"),
        }
    }

    /// The value of a key as text, if it has one.
    #[track_caller]
    pub(crate) fn get(&mut self, key: &str) -> Option<String> {
        match self.call(&["GET", key]) {
            Reply::Nil => None,
            Reply::Bulk(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            other @ (Reply::Simple(_) | Reply::Error(_) | Reply::Int(_) | Reply::Array(_)) => {
                panic!("GET {key}: {other:?}")
            }
        }
    }

    /// Reads the next reply.
    pub(crate) fn read(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (sign, rest) = line.split_at_checked(1).ok_or_else(bad)?;
        match sign {
            "+" => Ok(Reply::Simple(rest.to_owned())),
            "-" => Ok(Reply::Error(rest.to_owned())),
            ":" => rest.parse().map(Reply::Int).map_err(|_not| bad()),
            "$" if rest == "-1" => Ok(Reply::Nil),
            "*" if rest == "-1" => Ok(Reply::Nil),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().map_err(|_not| bad())? + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Ok(Reply::Bulk(bytes))
            }
            "*" => {
                let count: usize = rest.parse().map_err(|_not| bad())?;
                (0..count).map(|_| self.read()).collect::<io::Result<_>>().map(Reply::Array)
            }
            _ => Err(bad()),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let text = line.strip_suffix("\r\n");
        text.map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Whatever comes until the other side closes, which it must.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            // What was sent and never read makes the system say it this way.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection stays open: {error}"),
        }
        crate::text(&bytes)
    }
}

/// A command as clients send it.
pub(crate) fn encoded(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn bad() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
