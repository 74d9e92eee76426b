//! Rules for Rust files.

use crate::tidy::find;
use crate::tree::{File, Problem};

/// Lines that a source file may have: past this it holds more than one thing.
const SOURCE_LINES_MAX: usize = 600;

pub(crate) fn check(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !file.text.starts_with("//!") {
        problems.push(file.problem("does not begin with its purpose in `//!`"));
    }
    let lines = file.text.lines().count();
    if lines > SOURCE_LINES_MAX {
        problems.push(file.problem(format!("has {lines} lines, over {SOURCE_LINES_MAX}")));
    }
    if file.name() == "mod.rs" {
        problems.push(file.problem("stands beside its folder, not in it as mod.rs"));
    }
    problems.extend(find(file, unfinished));
    problems.extend(find(file, ignored));
    if is_test(file) {
        problems.extend(find(file, sleeping));
    }
    problems
}

/// Whether the whole file is test code.
fn is_test(file: &File) -> bool {
    file.name() == "tests.rs" || file.path.split('/').any(|part| part == "tests")
}

fn unfinished(line: &str) -> Option<String> {
    let macros = [concat!("to", "do!"), concat!("unimple", "mented!")];
    let found = macros.into_iter().find(|name| line.contains(name))?;
    Some(format!("is unfinished: {found}"))
}

fn ignored(line: &str) -> Option<String> {
    let skips = line.trim_start().starts_with(concat!("#[", "ignore"));
    skips.then(|| "skips a test; a test runs or is not there".to_owned())
}

/// A test waits for a condition, with a limit. `sleep(POLL)`, the pause between two looks at a
/// condition that no event announces, is the one that a reader need not suspect.
fn sleeping(line: &str) -> Option<String> {
    let code = line.split("//").next().unwrap_or(line);
    let mut calls = code.match_indices(concat!("sle", "ep(")).map(|(at, call)| at + call.len());
    let sleeps = calls.any(|end| !code.get(end..).unwrap_or("").starts_with("POLL)"));
    sleeps.then(|| {
        "sleeps in a test; wait for a condition, with sleep(POLL) between two looks".to_owned()
    })
}
