//! Each rule finds the violation that is planted for it, and leaves clean files alone.

use super::*;

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (path, text) in files {
        tree.add(path, text.as_bytes().to_vec());
    }
    tree
}

#[track_caller]
fn finds(path: &str, text: &str, want: &str) {
    let found = check(&tree(&[(path, text)]));
    assert!(
        found.iter().any(|problem| problem.path == path && problem.what.contains(want)),
        "{path} should be reported with {want:?}, found {found:?}"
    );
}

#[track_caller]
fn passes(files: &[(&str, &str)]) {
    assert_eq!(check(&tree(files)), []);
}

#[test]
fn a_clean_tree_passes() {
    passes(&[
        ("crates/a/Cargo.toml", "[lints]\nworkspace = true\n"),
        ("crates/a/src/lib.rs", "//! Purpose.\n"),
        ("docs/decisions/2026-01-31-a-name.md", "# Title\n"),
        (
            "README.md",
            "See [decisions](docs/decisions) and [one](docs/decisions/2026-01-31-a-name.md#title).\n",
        ),
    ]);
}

#[test]
fn a_source_says_its_purpose_first() {
    finds("crates/a/src/lib.rs", "use std::fs;\n", "purpose");
}

#[test]
fn a_long_source_is_found_at_its_limit() {
    let lines = |count: usize| format!("//! Purpose.\n{}", "\n".repeat(count - 1));
    passes(&[("crates/a/src/lib.rs", &lines(600))]);
    finds("crates/a/src/lib.rs", &lines(601), "601 lines");
}

#[test]
fn a_module_file_stands_beside_its_folder() {
    finds("crates/a/src/b/mod.rs", "//! Purpose.\n", "mod.rs");
}

#[test]
fn unfinished_work_is_found() {
    finds("crates/a/src/lib.rs", concat!("//! P.\nto", "do!()"), "unfinished");
    finds("crates/a/src/lib.rs", concat!("//! P.\nunimple", "mented!()"), "unfinished");
    finds("docs/a.md", concat!("TO", "DO: more"), "unfinished");
    finds("run", concat!("# FIX", "ME"), "unfinished");
    passes(&[("run", concat!("mkTO", "DOs"))]);
}

#[test]
fn skipped_and_sleeping_tests_are_found() {
    finds("crates/a/src/lib.rs", concat!("//! P.\n#[", "ignore]\n"), "skips a test");
    finds("crates/a/tests/it.rs", concat!("//! P.\nsle", "ep(second);\n"), "sleeps");
    finds("crates/a/src/b/tests.rs", concat!("//! P.\ntime::sle", "ep(second).await"), "sleeps");
    passes(&[
        ("crates/a/tests/it.rs", concat!("//! P.\nthread::sle", "ep(POLL);\n")),
        ("crates/a/src/b.rs", concat!("//! P.\nsle", "ep(backoff);\n")),
    ]);
}

#[test]
fn links_that_point_to_nothing_are_found() {
    finds("docs/a.md", "[x](b.md)", "points to nothing: b.md");
    finds("docs/a.md", "[x](../../out.md)", "points to nothing");
    finds("docs/a.md", "# One\n[x](#two)", "points to nothing: #two");
    passes(&[("docs/a.md", "# One `two`\n[x](#one-two) [y](https://example.org) `[z](w)`")]);
}

#[test]
fn the_line_of_a_broken_link_is_told() {
    let found = check(&tree(&[("a.md", "one\n\n[x](b.md)\n")]));
    assert_eq!(found.first().and_then(|problem| problem.line), Some(3));
}

#[test]
fn a_machines_folders_are_found() {
    finds("a.md", concat!("cd /wo", "rk/main"), "one machine");
    finds("run", concat!("\"/ho", "me/me\""), "one machine");
    passes(&[("a.md", concat!("DIR/wo", "rk/x and https://example.org/ho", "me/"))]);
}

#[test]
fn inputs_of_fuzz_targets_are_not_read_as_text() {
    passes(&[("fuzz/corpus/names/found", concat!("TO", "DO /ho", "me/"))]);
}

#[test]
fn lints_are_inherited() {
    finds("crates/a/Cargo.toml", "[package]\nname = \"a\"\n", "lints");
    finds("xtask/Cargo.toml", "[lints]\nworkspace = false\n", "lints");
}

#[test]
fn decisions_are_dated() {
    for name in
        ["an-idea.md", "2026-13-01-a.md", "2026-1-01-a.md", "2026-01-01.md", "2026-01-01-a.txt"]
    {
        finds(&format!("docs/decisions/{name}"), "", "year-month-day");
    }
}

#[test]
fn a_long_map_is_found() {
    passes(&[("ARCHITECTURE.md", &"\n".repeat(200))]);
    finds("ARCHITECTURE.md", &"\n".repeat(201), "201 lines");
}
