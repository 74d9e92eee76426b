//! What a node may have forgotten: until it holds it again, it does not count in a recovery.
//!
//! A node without a hard state has a new disk. It may once have acknowledged anything, so it owes
//! an unknown end, and its promises are gone too. A follower learns from its parent what it owes at
//! most; a primary is told by those who remember.

use crate::mutation::Mutation;
use crate::replica::{Effect, HardState, Replica, Role};
use crate::{Epoch, Lsn, NodeId, Sealed};

/// Epochs that a primary with a new disk leaves out at least. More than runs that nobody whom it
/// hears from knows of: a primary that is started anew each second needs twelve days for them.
const SKIPPED_EPOCHS: u64 = 1_000_000;

/// The end of the log that this node once acknowledged. While the log on its disk ends before it,
/// the node does not count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Debt {
    to: Lsn,      // 0 when nothing was lost, MAX when nobody knows what
    written: Lsn, // as the newest hard state says
    ticket: u64,  // of the hard state that holds what a parent told
}

impl Debt {
    pub(super) fn new(hard: Option<&HardState>, acknowledged: Lsn) -> Self {
        let written = hard.map_or(Lsn::ZERO, |hard| hard.owed);
        let to = hard.map_or(Lsn::MAX, |hard| hard.owed.max(acknowledged));
        Self { to, written, ticket: 0 }
    }

    pub(super) fn lower(&mut self, to: Lsn) {
        self.to = self.to.min(to);
    }
}

/// Whether this primary knows that something may have been acknowledged, and knows it for good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Established {
    known: bool,
    ticket: u64, // of the hard state that says so
}

impl Established {
    pub(super) fn new(hard: Option<&HardState>) -> Self {
        Self { known: hard.is_some_and(|hard| hard.established), ticket: 0 }
    }

    pub(super) const fn is_known(self) -> bool {
        self.known
    }
}

impl Replica {
    /// Whether the log lacks what this node acknowledged once, or may lack it.
    pub(super) fn is_amnesiac(&self) -> bool {
        self.log.durable() < self.debt.to && !self.planted.is(Mutation::AmnesiacCounts)
    }

    /// Whether the log holds all that this node acknowledged, so that it counts in a recovery.
    pub(super) fn is_whole(&self) -> bool {
        let unreadable = self.log.is_unreadable() && !self.planted.is(Mutation::AmnesiacCounts);
        !self.is_amnesiac() && !unreadable
    }

    /// Whether this node's disk is new, and the node took part in nothing since.
    pub(super) fn is_blank(&self) -> bool {
        self.is_new() && self.log.last().lsn == Lsn::ZERO
    }

    /// Whether this node forgot which epochs there were.
    pub(super) fn is_new(&self) -> bool {
        self.config.epoch == Epoch::ZERO && self.debt.to == Lsn::MAX
    }

    /// Whether others may hear how far this disk is. Before the node knows durably what it owes,
    /// its word would make a primary count on a node that the next recovery leaves out.
    pub(super) fn may_tell_durable(&self) -> bool {
        let known = self.debt.to < Lsn::MAX && self.debt.ticket <= self.persisted;
        known
            || !matches!(self.role, Role::Follower(_))
            || self.planted.is(Mutation::AmnesiacCounts)
    }

    /// The parent told where the primary's log ended after this node opened its stream.
    ///
    /// Whatever was acknowledged with the help of what this node lost was in the primary's log
    /// before that: the loss came before this run, and this run before its stream. So it lies at
    /// or below `head`, and when this disk holds the log to there, the node is as good as before
    /// the loss. A later stream may lower the debt again: an epoch that cut the log cut nothing
    /// that was acknowledged.
    pub(super) fn lower_debt(&mut self, head: Lsn) {
        let before = self.debt.to;
        if !self.is_amnesiac() || head >= before {
            return;
        }
        self.debt.lower(if self.planted.is(Mutation::DebtForgiven) { Lsn::ZERO } else { head });
        self.debt.ticket = self.persist();
    }

    /// A recovery chose this log: all that was ever acknowledged is in it.
    pub(super) fn owe_own_log(&mut self) {
        self.debt.lower(self.log.last().lsn);
    }

