//! Which crate may use which: the table, and the test of it against `cargo metadata`.
//!
//! ARCHITECTURE.md draws the same table; [`drawing`] reads it there.

pub(crate) mod drawing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, PackageId};

use crate::tree::Problem;

/// The crates by their folder, each with the crates that it may use directly.
pub(crate) const EDGES: [(&str, &[&str]); 9] = [
    ("cli", &["server", "node", "control", "net", "store", "kv", "proto"]),
    ("server", &["node", "control", "net", "store", "kv", "proto"]),
    ("node", &["control", "net", "store", "kv", "proto"]),
    ("control", &["net", "proto"]),
    ("sim", &["control", "store", "kv", "proto"]),
    ("net", &["proto"]),
    ("store", &["proto"]),
    ("kv", &["proto"]),
    ("proto", &[]),
];

/// Crates whose whole tree of dependencies, tests apart, is without a package.
const NEVER_UNDER: [(&str, &[&str]); 1] = [("tokio", &["proto", "kv", "store", "sim"])];

/// Packages that only these crates may name; others get them, if at all, through those.
const ONLY_IN: [(&str, &[&str]); 4] = [
    ("openraft", &["control"]),
    ("s2n-quic", &["net"]),
    ("object_store", &["archive"]),
    ("anyhow", &["cli", "xtask"]),
];

/// The name under which `Cargo.toml` knows the crate in the folder `crates/<folder>`.
fn package_name(folder: &str) -> String {
    match folder {
        "xtask" | "sim" => folder.to_owned(),
        "node" => "antiphon".to_owned(),
        folder => format!("antiphon-{folder}"),
    }
}

/// One package, ours or foreign, with what it uses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    name: String,
    /// Keys of the packages it uses, for whatever purpose.
    uses: BTreeSet<String>,
    /// Those of them that end up in what is built from it.
    ships: BTreeSet<String>,
    /// Those of them that only one of its features brings.
    optional: BTreeSet<String>,
    /// Those of them that it uses without any of their features.
    bare: BTreeSet<String>,
}

/// The workspace's packages and all that they rest on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    /// By a key that is different for each version of a package.
    packages: BTreeMap<String, Package>,
    /// Keys of the workspace's own.
    members: BTreeSet<String>,
}

impl Graph {
    /// Asks cargo.
    ///
    /// # Errors
    /// When `cargo metadata` fails or answers without a resolution.
    pub(crate) fn of_workspace(root: &Path) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .exec()
            .context("run cargo metadata")?;
        let resolved = metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
        let mut graph = Self::default();
        graph.members.extend(metadata.workspace_members.iter().map(key));
        for package in &metadata.packages {
            let named = Package { name: package.name.to_string(), ..Package::default() };
            graph.packages.insert(key(&package.id), named);
        }
        for node in &resolved.nodes {
            let package = graph.packages.get_mut(&key(&node.id)).context("a node is a package")?;
            for dependency in &node.deps {
                let kinds = &dependency.dep_kinds;
                package.uses.insert(key(&dependency.pkg));
                if kinds.iter().any(|kind| kind.kind == DependencyKind::Normal) {
                    package.ships.insert(key(&dependency.pkg));
                }
            }
        }
        for package in &metadata.packages {
            graph.note_features(package);
        }
        Ok(graph)
    }

    /// Cargo resolves the features of all members together. What one of them alone gets is less:
    /// without a feature of a package, it does not get what that feature brings.
    fn note_features(&mut self, package: &cargo_metadata::Package) {
        let named: Vec<_> = package.dependencies.iter().collect();
        let Some(uses) = self.packages.get(&key(&package.id)).map(|known| known.ships.clone())
        else {
            return;
        };
        for used in uses {
            let declared = |of: &dyn Fn(&cargo_metadata::Dependency) -> bool| {
                let same = |it: &&&cargo_metadata::Dependency| {
                    it.kind == DependencyKind::Normal && it.name == self.name(&used)
                };
                let mut all = named.iter().filter(same).peekable();
                all.peek().is_some() && all.all(|it| of(it))
            };
            let optional = declared(&|it| it.optional);
            let bare = declared(&|it| !it.uses_default_features && it.features.is_empty());
            let Some(known) = self.packages.get_mut(&key(&package.id)) else { return };
            if optional {
                known.optional.insert(used.clone());
            }
            if bare {
                known.bare.insert(used);
            }
        }
    }

    fn member(&self, folder: &str) -> Option<(&str, &Package)> {
        let name = package_name(folder);
        let mut members = self.members.iter().filter_map(|key| self.packages.get_key_value(key));
        members
            .find(|(_, package)| package.name == name)
            .map(|(key, package)| (key.as_str(), package))
    }

    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        self.packages.get(key).map_or(key, |package| package.name.as_str())
    }

    /// The way from one package to another through what ships; empty when there is none. A package
    /// that is used without its features ships without what they bring.
    fn way<'a>(&'a self, from: &'a str, to: &str) -> Vec<&'a str> {
        let mut came_from: BTreeMap<(&str, bool), (&str, bool)> = BTreeMap::new();
        let mut open = vec![(from, false)];
        while let Some((here, bare)) = open.pop() {
            if self.name(here) == to && here != from {
                let at = |at: &(&'a str, bool)| came_from.get(at).copied();
                let mut way: Vec<_> = std::iter::successors(Some((here, bare)), at)
                    .map(|(step, _)| self.name(step))
                    .collect();
                way.reverse();
                return way;
            }
            let Some(package) = self.packages.get(here) else { continue };
            let shipped = package.ships.iter();
            for next in shipped.filter(|next| !(bare && package.optional.contains(*next))) {
                // Features are ours to judge; a foreign package's are as cargo resolved them.
                let ours = self.members.contains(next);
                let next = (next.as_str(), ours && package.bare.contains(next));
                if next.0 != from && !came_from.contains_key(&next) {
                    came_from.insert(next, (here, bare));
                    open.push(next);
                }
            }
        }
        Vec::new()
    }
}

