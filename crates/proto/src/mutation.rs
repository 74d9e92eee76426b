//! Bugs that can be planted in the machine, to prove that the simulator sees them.

/// A planted bug: each leaves out or bends one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// Entries of earlier epochs become stable before the epoch's first entry is.
    SkipRuleA,
    /// One sealed voter is enough for an election.
    ElectUnsafe,
    /// The primary goes on with its own log, whatever the others hold.
    KeepOwnLog,
    /// The recovery copies from any sealed voter that has more, not from the longest log.
    CopyFromAny,
    /// The longest log is the one with the most entries, whatever their epochs.
    LongestIgnoresEpoch,
    /// A primary starts again in an epoch that was promised before.
    ReuseEpoch,
    /// Voters are asked before the primary's own promise is on disk.
    AskBeforePromise,
    /// A promise is answered before it is on disk.
    PromiseNotPersisted,
    /// A follower receives in an epoch before its hard state says so.
    JoinBeforePersist,
    /// Entries in memory are acknowledged as if they were on disk.
    AckFromMemory,
    /// Entries count as durable at the primary when they are appended.
    CountBeforeSync,
    /// A follower that joins an epoch cuts nothing.
    NoCutAtJoin,
    /// A follower that joins an epoch cuts all that it has not applied.
    CutToApplied,
    /// A follower keeps one entry behind the recorded cut.
    CutOffByOne,
    /// A follower keeps entries of an epoch that has no row in the cut table.
    KeepWithoutRow,
    /// The new primary forgets the cut table.
    ForgetHistory,
    /// The primary's own disk is enough for what is called stable.
    StableFromOwnDisk,
    /// Entries are applied before they are on this node's disk.
    ApplyBeyondDurable,
    /// The primary serves before its state holds all that is stable.
    ServeBeforeApplied,
    /// The primary serves before its epoch's first entry is stable.
    ServeBeforeStable,
    /// A follower appends whatever comes next, without looking whether it continues its log.
    IgnoreGap,
    /// A node that lost what it acknowledged counts in a recovery.
    AmnesiacCounts,
    /// Writes below the floor are acknowledged however much would be lost.
    GuardIgnored,
    /// Writes at the floor are acknowledged before they are stable.
    ReachedBeforeStable,
    /// A write's fate is told before the epoch's first entry is stable.
    FateTooEarly,
    /// Writes are taken however many wait.
    NeverBusy,
    /// What a primary has made stable is only told with the next entry.
    StableNotRepeated,
    /// A voter that did not answer is not asked again.
    AskOnce,
    /// A session's write that is under way is not seen by its retry.
    SessionIgnoresOverlay,
    /// A session's window admits the number right below it.
    SessionWindowOffByOne,
    /// A primary that lost its place keeps what was under way in its sessions.
    SessionKeepsOverlay,
    /// Snapshots are written without the sessions.
    SessionsNotInSnapshot,
    /// A voter with a new disk counts in a recovery.
    BlankCounts,
    /// A node that forgot counts again as soon as it hears where the primary's log ends.
    DebtForgiven,
    /// A parent that has not heard where the primary's log ends tells where its own does.
    HeadGuessed,
    /// The primary serves before it is on disk that it did.
    ServeUnestablished,
    /// A primary with a new disk goes on right behind the epochs that it hears of.
    EpochsReused,
}

/// Which bug is planted, if any. Without the feature `mutations` there is never one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Planted {
    #[cfg(feature = "mutations")]
    bug: Option<Mutation>,
}

impl Planted {
    #[cfg(feature = "mutations")]
    pub(crate) const fn bug(bug: Mutation) -> Self {
        Self { bug: Some(bug) }
    }

    #[cfg(feature = "mutations")]
    pub(crate) fn is(self, bug: Mutation) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "the same call with and without the feature")]
    pub(crate) const fn is(self, _bug: Mutation) -> bool {
        false
    }
}

#[cfg(feature = "mutations")]
impl Mutation {
    /// All of them.
    pub const ALL: [Self; 37] = [
        Self::SkipRuleA,
        Self::ElectUnsafe,
        Self::KeepOwnLog,
        Self::CopyFromAny,
        Self::LongestIgnoresEpoch,
        Self::ReuseEpoch,
        Self::AskBeforePromise,
        Self::PromiseNotPersisted,
        Self::JoinBeforePersist,
        Self::AckFromMemory,
        Self::CountBeforeSync,
        Self::NoCutAtJoin,
        Self::CutToApplied,
        Self::CutOffByOne,
        Self::KeepWithoutRow,
        Self::ForgetHistory,
        Self::StableFromOwnDisk,
        Self::ApplyBeyondDurable,
        Self::ServeBeforeApplied,
        Self::ServeBeforeStable,
        Self::IgnoreGap,
        Self::AmnesiacCounts,
        Self::GuardIgnored,
        Self::ReachedBeforeStable,
        Self::FateTooEarly,
        Self::NeverBusy,
        Self::StableNotRepeated,
        Self::AskOnce,
        Self::SessionIgnoresOverlay,
        Self::SessionWindowOffByOne,
        Self::SessionKeepsOverlay,
        Self::SessionsNotInSnapshot,
        Self::BlankCounts,
        Self::DebtForgiven,
        Self::HeadGuessed,
        Self::ServeUnestablished,
        Self::EpochsReused,
    ];
}
