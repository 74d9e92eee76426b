//! House rules that no compiler checks, one function each.

mod pages;
mod sources;

use crate::tree::{File, Problem, Tree};

/// Lines that ARCHITECTURE.md may have: it is a map, read in one sitting.
const ARCHITECTURE_LINES_MAX: usize = 200;

/// Inputs of fuzz targets: bytes that nobody wrote, and not text even where they look like it.
const DATA: &str = "fuzz/corpus/";

/// Every rule against every file.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.files.iter().filter(|file| !file.path.starts_with(DATA)) {
        problems.extend(machine_paths(file));
        problems.extend(marks(file));
        if file.path.ends_with(".rs") {
            problems.extend(sources::check(file));
        }
        if file.name() == "Cargo.toml" {
            problems.extend(lints_inherited(file));
        }
        if file.path.ends_with(".md") {
            problems.extend(pages::check(tree, file));
        }
        if file.folder() == "docs/decisions" {
            problems.extend(decision_dated(file));
        }
    }
    problems.extend(architecture_short(tree));
    problems
}

/// Text that names a folder of the machine it was written on works nowhere else.
fn machine_paths(file: &File) -> Vec<Problem> {
    const ROOTS: [&str; 4] = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
    ];
    let names_a_root = |line: &str| ROOTS.iter().find(|root| starts_a_path(line, root)).copied();
    find(file, |line| {
        names_a_root(line).map(|root| format!("names a folder of one machine: {root}"))
    })
}

/// Whether `root` stands in `line` as the start of a path, and not in the middle of another.
fn starts_a_path(line: &str, root: &str) -> bool {
    line.match_indices(root).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        before.is_none_or(|character| !character.is_alphanumeric() && !"._-}/".contains(character))
    })
}

/// Unfinished work is an issue, not a mark in a file.
fn marks(file: &File) -> Vec<Problem> {
    const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let marked = |line: &str| MARKS.iter().find(|mark| has_word(line, mark)).copied();
    find(file, |line| marked(line).map(|mark| format!("is marked as unfinished: {mark}")))
}

/// Whether `word` stands in `line` with no letter, digit or underscore at either side.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|character: char| !character.is_alphanumeric() && character != '_')
        .any(|part| part == word)
}

/// A package that does not inherit the workspace's lints is not linted at all.
fn lints_inherited(file: &File) -> Vec<Problem> {
    if !(file.path.starts_with("crates/") || file.path.starts_with("xtask/")) {
        return Vec::new(); // the workspace itself, and the fuzz targets' own one
    }
    let inherits = file.text.parse::<toml::Table>().is_ok_and(|manifest| {
        let lints = manifest.get("lints").and_then(toml::Value::as_table);
        lints.and_then(|lints| lints.get("workspace")) == Some(&toml::Value::Boolean(true))
    });
    let problem = || file.problem("does not inherit the workspace's lints");
    (!inherits).then(problem).into_iter().collect()
}

/// A decision's name begins with its day, so that a folder listing is a history.
fn decision_dated(file: &File) -> Vec<Problem> {
    let dated = file.name().strip_suffix(".md").is_some_and(|name| {
        let mut parts = name.splitn(4, '-');
        let mut number = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            part.parse::<u16>().ok()
        };
        let day = (number(4), number(2), number(2));
        matches!(day, (Some(2000..), Some(1..=12), Some(1..=31)))
            && parts.next().is_some_and(|title| !title.is_empty())
    });
    let problem = || file.problem("is not named year-month-day-title.md");
    (!dated).then(problem).into_iter().collect()
}

fn architecture_short(tree: &Tree) -> Option<Problem> {
    let file = tree.file("ARCHITECTURE.md")?;
    let lines = file.text.lines().count();
    let what = || format!("has {lines} lines, at most {ARCHITECTURE_LINES_MAX} are read");
    (lines > ARCHITECTURE_LINES_MAX).then(|| file.problem(what()))
}

/// A problem for each line about which `what` has something to say.
fn find(file: &File, what: impl Fn(&str) -> Option<String>) -> Vec<Problem> {
    let lines = file.text.lines().enumerate();
    lines.filter_map(|(index, line)| Some(file.problem_at(index, what(line)?))).collect()
}

#[cfg(test)]
mod tests;
