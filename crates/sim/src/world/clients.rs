//! Clients, and the primary's part in answering them: executed at once, answered when due.

use antiphon_kv::{Command, Context, Db, Outcome as Executed, Pending};
use antiphon_proto::{Fate, Lsn, ProposeError, Token};
use bytes::BytesMut;

use super::{Due, US, World};
use crate::node::Waiting;
use crate::oracle::{Verdict, ensure};
use crate::plan::{CrashPoint, SHARD};
use crate::work::{Deed, Op, Outcome, Replies, Reply};

impl World {
    /// A client decides what to ask next.
    pub(super) fn think(&mut self, client: usize) {
        if self.healed_at.is_some() {
            return;
        }
        let Some(left) = self.asked.get_mut(client).filter(|left| **left > 0) else { return };
        *left -= 1;
        let number = self.ops.len();
        let mut op = Op::draw(&mut self.dice.work, &self.plan, client, number);
        self.in_session(&mut op);
        self.ask(op);
        if self.dice.work.chance(200) {
            self.ask_fate();
        }
    }

    /// Sends a command to the primary.
    pub(super) fn ask(&mut self, mut op: Op) {
        op.started = self.now;
        let number = self.ops.len();
        self.ops.push(op);
        let way = self.dice.work.range(10 * US, 300 * US);
        self.queue.push(self.now + way, Due::Arrive(number));
        let patience = self.plan.work.patience_us * US;
        self.queue.push(self.now + patience, Due::GiveUp(number));
        self.duplicate(number);
    }

    pub(super) fn think_later(&mut self, client: usize) {
        let wait = self.dice.work.heavy(self.plan.work.think_us * US);
        self.queue.push(self.now + wait, Due::Think(client));
    }

    pub(super) fn give_up(&mut self, number: usize) {
        let Some(op) = self.ops.get_mut(number) else { return };
        if op.ended.is_some() || matches!(op.outcome, Outcome::Refused | Outcome::Unknown) {
            return;
        }
        // An answer that is on its way comes too late.
        op.outcome = Outcome::Pending;
        self.mark("client gave up");
        self.unanswered(number);
    }

    pub(super) fn answer(&mut self, number: usize) {
        let now = self.now;
        let Some(op) = self.ops.get_mut(number) else { return };
        if op.ended.is_some() || matches!(op.outcome, Outcome::Unknown | Outcome::Pending) {
            return;
        }
        op.ended = Some(now);
        let client = op.client;
        self.opened(number);
        self.think_later(client);
    }

    fn refuse(&mut self, number: usize) {
        let Some(op) = self.ops.get_mut(number) else { return };
        if op.entry.is_some() {
            // An earlier attempt may have happened.
            self.unanswered(number);
        } else if op.outcome == Outcome::Pending {
            op.outcome = Outcome::Refused;
            let way = self.dice.work.range(10 * US, 300 * US);
            self.queue.push(self.now + way, Due::Answer(number));
        }
    }

    /// A command arrives at the primary.
    pub(super) fn arrive(&mut self, number: usize) -> Verdict {
        if let Some(when) = self.paused(0) {
            self.queue.push(when, Due::Arrive(number));
            return Ok(());
        }
        let Some(op) = self.ops.get(number).cloned() else { return Ok(()) };
        // A numbered write may come late, when its client has its answer or has given up.
        let late = op.ticket.is_some() && op.outcome != Outcome::Refused;
        if op.outcome != Outcome::Pending && !late {
            return Ok(());
        }
        self.expire_sessions(0);
        let now = self.now;
        let node = self.node_mut(0);
        let wall_ms = node.clock.wall_ms(now);
        let serving = node.process.as_ref().is_some_and(|p| p.replica.is_serving());
        if !serving {
            self.refuse(number);
            return Ok(());
        }
        if !self.is_new(0, number)? {
            return Ok(());
        }
        let Some(process) = self.node(0).process.as_ref() else { return Ok(()) };
        let mut pending = Pending::new();
        let (replies, dirty) = execute(&process.engine, &op, wall_ms, &mut pending);
        // What a numbered write answered is kept even when it changed nothing.
        let placed = if op.deed == Deed::Open {
            self.propose_opening(0).map(Some)
        } else if op.ticket.is_some() || !pending.is_empty() {
            let mut payload = BytesMut::new();
            pending.write(&mut payload);
            self.propose(0, number, (&payload, &replies)).map(Some)
        } else {
            Ok(None)
        };
        let entry = match placed {
            Ok(entry) => entry,
            Err(error) => {
                if error == ProposeError::Busy {
                    self.mark("busy");
                }
                self.refuse(number);
                return Ok(());
            }
        };
        self.executed(number, entry);
        if let Some(process) = self.node_mut(0).process.as_mut() {
            if let Some(id) = entry {
                process.engine.commit(id.lsn, &mut pending);
            }
            process.waiting.push(Waiting { op: number, entry, dirty, replies });
        }
        self.flush_soon(0);
        Ok(())
    }

