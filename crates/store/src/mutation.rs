//! Bugs that can be switched on to prove that tests and simulator see them.

/// A planted storage bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// Appends are reported durable without a sync.
    AckBeforeSync,
    /// A failed sync is taken for a success.
    IgnoreFailedSync,
    /// The name of a new segment is not made durable.
    SkipDirSync,
    /// Hard state is reported durable without a sync.
    HardStateNotSynced,
    /// Damage with good groups behind it is cut like a torn tail.
    CutOnDamage,
    /// Recovery believes any record with a good checksum, whether or not it continues the log.
    NoChainCheck,
    /// Recovery takes groups left in a recycled segment by its earlier life.
    BelieveRecycled,
    /// Recovery keeps what it finds of a group whose end is torn.
    KeepTornGroup,
    /// Truncation does not set the cut entries aside first.
    CutWithoutCopy,
    /// A snapshot gets its name before its bytes are durable.
    SnapshotNotSynced,
    /// Groups share sectors, so that a torn write hits what was durable.
    ShareSectors,
    /// Recovery takes the last group for durable because it can be read.
    BelieveCache,
    /// The acknowledged end is forgotten, so a lost end of the log is not seen.
    ForgetHint,
    /// Names that are seen at the opening are taken for durable.
    BelieveNames,
    /// What the opening found is noted only after the run's first write.
    NoNoteAtOpen,
    /// Entries are mended with a copy that was not compared with the log behind it.
    MendUnproven,
}

/// Which bug is planted, if any. Without the feature `mutations` there is never one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    #[cfg(any(test, feature = "mutations"))]
    bug: Option<Mutation>,
}

impl Planted {
    /// Plants one bug.
    #[cfg(any(test, feature = "mutations"))]
    #[must_use]
    pub const fn bug(bug: Mutation) -> Self {
        Self { bug: Some(bug) }
    }

    #[cfg(any(test, feature = "mutations"))]
    pub(crate) fn is(self, bug: Mutation) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(any(test, feature = "mutations")))]
    #[expect(clippy::unused_self, reason = "the same call with and without the feature")]
    pub(crate) const fn is(self, _bug: Mutation) -> bool {
        false
    }
}
