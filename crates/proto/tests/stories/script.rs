//! The language of the stories: each line holds commands, `;` between them.
//!
//! A line that begins with `#` explains, one that begins with `>` tells what happened and is
//! written by the machine. `quietly` before a line hides what happened.

use std::collections::BTreeMap;

use antiphon_proto::{
    Config, Limits, Lsn, Member, MessageLane, NodeId, Policy, Shape, ShardId, Token,
};

use super::cluster::Cluster;
use super::disk::Pace;

/// Runs a story; returns it with what happened written anew behind each line.
pub(crate) fn run(story: &str) -> String {
    let mut limits = Limits::default();
    let mut cluster: Option<Cluster> = None;
    let mut out = Vec::new();
    for line in story.lines().filter(|line| !line.starts_with('>')) {
        out.push(line.to_owned());
        if line.starts_with('#') {
            continue;
        }
        let (quiet, commands) = match line.strip_prefix("quietly ") {
            Some(commands) => (true, commands),
            None => (false, line),
        };
        for command in commands.split(';').map(str::trim).filter(|command| !command.is_empty()) {
            let words: Vec<_> = command.split_whitespace().collect();
            match words.as_slice() {
                ["limits", pairs @ ..] => set_limits(&mut limits, pairs),
                ["nodes", count, rest @ ..] => cluster = Some(form(count, rest, limits)),
                words => obey(cluster.as_mut().expect("a story begins with `nodes`"), words),
            }
            let said = cluster.as_mut().map(Cluster::take_lines).unwrap_or_default();
            if !quiet {
                out.extend(said.iter().map(|line| format!("> {line}")));
            }
        }
    }
    out.join("\n") + "\n"
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("the story needs a number instead of {word:?}"))
}

fn set_limits(limits: &mut Limits, pairs: &[&str]) {
    for pair in pairs.chunks(2) {
        match pair {
            ["window", bytes] => limits.window_bytes = number(bytes),
            ["tail", bytes] => limits.tail_bytes = number(bytes),
            ["batch", bytes] => limits.batch_bytes = number(bytes),
            ["unstable", bytes] => limits.unstable_bytes = number(bytes),
            ["guard", bytes] => limits.guard_bytes = number(bytes),
            ["guard_ms", ms] => limits.guard_ms = number(ms),
            other => panic!("no such limit: {other:?}"),
        }
    }
}

/// `nodes 3 star floor quorum`, `nodes 4 tree 2:1 3:1 4:2 floor all`, `nodes 4 star floor
/// region(2) regions a a b b`; `nodes 3 star learners 2 fan 1 floor quorum` draws two more nodes
/// below that only receive.
fn form(count: &str, rest: &[&str], limits: Limits) -> Cluster {
    let count: u64 = number(count);
    let (shape, rest) = rest.split_first().expect("a shape follows the number of nodes");
    let split = rest.iter().position(|word| *word == "floor").expect("a floor follows the shape");
    let (pairs, floor) = rest.split_at(split);
    let (pairs, learners) = match pairs.iter().position(|word| *word == "learners") {
        Some(at) => pairs.split_at(at),
        None => (pairs, [].as_slice()),
    };
    let regions: BTreeMap<_, _> = (1..).zip(floor.iter().skip(3)).collect();
    let member = |id: u64| Member {
        node: NodeId::new(id),
        region: regions.get(&id).map(|name| (**name).to_owned()).unwrap_or_default(),
    };
    let floor = floor.get(1).and_then(|word| word.parse().ok()).expect("a floor is a policy");
    let voters = (1..=count).map(member).collect();
    let drawn = if *shape == "chain" { Shape::Chain } else { Shape::Star };
    let mut config = Config::initial(ShardId::new(0), voters, drawn, floor).expect("a cluster");
    if let ["learners", more, "fan", fan_out] = learners {
        let more: u64 = number(more);
        let more: Vec<_> = (1..=more).map(|id| (NodeId::new(count + id), None)).collect();
        config = config.with_learners(&more, number(fan_out)).expect("there is room");
    }
    for pair in pairs {
        let (child, parent) = pair.split_once(':').expect("a tree is drawn as child:parent");
        config.parents.insert(NodeId::new(number(child)), NodeId::new(number(parent)));
    }
    config.check().expect("a sound tree");
    Cluster::new(config, limits)
}

