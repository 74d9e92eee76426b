//! The four lines, the document and the table of one made-up run.

use super::*;
use crate::bench::limit::LimitedBy;

/// A report with simple figures.
pub(crate) fn example() -> Report {
    let latency = Latency {
        p50_us: 512.0,
        p99_us: 1_530.0,
        p999_us: 2_000_000.0,
        max_us: 2_500_000.0,
        mean_us: 600.0,
        count: 123_456,
    };
    Report {
        schema: SCHEMA.to_owned(),
        version: "0.1.0".to_owned(),
        started_at: "2026-01-02T03:04:05Z".to_owned(),
        addresses: vec!["127.0.0.1:6379".to_owned()],
        load: Load {
            clients: 50,
            pipeline: 16,
            threads: 1,
            key_bytes: 16,
            value_bytes: 100,
            keys: 100_000,
            read_share: 0.0,
            policy: Some("quorum".to_owned()),
            wait: Some(2),
            rate: None,
            verify: true,
        },
        seed: 1,
        seconds: 10.0,
        warmup_seconds: 5.0,
        operations: 1_234_560,
        throughput: 123_456.0,
        latency,
        reads: None,
        writes: Some(latency),
        empty_reads: 0,
        errors: BTreeMap::from([("NOREPLICAS".to_owned(), 3)]),
        unsent: 0,
        verified: 100_000,
        wrong: 1,
        complaints: vec!["key 7: acknowledged write 2 is missing".to_owned()],
        cpu: Used { client_seconds: 1.23456, servers: Vec::new(), machine_share: None },
        limit: Limit { by: LimitedBy::Waiting, because: "client 12 % busy".to_owned() },
    }
}

#[test]
fn the_four_lines_are_the_same_every_time() {
    let want = "\
SET of 100 B at 100000 keys of 16 B; 50 clients, pipeline 16; closed loop, 10.0 s
throughput  123,456 op/s
p50         512 us
p99         1.53 ms
p99.9       2.00 s, max 2.50 s
policy      quorum, WAIT 2 after each batch
limited by  waiting for answers, not CPU (client 12 % busy)
CPU per op  client 1.00 us
error       3 x NOREPLICAS
verified    100000 values, 1 wrong
wrong       key 7: acknowledged write 2 is missing
";
    assert_eq!(example().text(), want);
}

#[test]
fn the_document_reads_back() {
    let text = serde_json::to_string(&example()).expect("a report has a JSON form");
    assert_eq!(serde_json::from_str::<Report>(&text).expect("its own form"), example());
    assert!(text.starts_with("{\"schema\":\"antiphon.bench/1\""), "{text}");
}

#[test]
fn csv_has_a_figure_for_each_name() {
    let mut report = example();
    report.load.policy = Some("ack(2),\"x\"".to_owned());
    let csv = report.csv();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[1].contains("\"ack(2),\"\"x\"\"\""), "{csv}");
    assert_eq!(lines[0].split(',').count() + 1, lines[1].split(',').count(), "one quoted comma");
}

#[test]
fn numbers_are_grouped() {
    for (number, want) in [(0.4, "0"), (999.0, "999"), (1_000.0, "1,000"), (1e6, "1,000,000")] {
        assert_eq!(grouped(number), want);
    }
}
