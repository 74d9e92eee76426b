//! One file for each command; this one only chooses.

pub(crate) mod bench;
pub(crate) mod config;

use crate::args::Command;
use crate::exit::Exit;
use crate::output::Screen;

/// Runs `command`.
///
/// # Errors
/// Whatever the command could not do; a [`crate::exit::Problem`] in the chain names its code.
pub(crate) fn run(command: Command, screen: &mut Screen) -> anyhow::Result<Exit> {
    match command {
        Command::Bench(args) => bench::run(&args, screen),
        Command::Config(command) => config::run(&command, screen),
        Command::Version => {
            screen.answer(&format!("antiphon {}\n", env!("CARGO_PKG_VERSION")))?;
            Ok(Exit::Done)
        }
    }
}
