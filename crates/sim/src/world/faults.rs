//! Faults, made to happen.

use antiphon_store::{Disk, Fault as DiskFault, Operation, SimDisk};

use super::{Due, MS, US, World};
use crate::node::Armed;
use crate::oracle::Verdict;
use crate::plan::Fault;
use crate::storage::{Truth, dir};

impl World {
    pub(super) fn inject(&mut self, index: usize) -> Verdict {
        let Some(timed) = self.plan.faults.get(index).cloned() else { return Ok(()) };
        if self.healed_at.is_some() {
            return Ok(());
        }
        let fault = timed.fault;
        self.log(0, 13, || format!("fault: {fault:?}"));
        if !matches!(fault, Fault::CrashAt { .. }) {
            *self.faults.entry(fault.class()).or_default() += 1;
        }
        match fault {
            Fault::Crash { node, down_us, power } => {
                if let Some(at) = self.running(node) {
                    self.crash(at, down_us, power);
                }
            }
            Fault::CrashAt { node, point, nth, before, down_us, power } => {
                if let Some(at) = self.existing(node) {
                    let armed = Armed { point, left: nth.max(1), before, down_us, power };
                    self.node_mut(at).armed.push(armed);
                }
            }
            Fault::Blackout { down_us } => self.blackout(down_us),
            Fault::Cut { .. }
            | Fault::Isolate { .. }
            | Fault::Stall { .. }
            | Fault::Slow { .. }
            | Fault::Flip { .. } => self.hurt_network(&fault),
            Fault::DiskStall { .. }
            | Fault::DiskSlow { .. }
            | Fault::SyncFails { .. }
            | Fault::WriteFails { .. }
            | Fault::ReadFails { .. }
            | Fault::Full { .. }
            | Fault::Rot { .. }
            | Fault::Wipe { .. } => self.hurt_disk(&fault),
            Fault::Pause { node, for_us } => {
                let until = self.now + for_us * US;
                if let Some(at) = self.running(node) {
                    let node = self.node_mut(at);
                    node.paused_until = node.paused_until.max(until);
                }
            }
            Fault::WallStep { node, ms, back } => {
                if let Some(at) = self.existing(node) {
                    self.node_mut(at).clock.step(ms, back);
                }
            }
            Fault::Snapshot { node } => {
                if let Some(at) = self.running(node) {
                    self.snapshot(at);
                }
            }
            Fault::GiveUp => (0..self.ops.len()).for_each(|op| self.give_up(op)),
        }
        Ok(())
    }

    fn existing(&self, node: u64) -> Option<usize> {
        let at = usize::try_from(node.checked_sub(1)?).ok()?;
        (at < self.nodes.len()).then_some(at)
    }

    fn running(&self, node: u64) -> Option<usize> {
        self.existing(node).filter(|at| self.node(*at).is_up())
    }

    fn blackout(&mut self, down_us: u64) {
        for at in 0..self.nodes.len() {
            if self.node(at).is_up() {
                let down = self.dice.node.range(50, down_us.max(50));
                self.crash(at, down, true);
            }
        }
    }

    fn hurt_network(&mut self, fault: &Fault) {
        let until = |for_us: u64, now: u64| now + for_us * US;
        match *fault {
            Fault::Cut { a, b, for_us } => self.cut(a, b, until(for_us, self.now)),
            Fault::Isolate { node, for_us } => {
                for peer in (1..=self.plan.nodes).filter(|peer| *peer != node) {
                    self.cut(node, peer, until(for_us, self.now));
                }
            }
            Fault::Stall { from, to, for_us } => {
                let until = until(for_us, self.now);
                self.on_way(from, to, |way| way.stalled_until = until);
            }
            Fault::Slow { from, to, extra_us, for_us } => {
                let until = until(for_us, self.now);
                self.on_way(from, to, |way| {
                    way.extra = extra_us * US;
                    way.extra_until = until;
                });
            }
            Fault::Flip { from, to, count } => self.on_way(from, to, |way| way.flips += count),
            Fault::Crash { .. }
            | Fault::CrashAt { .. }
            | Fault::Blackout { .. }
            | Fault::DiskStall { .. }
            | Fault::DiskSlow { .. }
            | Fault::SyncFails { .. }
            | Fault::WriteFails { .. }
            | Fault::ReadFails { .. }
            | Fault::Full { .. }
            | Fault::Pause { .. }
            | Fault::WallStep { .. }
            | Fault::Snapshot { .. }
            | Fault::Rot { .. }
            | Fault::Wipe { .. }
            | Fault::GiveUp => unreachable!("the network has no part in it"),
        }
    }

    fn cut(&mut self, a: u64, b: u64, until: u64) {
        let (Some(a), Some(b)) = (self.existing(a), self.existing(b)) else { return };
        if a != b {
            let link = self.link_mut(a, b);
            link.cut_until = link.cut_until.max(until);
            self.lose_link(a, b, self.now);
        }
    }

    fn on_way(&mut self, from: u64, to: u64, change: impl FnOnce(&mut crate::link::Way)) {
        let (Some(from), Some(to)) = (self.existing(from), self.existing(to)) else { return };
        if from != to {
            change(self.link_mut(from, to).way(from));
        }
    }

