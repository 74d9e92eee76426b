//! Processes: started from the disk alone, stepped, their effects performed in order, ended.

use std::collections::BTreeMap;

use antiphon_proto::{
    Batch, Effect, EntryId, Event, Identity, Kind, Lsn, Message, NodeId, Recovered, Replica,
};
use antiphon_store::Op as DiskOp;

use super::{Due, MS, US, World, fresh_store};
use crate::node::Process;
use crate::oracle::{Verdict, Violation, ensure};
use crate::plan::{CrashPoint, SHARD};
use crate::storage::{Found, OpenError, Storage};

impl World {
    pub(super) fn boot(&mut self, at: usize) -> Verdict {
        let plan = self.plan.clone();
        let node = self.node_mut(at);
        node.booting = false;
        if node.is_up() || node.gone.is_some() {
            return Ok(());
        }
        match Storage::open(&node.disk, node.id, fresh_store(node, plan.seed), &plan) {
            Ok((storage, found)) => {
                self.check_found(at, &found)?;
                self.begin(at, storage, found)
            }
            Err(error) => self.boot_failed(at, &error),
        }
    }

    fn begin(&mut self, at: usize, storage: Storage, found: Found) -> Verdict {
        let me =
            Identity { node: self.node(at).id, incarnation: found.incarnation, store: found.store };
        let (end, base) = (found.log.end.last, found.log.base);
        let promised = found.hard.as_ref().map(|hard| hard.promised).unwrap_or_default();
        let owed = found.hard.as_ref().map(|hard| hard.owed);
        #[cfg_attr(not(feature = "mutations"), expect(unused_mut, reason = "planted into"))]
        let (engine, mut sessions, applied) = self.restored(at, &storage, base)?;
        // A log that lacks what was noted as durable: how much more it had, the note can't tell.
        let acknowledged = if found.amnesia { Lsn::MAX } else { Lsn::ZERO };
        let recovered =
            Recovered { hard: found.hard, log: found.log, applied: applied.lsn, acknowledged };
        let limits = self.plan.knobs.limits();
        #[cfg_attr(not(feature = "mutations"), expect(unused_mut, reason = "planted into"))]
        let mut replica = Replica::new(me, self.config.clone(), recovered, limits);
        #[cfg(feature = "mutations")]
        crate::mutation::core(&self.plan, &mut replica, &mut sessions);
        self.oracle.reopened(me.node, end);
        let stable = replica.stable();
        let node = self.node_mut(at);
        node.life += 1;
        node.stores += u64::from(found.created);
        node.truth.end = end;
        node.truth.promised = promised;
        node.truth.owed = owed.map(|owed| owed.max(acknowledged));
        node.truth.cut = None;
        node.process = Some(Process {
            replica,
            engine,
            sessions,
            storage,
            links: BTreeMap::new(),
            waiting: Vec::new(),
            flushing: false,
            wrote: false,
            wake_at: u64::MAX,
            idle_ticks: 0,
            last: end,
            applied,
            stable,
            trimmed: base.lsn,
            epoch: antiphon_proto::Epoch::ZERO,
            appended_at: BTreeMap::new(),
        });
        self.log(at, 4, || format!("starts with a log to {end}, applied {applied}"));
        self.keep_house(at);
        self.dial_all(at);
        self.step(at, Event::Start)
    }

    fn boot_failed(&mut self, at: usize, error: &OpenError) -> Verdict {
        self.log(at, 5, || format!("can't start: {error}"));
        let again = self.now + 20 * MS;
        let node = self.node_mut(at);
        if node.media.ill {
            // The operator makes room or replaces a cable, and starts the node again.
            node.booting = true;
            self.queue.push(again, Due::Boot(at));
            return Ok(());
        }
        ensure!(node.media.hurt, "a store opens what it wrote", "n{}: {error}", at + 1);
        node.gone = Some(error.to_string());
        self.mark("damaged log refused");
        Ok(())
    }

