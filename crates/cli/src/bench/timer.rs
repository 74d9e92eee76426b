//! Wakes a poll at a moment, finer than the milliseconds of its own time limit.

use std::io;
use std::time::Duration;

use mio::Registry;

use crate::bench::clock::Nanos;

/// A kernel timer beside the sockets of a poll.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Timer {
    timer: rustix::fd::OwnedFd,
    armed: Option<Nanos>,
}

#[cfg(target_os = "linux")]
impl Timer {
    /// A timer that reports to `registry` as `token`.
    ///
    /// # Errors
    /// When the kernel has none to give.
    pub(crate) fn new(registry: &Registry, token: mio::Token) -> io::Result<Self> {
        use rustix::fd::AsRawFd;
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let mut source = mio::unix::SourceFd(&timer.as_raw_fd());
        registry.register(&mut source, token, mio::Interest::READABLE)?;
        Ok(Self { timer, armed: None })
    }

    /// Wakes the poll at `due`, `wait` from now. Answers a time limit for the poll besides.
    ///
    /// # Errors
    /// When the kernel refuses, which no valid time makes it do.
    pub(crate) fn arm(&mut self, due: Nanos, wait: Duration) -> io::Result<Option<Duration>> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        if self.armed != Some(due) {
            // Zero would disarm it.
            let wait = wait.max(Duration::from_nanos(1));
            let time = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: wait.try_into().map_err(io::Error::other)?,
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &time)?;
            self.armed = Some(due);
        }
        Ok(None)
    }
}

/// Where there is no such timer, the poll's own limit must do.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    /// Nothing to set up.
    ///
    /// # Errors
    /// None.
    pub(crate) fn new(_registry: &Registry, _token: mio::Token) -> io::Result<Self> {
        Ok(Self)
    }

    /// The time limit for the poll.
    ///
    /// # Errors
    /// None.
    pub(crate) fn arm(&mut self, _due: Nanos, wait: Duration) -> io::Result<Option<Duration>> {
        Ok(Some(wait))
    }
}
