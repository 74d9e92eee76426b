//! Draws a plan from a seed.

use antiphon_proto::Policy;

use super::profile::Class;
use super::{CrashPoint, DiskPlan, Fault, Knobs, Net, Plan, Profile, Timed, Work};
use crate::rng::Rng;

/// How often each profile is drawn, in parts of their sum.
const SHARES: [(Profile, u64); 16] = [
    (Profile::Swarm, 20),
    (Profile::Elections, 16),
    (Profile::Points, 14),
    (Profile::Tiny, 8),
    (Profile::Partitions, 10),
    (Profile::Disks, 6),
    (Profile::Snapshots, 7),
    (Profile::Clocks, 5),
    (Profile::Blackouts, 5),
    (Profile::Weak, 4),
    (Profile::Forks, 6),
    (Profile::Chains, 3),
    (Profile::Wipes, 9),
    (Profile::Rot, 2),
    (Profile::Beyond, 1),
    (Profile::Calm, 1),
];

const POINTS: [CrashPoint; 10] = [
    CrashPoint::Effect,
    CrashPoint::Send,
    CrashPoint::Persist,
    CrashPoint::Append,
    CrashPoint::Truncate,
    CrashPoint::Apply,
    CrashPoint::Serve,
    CrashPoint::Reply,
    CrashPoint::Write,
    CrashPoint::Synced,
];

impl Plan {
    /// The plan of a seed; of a chosen profile, or of one that the seed draws too.
    #[must_use]
    pub fn draw(seed: u64, profile: Option<Profile>) -> Self {
        let mut rng = Rng::new(seed, 1);
        let drawn = draw_profile(&mut rng);
        let profile = profile.unwrap_or(drawn);
        let nodes = *rng.pick(&[1, 2, 3, 3, 3, 3, 3, 3, 4, 5]);
        let nodes = if needs_peers(profile) { nodes.max(3) } else { nodes };
        let nodes = if by_rounds(profile) { nodes.max(rng.range(4, 5)) } else { nodes };
        let until_us = rng.range(800_000, 3_000_000);
        let mut plan = Self {
            seed,
            profile,
            nodes,
            chain: (rng.chance(400) && profile != Profile::Forks) || profile == Profile::Chains,
            regions: rng.range(1, 3),
            floor: String::new(),
            knobs: knobs(&mut rng, profile),
            net: Net {
                delay_us: rng.log_range(30, 10_000),
                redial_us: rng.log_range(200, 100_000),
                queue_bytes: usize_of(rng.log_range(64 << 10, 4 << 20)),
            },
            disk: disk(&mut rng, profile),
            work: work(&mut rng, profile, until_us),
            faults: Vec::new(),
            until_us,
            mutation: None,
        };
        if by_rounds(profile) {
            for_rounds(&mut rng, &mut plan);
        }
        plan.floor = floor(&mut rng, &plan);
        for_sessions(&mut Rng::new(seed, 6), &mut plan.work);
        plan.faults = faults(&mut rng, &plan);
        plan
    }
}

/// Recoveries end before the next crash, clients keep writing, and the primary's disk is so slow
/// that the others acknowledge without it.
fn for_rounds(rng: &mut Rng, plan: &mut Plan) {
    plan.until_us = rng.range(600_000, 1_500_000);
    plan.net.redial_us = rng.range(200, 4_000);
    plan.net.delay_us = rng.range(30, 600);
    plan.knobs.retry_ms = 50;
    plan.knobs.unstable_bytes = 64 << 10;
    plan.disk.sync_us = rng.range(50, 400);
    plan.disk.primary_slower = rng.range(10, 60);
    plan.work.ops = 120;
    plan.work.think_us = plan.until_us / 150;
    plan.work.patience_us = rng.range(3_000, 20_000);
}

/// Some clients retry under numbers, with strides that bring old numbers to the window's edge.
fn for_sessions(rng: &mut Rng, work: &mut Work) {
    work.sessions = if rng.chance(450) { rng.range(300, 1_000) } else { 0 };
    work.stride = *rng.pick(&[1, 1, 1, 3, 64, 128, 255, 256]);
    work.ttl_ms = if rng.chance(600) { 60_000 } else { rng.log_range(20, 2_000) };
}

const fn by_rounds(profile: Profile) -> bool {
    matches!(profile, Profile::Forks | Profile::Chains)
}

fn needs_peers(profile: Profile) -> bool {
    !matches!(profile, Profile::Swarm | Profile::Disks | Profile::Calm | Profile::Snapshots)
}

fn draw_profile(rng: &mut Rng) -> Profile {
    let mut at = rng.below(SHARES.iter().map(|(_, share)| share).sum());
    for (profile, share) in SHARES {
        if at < share {
            return profile;
        }
        at -= share;
    }
    Profile::Swarm
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).expect("the simulator runs where sizes have 64 bits")
}

