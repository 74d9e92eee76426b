//! The numbers that `docs/guarantees.md` gives for each policy are those that counting gives.

use antiphon_proto::{Config, Limits, Member, NodeId, Policy, Shape, ShardId};

const PAGE: &str = include_str!("../../../docs/guarantees.md");

/// The rows of the table behind a line, as their cells.
fn table(line: &str) -> Vec<Vec<&'static str>> {
    let (_, behind) = PAGE.split_once(line).expect("the line is on the page");
    let lines = behind.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[track_caller]
fn check(voters: u64, line: &str) {
    let members =
        (1..=voters).map(|node| Member { node: NodeId::new(node), region: String::new() });
    let config =
        Config::initial(ShardId::default(), members.collect(), Shape::Star, Policy::Quorum);
    let config = config.expect("a majority can be had");
    let rows = table(line);
    assert!(rows.len() >= 5, "{line} {rows:?}");
    for row in rows {
        let [policy, lossless, going_on, heard] = *row else { panic!("four cells: {row:?}") };
        let policy: Policy = policy.trim_matches('`').parse().expect("a policy");
        let rule = config.rule(policy).expect("a policy that can be met");
        let counted = rule.explain(config.voter_set());
        let said = [lossless, going_on, heard].map(|cell| Some(cell.parse().expect("a number")));
        assert_eq!([counted.lossless, counted.stall_free, counted.seal], said, "{policy}");
    }
}

#[test]
fn of_three_nodes() {
    check(3, "Of three nodes:");
}

#[test]
fn of_five_nodes() {
    check(5, "Of five nodes:");
}

#[test]
fn the_bounds_of_what_weaker_writes_can_lose() {
    let limits = Limits::default();
    let (mib, seconds) = (limits.guard_bytes >> 20, limits.guard_ms / 1_000);
    let said = format!("at most {mib} MiB and the oldest of them is at most {seconds} s old");
    assert!(PAGE.contains(&said), "{said}");
    assert!(PAGE.contains(&format!("one heartbeat ({} ms)", limits.heartbeat_ms)));
}
