//! `antiphon cert` makes files that `antiphon config check` accepts.

use std::fs;
use std::path::Path;

use crate::expect;

#[test]
fn certificates_from_the_authority_to_a_checked_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = |name: &str| dir.path().join(name).display().to_string();
    let certs = place("certs");
    expect(0, &["cert", "init", "--dir", &certs, "--cluster", "shop"]);
    expect(4, &["cert", "init", "--dir", &certs, "--cluster", "shop"]);
    expect(0, &["cert", "issue", "--dir", &certs, "--node", "1", "--name", "a.example"]);
    expect(4, &["cert", "issue", "--dir", &certs, "--node", "1"]);
    expect(0, &["cert", "issue", "--dir", &certs, "--node", "1", "--overwrite"]);
    let shown = expect(0, &["cert", "show", &place("certs/node-1.pem"), "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["schema"], "antiphon.cert/1");
    assert_eq!(shown["certificates"][0]["node"], 1);
    assert_eq!(shown["certificates"][0]["cluster"], "shop");
    assert_eq!(shown["certificates"][0]["valid"], true);

    let config = place("node.toml");
    fs::write(&config, configuration(&certs, dir.path())).expect("written");
    let good = expect(0, &["config", "check", "--config", &config]);
    assert_eq!(good, "good: node 1 of cluster shop\n");
    expect(1, &["config", "check", "--config", &config, "--set", "node.id=2"]);
    expect(1, &["config", "check", "--config", &config, "--set", "cluster.name=other"]);
    let ca_as_key = format!("peer.key={certs}/ca.key");
    expect(1, &["config", "check", "--config", &config, "--set", &ca_as_key]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let certs = dir.path().join("certs").display().to_string();
    let out = expect(0, &["cert", "init", "--dir", &certs, "--dry-run"]);
    assert_eq!(out, format!("would write {certs}/ca.pem\nwould write {certs}/ca.key\n"));
    assert!(!Path::new(&certs).exists());
}

/// Port 0 everywhere, so that any machine can bind them.
fn configuration(certs: &str, dir: &Path) -> String {
    let data = dir.join("data");
    format!(
        "[node]\nid = 1\ndata_dir = {data:?}\n\
         [cluster]\nname = \"shop\"\nmembers = [\n\
         {{ id = 1, peer = \"127.0.0.1:7301\", resp = \"127.0.0.1:7101\" }},\n\
         {{ id = 2, peer = \"127.0.0.1:7302\", resp = \"127.0.0.1:7102\" }} ]\n\
         [resp]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [peer]\nlisten = \"127.0.0.1:0\"\nca = \"{certs}/ca.pem\"\n\
         cert = \"{certs}/node-1.pem\"\nkey = \"{certs}/node-1.key\"\n"
    )
}
