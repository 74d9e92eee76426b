//! One thread of the generator: its connections, its poll, its share of the work.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use crate::bench::clock::{Clock, Nanos, Window};
use crate::bench::connection::{Connection, Lost, Shared};
use crate::bench::dial::Dialled;
use crate::bench::ledger::Ledger;
use crate::bench::plan::Plan;
use crate::bench::schedule::Schedule;
use crate::bench::tally::Tally;
use crate::bench::timer::Timer;
use crate::bench::tls::Channel;
use crate::bench::wire::Requests;
use crate::bench::work::{Kind, Work};
use crate::errors::{Code, Coded};

/// Bytes read at once, by all connections in turn.
const SCRATCH_BYTES: usize = 256 << 10;
/// Longest sleep of the poll, so that the end of the run is never missed by more.
const NAP: Duration = Duration::from_millis(100);
/// Events taken from the poll at once.
const EVENTS: usize = 1_024;
/// The timer among the tokens; connections count from 0.
const TIMER: Token = Token(usize::MAX);

/// Connects and fills the clients of `thread`.
///
/// # Errors
/// When one cannot be connected, introduced or filled.
pub(crate) fn dial(plan: &Plan, requests: &Requests, thread: u32) -> anyhow::Result<Vec<Ready>> {
    plan.clients_of(thread)
        .map(|client| {
            let mut dialled = Dialled::connect(plan, client)?;
            let own = plan.slice_of(client);
            let mut ledger = plan.load.verify.then(|| Ledger::new(&own));
            if plan.fill {
                dialled.fill(requests, own.clone(), 1)?;
                for key in own.clone() {
                    if let Some(ledger) = &mut ledger {
                        let sequence = ledger.send(key);
                        ledger.acknowledge(key, sequence);
                    }
                }
            }
            let keys = if ledger.is_some() { own } else { 0..plan.load.keys };
            Ok(Ready { stream: dialled.into_stream()?, keys, ledger })
        })
        .collect()
}

/// A connection before the load.
#[derive(Debug)]
pub(crate) struct Ready {
    stream: Channel<TcpStream>,
    keys: std::ops::Range<u32>,
    ledger: Option<Ledger>,
}

/// One thread under load.
pub(crate) struct Driver<'a> {
    plan: &'a Plan,
    shared: Shared<'a>,
    window: Window,
    work: Work,
    poll: Poll,
    timer: Timer,
    schedule: Option<Schedule>,
    /// Operations left to send; `None` when time ends the run.
    budget: Option<u64>,
    connections: Vec<Option<Connection>>,
    /// Connections with nothing in flight.
    idle: VecDeque<usize>,
    alive: usize,
    /// When something last came.
    progress: Nanos,
}

impl<'a> Driver<'a> {
    /// Prepares thread `thread` to drive `ready`.
    ///
    /// # Errors
    /// When the system has no poll or timer to give.
    pub(crate) fn new(
        plan: &'a Plan,
        requests: &'a Requests,
        clocked: (Clock, Window),
        thread: u32,
        ready: Vec<Ready>,
    ) -> anyhow::Result<Self> {
        let (clock, window) = clocked;
        let poll = Poll::new().coded(Code::Other, || "cannot make a poll".to_owned())?;
        let timer = Timer::new(poll.registry(), TIMER)
            .coded(Code::Other, || "cannot make a timer".to_owned())?;
        let mut connections = Vec::with_capacity(ready.len());
        for (token, ready) in ready.into_iter().enumerate() {
            let stream = ready.stream.map(mio::net::TcpStream::from_std);
            let mut connection = Connection::new(stream, ready.keys, ready.ledger);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(connection.socket(), Token(token), both)?;
            connections.push(Some(connection));
        }
        let by_intention = plan.load.rate.is_some();
        let tally = Tally::new(window, by_intention);
        let scratch = vec![0; SCRATCH_BYTES];
        Ok(Self {
            plan,
            shared: Shared { requests, clock, wait: plan.load.wait, tally, scratch },
            window,
            work: Work::new(plan, thread),
            poll,
            timer,
            schedule: plan.load.rate.map(|rate| Schedule::new(rate, thread, plan.load.threads)),
            budget: plan.budget_of(thread),
            alive: connections.len(),
            idle: (0..connections.len()).collect(),
            connections,
            progress: Nanos::default(),
        })
    }

    /// Runs until the plan ends or no connection is left.
    ///
    /// # Errors
    /// When the poll fails.
    pub(crate) fn run(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        self.progress = self.shared.clock.now();
        loop {
            let now = self.shared.clock.now();
            self.dispatch(now);
            if self.is_over(now) {
                break;
            }
            let nap = self.nap(now)?;
            match self.poll.poll(&mut events, Some(nap)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.coded(Code::Other, || "cannot poll".to_owned())?,
            }
            for event in &events {
                if event.token() != TIMER {
                    self.serve(event.token().0, event.is_writable());
                }
            }
        }
        self.settle_unsent();
        Ok(())
    }

    /// What was counted; a verified run first reads every key back and compares it.
    ///
    /// # Errors
    /// When the keys cannot be read.
    pub(crate) fn finish(mut self) -> anyhow::Result<Tally> {
        self.read_back()?;
        Ok(self.shared.tally)
    }

