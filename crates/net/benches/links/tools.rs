//! Clocks, figures, and threads with a runtime.

use std::fs;
use std::time::{Duration, Instant};

/// CPU that this process has used, all threads together.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("the kernel says what we used");
    // Behind the name in parentheses: state is field 3, user and system time are 14 and 15.
    let fields = stat.rsplit_once(')').expect("the name is in parentheses").1;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("times are numbers"))
        .sum();
    Duration::from_millis(ticks.saturating_mul(10))
}

/// One measured stretch.
pub(crate) struct Stretch {
    began: Instant,
    cpu: Duration,
}

impl Stretch {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), cpu: cpu() }
    }

    /// Says what each of `count` messages took.
    #[expect(clippy::print_stdout, reason = "a bench answers on stdout")]
    pub(crate) fn end(self, what: &str, count: u64) {
        let (wall, used) = (self.began.elapsed(), cpu().saturating_sub(self.cpu));
        let each = |time: Duration| time.as_nanos() / u128::from(count.max(1));
        let a_second = u128::from(count) * 1_000_000_000 / wall.as_nanos().max(1);
        let (wall, used) = (each(wall), each(used));
        println!("{what:<44} {wall:>8} ns each {used:>8} ns CPU {a_second:>10} a second");
    }
}

/// Says where the quantiles of round trips are.
#[expect(clippy::print_stdout, reason = "a bench answers on stdout")]
pub(crate) fn quantiles(what: &str, mut rounds: Vec<Duration>) {
    rounds.sort_unstable();
    let at = |thousandth: usize| {
        let index = rounds.len().saturating_sub(1).saturating_mul(thousandth) / 1000;
        rounds.get(index).map_or(0, Duration::as_nanos)
    };
    let (half, p50, p99) = (at(500) / 2, at(500), at(990));
    println!("{what:<44} {half:>8} ns one way {p50:>8} ns p50 {p99:>8} ns p99 round trip");
}

/// A thread with a runtime of its own, as a node has.
pub(crate) fn thread<F, T>(run: impl FnOnce() -> F + Send + 'static) -> std::thread::JoinHandle<T>
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    std::thread::spawn(move || block_on(run()))
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(future)
}
