//! A little load, so that there is something to see: a few hundred writes a second, each
//! acknowledged by the floor.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Time between two writes.
const PACE: Duration = Duration::from_millis(5);
/// How often the load says how it goes.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// A write without an answer for this long counts as failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// A load on a thread of its own.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

struct Seen {
    micros: Histogram<u64>,
    acknowledged: u64,
    failed: u64,
    since: Instant,
    total: u64,
    total_failed: u64,
}

impl Load {
    /// Starts writing to the first of `addresses`, and to the next when that does not answer.
    pub(crate) fn start(addresses: Vec<SocketAddr>) -> Self {
        let micros = Histogram::new(3).expect("three digits are allowed");
        let seen = Seen {
            micros,
            acknowledged: 0,
            failed: 0,
            since: Instant::now(),
            total: 0,
            total_failed: 0,
        };
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), seen: Mutex::new(seen) });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || write_until_stopped(&theirs, &addresses));
        Self { shared, thread }
    }

    /// How the last second went, once a second, when somebody looks at the screen.
    pub(crate) fn line(&self) -> Option<String> {
        let mut seen = self.shared.seen();
        if seen.since.elapsed() < SAY_EVERY {
            return None;
        }
        let line = format!(
            "load: {} writes acknowledged, {} failed, p50 {} ms, p99 {} ms",
            seen.acknowledged,
            seen.failed,
            millis(seen.micros.value_at_quantile(0.5)),
            millis(seen.micros.value_at_quantile(0.99)),
        );
        seen.micros.reset();
        (seen.acknowledged, seen.failed, seen.since) = (0, 0, Instant::now());
        io::stderr().is_terminal().then_some(line)
    }

    /// Ends the load; how it went in all.
    pub(crate) fn stop(self) -> String {
        self.shared.stop.store(true, Ordering::Relaxed);
        // The thread ends by itself; what it counted is shared.
        drop(self.thread.join());
        let seen = self.shared.seen();
        format!("load: {} writes acknowledged in all, {} failed\n", seen.total, seen.total_failed)
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(micros: u64) -> String {
    format!("{}.{}", micros / 1_000, micros % 1_000 / 100)
}

fn write_until_stopped(shared: &Shared, addresses: &[SocketAddr]) {
    let mut link: Option<BufReader<TcpStream>> = None;
    let mut turn = 0_usize;
    let mut number = 0_u64;
    while !shared.stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        number += 1;
        let outcome = write(&mut link, addresses, turn, number);
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        if !matches!(outcome, Ok(true)) {
            link = None;
            turn = turn.wrapping_add(1);
        }
        let mut seen = shared.seen();
        if matches!(outcome, Ok(true)) {
            seen.acknowledged += 1;
            seen.total += 1;
            seen.micros.saturating_record(micros);
        } else {
            seen.failed += 1;
            seen.total_failed += 1;
        }
        drop(seen);
        std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
    }
}

/// One write; whether it was acknowledged.
fn write(
    link: &mut Option<BufReader<TcpStream>>,
    addresses: &[SocketAddr],
    turn: usize,
    number: u64,
) -> io::Result<bool> {
    let link = match link {
        Some(link) => link,
        None => {
            let address = addresses.get(turn % addresses.len().max(1));
            let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
            let stream = TcpStream::connect_timeout(address, Duration::from_secs(1))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            link.insert(BufReader::new(stream))
        }
    };
    link.get_mut().write_all(format!("SET demo:{} {number}\r\n", number % 1_000).as_bytes())?;
    let mut line = String::new();
    link.read_line(&mut line)?;
    Ok(line.starts_with("+OK"))
}