fn knobs(rng: &mut Rng, profile: Profile) -> Knobs {
    let small = profile == Profile::Tiny || rng.chance(250);
    let top = if small { 1 << 10 } else { 64 << 10 };
    Knobs {
        unstable_bytes: usize_of(rng.log_range(1 << 10, 16 * top)),
        window_bytes: usize_of(rng.log_range(128, top)),
        tail_bytes: if rng.chance(250) { 0 } else { usize_of(rng.log_range(128, top)) },
        batch_bytes: usize_of(rng.log_range(128, top)),
        heartbeat_ms: rng.range(10, 100),
        retry_ms: rng.range(50, 500),
        guard_bytes: usize_of(rng.log_range(256, 4 * top)),
        guard_ms: rng.log_range(5, 4_000),
        stable_ms: rng.range(0, 4),
    }
}

fn disk(rng: &mut Rng, profile: Profile) -> DiskPlan {
    let whole =
        matches!(profile, Profile::Wipes | Profile::Rot | Profile::Beyond | Profile::Chains);
    let snapshots = profile == Profile::Snapshots || (rng.chance(200) && !whole);
    let slow_primary =
        matches!(profile, Profile::Elections | Profile::Forks | Profile::Wipes) || rng.chance(250);
    DiskPlan {
        sync_us: rng.log_range(20, 8_000),
        primary_slower: if slow_primary { rng.range(2, 30) } else { 1 },
        group_bytes: usize_of(rng.log_range(256, 64 << 10)),
        snapshot_us: if snapshots { rng.range(50_000, 500_000) } else { 0 },
        hint_us: rng.range(20_000, 400_000),
        segment_bytes: rng.log_range(8 << 10, 64 << 10),
    }
}

fn work(rng: &mut Rng, profile: Profile, until_us: u64) -> Work {
    let clients = rng.range(2, 6);
    let ops = rng.range(20, 60);
    Work {
        clients,
        ops,
        think_us: (until_us / ops).max(1_000),
        keys: rng.range(1, 3),
        value_bytes: rng.log_range(8, 400),
        reads: if profile == Profile::Weak { 150 } else { rng.range(100, 500) },
        patience_us: rng.log_range(20_000, 1_000_000),
        sessions: 0,
        stride: 1,
        ttl_ms: 0,
    }
}

fn floor(rng: &mut Rng, plan: &Plan) -> String {
    let most = plan.nodes;
    let majority = most / 2 + 1;
    // One disk may be gone for ever: the floor must survive that.
    let rots = plan.profile == Profile::Rot;
    if plan.profile == Profile::Forks {
        // So that the primary's disk is not needed, and its tail may be lost.
        return rng.pick(&["ack(2)", "quorum", "quorum", "ack(3)"]).to_string();
    }
    if plan.profile == Profile::Chains {
        return if plan.nodes == 4 { "ack(2)" } else { "quorum" }.to_owned();
    }
    match if rots { rng.below(6) } else { rng.below(14) } {
        0..=3 => Policy::Quorum.to_string(),
        4..=5 => format!("ack({majority})"),
        6..=8 => format!("ack({})", rng.range(1, most)),
        9 => Policy::All.to_string(),
        10 => format!("prefix({})", rng.range(1, most)),
        11 => format!("region({})", rng.range(1, plan.regions.min(most))),
        12 => Policy::Local.to_string(),
        _ => format!("ack({})", most.min(2)),
    }
}

/// Rounds in which some replicas are cut off and the primary crashes, again while it recovers:
/// logs branch, and later recoveries hear of other branches than earlier ones.
fn forks(rng: &mut Rng, plan: &Plan) -> Vec<Timed> {
    let mut faults = Vec::new();
    let sync_us = plan.disk.sync_us * plan.disk.primary_slower;
    let mut at_us = rng.range(60_000, 120_000);
    while at_us < plan.until_us {
        for node in 2..=plan.nodes {
            if rng.chance(500) {
                let from = at_us.saturating_sub(rng.range(0, 5 * sync_us));
                let for_us = rng.range(10_000, 20_000 + 8 * sync_us);
                faults.push(Timed { at_us: from, fault: Fault::Isolate { node, for_us } });
            }
        }
        let down_us = rng.log_range(50, 5_000);
        faults.push(Timed { at_us, fault: Fault::Crash { node: 1, down_us, power: true } });
        if rng.chance(400) {
            let point = *rng.pick(&[CrashPoint::Write, CrashPoint::Append, CrashPoint::Send]);
            let (nth, before) = (rng.range(1, 6), point == CrashPoint::Write);
            let down_us = rng.log_range(50, 5_000);
            let fault = Fault::CrashAt { node: 1, point, nth, before, down_us, power: true };
            faults.push(Timed { at_us: at_us + 1, fault });
        }
        at_us += rng.range(10_000, 30_000 + 8 * sync_us);
    }
    faults.sort_by_key(|timed| timed.at_us);
    faults
}

