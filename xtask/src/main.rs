//! Checks on the project's own tree: `cargo run -p xtask -- tidy`.
//!
//! `tidy` reads every file that the project tracks and holds it against the house rules that no
//! compiler knows; `edges` holds the crates' dependencies against the drawing in
//! ARCHITECTURE.md. Both also run as tests.

mod edges;
mod tidy;
mod tree;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::edges::Graph;
use crate::tree::{Problem, Tree};

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => report(&problems()?),
        _ => bail!("usage: cargo run -p xtask -- tidy"),
    }
}

/// All that is wrong with the tree this program was built from.
fn problems() -> Result<Vec<Problem>> {
    let root = tree::root()?;
    let tree = Tree::read(&root)?;
    let mut problems = tidy::check(&tree);
    problems.extend(edges::check(&Graph::of_workspace(&root)?));
    problems.extend(edges::drawing::check(&tree));
    Ok(problems)
}

fn report(problems: &[Problem]) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for problem in problems {
        writeln!(out, "{problem}").context("write to stdout")?;
    }
    writeln!(out, "tidy: {} problems", problems.len()).context("write to stdout")?;
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    //! The tree as it stands is tidy.

    #[test]
    fn the_tree_is_tidy() {
        let found: Vec<_> = super::problems().unwrap().iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