    /// Gives the machine an event and performs what it answers.
    pub(super) fn step(&mut self, at: usize, event: Event) -> Verdict {
        let now = self.now;
        let node = self.node_mut(at);
        let (time, life) = (node.clock.time(now), node.life);
        let Some(process) = node.process.as_mut() else { return Ok(()) };
        let effects = process.replica.step(time, event);
        for effect in effects {
            let point = point_of(&effect);
            if self.crash_if_armed(at, point, true) {
                return Ok(());
            }
            self.perform(at, effect)?;
            if self.node(at).life != life || self.crash_if_armed(at, point, false) {
                return Ok(());
            }
        }
        self.after_step(at)
    }

    fn perform(&mut self, at: usize, effect: Effect) -> Verdict {
        match effect {
            Effect::Persist { ticket, hard } => {
                self.write(at, DiskOp::Hard { shard: SHARD, state: hard, ticket });
            }
            Effect::Truncate(lsn) => {
                self.mark("log cut");
                self.log(at, 6, || format!("cuts its log behind {lsn}"));
                self.write(at, DiskOp::Truncate { shard: SHARD, lsn, ticket: 0 });
            }
            Effect::Append(batch) => return self.append(at, batch),
            Effect::Send { to, envelope } => {
                self.check_send(at, &envelope)?;
                if let Some(to) = self.place(to) {
                    self.mark_message(&envelope.message);
                    self.send(at, to, &envelope);
                }
            }
            Effect::Load(load) => {
                self.mark_load(load.purpose);
                let wait = self.dice.disk.heavy(60 * US);
                let life = self.node(at).life;
                self.queue.push(self.now + wait, Due::Loaded { at, life, load });
            }
            Effect::Apply(batch) => return self.apply(at, &batch),
            Effect::Serve => {
                self.mark("primary serves");
                self.log(at, 7, || "serves".to_owned());
            }
            Effect::Resign => {
                self.mark("primary resigned");
                self.forget_clients(at);
                if let Some(process) = self.node_mut(at).process.as_mut() {
                    process.engine.forget_speculation();
                    process.sessions.forget_speculation();
                    process.appended_at.clear();
                    ensure!(
                        !process.sessions.is_speculative(),
                        "I9 what is not stable goes with the place",
                        "n{}",
                        at + 1
                    );
                }
            }
            Effect::Halt(why) => {
                return Err(Violation::new("no node halts", format!("n{}: {why}", at + 1)));
            }
        }
        Ok(())
    }

    fn append(&mut self, at: usize, batch: Batch) -> Verdict {
        let now = self.now;
        let node = self.node_mut(at);
        let (id, clock) = (node.id, node.clock.time(now).nanos());
        let Some(process) = node.process.as_mut() else { return Ok(()) };
        let last = std::mem::replace(&mut process.last, batch.last());
        let epoch = process.replica.config().epoch;
        let own = process.replica.config().primary == id && batch.last().epoch == epoch;
        if own {
            process.appended_at.insert(batch.last().lsn, clock);
        }
        self.log(at, 8, || format!("appends {} to {}", batch.first(), batch.last()));
        self.oracle.appended(id, last, &batch)?;
        for frame in batch.frames() {
            let first = frame.header.kind == Kind::EpochStart && frame.header.id.epoch == epoch;
            if own && first && self.is_elected(at) {
                self.oracle.epoch_starts(id, frame.header.id)?;
            }
        }
        let serving = self.node(at).process.as_ref().is_some_and(|p| p.replica.is_serving());
        if own && serving {
            self.check_room(at, last)?;
        }
        self.write(at, DiskOp::Append { shard: SHARD, batch, ticket: 0 });
        Ok(())
    }

    fn is_elected(&self, at: usize) -> bool {
        let status = self.node(at).process.as_ref().map(|process| process.replica.status().role);
        matches!(status, Some(antiphon_proto::RoleStatus::Primary { .. }))
    }

