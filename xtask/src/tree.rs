//! The project's files, as `git` knows them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One text file of the project.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root of the project, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// The name behind the last slash.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// What stands before the last slash; empty at the root.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// A problem with this file as a whole.
    pub(crate) fn problem(&self, what: impl Into<String>) -> Problem {
        Problem { path: self.path.clone(), line: None, what: what.into() }
    }

    /// A problem at one line, counted from 0.
    pub(crate) fn problem_at(&self, index: usize, what: impl Into<String>) -> Problem {
        Problem { line: Some(index + 1), ..self.problem(what) }
    }
}

/// All files of the project.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The text files.
    pub(crate) files: Vec<File>,
    /// Every path, of binary files and of folders too.
    pub(crate) paths: BTreeSet<String>,
}

impl Tree {
    /// Reads all files under `root` that are tracked, or new and not ignored.
    ///
    /// # Errors
    /// When `git` or a file cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("run git ls-files")?;
        ensure!(listed.status.success(), "git ls-files: {}", listed.status);
        let names = String::from_utf8(listed.stdout).context("a path is not UTF-8")?;
        let mut tree = Self::default();
        for path in names.split_terminator('\0') {
            // Removed, but the removal is not yet committed.
            if !root.join(path).is_file() {
                continue;
            }
            let bytes = std::fs::read(root.join(path)).with_context(|| format!("read {path}"))?;
            tree.add(path, bytes);
        }
        Ok(tree)
    }

    /// Adds one file; bytes that are no text count as a path alone.
    pub(crate) fn add(&mut self, path: &str, bytes: Vec<u8>) {
        self.paths.extend(
            path.match_indices('/').filter_map(|(end, _)| path.get(..end)).map(str::to_owned),
        );
        self.paths.insert(path.to_owned());
        if bytes.contains(&0) {
            return;
        }
        if let Ok(text) = String::from_utf8(bytes) {
            self.files.push(File { path: path.to_owned(), text });
        }
    }

    /// The text file at `path`.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) path: String,
    /// Counted from 1.
    pub(crate) line: Option<usize>,
    pub(crate) what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}", self.path, self.what),
            None => write!(out, "{}: {}", self.path, self.what),
        }
    }
}

/// The root of the project: the folder above this package.
///
/// # Errors
/// When the program was moved away from the tree it was built in.
pub(crate) fn root() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().context("the package stands in the project")?;
    ensure!(root.join("Cargo.toml").is_file(), "{} is no workspace", root.display());
    Ok(root.to_path_buf())
}
