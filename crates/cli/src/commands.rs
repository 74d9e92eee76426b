//! One file for each command; this one only chooses.

pub(crate) mod bench;
pub(crate) mod cert;
pub(crate) mod changes;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod help;
pub(crate) mod lag;
pub(crate) mod log;
pub(crate) mod serve;
pub(crate) mod status;

use crate::args::Command;
use crate::exit::Exit;
use crate::output::Screen;

/// Runs `command`.
///
/// # Errors
/// Whatever the command could not do; a [`crate::exit::Problem`] in the chain names its code.
pub(crate) fn run(command: Command, screen: &mut Screen) -> anyhow::Result<Exit> {
    match command {
        Command::Demo(args) => demo::run(&args, screen),
        Command::Serve(args) => serve::run(&args, screen),
        Command::Bench(args) => bench::run(&args, screen),
        Command::Changes(command) => changes::run(&command, screen),
        Command::Cert(command) => cert::run(&command, screen),
        Command::Completions(args) => completions::completions(&args, screen),
        Command::Lag(args) => lag::run(&args, screen),
        Command::Log(command) => log::run(&command, screen),
        Command::Status(args) => status::run(&args, screen),
        Command::Man(args) => completions::man(&args),
        Command::Config(command) => config::run(&command, screen),
        Command::Help(args) => help::run(&args, screen),
        Command::Version => {
            screen.answer(&format!("antiphon {}\n", env!("CARGO_PKG_VERSION")))?;
            Ok(Exit::Done)
        }
    }
}
