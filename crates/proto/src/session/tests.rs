//! Sessions: each write once, under duplicates, reordering, loss and restarts; limits; bytes.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::{Batch, BatchBuilder, Chain, ShardId};

/// What `apply` says in tests.
#[derive(Debug, PartialEq, Eq)]
struct Stop(SessionFault);

impl From<SessionFault> for Stop {
    fn from(fault: SessionFault) -> Self {
        Self(fault)
    }
}

impl From<Infallible> for Stop {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A log with a primary's table at its end; what is stable is applied to it and to a replica's.
struct Log {
    builder: BatchBuilder,
    frames: Vec<Batch>,
    applied: usize,
    primary: Sessions,
    replica: Sessions,
    executed: BTreeMap<Ticket, u32>, // by the replica
}

impl Log {
    fn new(sessions_max: usize) -> Self {
        Self {
            builder: BatchBuilder::new(ShardId::default(), EntryId::ZERO, Chain::ZERO, Hlc::ZERO),
            frames: Vec::new(),
            applied: 0,
            primary: Sessions::new(sessions_max),
            replica: Sessions::new(sessions_max),
            executed: BTreeMap::new(),
        }
    }

    fn push(&mut self, kind: Kind, ms: u64, payload: &[u8]) -> EntryId {
        let epoch = self.builder.last().epoch.max(Epoch::new(1));
        let id = self.builder.push(epoch, kind, ms, |out| out.extend_from_slice(payload));
        self.frames.extend(self.builder.take());
        id
    }

    fn open(&mut self, ms: u64, ttl_ms: u64) -> SessionId {
        let mut payload = BytesMut::new();
        SessionEntry::Open { ttl_ms }.encode(&mut payload);
        let id = self.push(Kind::SessionOpen, ms, &payload);
        self.primary.opened(id)
    }

    fn close(&mut self, ms: u64, sessions: &[SessionId]) {
        let payload = SessionList::encode(sessions, Closing::Asked);
        self.push(Kind::SessionClose, ms, &payload);
        self.primary.closed(sessions);
    }

    /// As a driver: what is new is appended and answered, what is not is answered as before.
    fn write(&mut self, ms: u64, ticket: Ticket, reply: &[u8]) -> Result<Executed, SessionRefusal> {
        if let Some(executed) = self.primary.admit(ticket)? {
            return Ok(executed);
        }
        let write = SessionWrite { ticket, reply: LoggedReply::of(reply), payload: b"effects" };
        let mut payload = BytesMut::new();
        SessionEntry::Write(write).encode(&mut payload);
        let at = self.push(Kind::SessionData, ms, &payload);
        let kept = (reply.len() <= REPLY_BYTES_MAX).then(|| Bytes::copy_from_slice(reply));
        self.primary.wrote(ticket, at, kept.clone());
        Ok(Executed { at, stable: false, reply: kept })
    }

    /// The next `count` entries become stable.
    fn settle(&mut self, count: usize) {
        for batch in self.frames.iter().skip(self.applied).take(count) {
            for frame in batch.frames() {
                let nothing = |_: &Frame<'_>, _| Ok::<_, Stop>(None);
                self.primary.apply(&frame, nothing).unwrap();
                let executed = &mut self.executed;
                let count = |inner: &Frame<'_>, _| {
                    assert_eq!((inner.header.kind, inner.payload), (Kind::Data, &b"effects"[..]));
                    let write = SessionWrite::decode(frame.payload).unwrap();
                    *executed.entry(write.ticket).or_default() += 1;
                    Ok::<_, Stop>(None)
                };
                self.replica.apply(&frame, count).unwrap();
            }
            self.applied += 1;
        }
        assert_eq!(
            self.primary.table.digest(),
            self.replica.table.digest(),
            "the tables are equal"
        );
    }

