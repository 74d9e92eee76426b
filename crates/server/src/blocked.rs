//! What a connection's commands can wait for, and what happens when it has come.

use std::task::{Context, Poll};
use std::time::Instant;

use antiphon_proto::{EntryId, Lsn, Policy};

use crate::core::Core;
use crate::forward::Handed;
use crate::shard::{Counts, Shard};

/// Why a connection runs no command now.
pub(crate) enum Blocked {
    /// A wrong password: the answer is late on purpose.
    Delay { until: Instant, text: &'static str },
    /// `CLIENT PAUSE`: the next command waits.
    Pause { until: Instant },
    /// The next command reads what this connection wrote through the primary.
    Applied { lsn: Lsn, until: Instant },
    /// The next command writes, and too many writes are in flight.
    Room { lsn: Lsn, until: Instant },
    /// `WAIT` and `WAITAOF`.
    Copies { want: Copies, until: Option<Instant> },
    /// Commands that the primary runs for us.
    Handed(Handed),
}

/// What `WAIT` or `WAITAOF` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copies {
    pub(crate) entry: EntryId,
    /// `WAITAOF`: whether the primary's own disk is asked for; nothing for `WAIT`.
    pub(crate) local: Option<bool>,
    /// Members besides the primary.
    pub(crate) replicas: u8,
}

impl Blocked {
    /// When the wait ends by itself.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Delay { until, .. }
            | Self::Pause { until }
            | Self::Applied { until, .. }
            | Self::Room { until, .. } => Some(*until),
            Self::Copies { until, .. } => *until,
            Self::Handed(_) => None,
        }
    }
}

impl<S: Shard> Core<S> {
    /// Ready when the connection may go on; the reply of what it waited in is written then.
    pub(crate) fn poll_blocked(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let Some(mut blocked) = self.blocked.take() else { return Poll::Ready(()) };
        let over = blocked.deadline().is_some_and(|until| until <= now);
        let ready = match &mut blocked {
            Blocked::Delay { text, .. } => {
                if over {
                    self.reply().error(text);
                }
                over
            }
            Blocked::Pause { .. } => self.server.paused(now).is_none(),
            Blocked::Applied { lsn, .. } => self.applied(cx, *lsn, over),
            Blocked::Room { lsn, .. } => {
                self.no_room = over;
                over || self.server.shard.poll_applied(cx, *lsn).is_ready()
            }
            Blocked::Copies { want, .. } => {
                let want = *want;
                let reached = self.copied(cx, &want);
                if reached || over {
                    self.reply_copies(&want);
                }
                reached || over
            }
            Blocked::Handed(handed) => {
                let answer = handed.poll(cx);
                let ready = answer.is_ready();
                if let Poll::Ready(answer) = answer {
                    self.handed_back(answer);
                }
                ready
            }
        };
        if ready {
            return Poll::Ready(());
        }
        self.blocked = Some(blocked);
        Poll::Pending
    }

    /// Whether a wait for `lsn` is over. When it ends without the entry, reads go on with what
    /// is here only if the write is known to be lost; else the connection is told so.
    fn applied(&mut self, cx: &mut Context<'_>, lsn: Lsn, over: bool) -> bool {
        if self.server.shard.poll_applied(cx, lsn).is_ready() {
            return true;
        }
        if over {
            // Closing is the one answer that no client takes for a fresh read.
            self.reply().error("TRYAGAIN this replica has not applied your last write yet");
            self.closing = true;
        }
        over
    }

    /// Whether as many members hold the entry as is asked for.
    pub(crate) fn copied(&self, cx: &mut Context<'_>, want: &Copies) -> bool {
        let shard = &self.server.shard;
        if has_all(&shard.counts(want.entry), want) && want.local != Some(true) {
            return true;
        }
        let members = want.replicas.saturating_add(1);
        let mut reached =
            |level| matches!(shard.poll_reached(cx, want.entry, level), Poll::Ready(Ok(())));
        match want.local {
            None => want.replicas == 0 || reached(Policy::Received(members).into()),
            Some(local) => {
                let here = !local || reached(Policy::Local.into());
                // Both are polled, so that either wakes us.
                let there = want.replicas == 0 || reached(Policy::Ack(members).into());
                here && there
            }
        }
    }

    /// Answers `WAIT` or `WAITAOF` with what is reached now.
    pub(crate) fn reply_copies(&mut self, want: &Copies) {
        let counts = self.server.shard.counts(want.entry);
        let here = self.server.shard.view().durable >= want.entry.lsn;
        let mut reply = self.reply();
        match want.local {
            None => reply.count(counts.received),
            Some(_) => {
                reply.array(2);
                reply.int(i64::from(here));
                reply.count(counts.durable);
            }
        }
    }
}

/// Whether enough members besides the primary hold the entry now.
fn has_all(counts: &Counts, want: &Copies) -> bool {
    let held = if want.local.is_some() { counts.durable } else { counts.received };
    held >= usize::from(want.replicas)
}