    fn apply(&mut self, at: usize, batch: &Batch) -> Verdict {
        let id = self.node(at).id;
        for frame in batch.frames().filter(|frame| is_of_session(frame.header.kind)) {
            self.check_session(at, &frame)?;
        }
        let mut seen = Vec::new();
        let node = self.nodes.get_mut(at).expect("a node of the plan");
        let Some(process) = node.process.as_mut() else { return Ok(()) };
        for frame in batch.frames() {
            let header = frame.header;
            let next = process.applied.lsn.next();
            ensure!(header.id.lsn == next, "entries are applied in order", "{}", header.id);
            if header.kind == Kind::Data {
                let applied = process.engine.apply(header.id.lsn, header.hlc, frame.payload);
                ensure!(applied.is_ok(), "payloads decode", "{}: {applied:?}", header.id);
            }
            if is_of_session(header.kind) {
                let Process { engine, sessions, .. } = &mut *process;
                let applied = sessions.apply(&frame, |inner, _| {
                    let done = engine.apply(header.id.lsn, header.hlc, inner.payload);
                    done.map(|()| None)
                        .map_err(|error| Violation::new("payloads decode", error.to_string()))
                });
                applied?;
            }
            process.applied = header.id;
            seen.push(process.sessions.digest_with(process.engine.digest()));
        }
        let elected = process.replica.is_primary();
        let epoch = process.replica.config().epoch;
        if elected {
            self.oracle.epoch_is_held(epoch)?;
        }
        for (frame, digest) in batch.frames().zip(seen) {
            self.oracle.applies(id, &frame, digest)?;
        }
        self.log(at, 9, || format!("applies {} to {}", batch.first(), batch.last()));
        Ok(())
    }

    /// What follows every step: checks, replies, the next wake.
    fn after_step(&mut self, at: usize) -> Verdict {
        self.check_positions(at)?;
        self.release(at)?;
        self.after_change(at);
        let now = self.now;
        let node = self.node_mut(at);
        let life = node.life;
        let Some(process) = node.process.as_mut() else { return Ok(()) };
        let Some(deadline) = process.replica.deadline() else {
            process.idle_ticks = 0;
            return Ok(());
        };
        let when = node.clock.when(deadline);
        if when > now {
            process.idle_ticks = 0;
        }
        let when = when.max(now + 1);
        if process.wake_at > when || process.wake_at <= now {
            process.wake_at = when;
            self.queue.push(when, Due::Tick { at, life });
        }
        Ok(())
    }

    /// What follows when a node came into another epoch, or has caught up.
    fn after_change(&mut self, at: usize) {
        let node = self.node_mut(at);
        let caught_up = node.media.replaced && node.truth.is_whole();
        let Some(process) = node.process.as_mut() else { return };
        let epoch = process.replica.config().epoch;
        let changed = std::mem::replace(&mut process.epoch, epoch) != epoch;
        if caught_up {
            node.media.replaced = false;
            self.mark("replaced disk caught up");
        }
        if changed {
            self.ask_fates(at);
        }
    }

    pub(super) fn tick(&mut self, at: usize, life: u64) -> Verdict {
        let now = self.now;
        let paused = self.paused(at);
        let Some(process) = self.alive(at, life) else { return Ok(()) };
        if process.wake_at != now {
            return Ok(());
        }
        if let Some(when) = paused {
            process.wake_at = when;
            self.queue.push(when, Due::Tick { at, life });
            return Ok(());
        }
        process.wake_at = u64::MAX;
        process.idle_ticks += 1;
        let ticks = process.idle_ticks;
        ensure!(ticks < 1_000, "deadlines lie ahead", "n{} wants ticks without end", at + 1);
        self.step(at, Event::Tick)
    }

    /// Whether the node was to crash at this act, and did.
    pub(super) fn crash_if_armed(&mut self, at: usize, point: CrashPoint, before: bool) -> bool {
        let node = self.node_mut(at);
        if node.armed.is_empty() {
            return false;
        }
        let effect = !matches!(point, CrashPoint::Reply | CrashPoint::Write | CrashPoint::Synced);
        for armed in &mut node.armed {
            let any = armed.point == CrashPoint::Effect && effect;
            if armed.before == before && (armed.point == point || any) {
                armed.left = armed.left.saturating_sub(1);
            }
        }
        let Some(index) = node.armed.iter().position(|armed| armed.left == 0) else {
            return false;
        };
        let armed = node.armed.remove(index);
        *self.faults.entry("crash-at-point").or_default() += 1;
        self.crash(at, armed.down_us, armed.power);
        true
    }