fn key(id: &PackageId) -> String {
    id.repr.clone()
}

/// All that the graph has and the tables do not allow.
pub(crate) fn check(graph: &Graph) -> Vec<Problem> {
    let mut problems = strangers(graph);
    for (folder, allowed) in EDGES {
        match graph.member(folder) {
            Some((_, package)) => problems.extend(not_allowed(graph, folder, package, allowed)),
            None => problems.push(problem(folder, "is in the table and not in the workspace")),
        }
    }
    for (banned, folders) in NEVER_UNDER {
        problems.extend(folders.iter().filter_map(|folder| rests_on(graph, folder, banned)));
    }
    for (package, folders) in ONLY_IN {
        problems.extend(named_elsewhere(graph, package, folders));
    }
    problems
}

fn problem(folder: &str, what: impl Into<String>) -> Problem {
    Problem { path: format!("crates/{folder}/Cargo.toml"), line: None, what: what.into() }
}

/// A crate that the table does not know has no place in the house yet.
fn strangers(graph: &Graph) -> Vec<Problem> {
    let known: BTreeSet<String> =
        EDGES.iter().map(|(folder, _)| *folder).chain(["xtask"]).map(package_name).collect();
    let members = graph.members.iter().map(|key| graph.name(key));
    let unknown = members.filter(|name| !known.contains(*name));
    unknown.map(|name| problem(name, "is in the workspace and not in the table")).collect()
}

fn not_allowed(graph: &Graph, folder: &str, package: &Package, allowed: &[&str]) -> Vec<Problem> {
    let allowed: BTreeSet<String> = allowed.iter().map(|folder| package_name(folder)).collect();
    let ours = package.uses.iter().filter(|key| graph.members.contains(*key));
    // A package may name itself, to give its own tests one of its features.
    let others = ours.map(|key| graph.name(key)).filter(|name| *name != package.name);
    let wrong = others.filter(|name| !allowed.contains(*name));
    wrong.map(|name| problem(folder, format!("may not use {name}"))).collect()
}

fn rests_on(graph: &Graph, folder: &str, banned: &str) -> Option<Problem> {
    let (key, _) = graph.member(folder)?;
    let way = graph.way(key, banned);
    (!way.is_empty()).then(|| problem(folder, format!("rests on {banned}: {}", way.join(" -> "))))
}

fn named_elsewhere(graph: &Graph, package: &str, folders: &[&str]) -> Vec<Problem> {
    let may: BTreeSet<String> = folders.iter().map(|folder| package_name(folder)).collect();
    let members = graph.members.iter().filter_map(|key| graph.packages.get(key));
    let names_it = members
        .filter(|member| member.uses.iter().any(|key| graph.name(key) == package))
        .filter(|member| !may.contains(&member.name));
    let what = format!("may not name {package}, only {} may", folders.join(" and "));
    names_it.map(|member| problem(&member.name, what.clone())).collect()
}

#[cfg(test)]
mod tests;
