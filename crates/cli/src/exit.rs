//! How a command ends: the exit codes, and the error that carries one.

use std::fmt;
use std::process::ExitCode;

/// What a command ended with. The numbers are part of the interface and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(dead_code, reason = "the table is whole; the commands that use the rest come to it")]
pub(crate) enum Exit {
    /// Done; or: healthy.
    Done,
    /// Failed.
    Failed,
    /// Wrong usage, the parser's own code.
    Usage,
    /// Not healthy, or the state that was waited for did not come.
    Unhealthy,
    /// A precondition does not hold, nothing was changed.
    Refused,
    /// Sent without an answer: it may have happened, asking again is safe.
    Unknown,
    /// Certificates, credentials or permissions do not allow it.
    NotAllowed,
    /// A checksum, digest or value is not what it must be.
    Integrity,
}

impl Exit {
    /// The code as the shell sees it.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unhealthy => 3,
            Self::Refused => 4,
            Self::Unknown => 5,
            Self::NotAllowed => 6,
            Self::Integrity => 7,
        }
    }

    /// The code for an error: that of the [`Problem`] in its chain, else [`Exit::Failed`].
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error.downcast_ref::<Problem>().map_or(Self::Failed, |problem| problem.exit)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error that knows its exit code and the reader's next step.
#[derive(Debug)]
pub(crate) struct Problem {
    exit: Exit,
    what: String,
    next: String,
}

impl Problem {
    /// `what` happened and what it means; `next` is what to do about it.
    pub(crate) fn new(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit, what: what.into(), next: next.into() }
    }

    /// Wrong usage that the parser cannot see, such as two flags that contradict each other.
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, next)
    }

    /// What to do about it.
    pub(crate) fn next(&self) -> &str {
        &self.next
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}