    fn hurt_disk(&mut self, fault: &Fault) {
        let now = self.now;
        let (Fault::DiskStall { node, .. }
        | Fault::DiskSlow { node, .. }
        | Fault::SyncFails { node }
        | Fault::WriteFails { node }
        | Fault::ReadFails { node }
        | Fault::Full { node, .. }
        | Fault::Rot { node, .. }
        | Fault::Wipe { node, .. }) = *fault
        else {
            unreachable!("the disk has no part in it")
        };
        let Some(at) = self.existing(node) else { return };
        let node = self.node_mut(at);
        match *fault {
            Fault::DiskStall { for_us, .. } => node.disk_free_at = now + for_us * US,
            Fault::DiskSlow { times, for_us, .. } => {
                node.slow_times = times;
                node.slow_until = now + for_us * US;
            }
            Fault::SyncFails { .. } => {
                node.media.ill = true;
                node.disk.fail(Operation::Sync, 1, DiskFault::Device);
            }
            Fault::WriteFails { .. } => {
                node.media.ill = true;
                node.disk.fail(Operation::Write, 1, DiskFault::Device);
            }
            Fault::ReadFails { .. } => node.read_fails = true,
            Fault::Full { for_us, .. } => {
                node.media.ill = true;
                node.disk.limit_bytes(Some(1));
                self.queue.push(now + for_us * US, Due::Refill(at));
            }
            Fault::Rot { at: seed, .. } => self.rot(at, seed),
            Fault::Wipe { down_us, .. } => self.wipe(at, down_us),
            Fault::Crash { .. }
            | Fault::CrashAt { .. }
            | Fault::Blackout { .. }
            | Fault::Cut { .. }
            | Fault::Isolate { .. }
            | Fault::Stall { .. }
            | Fault::Slow { .. }
            | Fault::Flip { .. }
            | Fault::Pause { .. }
            | Fault::WallStep { .. }
            | Fault::Snapshot { .. }
            | Fault::GiveUp => unreachable!("sorted out above"),
        }
    }

    /// Changes a byte of the log, and starts the node anew so that it is met.
    fn rot(&mut self, at: usize, seed: u64) {
        let log = dir().join("log");
        let node = self.node_mut(at);
        let files = node.disk.list(&log).unwrap_or_default();
        let segments: Vec<_> = files.iter().filter(|name| !name.contains("idx")).collect();
        let dice = usize::try_from(seed >> 8).unwrap_or(0);
        let Some(name) = segments.get(dice % segments.len().max(1)) else { return };
        let path = log.join(name);
        let used = node.disk.bytes(&path).unwrap_or_default();
        let end = used.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let offset = dice / 7 % end;
        // A damaged end of the log looks like a torn one, unless it is known to have been
        // durable; damage before another group does not.
        let inner = is_followed(&used, offset) && seed & 1 == 0;
        let noted = node.process.as_mut().is_some_and(|process| {
            let idle = process.storage.busy.is_empty() && process.wrote;
            idle && (inner || process.storage.note_end().is_empty())
        });
        if noted && node.disk.rot(&path, offset as u64, 1 << (seed >> 60 & 7)).is_ok() {
            node.media.hurt = true;
            self.crash(at, 1_000, false);
        }
    }

    /// Whether the floor survives the loss of this disk too. One that holds less than its node
    /// once acknowledged is lost as well, as far as acknowledged entries go.
    fn may_lose(&self, at: usize) -> bool {
        let lost = self.nodes.iter().enumerate().filter(|(other, node)| {
            *other == at || !node.truth.is_whole() || node.media.hurt || node.gone.is_some()
        });
        let lost = lost.fold(antiphon_proto::VoterSet::EMPTY, |set, (at, _)| set.with(at));
        let floor = self.config.rule(self.config.floor).expect("a checked floor");
        !floor.sat(lost)
    }

    /// The node comes back with another, empty disk.
    fn wipe(&mut self, at: usize, down_us: u64) {
        if !self.may_lose(at) {
            self.mark("one disk too many was spared");
            return;
        }
        if self.node(at).is_up() {
            self.crash(at, down_us, true);
        }
        let seed = self.dice.disk.next();
        let node = self.node_mut(at);
        node.disk = SimDisk::new(seed);
        node.truth = Truth::default();
        node.media.replaced = true;
        node.gone = None;
        node.told = antiphon_proto::Epoch::ZERO;
    }

    /// All faults end; what is down starts again.
    pub(super) fn heal(&mut self) {
        let now = self.now;
        self.healed_at = Some(now);
        self.log(0, 14, || "all faults end".to_owned());
        for at in 0..self.nodes.len() {
            let node = self.node_mut(at);
            node.armed.clear();
            node.disk_free_at = 0;
            node.slow_times = 1;
            node.read_fails = false;
            node.disk.limit_bytes(None);
            let (busy, life) = (node.is_up(), node.life);
            if busy {
                // What a slow disk works on is done soon, too.
                self.queue.push(now + MS, Due::Disk { at, life });
            }
            let node = self.node_mut(at);
            if !node.is_up() && node.gone.is_none() {
                node.booting = true;
                self.queue.push(now + MS, Due::Boot(at));
            }
        }
        for link in &mut self.links {
            link.cut_until = 0;
            link.ways.clear();
            // A dial that waits for the end of a cut comes too late.
            link.dialling = false;
        }
        for at in 0..self.nodes.len() {
            self.dial_all(at);
        }
        self.queue.push(now + 20 * MS, Due::Probe);
    }
}

/// Whether a group of entries begins behind the one at this offset of a segment. The segment's
/// header is written with the first group.
fn is_followed(segment: &[u8], offset: usize) -> bool {
    let sectors = segment.chunks(512).enumerate();
    let begins = sectors.filter(|(_, sector)| sector.get(4..6) == Some(b"AG"));
    let (before, behind): (Vec<_>, Vec<_>) =
        begins.map(|(at, _)| at * 512).partition(|at| *at <= offset);
    behind.len() > usize::from(before.is_empty())
}