    /// The process ends, and starts again after a while.
    pub(super) fn crash(&mut self, at: usize, down_us: u64, power: bool) {
        self.log(at, 10, || format!("ends, {} power", if power { "without" } else { "with" }));
        self.forget_clients(at);
        let node = self.node_mut(at);
        node.life += 1;
        if let Some(process) = node.process.take() {
            self.end_disk_work(at, process.storage, power);
        }
        let when = self.now + down_us * US;
        let node = self.node_mut(at);
        if power {
            node.disk.crash_at_random();
        }
        if !node.booting {
            node.booting = true;
            self.queue.push(when, Due::Boot(at));
        }
        for peer in (0..self.nodes.len()).filter(|peer| *peer != at) {
            // What it had sent may still arrive, up to some moment.
            let late = self.dice.net.range(0, 2 * self.plan.net.delay_us) * US;
            self.lose_link(at, peer, self.now + late);
        }
    }

    /// All who wait for this node hear that it is gone.
    fn forget_clients(&mut self, at: usize) {
        let Some(process) = self.node_mut(at).process.as_mut() else { return };
        let waiting = std::mem::take(&mut process.waiting);
        for waiting in waiting {
            self.unanswered(waiting.op);
        }
    }

    /// The end of the process's log changed by a cut.
    pub(super) fn log_ends(&mut self, at: usize, end: EntryId) {
        if let Some(process) = self.node_mut(at).process.as_mut() {
            process.last = end;
        }
    }

    fn mark_message(&mut self, message: &Message) {
        match message {
            Message::Fetch { .. } => self.mark("copies from a longer log"),
            Message::SealRefused => self.mark("seal refused"),
            Message::Closed { reason, .. } => match reason {
                antiphon_proto::Closed::Diverged => self.mark("stream closed: diverged"),
                antiphon_proto::Closed::Trimmed(_) => self.mark("stream closed: trimmed"),
                antiphon_proto::Closed::Behind => self.mark("stream closed: behind"),
            },
            Message::Sealed(sealed) if sealed.blank => self.mark("new disk sealed"),
            Message::Sealed(sealed) if sealed.amnesiac => self.mark("amnesiac excluded"),
            Message::Sealed(_) => self.mark("sealed"),
            Message::Open(_) => self.mark("stream opened"),
            Message::Append(_)
            | Message::Ack(_)
            | Message::Seal
            | Message::Config(_)
            | Message::Fetched { .. }
            | Message::Call { .. }
            | Message::Answer { .. } => {}
        }
    }

    fn mark_load(&mut self, purpose: antiphon_proto::LoadFor) {
        use antiphon_proto::LoadFor;
        match purpose {
            LoadFor::Child { .. } => self.mark("child served from the disk"),
            LoadFor::Apply => self.mark("applied from the disk"),
            LoadFor::Fetch { .. } => self.mark("recovery served from the disk"),
        }
    }
}

const fn is_of_session(kind: Kind) -> bool {
    matches!(kind, Kind::SessionOpen | Kind::SessionClose | Kind::SessionData)
}

/// The act at which a crash may be armed.
const fn point_of(effect: &Effect) -> CrashPoint {
    match effect {
        Effect::Persist { .. } => CrashPoint::Persist,
        Effect::Truncate(_) => CrashPoint::Truncate,
        Effect::Append(_) => CrashPoint::Append,
        Effect::Send { .. } => CrashPoint::Send,
        Effect::Apply(_) => CrashPoint::Apply,
        Effect::Serve => CrashPoint::Serve,
        Effect::Load(_) | Effect::Resign | Effect::Halt(_) => CrashPoint::Effect,
    }
}

impl World {
    pub(super) fn node_id(&self, at: usize) -> NodeId {
        self.node(at).id
    }
}