    /// The primary loses its place; `kept` of the unstable entries are in the next one's log.
    fn fail_over(&mut self, kept: usize) {
        self.settle(kept);
        self.frames.truncate(self.applied);
        self.primary.forget_speculation();
        let end = self.frames.last().map_or((EntryId::ZERO, Chain::ZERO, Hlc::ZERO), |batch| {
            (batch.last(), batch.chain(), batch.last_hlc())
        });
        let shard = ShardId::default();
        let epoch = self.builder.last().epoch.max(Epoch::new(1)).next();
        self.builder = BatchBuilder::new(shard, end.0, end.1, end.2);
        self.builder.push(epoch, Kind::Noop, 0, |_| {});
        self.frames.extend(self.builder.take());
        self.applied += 1;
    }

    /// The primary starts again from a snapshot of its own.
    fn restart(&mut self) {
        let bytes = written(&self.primary);
        self.fail_over(0);
        self.primary = Sessions::new(self.primary.sessions_max);
        self.primary.restore(&mut bytes.as_slice()).unwrap();
        assert_eq!(written(&self.primary), bytes, "what is restored is what was written");
        assert_eq!(self.primary.replies_bytes(), self.replica.replies_bytes());
    }
}

fn written(sessions: &Sessions) -> Vec<u8> {
    let mut bytes = Vec::new();
    sessions.cut().write(&mut bytes).unwrap();
    bytes
}

fn ticket(session: SessionId, seq: u64) -> Ticket {
    Ticket { session, seq }
}

#[derive(Debug, Clone)]
enum Act {
    Open,
    Write { session: usize, back: u64, jump: u64, bytes: usize },
    Close { session: usize },
    Settle(usize),
    FailOver(usize),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        1 => Just(Act::Open),
        12 => (0_usize..3, 0_u64..300, prop::sample::select(vec![0_u64, 0, 0, 1, 1, 2, 60, 256]),
            prop::sample::select(vec![1_usize, 20, REPLY_BYTES_MAX, REPLY_BYTES_MAX + 1]))
            .prop_map(|(session, back, jump, bytes)| Act::Write { session, back, jump, bytes }),
        1 => (0_usize..3).prop_map(|session| Act::Close { session }),
        4 => (0_usize..6).prop_map(Act::Settle),
        1 => (0_usize..4).prop_map(Act::FailOver),
        1 => Just(Act::Restart),
    ]
}

/// What the model knows of a write that was taken: its entry and its reply.
type Model = BTreeMap<Ticket, (EntryId, Vec<u8>)>;

