//! The lock of a data directory between two real processes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use antiphon_proto::{NodeId, StoreUuid};
use antiphon_store::{Identity, Options, RealDisk, Store, StoreError};

/// Names the directory for the second process.
const DIR: &str = "ANTIPHON_STORE_TEST_DIR";

fn open(dir: &Path) -> Result<Store, StoreError> {
    let identity = Identity { node: NodeId::new(1), cluster: 5, cluster_name: "lock".to_owned() };
    let options = Options { segment_bytes: 64 << 10, ..Options::default() };
    Store::open(Arc::new(RealDisk), dir, identity, StoreUuid::new(9), &options)
}

/// Run by itself it opens a directory twice; run by the other test it holds one until told.
#[test]
fn holds_a_directory() {
    let Ok(dir) = std::env::var(DIR) else {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap();
        let pid = std::process::id();
        let refused = open(dir.path());
        assert!(matches!(refused, Err(StoreError::InUse { holder: Some(h), .. }) if h == pid));
        drop(store);
        open(dir.path()).unwrap();
        return;
    };
    let _store = open(Path::new(&dir)).unwrap();
    println!("holding");
    std::io::stdout().flush().unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
fn a_second_process_is_refused_and_told_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_a_directory", "--nocapture"])
        .env(DIR, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let held = lines.map_while(Result::ok).any(|line| line.contains("holding"));
    assert!(held, "the other process has the directory");
    match open(dir.path()) {
        Err(StoreError::InUse { holder, .. }) => assert_eq!(holder, Some(child.id())),
        other => panic!("{other:?}"),
    }
    // A killed process holds nothing.
    child.kill().unwrap();
    child.wait().unwrap();
    let store = open(dir.path()).unwrap();
    assert!(!store.superblock().clean);
    assert_eq!(store.superblock().incarnation.get(), 2);
}
