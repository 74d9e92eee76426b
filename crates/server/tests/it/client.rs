//! A client that keeps replies as the bytes they are.

use std::net::SocketAddr;

use antiphon_server::resp::reply::Scanner;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::node::PATIENCE;

/// One connection.
pub(crate) struct Client<T = TcpStream> {
    stream: T,
    input: Vec<u8>,
}

/// A command as clients send it.
pub(crate) fn array(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await;
        Self::over(stream.expect("in time").expect("the port is open"))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    /// Speaks over a stream.
    pub(crate) fn over(stream: T) -> Self {
        Self { stream, input: Vec::new() }
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// The next reply's bytes; nothing when the server closed before it.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        let mut scanner = Scanner::default();
        loop {
            if let Some(bytes) = scanner.scan(&self.input).expect("the server sends replies") {
                return Some(self.input.drain(..bytes).collect());
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
            match read.expect("a reply in time") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Whether the server says nothing for the moment, with everything else having had its turn.
    pub(crate) async fn is_silent(&mut self) -> bool {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let mut scanner = Scanner::default();
        let waits = std::time::Duration::from_millis(20);
        if let Ok(read) = timeout(waits, self.stream.read_buf(&mut self.input)).await {
            read.expect("the connection is open");
        }
        scanner.scan(&self.input).expect("the server sends replies").is_none()
    }

    /// Sends a command and returns its reply's bytes as text.
    pub(crate) async fn raw(&mut self, words: &[&[u8]]) -> Vec<u8> {
        self.send(&array(words)).await;
        self.next().await.expect("a reply")
    }

    /// Sends a command of plain words and returns its reply's bytes as text.
    pub(crate) async fn ask(&mut self, words: &str) -> String {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        String::from_utf8_lossy(&self.raw(&words).await).into_owned()
    }

    /// Sends a command and checks its reply.
    #[track_caller]
    pub(crate) fn check(&mut self, words: &str, want: &str) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            let found = self.ask(words).await;
            assert_eq!(found, want, "{words}, asked at {at}");
        }
    }

    /// Checks the next reply.
    pub(crate) async fn expect(&mut self, want: &str) {
        let found = self.next().await.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(found.as_deref(), Some(want));
    }

    /// Checks that the server closes, having said nothing more.
    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.next().await, None, "the server closes");
    }
}
