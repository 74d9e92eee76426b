//! The command tree: global flags, the list of commands, and what all flags have in common.

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands;
use crate::output::{Color, Format};

/// Replicates a durable log under a Redis-protocol server.
#[derive(Debug, Parser)]
#[command(
    name = "antiphon",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  antiphon config init > node.toml      an annotated configuration to start from
  antiphon bench --address 127.0.0.1:6379 --duration 10s
  antiphon help X0301                   what an error code means, and what to do

Exit codes: 0 done or healthy, 1 failed, 2 wrong usage, 3 not healthy, 4 refused,
5 outcome unknown, 6 not allowed, 7 an integrity check failed."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command has.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// How to write the answer
    #[arg(short, long, global = true, value_enum, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: Format,
    /// When to colour; `NO_COLOR` is honoured
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: Color,
}

/// One command of the tree.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a cluster on this machine: one command, three nodes
    Demo(Box<commands::demo::DemoArgs>),
    /// Run one node
    Serve(commands::serve::ServeArgs),
    /// Measure throughput and latency of a Redis-protocol server
    Bench(Box<commands::bench::BenchArgs>),
    /// Show the cluster on one screen
    Status(commands::status::StatusArgs),
    /// Show how far each replica is behind, and when it is level
    Lag(commands::lag::LagArgs),
    /// Write, check and show the configuration of a node
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Make and read the certificates of a cluster
    #[command(subcommand)]
    Cert(commands::cert::CertCommand),
    /// Follow the writes of a node as they become stable
    #[command(subcommand)]
    Changes(commands::changes::ChangesCommand),
    /// Read the log of a node or of a data directory, and append to it
    #[command(subcommand)]
    Log(commands::log::LogCommand),
    /// Write shell completions to stdout
    Completions(commands::completions::CompletionsArgs),
    /// Write the manual pages into a directory
    Man(commands::completions::ManArgs),
    /// Print the version
    Version,
    /// Print this message, the help of a command, or what an error code means
    Help(commands::help::HelpArgs),
}

/// The tree with an environment name on every flag, so that no flag can be without one.
///
/// `antiphon bench --clients` is `ANTIPHON_BENCH_CLIENTS`; a global flag has no command in its
/// name.
pub(crate) fn command() -> clap::Command {
    with_environment(Cli::command(), "ANTIPHON")
}

pub(crate) fn with_environment(command: clap::Command, prefix: &str) -> clap::Command {
    let command = command.mut_args(|arg| {
        let unnamed = arg.get_long().is_none_or(|long| long == "help" || long == "version");
        if unnamed || arg.get_env().is_some() {
            return arg;
        }
        let name = environment_name(prefix, arg.get_long().unwrap_or_default());
        arg.env(name).hide_env_values(true)
    });
    command.mut_subcommands(|sub| {
        let prefix = environment_name(prefix, sub.get_name());
        with_environment(sub, &prefix)
    })
}

fn environment_name(prefix: &str, word: &str) -> String {
    format!("{prefix}_{}", word.replace('-', "_").to_uppercase())
}

#[cfg(test)]
mod tests;
