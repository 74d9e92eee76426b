//! The protocol told in stories: scripts over a cluster of replica machines, each with all that
//! happened. `UPDATE_STORIES=1` writes what happened anew; otherwise a difference fails.

#[path = "stories/checks.rs"]
mod checks;
#[path = "stories/cluster.rs"]
mod cluster;
#[path = "stories/disk.rs"]
mod disk;
#[path = "stories/hostile.rs"]
mod hostile;
#[path = "stories/many.rs"]
mod many;
#[path = "stories/schedules.rs"]
mod schedules;
#[path = "stories/script.rs"]
mod script;
#[path = "stories/words.rs"]
mod words;

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories")
}

fn stories() -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder()).expect("the folder of the stories");
    let paths = files.map(|file| file.expect("a readable folder").path());
    let mut stories: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).collect();
    stories.sort();
    stories
}

/// The first line that differs, with what stands around it.
fn difference(name: &str, written: &str, happened: &str) -> Option<String> {
    if written == happened {
        return None;
    }
    let old: Vec<_> = written.lines().collect();
    let new: Vec<_> = happened.lines().collect();
    let at = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let tail = |lines: &[&str], mark: &str| {
        let shown = lines.iter().skip(at).take(8).map(|line| format!("{mark} {line}\n"));
        shown.collect::<String>()
    };
    let from = at.saturating_sub(6);
    let same: String = old.iter().take(at).skip(from).map(|line| format!("  {line}\n")).collect();
    Some(format!("{name}, line {}:\n{same}{}{}", at + 1, tail(&old, "-"), tail(&new, "+")))
}

#[test]
fn every_story_goes_as_it_is_told() {
    let update = std::env::var_os("UPDATE_STORIES").is_some();
    let mut differences = Vec::new();
    let paths = stories();
    assert!(paths.len() >= 15, "there are {} stories", paths.len());
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let written = std::fs::read_to_string(&path).expect("a readable story");
        assert!(written.starts_with("# "), "{name} says what it teaches in its first line");
        let happened = script::run(&written);
        if update && written != happened {
            std::fs::write(&path, happened).expect("a writable story");
        } else {
            differences.extend(difference(&name, &written, &happened));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_difference_shows_both_sides() {
    let shown = difference("x.txt", "a\nb\nc\n", "a\nB\nc\n").expect("they differ");
    assert_eq!(shown, "x.txt, line 2:\n  a\n- b\n- c\n+ B\n+ c\n");
    assert_eq!(difference("x.txt", "a\n", "a\n"), None);
}