/// Forgets what is in no log any more.
fn survive(log: &Log, model: &mut Model) {
    let last = log.frames.last().map_or(EntryId::ZERO, Batch::last);
    model.retain(|_, (at, _)| log.frames.iter().any(|batch| batch.first() == *at) && *at <= last);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_number_executes_at_most_once(acts in prop::collection::vec(act(), 1..120)) {
        let mut log = Log::new(10);
        let mut open: Vec<SessionId> = Vec::new();
        let mut tops: BTreeMap<SessionId, u64> = BTreeMap::new();
        let mut model = Model::new();
        for (step, act) in acts.into_iter().enumerate() {
            match act {
                Act::Open => open.push(log.open(1, 1_000)),
                Act::Write { session, back, jump, bytes } => {
                    let Some(session) = open.get(session).copied() else { continue };
                    let top = tops.entry(session).or_default();
                    let seq = (*top + jump).saturating_sub(if jump == 0 { back } else { 0 });
                    let mut reply = format!("{step}.").into_bytes();
                    reply.resize(bytes.max(reply.len()), b'r');
                    let asked = ticket(session, seq);
                    match log.write(1, asked, &reply) {
                        Ok(executed) => {
                            *top = seq.max(*top);
                            let (at, first) =
                                model.entry(asked).or_insert_with(|| (executed.at, reply)).clone();
                            prop_assert!(executed.at >= at, "{asked:?} was executed at {at}");
                            if let Some(reply) = executed.reply {
                                prop_assert_eq!((executed.at, reply.as_ref()), (at, &first[..]));
                            }
                        }
                        Err(SessionRefusal::TooOld { floor }) => {
                            prop_assert!(seq < floor && floor == window::floor(*top));
                        }
                        Err(SessionRefusal::Unknown) => prop_assert!(!log.primary.is_open(session)),
                    }
                }
                Act::Close { session } => {
                    let Some(session) = open.get(session).copied() else { continue };
                    if log.primary.is_open(session) {
                        log.close(1, &[session]);
                    }
                }
                Act::Settle(count) => log.settle(count),
                Act::FailOver(kept) => {
                    log.fail_over(kept);
                    survive(&log, &mut model);
                    tops = model.keys().fold(BTreeMap::new(), |mut tops, ticket| {
                        let top: &mut u64 = tops.entry(ticket.session).or_default();
                        *top = ticket.seq.max(*top);
                        tops
                    });
                }
                Act::Restart => {
                    log.restart();
                    survive(&log, &mut model);
                    tops.clear();
                    for ticket in model.keys() {
                        let top = tops.entry(ticket.session).or_default();
                        *top = ticket.seq.max(*top);
                    }
                }
            }
        }
        log.settle(usize::MAX);
        for (ticket, count) in &log.executed {
            prop_assert_eq!(*count, 1, "{:?}", ticket);
            prop_assert!(model.contains_key(ticket));
        }
        prop_assert_eq!(log.executed.len(), model.len(), "what was taken and kept was executed");
    }

    #[test]
    fn any_bytes_are_entries_or_refused(
        kind in prop::sample::select(vec![Kind::SessionOpen, Kind::SessionClose, Kind::SessionData]),
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        if let Ok(entry) = SessionEntry::decode(kind, &bytes) {
            let mut again = BytesMut::new();
            entry.encode(&mut again);
            prop_assert_eq!(again.as_ref(), &bytes[..]);
        }
    }

    #[test]
    fn damaged_tables_are_refused(at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut log = Log::new(10);
        let session = log.open(1, 5);
        for seq in [1, 2, 300] {
            log.write(1, ticket(session, seq), b"reply").unwrap();
        }
        log.settle(usize::MAX);
        let good = written(&log.primary);
        let mut bad = good.clone();
        bad[at.index(good.len())] ^= 1_u8 << bit;
        prop_assert!(log.replica.restore(&mut bad.as_slice()).is_err());
        let cut = &good[..at.index(good.len())];
        prop_assert!(log.replica.restore(&mut &*cut).is_err());
        prop_assert_eq!(written(&log.replica), good, "a refused table leaves no trace");
    }
}

#[test]
fn a_retry_gets_the_first_reply_while_it_waits_and_afterwards() {
    let mut log = Log::new(10);
    let session = log.open(1, 5);
    let first = log.write(1, ticket(session, 1), b"one").unwrap();
    let second = log.write(1, ticket(session, 1), b"two").unwrap();
    assert_eq!(second, first, "it is under way, and not appended again");
    log.settle(usize::MAX);
    let third = log.write(1, ticket(session, 1), b"three").unwrap();
    assert_eq!((third.at, third.stable), (first.at, true));
    assert_eq!(third.reply.as_deref(), Some(&b"one"[..]));
}

#[test]
fn what_was_lost_is_executed_again() {
    let mut log = Log::new(10);
    let session = log.open(1, 5);
    log.settle(usize::MAX);
    let lost = log.write(1, ticket(session, 1), b"one").unwrap();
    log.fail_over(0);
    let again = log.write(1, ticket(session, 1), b"two").unwrap();
    assert_ne!(again.at, lost.at);
    assert_eq!(again.reply.as_deref(), Some(&b"two"[..]));
}

#[test]
fn a_reply_over_the_limit_leaves_its_place_only() {
    for (bytes, kept) in
        [(REPLY_BYTES_MAX - 1, true), (REPLY_BYTES_MAX, true), (REPLY_BYTES_MAX + 1, false)]
    {
        let mut log = Log::new(10);
        let session = log.open(1, 5);
        let reply = vec![b'r'; bytes];
        let at = log.write(1, ticket(session, 1), &reply).unwrap().at;
        log.settle(usize::MAX);
        let again = log.write(1, ticket(session, 1), b"other").unwrap();
        assert_eq!((again.at, again.reply.is_some()), (at, kept), "{bytes} bytes");
    }
}