    /// Notes where a command was executed.
    fn executed(&mut self, number: usize, entry: Option<antiphon_proto::EntryId>) {
        let Some(op) = self.ops.get_mut(number) else { return };
        let lost = std::mem::replace(&mut op.entry, entry).is_some();
        if matches!(op.outcome, Outcome::Done(_)) {
            // It was acknowledged below the floor; what it does now, nobody was told.
            op.outcome = Outcome::Unknown;
        }
        if lost {
            self.mark("executed again after a loss");
        }
    }

    /// Lets the turn end soon.
    pub(super) fn flush_soon(&mut self, at: usize) {
        let node = self.node_mut(at);
        let life = node.life;
        let Some(process) = node.process.as_mut() else { return };
        if !std::mem::replace(&mut process.flushing, true) {
            let turn = self.dice.work.below(50 * US);
            self.queue.push(self.now + turn, Due::Flush { at, life });
        }
    }

    /// The end of a turn: what was proposed goes to the log and to the children.
    pub(super) fn flush(&mut self, at: usize, life: u64) -> Verdict {
        if let Some(when) = self.paused(at) {
            self.queue.push(when, Due::Flush { at, life });
            return Ok(());
        }
        let Some(process) = self.alive(at, life) else { return Ok(()) };
        process.flushing = false;
        self.step(at, antiphon_proto::Event::Tick)
    }

    /// Sends the replies whose policy is reached and whose reads are stable.
    pub(super) fn release(&mut self, at: usize) -> Verdict {
        let node = self.nodes.get_mut(at).expect("a node of the plan");
        let life = node.life;
        let Some(process) = node.process.as_mut() else { return Ok(()) };
        if process.waiting.is_empty() || process.flushing {
            return Ok(());
        }
        #[cfg(feature = "mutations")]
        let (early, ungated) = crate::mutation::server(&self.plan);
        #[cfg(not(feature = "mutations"))]
        let (early, ungated) = (false, false);
        let (stable, mut ready, mut kept) = (process.replica.stable(), Vec::new(), Vec::new());
        for waiting in std::mem::take(&mut process.waiting) {
            let policy = self.ops.get(waiting.op).map(|op| op.policy);
            let reached = waiting.entry.is_none_or(|id| {
                early || policy.is_some_and(|policy| process.replica.reached(policy) >= id.lsn)
            });
            let clean = ungated || waiting.dirty <= stable;
            if reached && clean { ready.push(waiting) } else { kept.push(waiting) }
        }
        process.waiting = kept;
        for waiting in ready {
            if self.node(at).life != life || self.crash_if_armed(at, CrashPoint::Reply, true) {
                self.lose_reply(&waiting);
                continue;
            }
            self.reply(at, waiting)?;
            self.crash_if_armed(at, CrashPoint::Reply, false);
        }
        Ok(())
    }

    fn lose_reply(&mut self, waiting: &Waiting) {
        self.unanswered(waiting.op);
    }

    fn reply(&mut self, at: usize, waiting: Waiting) -> Verdict {
        let (number, entry) = (waiting.op, waiting.entry);
        let Some(policy) = self.ops.get(number).map(|op| op.policy) else { return Ok(()) };
        let stable = self.node(at).process.as_ref().map_or(Lsn::ZERO, |p| p.replica.stable());
        let weak = entry.is_some_and(|id| id.lsn > stable);
        if let Some(id) = entry {
            self.oracle.acked(id, policy, stable)?;
            if weak {
                self.mark("acknowledged below the floor");
                self.check_guard(at, stable)?;
            }
        }
        let Some(op) = self.ops.get_mut(number) else { return Ok(()) };
        op.weak = weak;
        if op.outcome == Outcome::Pending {
            op.outcome = Outcome::Done(waiting.replies.0);
        }
        let way = self.dice.work.range(10 * US, 300 * US);
        self.queue.push(self.now + way, Due::Answer(number));
        self.log(at, 12, || format!("answers command {number}, entry {entry:?}, at {policy}"));
        Ok(())
    }

