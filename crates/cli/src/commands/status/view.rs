//! All answers together: a row for each node, what is wrong, and how much more may fail.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use antiphon_proto::Policy;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::bench::report::grouped;
use crate::commands::status::page::{Link, Page, Replica};

/// Name and version of the document.
const SCHEMA: &str = "antiphon.cluster-status/1";
/// A certificate that ends sooner is mentioned: a week, as the alert.
const CERTIFICATE_SECONDS_MIN: i64 = 7 * 86_400;
const SECONDS_A_DAY: i64 = 86_400;

/// The cluster as its nodes describe it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    schema: &'static str,
    healthy: bool,
    cluster: String,
    epoch: u64,
    /// The node that says it is the primary of the newest epoch.
    primary: Option<u64>,
    floor: String,
    /// How many more nodes may fail without a loss or a stop; absent without a primary.
    can_lose: Option<usize>,
    rows: Vec<Row>,
    /// What is wrong, and what is worth knowing.
    problems: Vec<String>,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
struct Row {
    node: u64,
    role: &'static str,
    state: String,
    address: String,
    lsn: u64,
    durable: u64,
    /// As the node itself says, else as the primary heard.
    applied: Option<u64>,
    lag_entries: Option<u64>,
    lag_seconds: Option<f64>,
    /// What only the node's own page says.
    fsync_p99_seconds: Option<f64>,
    certificate_seconds: Option<i64>,
    version: Option<String>,
    links: Vec<Link>,
}

impl View {
    /// Joins the `answers` of nodes, by address.
    pub(crate) fn of(answers: Vec<(String, anyhow::Result<Page>)>) -> Self {
        let mut problems = Vec::new();
        let mut pages = Vec::new();
        for (address, answer) in answers {
            match answer {
                Ok(page) => pages.push((address, page)),
                Err(error) => problems.push(format!("{address} does not answer: {error:#}")),
            }
        }
        let newest = pages.iter().map(|(_, page)| page.epoch).max().unwrap_or_default();
        let chief = |page: &&Page| page.is_primary() && page.epoch == newest;
        let primary = pages.iter().map(|(_, page)| page).find(chief).cloned();
        let any = pages.first().map(|(_, page)| page);
        let of = primary.as_ref().or(any);
        complain(&pages, primary.as_ref(), &mut problems);
        let mut view = Self {
            schema: SCHEMA,
            healthy: false,
            cluster: of.map(|page| page.cluster.clone()).unwrap_or_default(),
            epoch: newest,
            primary: primary.as_ref().map(|page| page.node),
            floor: of.map(|page| page.floor.clone()).unwrap_or_default(),
            can_lose: primary.as_ref().and_then(can_lose),
            rows: rows(&pages, primary.as_ref()),
            problems,
        };
        view.healthy = view.is_serving() && view.problems.is_empty();
        view
    }

    /// Whether a primary serves.
    pub(crate) fn is_serving(&self) -> bool {
        self.rows.iter().any(|row| row.role == "primary" && row.state == "serving")
    }

    /// Whether a primary serves and nothing is wrong.
    pub(crate) const fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// For people; with more columns and all links if it may be `wide`.
    pub(crate) fn text(&self, wide: bool) -> String {
        let mut out = String::new();
        self.write_text(&mut out, wide).expect("a string takes all that is written to it");
        out
    }

    fn write_text(&self, out: &mut String, wide: bool) -> std::fmt::Result {
        if !self.rows.is_empty() {
            let primary = self.primary.map_or_else(|| "none".to_owned(), |node| node.to_string());
            let (cluster, epoch, floor) = (&self.cluster, self.epoch, &self.floor);
            writeln!(out, "cluster {cluster}   epoch {epoch}   primary {primary}   floor {floor}")?;
            for line in table(&self.rows, wide).lines() {
                writeln!(out, "{}", line.trim_end())?;
            }
            if wide {
                write_links(&self.rows, out)?;
            }
        }
        for problem in &self.problems {
            writeln!(out, "! {problem}")?;
        }
        match self.can_lose {
            Some(1) => writeln!(out, "Can lose 1 node without losing writes or service."),
            Some(count) => {
                writeln!(out, "Can lose {count} nodes without losing writes or service.")
            }
            None if self.primary.is_none() => {
                writeln!(out, "How much more may fail is unknown: no primary answers.")
            }
            None => writeln!(out, "How much more may fail is unknown for this floor."),
        }
    }
}