#[test]
fn a_session_keeps_its_newest_replies() {
    let mut log = Log::new(10);
    let session = log.open(1, 5);
    // Fifteen of them and their places fill what a session may keep.
    let reply = vec![b'r'; REPLY_BYTES_MAX];
    let most = u64::try_from(SESSION_REPLIES_BYTES_MAX / (REPLY_BYTES_MAX + 64)).unwrap();
    for seq in 1..=most {
        log.write(1, ticket(session, seq), &reply).unwrap();
    }
    log.settle(usize::MAX);
    assert!(log.write(1, ticket(session, 1), b"").unwrap().reply.is_some(), "all fit");
    let last = log.write(1, ticket(session, most + 1), &reply).unwrap().at;
    log.settle(usize::MAX);
    let oldest = log.write(1, ticket(session, 1), b"").unwrap();
    assert_eq!((oldest.at, oldest.reply), (last, None), "it happened by then");
    assert!(log.write(1, ticket(session, 2), b"").unwrap().reply.is_some());
    assert!(log.primary.replies_bytes() <= SESSION_REPLIES_BYTES_MAX);
}

#[test]
fn all_sessions_together_keep_the_newest_replies() {
    let mut log = Log::new(usize::MAX);
    let reply = vec![b'r'; REPLY_BYTES_MAX];
    let each = SESSION_REPLIES_BYTES_MAX / (REPLY_BYTES_MAX + 64);
    let fits = ALL_REPLIES_BYTES_MAX / (REPLY_BYTES_MAX + 64);
    let sessions: Vec<_> = (0..=fits / each).map(|_| log.open(1, 5)).collect();
    let tickets = (0..=fits).map(|at| ticket(sessions[at / each], (at % each) as u64 + 1));
    let tickets: Vec<_> = tickets.collect();
    let (last, rest) = tickets.split_last().unwrap();
    for ticket in rest {
        log.write(1, *ticket, &reply).unwrap();
    }
    log.settle(usize::MAX);
    assert!(log.primary.admit(tickets[0]).unwrap().unwrap().reply.is_some(), "all fit");
    log.write(1, *last, &reply).unwrap();
    log.settle(usize::MAX);
    assert_eq!(log.primary.admit(tickets[0]).unwrap().unwrap().reply, None, "the oldest went");
    assert!(log.primary.admit(tickets[1]).unwrap().unwrap().reply.is_some());
    assert!(log.primary.admit(*last).unwrap().unwrap().reply.is_some());
    assert!(log.primary.replies_bytes() <= ALL_REPLIES_BYTES_MAX);
}

#[test]
fn there_is_room_for_so_many_sessions() {
    let mut log = Log::new(3);
    let first = log.open(1, 5);
    log.open(1, 5);
    assert!(log.primary.has_room(), "one less than the limit");
    log.settle(1);
    log.open(1, 5);
    assert!(!log.primary.has_room(), "the limit, stable or not");
    log.close(1, &[first]);
    assert!(log.primary.has_room(), "one is about to go");
    log.settle(usize::MAX);
    assert_eq!((log.primary.len(), log.replica.len()), (2, 2));
    assert_eq!(log.primary.admit(ticket(first, 1)), Err(SessionRefusal::Unknown));
}

