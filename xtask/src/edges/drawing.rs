//! Reads the arrows of the drawing in ARCHITECTURE.md and holds them against [`EDGES`].
//!
//! The drawing is text with `a ─► b`, a list behind the arrow (`a ─► b, c`), chains
//! (`a ─► b ─► c`), and branches that hang under a crate: `├─► b` and `└─► b` start at the
//! name above them.

use std::collections::{BTreeMap, BTreeSet};

use crate::edges::EDGES;
use crate::tree::{Problem, Tree};

const PAGE: &str = "ARCHITECTURE.md";

/// Every arrow is allowed, and every allowed edge can be followed along the arrows.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let problem = |what: String| Problem { path: PAGE.to_owned(), line: None, what };
    let Some(page) = tree.file(PAGE) else {
        return vec![problem("is missing; it draws which crate uses which".to_owned())];
    };
    let arrows = arrows(&page.text);
    let edges: BTreeSet<(&str, &str)> =
        EDGES.iter().flat_map(|(from, to)| to.iter().map(|to| (*from, *to))).collect();
    let drawn = arrows.iter().map(|(from, to)| (from.as_str(), to.as_str()));
    let extra = drawn.filter(|arrow| !edges.contains(arrow));
    let missing = edges.iter().filter(|(from, to)| !leads(&arrows, from, to));
    let mut problems = Vec::new();
    problems.extend(extra.map(|(from, to)| problem(format!("draws {from} ─► {to}, not allowed"))));
    problems
        .extend(missing.map(|(from, to)| problem(format!("does not lead from {from} to {to}"))));
    problems
}

/// Whether arrows lead from one name to another.
fn leads(arrows: &BTreeSet<(String, String)>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(here) = open.pop() {
        let next = arrows.iter().filter(|(start, _)| start == here).map(|(_, end)| end.as_str());
        open.extend(next.filter(|name| seen.insert(name)));
    }
    seen.contains(to)
}

/// All arrows in the page's blocks of text.
pub(crate) fn arrows(page: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut above: Vec<Vec<char>> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside;
            above.clear();
        } else if inside {
            above.push(line.chars().collect());
            found.extend(arrows_of_last(&above));
        }
    }
    found
}

/// The arrows of the last of these lines.
fn arrows_of_last(lines: &[Vec<char>]) -> Vec<(String, String)> {
    let Some(line) = lines.last() else { return Vec::new() };
    let words = words(line);
    let heads = line.iter().enumerate().filter(|(_, character)| **character == '►');
    let mut found = Vec::new();
    for (head, _) in heads {
        let Some(from) = start(lines, head) else { continue };
        for to in targets(line, &words, head) {
            found.push((from.clone(), to));
        }
    }
    found
}

/// The name where the arrow with this head starts: before its shaft, or above its branch.
fn start(lines: &[Vec<char>], head: usize) -> Option<String> {
    let line = lines.last()?;
    let shaft = (0..head).rev().find(|column| line.get(*column) != Some(&'─'))?;
    if !matches!(line.get(shaft), Some('├' | '└')) {
        let end = (0..=shaft).rev().find(|column| line.get(*column) != Some(&' '))?;
        return word_at(line, end);
    }
    let above = lines.iter().rev().skip(1);
    let mut named = above.skip_while(|line| matches!(line.get(shaft), Some('│' | '├')));
    word_at(named.next()?, shaft)
}

/// The names behind the head: one, or several with commas between them.
fn targets(line: &[char], words: &BTreeMap<usize, String>, head: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (at, word) in words.range(head..) {
        found.push(word.clone());
        if line.get(at + word.chars().count()) != Some(&',') {
            break;
        }
    }
    found
}

/// The words of a line by the column where they begin.
fn words(line: &[char]) -> BTreeMap<usize, String> {
    let begins = |column: &usize| {
        let before = column.checked_sub(1).and_then(|before| line.get(before));
        !before.is_some_and(|character| is_letter(*character))
    };
    let columns = (0..line.len()).filter(begins);
    columns.filter_map(|column| Some((column, word_at(line, column)?))).collect()
}

/// The word that covers a column.
fn word_at(line: &[char], column: usize) -> Option<String> {
    let letter = |column: &usize| line.get(*column).is_some_and(|character| is_letter(*character));
    letter(&column).then_some(())?;
    let first = (0..=column).rev().take_while(letter).last()?;
    Some((first..).take_while(letter).filter_map(|column| line.get(column)).collect())
}

fn is_letter(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}
