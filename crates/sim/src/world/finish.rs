//! The end of a run: after healing, progress is owed; then the whole history is judged.

use antiphon_proto::{Lsn, RoleStatus};

use super::{Due, MS, World};
use crate::linear;
use crate::oracle::{Verdict, Violation, ensure};
use crate::work::{Deed, Op, Outcome};

/// Simulated time after healing within which a write must be stable everywhere.
const PROGRESS_WITHIN: u64 = 5_000 * MS;

impl World {
    /// Looks whether the healed cluster has come through with a write.
    pub(super) fn probe(&mut self) -> Verdict {
        let healed_at = self.healed_at.unwrap_or(self.now);
        if !self.can_progress() {
            self.mark("too few nodes are left");
            self.over = true;
            return Ok(());
        }
        let keys: Vec<_> = (1..self.nodes.len()).map(|at| (at, format!("r{}", at % 2))).collect();
        for (at, key) in keys {
            self.read_at(at, &key)?;
        }
        self.ask_probe();
        if self.has_progressed() {
            self.over = true;
            return Ok(());
        }
        if self.now > healed_at + PROGRESS_WITHIN {
            let nodes: Vec<_> = (0..self.nodes.len()).map(|at| self.describe(at)).collect();
            let what = format!("no progress in 5 s after healing:\n{}", nodes.join("\n"));
            return Err(Violation::new("a healed cluster progresses", what));
        }
        self.queue.push(self.now + 20 * MS, Due::Probe);
        Ok(())
    }

    /// Whether those that can start again satisfy the floor, and hold what a primary needs.
    fn can_progress(&self) -> bool {
        let left = self.nodes.iter().enumerate().filter(|(_, node)| node.gone.is_none());
        let left = left.fold(antiphon_proto::VoterSet::EMPTY, |set, (at, _)| set.with(at));
        let rule = self.config.rule(self.config.floor).expect("a checked floor");
        let lost = self.config.voter_set().without(left);
        // A chain does not reach those behind a node that is gone.
        let broken = self.plan.chain && !lost.is_empty();
        let hurt = self.nodes.iter().any(|node| node.media.hurt);
        let counted = left.places().filter(|at| !self.node(*at).media.hurt);
        let counted = counted.fold(antiphon_proto::VoterSet::EMPTY, |set, at| set.with(at));
        let seals = !hurt || rule.safe(self.config.voter_set(), counted);
        rule.sat(left) && !broken && seals && self.node(0).gone.is_none()
    }

    fn ask_probe(&mut self) {
        let serving = self.node(0).process.as_ref().is_some_and(|p| p.replica.is_serving());
        let outcome = self.probe.and_then(|op| self.ops.get(op)).map(|op| op.outcome.clone());
        let again = matches!(outcome, None | Some(Outcome::Refused | Outcome::Unknown));
        if !serving || !again {
            return;
        }
        let number = self.ops.len();
        let mut op = Op::draw(&mut self.dice.work, &self.plan, usize::MAX, number);
        op.deed = Deed::Set;
        "r0".clone_into(&mut op.key);
        op.policy = self.config.floor;
        op.started = self.now;
        self.ops.push(op);
        self.probe = Some(number);
        self.queue.push(self.now, Due::Arrive(number));
    }

    fn has_progressed(&self) -> bool {
        let op = self.probe.and_then(|op| self.ops.get(op));
        let Some(entry) = op.filter(|op| op.ended.is_some()).and_then(|op| op.entry) else {
            return false;
        };
        let left = self.nodes.iter().filter(|node| node.gone.is_none());
        let mut applied =
            left.map(|node| node.process.as_ref().map_or(Lsn::ZERO, |p| p.applied.lsn));
        applied.all(|lsn| lsn >= entry.lsn)
    }

    /// Judges the whole history.
    pub(super) fn last_checks(&mut self) -> Verdict {
        let Some(process) = self.node(0).process.as_ref().filter(|_| self.probe.is_some()) else {
            return Ok(());
        };
        let log = self.oracle.log_to(process.last);
        self.oracle.ended(&log, self.plan.knobs.guard_bytes as u64)?;
        if self.oracle.weak_losses(&log) > 0 {
            self.mark("writes below the floor were lost");
        }
        for (at, entry, stable) in &self.fates {
            let held = log.get(&entry.lsn) == Some(entry);
            ensure!(
                held == *stable,
                "fates are told truly",
                "n{} said that {entry} is {}",
                at + 1,
                if *stable { "stable" } else { "lost" }
            );
        }
        linear::check(&self.ops, &log)
    }

    /// One line that tells where a node stands.
    pub(super) fn describe(&self, at: usize) -> String {
        let node = self.node(at);
        let name = at + 1;
        let Some(process) = node.process.as_ref() else {
            let why = node.gone.as_deref().unwrap_or("down");
            return format!("n{name} {why}");
        };
        let status = process.replica.status();
        let role = match status.role {
            RoleStatus::Follower { synced } => format!("follower synced={synced}"),
            RoleStatus::Recovering { epoch, needs_snapshot } => {
                format!("recovering e{epoch} needs_snapshot={needs_snapshot}")
            }
            RoleStatus::Primary { serving } => format!("primary serving={serving}"),
            RoleStatus::Halted => "halted".to_owned(),
        };
        let children = status
            .children
            .iter()
            .map(|child| format!("{}:{:?}@{}", child.node, child.state, child.positions.durable));
        let children: Vec<_> = children.collect();
        format!(
            "n{name} {role} config e{} promised {} log {}..{} durable {} stable {} applied {} \
             amnesiac={} links {:?} disk {}+{} waiting {} children {children:?}",
            status.config.epoch,
            status.promised,
            status.base,
            status.last,
            status.durable,
            status.stable,
            status.applied,
            status.amnesiac,
            process.links,
            process.storage.queue.len(),
            process.storage.busy.len(),
            process.waiting.len(),
        )
    }
}
