//! Completions and manual pages cover every command.

use crate::expect;

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let out = expect(0, &["completions", shell]);
        assert!(out.contains("read-share"), "{shell}");
    }
    expect(2, &["completions", "tcl"]);
}

#[test]
fn every_command_has_a_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().display().to_string();
    expect(0, &["man", &place]);
    for page in
        ["antiphon.1", "antiphon-bench.1", "antiphon-config-check.1", "antiphon-cert-issue.1"]
    {
        let text = std::fs::read_to_string(dir.path().join(page)).expect(page);
        assert!(text.contains("Examples"), "{page}");
    }
    expect(1, &["man", "/nonexistent/place"]);
}