    /// Whether nothing more is sent or awaited at `now`.
    fn is_over(&mut self, now: Nanos) -> bool {
        if self.alive == 0 {
            return true;
        }
        let silent = now.since(self.progress.max(self.window_end(now)));
        let stuck = self.idle.len() < self.alive && silent > Nanos::from(self.plan.patience).get();
        if stuck {
            for slot in &mut self.connections {
                if let Some(mut silent) = slot.take_if(|connection| !connection.is_idle()) {
                    silent.abandon("no answer in time", &mut self.shared.tally);
                }
            }
            return true;
        }
        self.is_sent(now) && self.idle.len() == self.alive
    }

    /// The end of the window once it has passed: from there on silence is measured anew.
    fn window_end(&self, now: Nanos) -> Nanos {
        if now >= self.window.until { self.window.until } else { Nanos::default() }
    }

    fn is_sent(&self, now: Nanos) -> bool {
        now >= self.window.until || self.budget == Some(0)
    }

    /// How long the poll may sleep; an open loop with a free connection wakes for its next arrival.
    fn nap(&mut self, now: Nanos) -> io::Result<Duration> {
        let left = Duration::from(Nanos::new(self.window.until.since(now)));
        // After the end only answers are awaited.
        let nap = if left.is_zero() { NAP } else { NAP.min(left.max(Duration::from_millis(1))) };
        let Some(schedule) = &self.schedule else { return Ok(nap) };
        if self.idle.is_empty() || self.is_sent(now) {
            return Ok(nap);
        }
        let due = schedule.due();
        let wait = Duration::from(Nanos::new(due.since(now)));
        Ok(self.timer.arm(due, wait)?.map_or(nap, |limit| limit.min(nap)))
    }

    /// Gives idle connections a batch each, as far as there is work.
    fn dispatch(&mut self, now: Nanos) {
        while !self.is_sent(now) {
            let Some(token) = self.idle.pop_front() else { return };
            if !self.start(token, now) {
                self.idle.push_front(token);
                return;
            }
        }
    }

    /// Sends a batch on connection `token`; false when no work is due.
    fn start(&mut self, token: usize, now: Nanos) -> bool {
        let Some(Some(connection)) = self.connections.get_mut(token) else { return true };
        let keys = connection.keys();
        let mut any = false;
        for _ in 0..self.plan.load.pipeline {
            let from = match &mut self.schedule {
                Some(schedule) => schedule.take(now),
                None => Some(now),
            };
            let Some(from) = from.filter(|_| self.budget != Some(0)) else { break };
            self.budget = self.budget.map(|left| left - 1);
            let kind = self.work.kind();
            connection.push(self.shared.requests, kind, self.work.key(&keys), from);
            any = true;
        }
        if any {
            let sent = connection.send(&self.shared);
            self.settle(token, sent);
        }
        any
    }

    /// Handles an event of connection `token`: answers first, then the next batch at once.
    fn serve(&mut self, token: usize, writable: bool) {
        let Some(Some(connection)) = self.connections.get_mut(token) else { return };
        if writable && let Err(lost) = connection.flush() {
            return self.settle(token, Err(lost));
        }
        let was_idle = connection.is_idle();
        let received = connection.receive(&mut self.shared);
        let idle = connection.is_idle();
        let failed = received.is_err();
        self.settle(token, received);
        if failed || was_idle || !idle {
            return;
        }
        let now = self.shared.clock.now();
        self.progress = now;
        if self.schedule.is_some() || self.is_sent(now) || !self.start(token, now) {
            self.idle.push_back(token);
        }
    }

    /// Drops connection `token` if it was lost.
    fn settle(&mut self, token: usize, outcome: Result<(), Lost>) {
        let Err(lost) = outcome else { return };
        let Some(slot) = self.connections.get_mut(token) else { return };
        if let Some(mut connection) = slot.take() {
            let why = lost.to_string();
            connection.abandon(&why, &mut self.shared.tally);
            self.shared.tally.fail(&why, 1);
            self.alive -= 1;
            self.idle.retain(|&other| other != token);
        }
    }

    /// Counts the arrivals that were due and found no free connection before the end.
    fn settle_unsent(&mut self) {
        let Some(schedule) = &mut self.schedule else { return };
        if self.budget.is_some() {
            return;
        }
        let last = Nanos::new(self.window.until.get().saturating_sub(1));
        while let Some(from) = schedule.take(last) {
            let read = self.work.kind() == Kind::Read;
            self.shared.tally.never_sent(read, from);
        }
    }

    /// Reads every key of every connection that is left and compares it with its ledger.
    fn read_back(&mut self) -> anyhow::Result<()> {
        for connection in self.connections.drain(..).flatten() {
            let Some((stream, keys, mut ledger)) = connection.into_ledger() else { continue };
            let mut dialled = Dialled::again(stream.map(TcpStream::from), self.plan.patience)?;
            let values = self.shared.requests.values();
            dialled.read_back(self.shared.requests, keys, |key, found| {
                let judgement = ledger.judge(values, key, found);
                self.shared.tally.verify(judgement.complaint(key));
            })?;
        }
        Ok(())
    }
}
