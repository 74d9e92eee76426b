//! The binary from outside: its commands against real servers, files and processes.

mod bench;
mod cert;
#[cfg(test)]
mod changes;
mod clients;
#[cfg(test)]
mod damage;
mod demo;
mod directory;
mod health;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod links;
mod log;
#[cfg(test)]
mod once;
mod pages;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod quorum;
mod server;
mod status;
#[cfg(test)]
mod survival;
mod tools;

use std::process::{Command, Output};

/// Runs the binary with `arguments` and nothing of ours in the environment.
fn antiphon(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ANTIPHON_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).output().expect("the binary is built for this test")
}

/// The same, and it must end with `code`; answers its stdout.
#[track_caller]
fn expect(code: i32, arguments: &[&str]) -> String {
    let output = antiphon(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\nstdout:\n{out}\nstderr:\n{err}");
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
