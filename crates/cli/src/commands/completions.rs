//! `antiphon completions` and `antiphon man`: made from the command tree.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::errors::{Code, Coded};
use crate::exit::Exit;
use crate::output::Screen;

/// Flags of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  antiphon completions bash > /etc/bash_completion.d/antiphon
  antiphon completions zsh > ~/.zfunc/_antiphon
  antiphon completions fish > ~/.config/fish/completions/antiphon.fish")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Flags of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  antiphon man /usr/local/share/man/man1
  antiphon man .
  antiphon man /tmp/pages && man -l /tmp/pages/antiphon-bench.1")]
pub(crate) struct ManArgs {
    /// Directory for the pages, one for each command; it must be there
    dir: PathBuf,
}

/// Writes the completions of a shell to stdout.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn completions(args: &CompletionsArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut crate::args::command(), "antiphon", &mut out);
    screen.answer(&String::from_utf8_lossy(&out))?;
    Ok(Exit::Done)
}

/// Writes a manual page for each command.
///
/// # Errors
/// When a page cannot be written.
pub(crate) fn man(args: &ManArgs) -> anyhow::Result<Exit> {
    let into = || format!("cannot write pages into {}", args.dir.display());
    clap_mangen::generate_to(crate::args::command(), &args.dir).coded(Code::WriteFile, into)?;
    Ok(Exit::Done)
}