fn table(rows: &[Row], wide: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let head = ["NODE", "ROLE", "STATE", "ADDRESS", "LSN", "DURABLE", "APPLIED", "LAG"];
    let more = ["FSYNC p99", "CERTIFICATE", "VERSION"];
    table.set_header(head.iter().chain(more.iter().filter(|_| wide)));
    for row in rows {
        let number = |count: u64| grouped_count(count);
        let lag = match (row.lag_entries, row.lag_seconds) {
            (Some(entries), Some(seconds)) if entries > 0 => {
                format!("{} / {seconds:.1} s", number(entries))
            }
            (Some(entries), _) => number(entries),
            (None, _) => "-".to_owned(),
        };
        let mut cells = vec![
            row.node.to_string(),
            row.role.to_owned(),
            row.state.clone(),
            row.address.clone(),
            number(row.lsn),
            number(row.durable),
            row.applied.map_or_else(|| "-".to_owned(), number),
            lag,
        ];
        if wide {
            cells.extend(only_its_own(row));
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string()
}

/// What a node says of itself and of nobody else: its disk, its certificate, its version.
fn only_its_own(row: &Row) -> [String; 3] {
    let none = || "-".to_owned();
    let certificate = row.certificate_seconds.map(|left| match left {
        ..=0 => "EXPIRED".to_owned(),
        _ => format!("{} days", left / SECONDS_A_DAY),
    });
    [
        row.fsync_p99_seconds.map_or_else(none, |s| format!("{:.1} ms", s * 1_000.0)),
        certificate.unwrap_or_else(none),
        row.version.clone().unwrap_or_else(none),
    ]
}

/// The links of each node that answered.
fn write_links(rows: &[Row], out: &mut String) -> std::fmt::Result {
    for row in rows {
        for link in &row.links {
            let state = if link.connected { "up" } else { "down" };
            let (node, to) = (row.node, link.node);
            let (sent, received) =
                (grouped_count(link.sent_bytes), grouped_count(link.received_bytes));
            let (made, failed) = (link.connects, link.failed_attempts);
            writeln!(
                out,
                "link {node} to {to}: {state}, made {made} times, {failed} attempts failed, {sent} B sent, {received} B received"
            )?;
        }
    }
    Ok(())
}

pub(super) fn grouped_count(count: u64) -> String {
    // Exact up to 2^53, far beyond any log.
    grouped(count as f64)
}

fn complain(pages: &[(String, Page)], primary: Option<&Page>, problems: &mut Vec<String>) {
    for (_, page) in pages {
        problems.extend(page.waiting.iter().map(|why| format!("node {}: {why}", page.node)));
    }
    let Some(primary) = primary else {
        if !pages.is_empty() {
            problems.push("no node that answers is the primary".to_owned());
        }
        return;
    };
    for (_, page) in pages {
        let node = page.node;
        if page.is_primary() && page.epoch < primary.epoch {
            let (old, new) = (page.epoch, primary.epoch);
            problems.push(format!(
                "node {node} still thinks it is the primary, of epoch {old} before {new}"
            ));
        } else if page.is_primary() && page.node != primary.node {
            let other = primary.node;
            problems.push(format!("nodes {other} and {node} both say they are the primary"));
        } else if !page.serving && page.waiting.is_none() {
            problems.push(format!("node {node} does not take its role's traffic"));
        }
        let level = page.applied == primary.applied && page.epoch == primary.epoch;
        if level && !page.digest.is_empty() && page.digest != primary.digest {
            problems
                .push(format!("node {node} differs from the primary at entry {}", page.applied));
        }
        if let Some(left) =
            page.peer_certificate_seconds.filter(|&left| left < CERTIFICATE_SECONDS_MIN)
        {
            problems.push(match left {
                ..=0 => format!("the certificate of node {node} has expired"),
                _ => {
                    format!("the certificate of node {node} ends in {} days", left / SECONDS_A_DAY)
                }
            });
        }
    }
    for replica in primary.replicas.iter().filter(|replica| !replica.is_in_sync()) {
        let (node, state, lag) = (replica.node, &replica.state, grouped_count(replica.lag_entries));
        problems.push(format!("node {node} is {state}: {lag} entries behind"));
    }
}

/// A row for each node that the primary knows or that answered, by number.
fn rows(pages: &[(String, Page)], primary: Option<&Page>) -> Vec<Row> {
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    for replica in primary.map(|page| page.replicas.as_slice()).unwrap_or_default() {
        rows.insert(replica.node, seen(replica));
    }
    for (address, page) in pages {
        let own = own_row(address, page, primary.is_some_and(|primary| primary.node == page.node));
        let row = rows.entry(page.node).or_insert_with(|| own.clone());
        // How far it is behind, the primary knows better; what it holds, the node itself.
        row.lsn = own.lsn;
        row.durable = own.durable;
        row.applied = own.applied;
        row.fsync_p99_seconds = own.fsync_p99_seconds;
        row.certificate_seconds = own.certificate_seconds;
        row.version = own.version;
        row.links = own.links;
    }
    rows.into_values().collect()
}

fn seen(replica: &Replica) -> Row {
    Row {
        node: replica.node,
        role: "replica",
        state: replica.state.clone(),
        address: format!("{}:{}", replica.host, replica.port),
        lsn: replica.received,
        durable: replica.durable,
        applied: replica.applied,
        lag_entries: Some(replica.lag_entries),
        lag_seconds: Some(replica.lag_seconds),
        fsync_p99_seconds: None,
        certificate_seconds: None,
        version: None,
        links: Vec::new(),
    }
}

fn own_row(address: &str, page: &Page, is_primary: bool) -> Row {
    let state = if page.serving { "serving" } else { "not serving" };
    let upstream = page.upstream.as_ref().filter(|_| !is_primary);
    Row {
        node: page.node,
        role: if is_primary { "primary" } else { "replica" },
        state: state.to_owned(),
        address: if page.address.is_empty() { address } else { &page.address }.to_owned(),
        lsn: page.last,
        durable: page.durable,
        applied: Some(page.applied),
        lag_entries: upstream.map(|upstream| upstream.lag_entries),
        lag_seconds: upstream.map(|upstream| upstream.lag_seconds),
        fsync_p99_seconds: page.fsync_p99_seconds,
        certificate_seconds: page.peer_certificate_seconds,
        version: Some(page.version.clone()).filter(|version| !version.is_empty()),
        links: page.links.clone(),
    }
}

/// Nodes in sync beyond those that the floor needs.
fn can_lose(primary: &Page) -> Option<usize> {
    let members = primary.replicas.len() + 1;
    let level = primary.replicas.iter().filter(|replica| replica.is_in_sync()).count() + 1;
    let needed = match primary.floor.parse().ok()? {
        Policy::Local => 1,
        Policy::Received(count) | Policy::Ack(count) | Policy::Prefix(count) => usize::from(count),
        Policy::Quorum => members / 2 + 1,
        Policy::All => members,
        // Depends on where the nodes stand, which the page does not say.
        Policy::Region(_) => return None,
    };
    // What was acknowledged on `needed` nodes survives the loss of one fewer.
    Some(level.saturating_sub(needed).min(needed - 1))
}

#[cfg(test)]
mod tests;
