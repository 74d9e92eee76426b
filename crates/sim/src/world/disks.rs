//! Disks: a worker that takes operations in order and groups appends, reads, snapshots, trims.

use antiphon_kv::{Engine, Limits};
use antiphon_proto::{EntryId, Event, HardState, Load, Lsn, SESSIONS_MAX, Sessions};
use antiphon_store::{Completion, Op as DiskOp, StoreError};

use super::{Due, MS, US, World};
use crate::oracle::{Verdict, ensure};
use crate::plan::{CrashPoint, SHARD};
use crate::storage::{Storage, log_end};

impl World {
    /// Puts an operation behind those before it.
    pub(super) fn write(&mut self, at: usize, op: DiskOp) {
        if let Some(process) = self.node_mut(at).process.as_mut() {
            process.storage.queue.push_back(op);
        }
        self.kick(at);
    }

    /// Lets an idle disk begin with what waits.
    fn kick(&mut self, at: usize) {
        let group_bytes = self.plan.disk.group_bytes;
        let slower = if at == 0 { self.plan.disk.primary_slower } else { 1 };
        let usual = if self.healed_at.is_some() { 100 } else { self.plan.disk.sync_us * slower };
        let now = self.now;
        let node = self.node_mut(at);
        let times = if node.slow_until > now { node.slow_times } else { 1 };
        let (life, free_at) = (node.life, node.disk_free_at);
        let Some(process) = node.process.as_mut() else { return };
        if !process.storage.busy.is_empty() || !process.storage.begin(group_bytes) {
            return;
        }
        let took = self.dice.disk.heavy(usual * US).saturating_mul(times).min(5_000 * MS);
        self.queue.push(now.max(free_at) + took, Due::Disk { at, life });
    }

    pub(super) fn disk_done(&mut self, at: usize, life: u64) -> Verdict {
        if self.alive(at, life).is_none() {
            return Ok(());
        }
        let free_at = self.node(at).disk_free_at;
        if free_at > self.now {
            self.queue.push(free_at, Due::Disk { at, life });
            return Ok(());
        }
        if self.crash_if_armed(at, CrashPoint::Write, true) {
            return Ok(());
        }
        let Some(process) = self.alive(at, life) else { return Ok(()) };
        let (ops, done) = process.storage.finish();
        self.node_mut(at).truth.cut = cut_in(&ops);
        if self.crash_if_armed(at, CrashPoint::Synced, false) {
            return Ok(());
        }
        self.node_mut(at).truth.cut = None;
        let mut ops = ops.into_iter();
        for completion in done {
            let op = ops.next();
            if self.node(at).life != life {
                return Ok(());
            }
            self.completed(at, op, completion)?;
        }
        if self.node(at).life == life {
            self.kick(at);
        }
        Ok(())
    }

    fn completed(&mut self, at: usize, op: Option<DiskOp>, completion: Completion) -> Verdict {
        let id = self.node_id(at);
        if let Some(process) = self.node_mut(at).process.as_mut() {
            process.wrote = true;
        }
        match completion {
            Completion::Appended { durable, .. } => {
                if let Some(DiskOp::Append { batch, .. }) = op {
                    self.oracle.synced(id, &batch);
                }
                self.node_mut(at).truth.end = durable.id;
                self.tell(at, Event::Durable(durable.id))
            }
            Completion::HardSaved { ticket, .. } => {
                if let Some(DiskOp::Hard { state, .. }) = op {
                    let hard = HardState::decode(&state).ok();
                    let promised = hard.as_ref().map(|hard| hard.promised).unwrap_or_default();
                    let truth = &mut self.node_mut(at).truth;
                    truth.promised = promised;
                    truth.owed = hard.map(|hard| hard.owed);
                }
                self.tell(at, Event::Persisted(ticket))
            }
            Completion::Truncated { end, aside, .. } => {
                ensure!(
                    aside.is_some(),
                    "I10 what is cut is set aside",
                    "n{} to {}",
                    at + 1,
                    end.id
                );
                self.node_mut(at).truth.end = end.id;
                self.log_ends(at, end.id);
                self.tell(at, Event::Truncated(log_end(end)))
            }
            Completion::Trimmed { .. } => self.trimmed(at),
            Completion::Restarted { .. } => Ok(()),
            Completion::Failed(error) => {
                self.store_failed(at, &error);
                Ok(())
            }
        }
    }

    /// Hands a completion to the machine; to a paused process later.
    fn tell(&mut self, at: usize, event: Event) -> Verdict {
        self.step(at, event)
    }

    fn store_failed(&mut self, at: usize, error: &StoreError) {
        self.mark("store failed, node stopped");
        self.log(at, 11, || format!("store failed: {error}"));
        let down = self.dice.node.range(1_000, 100_000);
        let power = self.dice.node.chance(300);
        self.crash(at, down, power);
    }

    /// The process ends while the disk works: power loss stops it at any operation.
    pub(super) fn end_disk_work(&mut self, at: usize, mut storage: Storage, power: bool) {
        let cut = cut_in(&storage.busy);
        let node = self.nodes.get_mut(at).expect("a node of the plan");
        node.truth.cut = cut.or(node.truth.cut);
        if storage.busy.is_empty() {
            return;
        }
        if !power {
            // What was handed to the kernel before the end is written all the same.
            if self.dice.disk.chance(500) {
                drop(storage.finish());
            }
            return;
        }
        node.disk.record();
        drop(storage.finish());
        let copies = node.disk.take_recording();
        let index = self.dice.disk.place(copies.len() + 1);
        if let Some(copy) = copies.into_iter().nth(index) {
            node.disk = copy;
            self.mark("power lost within a write");
        }
    }

