//! Where answers go: data to stdout, everything else to stderr, colour only for a terminal.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::errors::{Code, Explained, Problem};
use crate::exit::Exit;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For people with a wide terminal: more columns where there are more.
    Wide,
    /// For programs: one document with a `schema` field.
    Json,
    /// For programs: the same on one line, and lists as one line per item.
    Jsonl,
}

impl Format {
    /// Whether a program reads it.
    pub(crate) const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl)
    }
}

/// Prints what the argument parser has to say: help on stdout, an error with its code on stderr.
pub(crate) fn parser_says(error: &clap::Error) -> Exit {
    let said = error.render();
    if !error.use_stderr() {
        let text =
            if io::stdout().is_terminal() { said.ansi().to_string() } else { said.to_string() };
        // Nobody is left to hear of a failure to help.
        drop(io::stdout().lock().write_all(text.as_bytes()));
        return Exit::Done;
    }
    let text = if io::stderr().is_terminal() { said.ansi().to_string() } else { said.to_string() };
    let text = text.replacen("error:", &format!("error[{}]:", Code::Usage), 1);
    drop(io::stderr().lock().write_all(text.as_bytes()));
    Exit::Usage
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// One item of a list by itself.
#[derive(Serialize)]
struct Line<'a, T> {
    schema: &'static str,
    #[serde(flatten)]
    item: &'a T,
}

/// The two streams of a command.
pub(crate) struct Screen {
    format: Format,
    color: Color,
    alone: bool, // nobody reads stdout any more
}

impl Screen {
    /// Writes in `format`, colours as `color` says.
    pub(crate) const fn new(format: Format, color: Color) -> Self {
        Self { format, color, alone: false }
    }

    /// Whether the reader of stdout went away: nothing more needs to be said.
    pub(crate) const fn is_alone(&self) -> bool {
        self.alone
    }

    /// The format that was asked for.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    /// Writes `text` to stdout as it is.
    ///
    /// # Errors
    /// When stdout cannot be written; a reader that went away is no error, as in `| head`.
    pub(crate) fn answer(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.alone = true;
                Ok(())
            }
            other => other,
        }
    }

    /// Writes `value` to stdout as one JSON document, on one line if that was asked for.
    ///
    /// # Errors
    /// When `value` has no JSON form or stdout cannot be written.
    pub(crate) fn answer_json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut text = match self.format {
            Format::Jsonl => serde_json::to_string(value)?,
            Format::Table | Format::Wide | Format::Json => serde_json::to_string_pretty(value)?,
        };
        text.push('\n');
        Ok(self.answer(&text)?)
    }

    /// Writes each of `items` on a line of its own, with the name and version of its kind.
    ///
    /// # Errors
    /// When an item has no JSON form or stdout cannot be written.
    pub(crate) fn answer_lines<T: Serialize>(
        &mut self,
        schema: &'static str,
        items: &[T],
    ) -> anyhow::Result<()> {
        let mut text = String::new();
        for item in items {
            text.push_str(&serde_json::to_string(&Line { schema, item })?);
            text.push('\n');
        }
        Ok(self.answer(&text)?)
    }

    /// Wipes a terminal, so that the next answer stands in the place of the last one.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn wipe(&mut self) -> io::Result<()> {
        if io::stdout().is_terminal() { self.answer("\x1b[H\x1b[2J") } else { Ok(()) }
    }

    /// Says something about the work on stderr. Nobody is left to hear of a failure to say it.
    pub(crate) fn note(&mut self, text: &str) {
        drop(writeln!(io::stderr().lock(), "{text}"));
    }

    /// Says on stderr what went wrong and what to do.
    pub(crate) fn complain(&mut self, error: &anyhow::Error) {
        let (red, plain) = if self.colours_stderr() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let code = Code::of(error);
        self.note(&format!("{red}error[{code}]:{plain} {error:#}"));
        let Explained { meaning, next, .. } = code.explained();
        self.note(&format!("  {meaning}"));
        let next = error.downcast_ref::<Problem>().map_or(*next, Problem::next);
        self.note(&format!("  {next}"));
    }

    fn colours_stderr(&self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                !unwanted && io::stderr().is_terminal()
            }
        }
    }
}