    /// What may be lost of acknowledged writes is within the guard, in bytes and in age.
    fn check_guard(&mut self, at: usize, stable: Lsn) -> Verdict {
        let now = self.now;
        let node = self.node(at);
        let clock = node.clock.time(now).nanos();
        let Some(process) = node.process.as_ref() else { return Ok(()) };
        let bytes = self.oracle.bytes_between(stable, process.last);
        let guard = self.plan.knobs.guard_bytes as u64;
        ensure!(bytes <= guard, "I16 the guard bounds bytes", "{bytes} of {guard} bytes unstable");
        let oldest = process.appended_at.values().min().copied().unwrap_or(clock);
        let age_ms = clock.saturating_sub(oldest) / super::MS;
        let most = self.plan.knobs.guard_ms;
        ensure!(age_ms <= most, "I16 the guard bounds age", "{age_ms} of {most} ms unstable");
        Ok(())
    }

    /// Asks some node what became of some write.
    fn ask_fate(&mut self) {
        let (ops, nodes) = (self.ops.len(), self.nodes.len());
        let op = self.dice.work.place(ops);
        let at = self.dice.work.place(nodes);
        self.ask_fate_of(at, op);
    }

    /// Asks a node what became of the newest writes, as when it comes into another epoch.
    pub(super) fn ask_fates(&mut self, at: usize) {
        for op in self.ops.len().saturating_sub(20)..self.ops.len() {
            self.ask_fate_of(at, op);
        }
    }

    /// Keeps what a node says of a write.
    fn ask_fate_of(&mut self, at: usize, op: usize) {
        let Some(entry) = self.ops.get(op).and_then(|op| op.entry) else { return };
        let Some(process) = self.node(at).process.as_ref() else { return };
        match process.replica.fate(Token { shard: SHARD, entry }) {
            Fate::Stable => {
                self.mark("fate told: stable");
                self.fates.push((at, entry, true));
            }
            Fate::Lost => {
                self.mark("fate told: lost");
                self.fates.push((at, entry, false));
            }
            Fate::Pending => self.mark("fate told: pending"),
            Fate::Unknown => self.mark("fate told: unknown"),
        }
    }

    /// Reads at a replica rest on stable entries.
    pub(super) fn read_at(&mut self, at: usize, key: &str) -> Verdict {
        let Some(process) = self.node(at).process.as_ref() else { return Ok(()) };
        let applied = process.applied.lsn;
        let mut probe = Op::draw(&mut self.dice.work, &self.plan, 0, 0);
        probe.deed = Deed::Get;
        key.clone_into(&mut probe.key);
        let Some(process) = self.node(at).process.as_ref() else { return Ok(()) };
        let mut pending = Pending::new();
        let (replies, _dirty) = execute(&process.engine, &probe, 0, &mut pending);
        let Some(Reply::Bytes(value)) = replies.0.first() else { return Ok(()) };
        let writer = self.ops.iter().find(|op| op.value == *value && op.deed.writes());
        let entry = writer.and_then(|op| op.entry);
        let sound = entry.is_none_or(|id| id.lsn <= applied && self.oracle.is_applied(id.lsn, id));
        ensure!(sound, "replicas show stable entries", "n{} shows {entry:?}", at + 1);
        self.mark("read at a replica");
        Ok(())
    }
}

/// Runs the commands of one transaction; a transaction that fails has no effects.
fn execute(
    engine: &antiphon_kv::Engine,
    op: &Op,
    now_ms: u64,
    pending: &mut Pending,
) -> (Replies, Lsn) {
    let (mut replies, mut dirty) = (Replies::default(), Lsn::ZERO);
    let mut random = || 4;
    for words in op.commands() {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let name = words.first().copied().unwrap_or_default();
        let command = Command::find(name).expect("a command of the workload is known");
        let mut context =
            Context { db: Db::default(), now_ms, random: &mut random, pending: &mut *pending };
        let done: Executed = engine.execute(&mut context, command, &words, &mut replies);
        dirty = dirty.max(done.dirty);
    }
    (replies, dirty)
}
