//! Clusters of real processes, and what tests do with them: wait, ask, stop, break.

mod cluster;
mod http;
mod node;
mod ports;
mod resp;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub(crate) use cluster::{Cluster, flip, refused};
pub(crate) use http::get;
pub(crate) use node::Process;
pub(crate) use ports::free_ports;
pub(crate) use resp::{Client, Reply};

/// The longest wait for anything. A busy machine needs a good part of it.
pub(crate) const LONG: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(5);

/// Looks until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(begun.elapsed() < LONG, "waited too long for {what}");
        std::thread::sleep(POLL);
    }
}

/// The same for a condition, with what to say when it does not come.
#[track_caller]
pub(crate) fn until_so(what: &str, mut is_so: impl FnMut() -> bool) {
    until(what, || is_so().then_some(()));
}

/// Numbers that look random and are the same for the same seed.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Thrown from `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Waits for the end of a process that fails with this error, and as the page of errors says it
/// ends with it. Answers all that it said.
#[track_caller]
pub(crate) fn failed(mut process: Process, error: &str) -> String {
    let status = process.ended();
    let said = process.log();
    assert_eq!(status.code(), Some(exit_of(error)), "{said}");
    assert!(said.contains(&format!("error[{error}]: ")), "{error} is not in {said}");
    said
}

/// The exit code of an error, from the page.
pub(crate) fn exit_of(error: &str) -> i32 {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let page = std::fs::read_to_string(page).expect("the page of errors");
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| `{error}` | ")));
    let exit = row.and_then(|row| row.split(' ').next());
    exit.and_then(|exit| exit.parse().ok()).unwrap_or_else(|| panic!("{error} is not on the page"))
}

/// Whether this program is installed; says on stderr that a test leaves something out if not.
pub(crate) fn is_installed(program: &str, probe: &[&str]) -> bool {
    let runs = Command::new(program).args(probe).output().is_ok_and(|out| out.status.success());
    if !runs {
        eprintln!("left out: {program} {} does not run on this machine", probe.join(" "));
    }
    runs
}

/// Runs another program; it must succeed. Answers its stdout.
#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = run_any(program, arguments);
    let (out, err) = (crate::text(&output.stdout), crate::text(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}\nstdout:\n{out}\nstderr:\n{err}");
    out
}

/// Runs another program, however it ends.
pub(crate) fn run_any(program: &str, arguments: &[&str]) -> Output {
    let out = Command::new(program).args(arguments).output();
    out.unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
}

/// The segment that holds the last entries of a data directory, and where they end in it, if it has any.
pub(crate) fn newest(data: &Path) -> Option<(PathBuf, usize)> {
    let listed = std::fs::read_dir(data.join("log")).ok()?;
    let paths = listed.map(|entry| entry.expect("listed").path());
    let mut logs: Vec<_> = paths.filter(|path| path.extension() == Some("log".as_ref())).collect();
    logs.sort();
    let with_end = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("readable");
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        (path, end)
    };
    // Behind it are segments that were prepared and not written to.
    logs.into_iter().rev().map(with_end).find(|(_, end)| *end > 0)
}