fn obey(cluster: &mut Cluster, words: &[&str]) {
    match words {
        ["start", "all"] => start(cluster, &cluster.ids()),
        ["start" | "restart", nodes @ ..] => start(cluster, &ids(nodes)),
        ["crash", nodes @ ..] => ids(nodes).iter().for_each(|id| cluster.crash(*id, 0)),
        ["lose", id, count] => {
            cluster.disk(number(id)).lose(number(count));
            cluster.checks.damaged = true;
        }
        ["wipe", id] => cluster.wipe(number(id)),
        ["forge", id, payload] => {
            cluster.disk(number(id)).forge(payload);
            cluster.checks.damaged = true;
        }
        ["unreadable", id] => cluster.unreadable(number(id), true),
        ["readable", id] => cluster.unreadable(number(id), false),
        ["trim", id, to] => cluster.trim(number(id), Lsn::new(number(to))),
        ["hold" | "release" | "sync", rest @ ..] => obey_pace(cluster, words, rest),
        ["cut", a, b] => cluster.cut(number(a), number(b)),
        ["heal"] => heal(cluster),
        ["propose", id, payloads @ ..] => {
            // The refusal, if any, is in the story.
            cluster.propose(number(id), payloads).unwrap_or_default();
        }
        ["settle"] => cluster.settle(),
        ["tick", ms] => cluster.tick(number(ms)),
        ["status"] => cluster.status(),
        ["reached", id, policy] => cluster.reached(number(id), policy_of(policy)),
        ["fate", id, token] => cluster.fate(number(id), token.parse::<Token>().expect("a token")),
        other => panic!("no such command: {other:?}"),
    }
}

fn obey_pace(cluster: &mut Cluster, words: &[&str], rest: &[&str]) {
    let (log_lane, bulk_lane) = ([MessageLane::Log], [MessageLane::Bulk]);
    let all_lanes = [MessageLane::Control, MessageLane::Log, MessageLane::Bulk];
    match (words.first().copied().unwrap_or_default(), rest) {
        ("hold", ["disk", id]) => cluster.set_pace(number(id), Pace::Held),
        ("hold", ["log", id]) => cluster.set_pace(number(id), Pace::LogHeld),
        ("hold", [a, b]) => cluster.hold((number(a), number(b)), &all_lanes),
        ("hold", [a, b, "log"]) => cluster.hold((number(a), number(b)), &log_lane),
        ("hold", [a, b, "bulk"]) => cluster.hold((number(a), number(b)), &bulk_lane),
        ("release", ["disk" | "log", id]) => cluster.set_pace(number(id), Pace::Instant),
        ("release", [a, b]) => cluster.hold((number(a), number(b)), &[]),
        ("sync", [id]) => {
            let waiting = cluster.disk(number(id)).waiting();
            cluster.sync(number(id), Some(waiting));
        }
        other => panic!("no such command: {other:?}"),
    }
}

fn policy_of(word: &str) -> Policy {
    word.parse().expect("a policy")
}

fn ids(words: &[&str]) -> Vec<u64> {
    words.iter().map(|word| number(word)).collect()
}

fn start(cluster: &mut Cluster, ids: &[u64]) {
    for id in ids {
        cluster.start(*id);
    }
    for id in ids {
        for other in cluster.ids() {
            cluster.connect(*id, other);
        }
    }
}

pub(crate) fn heal(cluster: &mut Cluster) {
    for a in cluster.ids() {
        for b in cluster.ids() {
            cluster.connect(a, b);
        }
    }
}
