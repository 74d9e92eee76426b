//! `antiphon help`: of the whole, of a command, or of an error code.

use clap::Args;
use serde::Serialize;

use crate::errors::{Code, Explained, Problem};
use crate::exit::Exit;
use crate::output::Screen;

/// Name and version of the document.
const SCHEMA: &str = "antiphon.error/1";

/// Arguments of `help`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  antiphon help bench
  antiphon help cert issue
  antiphon help X0301")]
pub(crate) struct HelpArgs {
    /// A command and its action, or an error code such as X0301
    #[arg(value_name = "COMMAND | CODE")]
    of: Vec<String>,
}

/// Explains what was asked for.
///
/// # Errors
/// When there is no such command or code.
pub(crate) fn run(args: &HelpArgs, screen: &mut Screen) -> anyhow::Result<Exit> {
    if let [text] = args.of.as_slice()
        && Code::looks_like(text)
    {
        let next = "docs/errors.md has all codes.";
        let unknown = || Problem::usage(format!("there is no error {text}"), next);
        let explained = Code::parse(text).ok_or_else(unknown)?.explained();
        if screen.format().is_json() {
            screen.answer_json(&Shown::of(explained))?;
        } else {
            screen.answer(&sentences(explained))?;
        }
        return Ok(Exit::Done);
    }
    let mut command = crate::args::command();
    command.build();
    let mut found = &mut command;
    for word in &args.of {
        let unknown = || {
            let what = format!("there is no command {word:?}");
            Problem::usage(what, "`antiphon help` lists the commands.")
        };
        found = found.find_subcommand_mut(word).ok_or_else(unknown)?;
    }
    let text = found.render_long_help().to_string();
    screen.answer(&text)?;
    Ok(Exit::Done)
}

fn sentences(explained: &Explained) -> String {
    let Explained { code, exit, title, meaning, next } = explained;
    let exit = exit.code();
    format!(
        "{code}: {title}\n  {meaning}\n  {next}\n  A command that fails with it ends with {exit}.\n"
    )
}

/// An error's explanation for programs.
#[derive(Debug, Serialize)]
struct Shown {
    schema: &'static str,
    code: &'static str,
    exit: u8,
    title: &'static str,
    meaning: &'static str,
    next: &'static str,
}

impl Shown {
    const fn of(explained: &Explained) -> Self {
        let Explained { code, exit, title, meaning, next } = *explained;
        Self { schema: SCHEMA, code, exit: exit.code(), title, meaning, next }
    }
}
