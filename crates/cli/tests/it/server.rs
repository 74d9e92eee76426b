//! Servers for the load generator: a real one, and one that misbehaves on purpose.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a real server may take to start.
const START: Duration = Duration::from_secs(30);
/// Ports that are tried.
const TRIES: usize = 5;

/// A `redis-server` on a free loopback port, ended when dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Redis {
    /// Starts one with further `arguments` and waits until it answers.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        // Between finding a free port and taking it, another test may take it.
        let mut tries = (0..TRIES).map(|_| Self::try_start(arguments));
        tries.find_map(|redis| redis).expect("redis-server starts at one of these ports")
    }

    fn try_start(arguments: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let number = port.to_string();
        let child = Command::new("redis-server")
            .args(["--port", &number, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(arguments)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed; the tests need it");
        let mut redis = Self { child, port, _dir: dir };
        redis.await_answer().then_some(redis)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Whether it came to answer; false when it ended at once.
    fn await_answer(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            // First, so that an answer is never that of another process at the same port.
            if self.child.try_wait().expect("its state can be asked").is_some() {
                return false;
            }
            if self.answers() {
                return true;
            }
            assert!(begun.elapsed() < START, "redis-server does not answer");
            std::thread::yield_now();
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut first = [0];
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut first).is_ok()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it was killed");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").port()
}

/// A server that answers each command of its one connection as `answer` says, until it says no
/// more; then it closes.
pub(crate) struct Fake {
    address: String,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Starts one. `answer` sees the command's words.
    pub(crate) fn start(answer: impl FnMut(&[String]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client comes");
            serve(stream, answer);
        });
        Self { address, thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // It ends with its connection; a panic in it is the test's.
            thread.join().expect("the fake server does not panic");
        }
    }
}

fn serve(stream: TcpStream, mut answer: impl FnMut(&[String]) -> Option<Vec<u8>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut writer = stream;
    while let Some(words) = command(&mut reader) {
        let Some(reply) = answer(&words) else { return };
        if writer.write_all(&reply).is_err() {
            return;
        }
    }
}

fn command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let count = number(reader, '*')?;
    (0..count)
        .map(|_| {
            let mut word = vec![0; number(reader, '$')? + 2];
            reader.read_exact(&mut word).ok()?;
            word.truncate(word.len() - 2);
            Some(String::from_utf8_lossy(&word).into_owned())
        })
        .collect()
}

fn number(reader: &mut impl BufRead, sign: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(sign)?.parse().ok()
}