#[test]
fn a_session_expires_by_the_time_of_the_log() {
    let mut log = Log::new(3);
    let (early, late) = (log.open(1_000, 50), log.open(1_010, 30));
    assert_eq!(log.primary.expired(9_000, 9), [], "their opening is under way");
    log.settle(usize::MAX);
    assert_eq!(log.primary.expired(1_039, 9), []);
    assert_eq!(log.primary.expired(1_040, 9), [late], "its time is over at its last millisecond");
    assert_eq!(log.primary.expired(1_050, 9), [late, early], "the longest expired first");
    assert_eq!(log.primary.expired(1_050, 1), [late]);
    log.write(1_045, ticket(late, 1), b"").unwrap();
    assert_eq!(log.primary.expired(1_050, 9), [early], "it is being used");
    log.settle(usize::MAX);
    assert_eq!(log.primary.expired(1_074, 9), [early]);
    assert_eq!(log.primary.expired(1_075, 9), [early, late], "used at 1,045");
    log.close(2_000, &[early, late]);
    assert_eq!(log.primary.expired(9_000, 9), [], "they are being closed");
    assert_eq!(log.primary.admit(ticket(late, 1)), Err(SessionRefusal::Unknown));
    log.fail_over(0);
    assert_eq!(log.primary.expired(9_000, 9), [early, late], "the closing was lost");
}

#[test]
fn numbers_below_the_window_are_refused_and_those_within_are_not() {
    let mut log = Log::new(3);
    let session = log.open(1, 5);
    log.write(1, ticket(session, 300), b"").unwrap();
    for (seq, refused) in [(0, true), (44, true), (45, false), (46, false), (299, false)] {
        let admitted = log.primary.admit(ticket(session, seq));
        let want = if refused { Err(SessionRefusal::TooOld { floor: 45 }) } else { Ok(None) };
        assert_eq!(admitted, want, "{seq}, under way");
    }
    log.settle(usize::MAX);
    assert_eq!(log.primary.admit(ticket(session, 44)), Err(SessionRefusal::TooOld { floor: 45 }));
    assert_eq!(log.primary.admit(ticket(session, 45)), Ok(None));
}

#[test]
fn an_entry_that_was_not_admitted_stops_the_node() {
    let mut log = Log::new(3);
    let session = log.open(1, 5);
    log.write(1, ticket(session, 1), b"").unwrap();
    log.settle(usize::MAX);
    let wrong = |log: &mut Log, ticket| {
        let write = SessionWrite { ticket, reply: LoggedReply::TooLong, payload: b"" };
        let mut payload = BytesMut::new();
        SessionEntry::Write(write).encode(&mut payload);
        log.push(Kind::SessionData, 1, &payload);
        let batch = log.frames.last().unwrap().clone();
        let frame = batch.frames().next().unwrap();
        log.replica.apply(&frame, |_, _| panic!("nothing is executed"))
    };
    let again: Result<(), Stop> = wrong(&mut log, ticket(session, 1));
    assert!(again.unwrap_err().0.to_string().contains("executed before"));
    let foreign = SessionId::opened_by(EntryId::new(Epoch::new(9), Lsn::new(9)));
    let unknown: Result<(), Stop> = wrong(&mut log, ticket(foreign, 1));
    assert!(unknown.unwrap_err().0.to_string().contains("not open"));
}

#[test]
fn a_machine_may_make_the_reply_and_the_digest_tells_tables_apart() {
    let mut log = Log::new(3);
    assert_eq!(log.primary.digest_with([7; 16]), [7; 16], "without sessions it is the machine's");
    let session = log.open(1, 5);
    let write =
        SessionWrite { ticket: ticket(session, 1), reply: LoggedReply::ByMachine, payload: b"x" };
    let mut payload = BytesMut::new();
    SessionEntry::Write(write).encode(&mut payload);
    log.push(Kind::SessionData, 1, &payload);
    let apply = |sessions: &mut Sessions, reply: &'static [u8]| {
        for batch in &log.frames {
            for frame in batch.frames() {
                let make = |_: &Frame<'_>, wanted: bool| {
                    Ok::<_, Stop>(wanted.then(|| Bytes::from_static(reply)))
                };
                sessions.apply(&frame, make).unwrap();
            }
        }
    };
    let (mut one, mut two, mut three) = (Sessions::new(3), Sessions::new(3), Sessions::new(3));
    apply(&mut one, b"reply");
    apply(&mut two, b"reply");
    apply(&mut three, b"reply that differs");
    assert_eq!(one.digest_with([7; 16]), two.digest_with([7; 16]));
    assert_ne!(one.digest_with([7; 16]), three.digest_with([7; 16]));
    let kept = one.admit(ticket(session, 1)).unwrap().unwrap();
    assert_eq!(kept.reply.as_deref(), Some(&b"reply"[..]));
    let info = one.info(session).unwrap();
    assert_eq!((info.top, info.floor, info.replies, info.ttl_ms), (1, 1, 1, 5));
}

