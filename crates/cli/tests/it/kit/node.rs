//! One node as a process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::kit::until;

/// A process that a test started, ended when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// `antiphon serve` for a configuration, with nothing of ours in its environment.
pub(crate) fn serve_command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("ANTIPHON_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    // It must not outlive a test program that is ended from outside.
    command.arg("serve").arg("--config").arg(config).arg("--stop-with-stdin");
    command
}

impl Process {
    /// Starts `command`; what it says goes to `log`.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = File::create(&log).expect("a file for its words");
        let errors = file.try_clone().expect("a second handle");
        let child = command.stdin(Stdio::piped()).stdout(file).stderr(errors).spawn();
        Self { child: child.expect("the program starts"), log }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).expect("its words are in a file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has said `words`.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        until(&format!("{words:?} in\n{}", self.log()), || {
            self.log().contains(words).then_some(())
        });
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process number"), signal).expect("it is ours");
    }

    /// Holds it where it is, until it gets `Signal::CONT`.
    #[track_caller]
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        // The signal is on its way to each thread for a moment.
        until("all its threads to stand still", || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?;
            let still = threads.into_iter().all(|thread| {
                let path = thread.map(|thread| thread.path().join("stat"));
                let text = path.and_then(std::fs::read_to_string).unwrap_or_default();
                text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
            });
            still.then_some(())
        });
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it was killed");
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state can be asked").is_none()
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let log = self.log.clone();
        let said = move || std::fs::read_to_string(&log).unwrap_or_default();
        until(&format!("its end; it said\n{}", said()), || {
            self.child.try_wait().expect("its state can be asked")
        })
    }

    /// Tells it to stop and waits until it has, in order.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "{status}:\n{}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill();
        }
    }
}
