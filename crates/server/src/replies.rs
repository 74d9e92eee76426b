//! Replies of one connection: in request order, each held until its write is safe enough.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use antiphon::Level;
use antiphon_proto::Token;
use bytes::{Buf, BytesMut};

use crate::resp::{Proto, Writer};
use crate::shard::{Lost, Shard};
use crate::stats::Stats;

/// Encoded replies, and what the first of them wait for.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    out: BytesMut,
    taken: u64, // bytes handed to the socket so far: where `out` begins in the whole stream
    holds: VecDeque<Hold>,
}

/// One reply that must not leave before an entry is where its policy wants it.
///
/// Positions are those of the whole stream, so that taking bytes moves none.
#[derive(Debug)]
pub(crate) struct Hold {
    start: u64,
    end: u64,
    wait: Wait,
}

/// What a reply waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// The entry.
    pub(crate) token: Token,
    /// How far it must have come.
    pub(crate) level: Level,
    /// When the wait ends without an answer.
    pub(crate) deadline: Instant,
    /// When the command ran.
    pub(crate) since: Instant,
    /// A write's own reply; else a read of what a write in flight left.
    pub(crate) write: bool,
}

/// Where a reply begins, from [`Replies::begin`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

impl Replies {
    /// Bytes that are not taken yet, held ones among them.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Memory that this takes. Unit: bytes.
    pub(crate) fn memory(&self) -> usize {
        self.out.capacity() + self.holds.capacity() * size_of::<Hold>()
    }

    /// Replies that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.holds.len()
    }

    /// A writer behind everything so far.
    pub(crate) fn writer(&mut self, proto: Proto) -> Writer<'_> {
        Writer::new(&mut self.out, proto)
    }

    /// Notes where the next reply begins.
    pub(crate) fn begin(&self) -> Mark {
        Mark(self.out.len())
    }

    /// Forgets what was written since `mark`.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.out.truncate(mark.0);
    }

    /// Forgets what was written since `mark`, and what it waits for.
    pub(crate) fn silence(&mut self, mark: Mark) {
        self.rewind(mark);
        let end = self.taken + u64::try_from(mark.0).unwrap_or(u64::MAX);
        while self.holds.back().is_some_and(|hold| hold.start >= end) {
            self.holds.pop_back();
        }
    }

    /// Whether the reply that begins at `mark` is an error.
    pub(crate) fn is_error(&self, mark: Mark) -> bool {
        self.out.get(mark.0) == Some(&b'-')
    }

    /// Everything since `mark`.
    pub(crate) fn since(&self, mark: Mark) -> &[u8] {
        self.out.get(mark.0..).unwrap_or_default()
    }

    /// Holds what was written since `mark`.
    pub(crate) fn hold(&mut self, mark: Mark, wait: Wait) {
        let at = |offset: usize| self.taken + u64::try_from(offset).unwrap_or(u64::MAX);
        let (start, end) = (at(mark.0), at(self.out.len()));
        self.holds.push_back(Hold { start, end, wait });
    }

    /// When the reply in front stops waiting.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.holds.front().map(|hold| hold.wait.deadline)
    }

    /// Lets go of the replies whose entries have come far enough; true when one was.
    pub(crate) fn release<S: Shard>(
        &mut self,
        cx: &mut Context<'_>,
        shard: &S,
        now: Instant,
        stats: &Stats,
    ) -> bool {
        let mut released = false;
        while let Some(hold) = self.holds.front() {
            let wait = hold.wait;
            match shard.poll_reached(cx, wait.token.entry, wait.level) {
                Poll::Ready(Ok(())) => {
                    if wait.write {
                        stats.commit_wait.observe(now.saturating_duration_since(wait.since));
                    }
                    self.holds.pop_front();
                }
                Poll::Ready(Err(Lost)) => self.replace(&lost(&wait)),
                Poll::Pending if wait.deadline <= now => {
                    stats.policy_timeouts.add(1);
                    self.replace(&late(&wait));
                }
                Poll::Pending => return released,
            }
            released = true;
        }
        released
    }

    /// Puts an error in the place of the reply in front, and lets it go.
    fn replace(&mut self, text: &str) {
        let Some(hold) = self.holds.pop_front() else { return };
        let at = |position: u64| usize::try_from(position - self.taken).unwrap_or(usize::MAX);
        let (start, end) = (at(hold.start), at(hold.end));
        let mut behind = self.out.split_off(end);
        self.out.truncate(start);
        Writer::new(&mut self.out, Proto::Two).error(text);
        let now_end = self.out.len();
        self.out.unsplit(std::mem::take(&mut behind));
        for later in &mut self.holds {
            for position in [&mut later.start, &mut later.end] {
                let moved = at_moved(*position - self.taken, end, now_end);
                *position = self.taken + moved;
            }
        }
    }

    /// Bytes that may leave now.
    pub(crate) fn ready(&self) -> &[u8] {
        let len = self.holds.front().map_or(self.out.len(), |hold| {
            usize::try_from(hold.start - self.taken).unwrap_or(usize::MAX)
        });
        self.out.get(..len).unwrap_or(&self.out)
    }

    /// Removes bytes that left.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.out.advance(bytes);
        self.taken += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    /// Takes a buffer to write to, if there is none.
    pub(crate) fn lend(&mut self, buffer: impl FnOnce() -> BytesMut) {
        if self.out.capacity() == 0 {
            self.out = buffer();
        }
    }

    /// Gives the buffer back when nothing is in it.
    pub(crate) fn take_back(&mut self) -> Option<BytesMut> {
        const KEEP: usize = 64;
        if !self.out.is_empty() {
            return None;
        }
        if self.holds.capacity() > KEEP {
            self.holds = VecDeque::new();
        }
        let out = std::mem::take(&mut self.out);
        (out.capacity() > 0).then_some(out)
    }
}

/// An offset behind a replaced reply that ended at `old` and ends at `new` now.
fn at_moved(offset: u64, old: usize, new: usize) -> u64 {
    let wide = |offset: usize| u64::try_from(offset).unwrap_or(u64::MAX);
    (offset - wide(old)) + wide(new)
}

fn late(wait: &Wait) -> String {
    if wait.write {
        format!(
            "XUNKNOWN ticket={} the write was not acknowledged as {} in time; ask with XFATE",
            wait.token, wait.level
        )
    } else {
        "TRYAGAIN what was read is not stable yet".to_owned()
    }
}

fn lost(wait: &Wait) -> String {
    if wait.write {
        format!("XUNKNOWN ticket={} this node is no longer the primary; ask with XFATE", wait.token)
    } else {
        "TRYAGAIN this node is no longer the primary".to_owned()
    }
}
