//! One timer of a connection, set to whatever it waits for next.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use tokio::time::Sleep;

/// A timer that fires at or before the time it is polled with.
///
/// Moving it is left out where it can be: a timer that is due too early fires, and is set anew.
/// Under load that is one setting for many commands.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Timer {
    /// True when it fired; the caller looks at its clock again then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else {
            // What is armed fires once in vain; that is cheaper than taking it back each time.
            return false;
        };
        let deadline = tokio::time::Instant::from_std(deadline);
        match &mut self.sleep {
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(deadline))),
            Some(sleep) if !self.armed || sleep.deadline() > deadline => {
                sleep.as_mut().reset(deadline);
            }
            Some(_) => {}
        }
        self.armed = true;
        let fired = self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        if fired {
            self.armed = false;
        }
        fired
    }
}
