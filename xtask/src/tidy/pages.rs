//! Rules for Markdown pages: what they point to exists.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::tree::{File, Problem, Tree};

/// Every link to a file or a heading of the project resolves.
pub(crate) fn check(tree: &Tree, file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (event, range) in Parser::new_ext(&file.text, Options::ENABLE_TABLES).into_offset_iter() {
        let (Event::Start(Tag::Link { dest_url, .. }) | Event::Start(Tag::Image { dest_url, .. })) =
            event
        else {
            continue;
        };
        if !resolves(tree, file, &dest_url) {
            let before = file.text.get(..range.start).unwrap_or_default();
            let line = before.matches('\n').count();
            problems.push(file.problem_at(line, format!("points to nothing: {dest_url}")));
        }
    }
    problems
}

fn resolves(tree: &Tree, file: &File, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(p, h)| (p, Some(h)));
    let target = if path.is_empty() { Some(file.path.clone()) } else { join(file.folder(), path) };
    let Some(target) = target else { return false };
    match (tree.file(&target), heading) {
        (Some(page), Some(heading)) if target.ends_with(".md") => {
            headings(&page.text).contains(heading)
        }
        _ => target.is_empty() || tree.paths.contains(&target),
    }
}

/// `path` as seen from `folder`; none when it leaves the project.
fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The names by which a page's headings are linked: lower case, words joined by hyphens.
fn headings(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        if matches!(event, Event::Start(Tag::Heading { .. })) {
            heading = Some(String::new());
        } else if matches!(event, Event::End(TagEnd::Heading(_))) {
            found.extend(heading.take().map(|title| slug(&title)));
        } else if let (Event::Text(part) | Event::Code(part), Some(title)) = (event, &mut heading) {
            title.push_str(&part);
        }
    }
    found
}

fn slug(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}