/// Rounds in which the last members of a chain acknowledge what the first two have only in memory.
/// Then the third gets a new disk and the second starts anew without a link to the primary, which
/// starts anew in turn while the last ones are cut off.
fn chains(rng: &mut Rng, plan: &Plan) -> Vec<Timed> {
    let mut faults = Vec::new();
    let sync_us = plan.disk.sync_us * plan.disk.primary_slower;
    let mut at_us = rng.range(60_000, 120_000);
    while at_us < plan.until_us {
        let mut then = |after_us, fault| faults.push(Timed { at_us: at_us + after_us, fault });
        let (slow_us, cut_us) = (rng.range(20_000, 60_000), rng.range(3_000, 30_000));
        then(0, Fault::DiskSlow { node: 2, times: rng.range(20, 200), for_us: slow_us });
        let wiped_us = slow_us - rng.range(0, 10_000);
        then(wiped_us, Fault::Cut { a: 1, b: 2, for_us: cut_us });
        let down_us = rng.log_range(50, 2_000);
        then(wiped_us + 1, Fault::Crash { node: 2, down_us, power: true });
        let down_us = rng.log_range(50, 2_000);
        then(wiped_us + 2, Fault::Wipe { node: 3, down_us });
        let ends_us = wiped_us + rng.range(cut_us / 2, cut_us + 3_000);
        for node in 4..=plan.nodes {
            let for_us = rng.range(20_000, 60_000 + sync_us);
            then(ends_us.saturating_sub(rng.range(0, 2_000)), Fault::Isolate { node, for_us });
        }
        let down_us = rng.log_range(50, 5_000);
        then(ends_us, Fault::Crash { node: 1, down_us, power: true });
        at_us += ends_us + rng.range(60_000, 200_000);
    }
    faults.sort_by_key(|timed| timed.at_us);
    faults
}

fn faults(rng: &mut Rng, plan: &Plan) -> Vec<Timed> {
    if plan.profile == Profile::Forks {
        return forks(rng, plan);
    }
    if plan.profile == Profile::Chains {
        return chains(rng, plan);
    }
    let (classes, most) = plan.profile.classes();
    let mut faults = Vec::new();
    for class in classes {
        if rng.chance(300) && plan.profile == Profile::Swarm {
            continue;
        }
        let count = if *class == Class::Rot { 1 } else { rng.log_range(1, most) };
        for _ in 0..count {
            let at_us = rng.range(plan.until_us / 20, plan.until_us - plan.until_us / 20);
            faults.push(Timed { at_us, fault: fault(rng, plan, *class) });
        }
    }
    faults.sort_by_key(|timed| timed.at_us);
    faults
}

fn fault(rng: &mut Rng, plan: &Plan, class: Class) -> Fault {
    let node = rng.range(1, plan.nodes);
    let other = (node + rng.range(0, plan.nodes.saturating_sub(2))) % plan.nodes + 1;
    let down_us = rng.log_range(50, 400_000);
    let for_us = rng.log_range(1_000, 600_000);
    match class {
        Class::Kill => Fault::Crash { node, down_us, power: false },
        Class::Power => Fault::Crash { node, down_us, power: true },
        Class::PrimaryPower => Fault::Crash { node: 1, down_us, power: rng.chance(800) },
        Class::Point => Fault::CrashAt {
            node: if rng.chance(500) { 1 } else { node },
            point: *rng.pick(&POINTS),
            nth: rng.log_range(1, 40),
            before: rng.chance(500),
            down_us: rng.log_range(50, 100_000),
            power: rng.chance(700),
        },
        Class::Blackout => Fault::Blackout { down_us },
        Class::Cut => Fault::Cut { a: node, b: other, for_us },
        Class::Isolate => Fault::Isolate { node, for_us },
        Class::Stall => Fault::Stall { from: node, to: other, for_us },
        Class::Slow => {
            let extra_us = rng.log_range(500, 100_000);
            Fault::Slow { from: node, to: other, extra_us, for_us }
        }
        Class::Flip => Fault::Flip { from: node, to: other, count: rng.range(1, 5) },
        Class::DiskStall => Fault::DiskStall { node, for_us },
        Class::DiskSlow => {
            Fault::DiskSlow { node, times: rng.log_range(2, 200), for_us: for_us * 2 }
        }
        Class::DiskFails => match rng.below(3) {
            0 => Fault::SyncFails { node },
            1 => Fault::WriteFails { node },
            _ => Fault::ReadFails { node },
        },
        Class::Full => Fault::Full { node, for_us },
        Class::Pause => Fault::Pause { node, for_us },
        Class::WallStep => {
            Fault::WallStep { node, ms: rng.log_range(1, 86_400_000), back: rng.chance(500) }
        }
        Class::Snapshot => Fault::Snapshot { node },
        Class::GiveUp => Fault::GiveUp,
        Class::Wipe => Fault::Wipe { node, down_us },
        Class::Rots => Fault::Rot { node, at: rng.next() },
        Class::Rot => Fault::Rot { node: rng.range(2, plan.nodes), at: rng.next() },
    }
}
