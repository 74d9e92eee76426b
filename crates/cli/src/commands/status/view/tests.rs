//! The screen of a healthy cluster and of several that are not.

use super::*;
use crate::commands::status::page::Upstream;

fn replica(node: u64, state: &str, lag_entries: u64) -> Replica {
    Replica {
        node,
        host: "10.0.0.1".to_owned(),
        port: 7_100,
        connected: state != "away",
        state: state.to_owned(),
        source: "memory".to_owned(),
        sent: 4_812_077,
        applied: None,
        received: 4_812_077 - lag_entries,
        durable: 4_812_077 - lag_entries,
        lag_entries,
        lag_seconds: 48.0,
    }
}

fn primary(replicas: Vec<Replica>) -> Page {
    Page {
        waiting: None,
        schema: "antiphon.status/1".to_owned(),
        cluster: "shop".to_owned(),
        node: 1,
        address: String::new(),
        role: "primary".to_owned(),
        serving: true,
        epoch: 7,
        floor: "quorum".to_owned(),
        shape: "star".to_owned(),
        last: 4_812_077,
        durable: 4_812_077,
        stable: 4_812_077,
        applied: 4_812_077,
        digest: "aa".to_owned(),
        upstream: None,
        replicas,
        version: "1.4.0".to_owned(),
        fsync_p99_seconds: Some(0.001_2),
        links: Vec::new(),
        peer_certificate_seconds: Some(30 * SECONDS_A_DAY),
    }
}

fn own_page(node: u64) -> Page {
    let upstream = Upstream { node: 1, connected: true, lag_entries: 0, lag_seconds: 0.0 };
    Page { node, role: "replica".to_owned(), upstream: Some(upstream), ..primary(Vec::new()) }
}

fn view(pages: Vec<Page>) -> View {
    View::of(pages.into_iter().map(|page| (format!("n{}:7201", page.node), Ok(page))).collect())
}

#[test]
fn a_node_is_shown_where_its_clients_connect() {
    let text = |address: &str| {
        let page = Page { address: address.to_owned(), ..primary(Vec::new()) };
        view(vec![page]).text(false)
    };
    assert!(text("10.0.0.7:7101").contains(" 10.0.0.7:7101 "));
    // A node of an earlier version does not say: where it was asked is better than nothing.
    assert!(text("").contains(" n1:7201 "));
}

#[test]
fn a_healthy_cluster_says_what_it_can_lose() {
    let both = vec![replica(2, "in sync", 0), replica(3, "in sync", 0)];
    let view = view(vec![primary(both), own_page(2)]);
    assert!(view.is_healthy() && view.is_serving());
    let want = "\
cluster shop   epoch 7   primary 1   floor quorum
NODE  ROLE     STATE    ADDRESS        LSN        DURABLE    APPLIED    LAG
1     primary  serving  n1:7201        4,812,077  4,812,077  4,812,077    -
2     replica  in sync  10.0.0.1:7100  4,812,077  4,812,077  4,812,077    0
3     replica  in sync  10.0.0.1:7100  4,812,077  4,812,077          -    0
Can lose 1 node without losing writes or service.
";
    let got = view.text(false);
    let words = |text: &str| -> Vec<Vec<String>> {
        let line = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().map(line).collect()
    };
    assert_eq!(words(&got), words(want), "{got}");
}

#[test]
fn a_replica_that_is_behind_is_a_reason() {
    let view =
        view(vec![primary(vec![replica(2, "in sync", 0), replica(3, "catching up", 421_965)])]);
    assert!(!view.is_healthy() && view.is_serving());
    let text = view.text(false);
    assert!(text.contains("421,965 / 48.0 s"), "{text}");
    assert!(text.contains("! node 3 is catching up: 421,965 entries behind"), "{text}");
    assert!(text.contains("Can lose 0 nodes"), "{text}");
}

#[test]
fn two_primaries_and_an_old_one_are_told_apart() {
    let other = Page { node: 2, ..primary(Vec::new()) };
    let both = view(vec![primary(Vec::new()), other.clone()]);
    assert_eq!(both.problems, ["nodes 1 and 2 both say they are the primary"]);
    let late = view(vec![primary(Vec::new()), Page { epoch: 6, ..other }]);
    assert_eq!(late.problems, ["node 2 still thinks it is the primary, of epoch 6 before 7"]);
}

#[test]
fn nodes_that_differ_at_the_same_entry_are_found() {
    let wrong = Page { digest: "bb".to_owned(), ..own_page(2) };
    let view = view(vec![primary(vec![replica(2, "in sync", 0)]), wrong]);
    assert_eq!(view.problems, ["node 2 differs from the primary at entry 4812077"]);
}

#[test]
fn certificates_that_end_are_mentioned() {
    for (days, want) in [(3, "ends in 3 days"), (-1, "has expired")] {
        let page =
            Page { peer_certificate_seconds: Some(days * SECONDS_A_DAY), ..primary(Vec::new()) };
        let view = view(vec![page]);
        assert!(view.problems.iter().all(|line| line.contains(want)), "{:?}", view.problems);
        assert_eq!(view.problems.len(), 1);
    }
}

#[test]
fn without_an_answer_nothing_is_claimed() {
    let view = View::of(vec![("n1:7201".to_owned(), Err(anyhow::anyhow!("refused")))]);
    assert!(!view.is_healthy() && !view.is_serving());
    assert_eq!(
        view.text(false),
        "! n1:7201 does not answer: refused\n\
         How much more may fail is unknown: no primary answers.\n"
    );
}

#[test]
fn what_may_fail_depends_on_the_floor() {
    let level = |count: u64| (2..=count).map(|node| replica(node, "in sync", 0)).collect();
    for (floor, nodes, want) in
        [("local", 3, 0), ("quorum", 3, 1), ("quorum", 5, 2), ("all", 3, 0), ("ack(2)", 5, 1)]
    {
        let page = Page { floor: floor.to_owned(), ..primary(level(nodes)) };
        assert_eq!(can_lose(&page), Some(want), "{floor} of {nodes}");
    }
    let page = Page { floor: "region(2)".to_owned(), ..primary(level(4)) };
    assert_eq!(can_lose(&page), None);
}
