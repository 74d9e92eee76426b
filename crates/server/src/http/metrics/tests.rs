//! Tests of the text that is scraped.

use std::time::{Duration, Instant};

use antiphon::Level;
use antiphon_proto::NodeId;

use super::*;

fn page(status: Status) -> String {
    let stats = Arc::new(Stats::new(Command::all().len()));
    stats.commit_wait.observe(Duration::from_millis(3));
    stats.refuse(Refusal::Clients);
    stats.certificate_end_s.set(1_000);
    if let Some(held) = stats.by_command.first() {
        held.calls.add(2);
    }
    let pages = Pages::new(stats);
    pages.publish(Picture { at: Instant::now(), status: Arc::new(status), policy: Level::Floor });
    text(Arc::new(pages), 400).expect("a page")
}

#[track_caller]
fn check(page: &str, line: &str) {
    assert!(page.lines().any(|found| found == line), "{line} is missing in:\n{page}");
}

#[test]
fn a_primary() {
    let replica = Replica {
        node: NodeId::new(2),
        connected: true,
        lag_entries: 5,
        lag_s: 0.25,
        ..Replica::default()
    };
    let status = Status {
        primary: true,
        last: Lsn::new(9),
        replicas: vec![replica],
        fsync: Distribution { buckets: vec![(0.001, 2), (0.01, 3)], count: 4, sum_s: 1.5 },
        ..Status::default()
    };
    let page = page(status);
    for line in [
        "antiphon_primary 1",
        "antiphon_last_lsn 9",
        "antiphon_replicas 1",
        "antiphon_replica_lag_entries{replica=\"2\"} 5",
        "antiphon_replica_lag_seconds{replica=\"2\"} 0.25",
        "antiphon_commit_wait_seconds_count 1",
        "antiphon_commit_wait_seconds_bucket{le=\"0.002\"} 0",
        "antiphon_commit_wait_seconds_bucket{le=\"0.005\"} 1",
        "antiphon_fsync_seconds_bucket{le=\"0.01\"} 3",
        "antiphon_fsync_seconds_bucket{le=\"+Inf\"} 4",
        "antiphon_refused_connections_total{reason=\"max_clients\"} 1",
        "antiphon_refused_connections_total{reason=\"idle\"} 0",
        "antiphon_commands_total{command=\"acl\"} 2",
        "antiphon_client_certificate_expiry_seconds 600",
    ] {
        check(&page, line);
    }
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn a_replica() {
    let upstream = crate::status::Upstream { lag_entries: 7, ..Default::default() };
    let page = page(Status { upstream: Some(upstream), ..Status::default() });
    check(&page, "antiphon_primary 0");
    check(&page, "antiphon_upstream_lag_entries 7");
    assert!(!page.contains("antiphon_replica_"));
}

#[test]
fn links() {
    let link = Link {
        node: NodeId::new(3),
        connected: true,
        sent_bytes: 5000,
        sent_wire_bytes: 2000,
        packed_messages: 4,
        queued_bytes: [("control", 1), ("log", 2), ("bulk", 3)],
        ..Link::default()
    };
    let quiet = Link { node: NodeId::new(4), ..Link::default() };
    let page = page(Status {
        links: vec![link, quiet],
        refused_links: vec![("busy", 2)],
        replication_errors: vec![("apply", 0), ("diverged", 1)],
        ..Status::default()
    });
    for line in [
        "antiphon_link_connected{peer=\"3\"} 1",
        "antiphon_link_connected{peer=\"4\"} 0",
        "antiphon_link_sent_bytes_total{peer=\"3\"} 5000",
        "antiphon_link_sent_wire_bytes_total{peer=\"3\"} 2000",
        "antiphon_link_packed_messages_total{peer=\"3\"} 4",
        "antiphon_link_compression_ratio{peer=\"3\"} 2.5",
        "antiphon_link_compression_ratio{peer=\"4\"} 1.0",
        "antiphon_link_queued_bytes{peer=\"3\",lane=\"bulk\"} 3",
        "antiphon_refused_links_total{reason=\"busy\"} 2",
        "antiphon_replication_errors_total{kind=\"apply\"} 0",
        "antiphon_replication_errors_total{kind=\"diverged\"} 1",
    ] {
        check(&page, line);
    }
}

/// Every metric of the table is on the page of a node that is primary and follows, as far as one
/// can be both, with the type and the unit that the table says; and nothing else is.
#[test]
fn the_page_is_the_table() {
    let page = page(Status {
        primary: true,
        upstream: Some(crate::status::Upstream::default()),
        peer_certificate_seconds: Some(1),
        ..Status::default()
    });
    let mut expected = Vec::new();
    for metric in table::ALL {
        let unit = metric.unit.as_ref().map(|unit| unit.as_str());
        let name = match unit {
            Some(unit) => format!("antiphon_{}_{unit}", metric.name),
            None => format!("antiphon_{}", metric.name),
        };
        expected.push(format!("# HELP {name} {}", metric.help));
        expected.push(format!("# TYPE {name} {}", metric.kind.as_str()));
        expected.extend(unit.map(|unit| format!("# UNIT {name} {unit}")));
    }
    let mut found: Vec<&str> =
        page.lines().filter(|line| line.starts_with("# ") && *line != "# EOF").collect();
    expected.sort();
    found.sort_unstable();
    assert_eq!(found, expected);
}