    pub(super) fn loaded(&mut self, at: usize, life: u64, load: Load) -> Verdict {
        if let Some(when) = self.paused(at) {
            self.queue.push(when, Due::Loaded { at, life, load });
            return Ok(());
        }
        let failing = std::mem::take(&mut self.node_mut(at).read_fails);
        let hurt = self.node(at).media.hurt;
        let Some(process) = self.alive(at, life) else { return Ok(()) };
        let read = process.storage.read(load.after, load.bytes_max);
        let batch = match read {
            _ if failing => {
                self.mark("read failed, node stopped");
                self.crash(at, 10_000, false);
                return Ok(());
            }
            Ok(batch) => batch,
            Err(StoreError::Trimmed { .. }) => None,
            Err(error) => {
                ensure!(hurt, "a log reads what it wrote", "n{}: {error}", at + 1);
                self.mark("damage met while reading");
                self.crash(at, 10_000, false);
                self.node_mut(at).gone = Some(error.to_string());
                return Ok(());
            }
        };
        self.step(at, Event::Loaded { load, batch })
    }

    /// Begins what a process does now and then.
    pub(super) fn keep_house(&mut self, at: usize) {
        let life = self.node(at).life;
        let hint = self.dice.node.heavy(self.plan.disk.hint_us * US);
        self.queue.push(self.now + hint, Due::Note { at, life });
        if self.plan.disk.snapshot_us > 0 {
            let wait = self.dice.node.heavy(self.plan.disk.snapshot_us * US);
            self.queue.push(self.now + wait, Due::Snapshot { at, life });
        }
    }

    pub(super) fn note_end(&mut self, at: usize, life: u64) -> Verdict {
        let wait = self.dice.node.heavy(self.plan.disk.hint_us * US);
        let Some(process) = self.alive(at, life) else { return Ok(()) };
        let done = process.storage.note_end();
        self.queue.push(self.now + wait, Due::Note { at, life });
        for completion in done {
            self.completed(at, None, completion)?;
        }
        Ok(())
    }

    pub(super) fn snapshot_due(&mut self, at: usize, life: u64) -> Verdict {
        if self.alive(at, life).is_none() {
            return Ok(());
        }
        let wait = self.dice.node.heavy(self.plan.disk.snapshot_us.max(1_000) * US);
        self.queue.push(self.now + wait, Due::Snapshot { at, life });
        self.snapshot(at);
        Ok(())
    }

    /// Writes a snapshot, and lets go of what all nodes hold and it covers.
    pub(super) fn snapshot(&mut self, at: usize) {
        let Some(process) = self.node(at).process.as_ref() else { return };
        if process.applied == EntryId::ZERO {
            return;
        }
        let saved = process.storage.save(process.applied.lsn, (&process.engine, &process.sessions));
        let oldest = process.storage.oldest_snapshot();
        if let Err(error) = saved {
            self.mark("snapshot failed, node stopped");
            self.log(at, 15, || format!("snapshot failed: {error}"));
            self.crash(at, 20_000, false);
            return;
        }
        self.mark("snapshot written");
        let shared = (0..self.nodes.len()).map(|peer| self.shared_upto(peer)).min();
        let lsn = oldest.min(shared.unwrap_or_default()).next();
        self.write(at, DiskOp::Trim { shard: SHARD, lsn, ticket: 0 });
    }

    /// How far a node's disk holds what is stable; it may need what follows from the others.
    fn shared_upto(&self, at: usize) -> Lsn {
        let log = self.oracle.log_to(self.node(at).truth.end);
        let shared = log.iter().rev().find(|(lsn, id)| self.oracle.is_applied(**lsn, **id));
        shared.map_or(Lsn::ZERO, |(lsn, _)| *lsn)
    }

    fn trimmed(&mut self, at: usize) -> Verdict {
        let Some(process) = self.node_mut(at).process.as_mut() else { return Ok(()) };
        let base = process.storage.base();
        if base.lsn <= process.trimmed {
            return Ok(());
        }
        process.trimmed = base.lsn;
        self.mark("log trimmed");
        self.step(at, Event::Trimmed(base))
    }

    /// The state that a process starts with: its newest snapshot.
    pub(super) fn restored(
        &mut self,
        at: usize,
        storage: &Storage,
        base: EntryId,
    ) -> Result<(Engine, Sessions, EntryId), crate::oracle::Violation> {
        let mut engine = Engine::new(7, Limits::default());
        let mut sessions = Sessions::new(SESSIONS_MAX);
        let restored = storage.restore((&mut engine, &mut sessions));
        let Ok(applied) = restored else {
            let what = format!("n{}: {restored:?}", at + 1);
            return Err(crate::oracle::Violation::new("a good snapshot is read", what));
        };
        ensure!(base.lsn <= applied.lsn, "a log reaches back to the state", "base {base}");
        if applied != EntryId::ZERO {
            self.mark("started from a snapshot");
            let digest = sessions.digest_with(engine.digest());
            self.oracle.restored(at, applied, digest)?;
        }
        Ok((engine, sessions, applied))
    }
}

/// To where one of these operations cuts the log.
fn cut_in(ops: &[DiskOp]) -> Option<Lsn> {
    ops.iter().find_map(|op| match op {
        DiskOp::Truncate { lsn, .. } => Some(*lsn),
        DiskOp::Append { .. }
        | DiskOp::Hard { .. }
        | DiskOp::Restart { .. }
        | DiskOp::Trim { .. } => None,
    })
}
