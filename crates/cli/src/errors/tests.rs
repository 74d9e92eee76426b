//! The table is whole, its page is the one in `docs`, and every code is given somewhere.

use std::path::{Path, PathBuf};

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn codes_are_ordered_and_say_everything() {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.explained().code).collect();
    assert!(codes.is_sorted_by(|one, next| one < next), "{codes:?}");
    for code in Code::ALL {
        let Explained { code: name, title, meaning, next, .. } = code.explained();
        assert!(Code::looks_like(name), "{name}");
        assert_eq!(Code::parse(&name.to_lowercase()), Some(*code));
        assert!(!title.ends_with('.') && meaning.ends_with('.') && next.ends_with('.'), "{name}");
    }
    for none in ["X1", "0301", "X03011", "Y0301", "X030a"] {
        assert!(!Code::looks_like(none), "{none}");
    }
}

/// `UPDATE_PAGES=1 cargo test -p antiphon-cli errors` writes the page.
#[test]
fn the_page_is_written_from_the_table() {
    let path = root().join("docs/errors.md");
    if std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::write(&path, page()).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).expect("the page is there");
    assert_eq!(written, page(), "run with UPDATE_PAGES=1 to write docs/errors.md again");
}

#[test]
fn every_code_is_given_somewhere() {
    let mut sources = String::new();
    gather(&root().join("crates/cli/src"), &mut sources);
    for code in Code::ALL {
        let name = format!("Code::{code:?}");
        let given = sources.match_indices(&name).any(|(at, _)| {
            let behind = sources.get(at + name.len()..).and_then(|rest| rest.chars().next());
            !behind.is_some_and(char::is_alphanumeric)
        });
        assert!(given, "nothing fails with {name}");
    }
}

fn gather(dir: &Path, into: &mut String) {
    for entry in std::fs::read_dir(dir).expect("sources are there") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            gather(&path, into);
        } else {
            into.push_str(&std::fs::read_to_string(&path).expect("sources are text"));
        }
    }
}

/// The table as the page `docs/errors.md`.
fn page() -> String {
    let mut out = PAGE_HEAD.to_owned();
    for code in Code::ALL {
        let Explained { code, exit, title, meaning, next } = code.explained();
        let exit = exit.code();
        out.push_str(&format!("| `{code}` | {exit} | {title} | {meaning} | {next} |\n"));
    }
    out
}

const PAGE_HEAD: &str = "# Errors of the command\n
An error of `antiphon` says what happened, what that means and what to do, and it has a code. `antiphon help X0301` explains a code; `-o json` makes the explanation a document. Codes and exit codes are never given a second meaning. This page is written from the table in the program.

```console
$ antiphon help x0301
X0301: the data directory is in use
  Another process has it open. Two on one directory would destroy it, so this one stays out.
  Stop that process, or choose another directory.
  A command that fails with it ends with 4.

$ antiphon log inspect no-such-directory
? 1
error[X0002]: cannot read no-such-directory: No such file or directory (os error 2)
  A file that the command was told to read is not there, or may not be read.
  Check the name, and that this user may read it.

```

## Exit codes

| Code | Meaning |
| --- | --- |
| 0 | done; or: healthy |
| 1 | failed |
| 2 | wrong usage |
| 3 | not healthy, or what `--wait` waited for did not come |
| 4 | refused: a precondition does not hold, nothing was changed |
| 5 | outcome unknown: sent, no answer; asking again is safe |
| 6 | not allowed: certificates, passwords, permissions |
| 7 | integrity: a checksum, digest or value is not what it must be |

## Codes

| Code | Exit | What happened | What it means | What to do |
| --- | --- | --- | --- | --- |
";
