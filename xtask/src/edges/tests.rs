//! The workspace keeps to the table, and each kind of violation is reported.

use super::*;
use crate::tree::{self, Tree};

fn graph() -> Graph {
    Graph::of_workspace(&tree::root().unwrap()).unwrap()
}

/// The workspace with one more edge between two of its packages, by their folders.
fn with_edge(from: &str, to: &str) -> Graph {
    let mut graph = graph();
    let key = |folder| graph.member(folder).unwrap().0.to_owned();
    let (from, to) = (key(from), key(to));
    let package = graph.packages.get_mut(&from).unwrap();
    package.uses.insert(to.clone());
    package.ships.insert(to);
    graph
}

/// The workspace with one more foreign package under one of its own.
fn with_foreign(folder: &str, name: &str) -> Graph {
    let mut graph = graph();
    let from = graph.member(folder).unwrap().0.to_owned();
    let planted = "planted".to_owned();
    graph.packages.insert(planted.clone(), Package { name: name.to_owned(), ..Package::default() });
    let package = graph.packages.get_mut(&from).unwrap();
    package.uses.insert(planted.clone());
    package.ships.insert(planted);
    graph
}

#[track_caller]
fn finds(graph: &Graph, path: &str, want: &str) {
    let found = check(graph);
    let hit = |problem: &Problem| problem.path.contains(path) && problem.what.contains(want);
    assert!(found.iter().any(hit), "{path} should be reported with {want:?}, found {found:?}");
}

#[test]
fn the_workspace_keeps_to_the_table() {
    let graph = graph();
    assert_eq!(check(&graph), []);
    assert_eq!(graph.members.len(), EDGES.len() + 1, "the crates of the table, and xtask");
    let (proto, _) = graph.member("proto").unwrap();
    assert!(!graph.way(proto, "bytes").is_empty(), "ways are found through real metadata");
}

#[test]
fn a_wrong_edge_is_reported() {
    finds(&with_edge("proto", "store"), "crates/proto", "may not use antiphon-store");
    finds(&with_edge("store", "net"), "crates/store", "may not use antiphon-net");
    finds(&with_edge("sim", "node"), "crates/sim", "may not use antiphon");
}

#[test]
fn tokio_under_the_pure_crates_is_reported_with_its_way() {
    finds(&with_foreign("store", "tokio"), "crates/store", "antiphon-store -> tokio");
    let deep = with_foreign("proto", "tokio");
    finds(&deep, "crates/sim", "-> antiphon-proto -> tokio");
}

/// The register's consensus library needs tokio; without that feature the crate is pure.
#[test]
fn what_a_feature_brings_counts_where_the_feature_is_wanted() {
    let mut with = with_edge("sim", "control");
    finds(&with, "crates/sim", "-> antiphon-control -> ");
    let (sim, control) =
        (with.member("sim").unwrap().0.to_owned(), with.member("control").unwrap().0.to_owned());
    with.packages.get_mut(&sim).unwrap().bare.insert(control);
    assert_eq!(check(&with), []);
}

#[test]
fn a_package_in_the_wrong_crate_is_reported() {
    finds(&with_foreign("server", "s2n-quic"), "server", "may not name s2n-quic");
    finds(&with_foreign("node", "openraft"), "antiphon", "may not name openraft");
    finds(&with_foreign("store", "object_store"), "store", "may not name object_store");
    finds(&with_foreign("kv", "anyhow"), "kv", "may not name anyhow");
}

#[test]
fn a_crate_outside_the_table_is_reported() {
    let mut graph = graph();
    graph.members.insert("utils".to_owned());
    finds(&graph, "utils", "not in the table");
}

const DRAWN: &str = "
```text
cli ─► server ─► node ─► control ─► net ─► proto
                  ├────► store ──────────► proto
                  └────► kv ─────────────► proto
sim ─► control, store, kv
```
";

fn page(text: &str) -> Tree {
    let mut tree = Tree::default();
    tree.add("ARCHITECTURE.md", text.as_bytes().to_vec());
    tree
}

#[test]
fn the_drawing_is_read() {
    let arrows = drawing::arrows(DRAWN);
    let has = |from: &str, to: &str| arrows.contains(&(from.to_owned(), to.to_owned()));
    assert!(has("cli", "server") && has("node", "store") && has("node", "kv") && has("sim", "kv"));
    assert_eq!(arrows.len(), 12);
    assert_eq!(drawing::check(&page(DRAWN)), []);
}

#[test]
fn a_wrong_drawing_is_reported() {
    let wrong = |from: &str, to: &str| {
        let text = DRAWN.replace(from, to);
        drawing::check(&page(&text)).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert!(wrong("sim ─► control, store, kv", "").contains("does not lead from sim to store"));
    assert!(wrong("sim ─► control", "sim ─► node, control").contains("draws sim ─► node"));
    assert!(wrong("└────► kv", "└────► cli").contains("draws node ─► cli"));
    assert!(
        drawing::check(&Tree::default()).iter().any(|problem| problem.what.contains("missing"))
    );
}