    /// Writes down that the debt is paid: a later cut of the log must not bring it back.
    pub(super) fn settle_debt(&mut self) {
        if self.debt.written > Lsn::ZERO && !self.is_amnesiac() {
            self.persist();
        }
    }

    /// Writes promise, configuration and debt; returns the ticket that says when they are on disk.
    pub(super) fn persist(&mut self) -> u64 {
        assert!(self.config.epoch <= self.promised, "a configuration is promised before it counts");
        self.tickets += 1;
        let owed = if self.is_amnesiac() { self.debt.to } else { Lsn::ZERO };
        self.debt.written = owed;
        let hard = HardState {
            promised: self.promised,
            config: self.config.clone(),
            owed,
            established: self.established.known,
        };
        self.effects.push(Effect::Persist { ticket: self.tickets, hard: hard.encode().into() });
        self.tickets
    }

    /// The epoch to try behind one that a voter promised: the next. A primary with a new disk
    /// leaves many out.
    ///
    /// It may have appended in epochs that nobody remembers whom it hears from, and their
    /// identifiers must not be used again. How many it leaves out depends on the directory, so
    /// that two losses in a row do not meet.
    pub(super) fn epoch_behind(&self, promised: Epoch) -> Epoch {
        if !self.is_new() || self.planted.is(Mutation::EpochsReused) {
            return promised.next();
        }
        let own = u64::try_from(self.me.store.get() % u128::from(SKIPPED_EPOCHS));
        let own = own.expect("the remainder is below the divisor");
        Epoch::new(promised.get() + SKIPPED_EPOCHS + own)
    }

    /// Whether a recovery of a primary with a new disk is in an epoch that it may have used, for
    /// all that a voter knows which obeyed `obeyed`. A voter that had promised less than the
    /// recovery asks for has refused nothing.
    pub(super) fn may_be_used(&self, epoch: Epoch, obeyed: Epoch) -> bool {
        let beyond = epoch.get() >= obeyed.get() + SKIPPED_EPOCHS;
        let known = obeyed > Epoch::ZERO && !self.planted.is(Mutation::EpochsReused);
        self.is_new() && known && !beyond
    }

    /// Whether a recovery that hears these voters is the first of this log: all of them, and this
    /// node, have new disks.
    pub(super) fn is_first_start(&self, blank: impl Fn(NodeId) -> bool) -> bool {
        let mut others = self.config.voters.iter().filter(|member| member.node != self.me.node);
        self.is_blank() && others.all(|member| blank(member.node))
    }

    /// Whether a promise counts. `forgiving` recoveries are those before anything was
    /// acknowledged: nobody can have forgotten anything.
    pub(super) fn counts(&self, sealed: &Sealed, forgiving: bool) -> bool {
        !sealed.amnesiac || forgiving || (sealed.blank && self.planted.is(Mutation::BlankCounts))
    }

    /// A primary that forgot goes on with what others remember: something may have been
    /// acknowledged. Comes before [`Replica::owe_own_log`]; returns whether that is news.
    pub(super) fn is_proven(&mut self, first: bool) -> bool {
        let news = self.is_new() && !first && !self.established.known;
        self.established.known |= news;
        news
    }

    /// The hard state with this ticket says that something may have been acknowledged.
    pub(super) fn establish_with(&mut self, ticket: u64) {
        self.established.ticket = ticket;
    }

    /// Writes down that something may be acknowledged from now on, once those who hold the
    /// epoch's first entry are enough for a recovery; whether it is on disk.
    ///
    /// Before, voters with new disks count in a recovery, after it they don't. With fewer than
    /// enough on the way, a primary that is started again could never hear enough voters.
    pub(super) fn establish(&mut self) -> bool {
        let unwritten = self.planted.is(Mutation::ServeUnestablished);
        if !self.established.known && !unwritten {
            let Role::Primary(primary) = &self.role else { return false };
            if !primary.is_held_enough(self.config.voter_set()) {
                return false;
            }
            self.established.known = true;
            self.established.ticket = self.persist();
        }
        self.established.ticket <= self.persisted || unwritten
    }
}
