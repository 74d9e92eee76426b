//! How a command ends: the exit codes.

use std::process::ExitCode;

use crate::errors::Code;

/// What a command ended with. The numbers are part of the interface and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// How a command ends with this error.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        Code::of(error).explained().exit
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