#[test]
fn a_cut_does_not_change_with_the_table() {
    let mut log = Log::new(3);
    let session = log.open(1, 5);
    log.write(1, ticket(session, 1), b"one").unwrap();
    log.settle(usize::MAX);
    let before = written(&log.primary);
    let cut = log.primary.cut();
    log.write(1, ticket(session, 2), b"two").unwrap();
    log.open(1, 5);
    log.settle(usize::MAX);
    let mut bytes = Vec::new();
    cut.write(&mut bytes).unwrap();
    assert_eq!(bytes, before);
    assert_ne!(written(&log.primary), before);
}

#[test]
fn names_have_one_text() {
    let session = SessionId::opened_by(EntryId::new(Epoch::new(3), Lsn::new(17)));
    assert_eq!(session.to_string(), "00000000000000030000000000000011");
    assert_eq!(session.to_string().parse(), Ok(session));
    assert_eq!(opener(session), Some(EntryId::new(Epoch::new(3), Lsn::new(17))));
    for wrong in ["", "11", "+0000000000000030000000000000011", "0000000000000003000000000000001g"]
    {
        assert_eq!(wrong.parse::<SessionId>(), Err(SessionIdError), "{wrong}");
    }
    assert_eq!(opener(SessionId::new(1)), None, "no entry has epoch 0");
}

/// What each planted bug lets happen, beside what happens without it.
#[cfg(feature = "mutations")]
#[test]
fn planted_bugs_show() {
    let after = |bug: Option<Mutation>, script: fn(&mut Log, SessionId) -> u64| {
        let mut log = Log::new(3);
        if let Some(bug) = bug {
            log.primary.plant(bug);
        }
        let session = log.open(1, 5);
        log.settle(usize::MAX);
        let seq = script(&mut log, session);
        log.primary.admit(ticket(session, seq))
    };
    let check = |bug, script, right: fn(&Result<Option<Executed>, SessionRefusal>) -> bool| {
        assert!(right(&after(None, script)), "{bug:?} is not planted");
        assert!(!right(&after(Some(bug), script)), "{bug:?} is planted");
    };
    let write_one = |log: &mut Log, session| {
        log.write(1, ticket(session, 1), b"").unwrap();
        1
    };
    check(Mutation::SessionIgnoresOverlay, write_one, |admitted| matches!(admitted, Ok(Some(_))));
    let write_and_lose = |log: &mut Log, session| {
        log.write(1, ticket(session, 1), b"").unwrap();
        log.fail_over(0);
        assert_eq!(log.primary.is_speculative(), log.primary.planted != Planted::default());
        1
    };
    check(Mutation::SessionKeepsOverlay, write_and_lose, |admitted| *admitted == Ok(None));
    let jump = |log: &mut Log, session| {
        log.write(1, ticket(session, 44), b"").unwrap();
        log.write(1, ticket(session, 300), b"").unwrap();
        log.settle(usize::MAX);
        44
    };
    check(Mutation::SessionWindowOffByOne, jump, |admitted| admitted.is_err());
    let start_again = |log: &mut Log, session| {
        log.write(1, ticket(session, 1), b"").unwrap();
        log.settle(usize::MAX);
        let bytes = written(&log.primary);
        log.primary.restore(&mut bytes.as_slice()).unwrap();
        1
    };
    check(Mutation::SessionsNotInSnapshot, start_again, |admitted| matches!(admitted, Ok(Some(_))));
}
