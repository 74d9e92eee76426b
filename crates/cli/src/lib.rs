//! The one binary: reads arguments and configuration, calls the crates that do the work, answers
//! on stdout and says everything else on stderr.
//!
//! Start at [`run`]. `args` is the command tree, `commands` holds one file for each command,
//! `bench` the load generator and `config` the layered configuration of a node.

mod args;
mod bench;
mod commands;
pub mod config;
mod errors;
mod exit;
mod http;
mod output;

use std::process::ExitCode;

use clap::FromArgMatches;

/// Parses the arguments of this process, runs the command and says how it ended.
///
/// Wrong usage ends with 2 and help with 0, both printed by the parser itself.
#[must_use]
pub fn run() -> ExitCode {
    let parsed = args::command().try_get_matches();
    let cli = match parsed.and_then(|matches| args::Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return output::parser_says(&error).into(),
    };
    let mut screen = output::Screen::new(cli.global.output, cli.global.color);
    match commands::run(cli.command, &mut screen) {
        Ok(exit) => exit.into(),
        Err(error) => {
            screen.complain(&error);
            exit::Exit::of(&error).into()
        }
    }
}
