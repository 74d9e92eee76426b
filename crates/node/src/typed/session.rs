//! A session of the library: numbers for writes, and retries until somebody answers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_proto::{SESSION_WINDOW, SessionId, Ticket, Token};
use bytes::BytesMut;
use tokio::time::Instant;

use crate::typed::codec::Codec;
use crate::typed::machine::StateMachine;
use crate::typed::node::Node;
use crate::typed::outcome::{Propose, ProposeFailure, Reason, Receipt};
use crate::typed::write::What;

/// Between two attempts of a write.
const PAUSE: Duration = Duration::from_millis(20);

/// Writes that execute once, however often they are sent and whoever is primary. A clone goes on
/// in the same session with the same numbers.
pub struct Session<S: StateMachine> {
    node: Node<S>,
    id: SessionId,
    numbers: Arc<Mutex<Numbers>>,
}

/// Numbers handed out.
#[derive(Debug)]
struct Numbers {
    next: u64,
    under_way: BTreeSet<u64>,
}

/// A number that is under way.
struct Number<'a> {
    seq: u64,
    of: &'a Mutex<Numbers>,
}

impl<S: StateMachine> Clone for Session<S> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), id: self.id, numbers: Arc::clone(&self.numbers) }
    }
}

impl<S: StateMachine> std::fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        lock(self.of).under_way.remove(&self.seq);
    }
}

fn lock(numbers: &Mutex<Numbers>) -> std::sync::MutexGuard<'_, Numbers> {
    numbers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: StateMachine> Session<S> {
    pub(crate) fn new(node: Node<S>, id: SessionId, next: u64) -> Self {
        let numbers = Numbers { next: next.max(1), under_way: BTreeSet::new() };
        Self { node, id, numbers: Arc::new(Mutex::new(numbers)) }
    }

    /// The session's name, for going on in it later or elsewhere.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The number that the next write gets: keep it with the name.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        lock(&self.numbers).next
    }

    /// Makes a write that executes once, and waits for the floor. Sends it again when nobody
    /// could answer, until its time is over.
    ///
    /// # Errors
    /// As [`Node::propose`]. After [`ProposeFailure::Unknown`], [`Self::propose_again`] with the
    /// number that the write had asks what came of it, or makes it.
    pub async fn propose(&self, command: S::Command) -> Result<Receipt<S::Reply>, ProposeFailure> {
        self.propose_with(command, Propose::default()).await
    }

    /// As [`Self::propose`], and waits for what the caller asks. A ticket in `how` is not used.
    ///
    /// # Errors
    /// As [`Self::propose`]; [`Reason::Busy`] when so many writes are under way that the oldest
    /// could be forgotten.
    pub async fn propose_with(
        &self,
        command: S::Command,
        how: Propose,
    ) -> Result<Receipt<S::Reply>, ProposeFailure> {
        let number = self.number().ok_or(ProposeFailure::Rejected(Reason::Busy))?;
        self.propose_again(number.seq, command, how).await
    }

    /// Makes the write with this number, or asks what came of it. It must be the same command:
    /// whichever was executed first counts.
    ///
    /// # Errors
    /// As [`Self::propose`]; [`Reason::TooOld`] when the number is too far behind.
    pub async fn propose_again(
        &self,
        seq: u64,
        command: S::Command,
        how: Propose,
    ) -> Result<Receipt<S::Reply>, ProposeFailure> {
        let mut payload = BytesMut::new();
        command.encode(&mut payload);
        let what = What::Command(payload.freeze());
        let ticket = Some(Ticket { session: self.id, seq });
        let until = Instant::now() + how.timeout;
        let mut doubt: Option<Option<Token>> = None;
        loop {
            let timeout = until.saturating_duration_since(Instant::now());
            let outcome = self.node.write(what.clone(), Propose { timeout, ticket, ..how }).await;
            let passing = match &outcome {
                Ok(_) => return outcome,
                Err(ProposeFailure::Unknown { token }) => {
                    doubt = Some(token.or(doubt.flatten()));
                    true
                }
                Err(ProposeFailure::Rejected(reason)) => reason.passes(),
            };
            if !passing || Instant::now() + PAUSE >= until {
                // An attempt that nobody answered may have happened, whatever the last one says.
                return match doubt {
                    Some(token) => Err(ProposeFailure::Unknown { token }),
                    None => outcome,
                };
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends the session: the log forgets its writes at once and not after its time.
    ///
    /// # Errors
    /// As [`Node::propose`]; [`Reason::NoSession`] when it is closed already.
    pub async fn close(self) -> Result<Token, ProposeFailure> {
        let closed = self.node.write(What::Close { session: self.id }, Propose::default()).await;
        closed.map(|receipt| receipt.token)
    }

    /// The next number, unless the oldest under way would fall out of the window by it.
    fn number(&self) -> Option<Number<'_>> {
        let mut numbers = lock(&self.numbers);
        let seq = numbers.next;
        let oldest = numbers.under_way.first().copied().unwrap_or(seq);
        if seq - oldest >= SESSION_WINDOW {
            return None;
        }
        numbers.next = seq.checked_add(1)?;
        numbers.under_way.insert(seq);
        Some(Number { seq, of: &self.numbers })
    }
}

impl Reason {
    /// Whether the same write may well succeed a little later.
    const fn passes(&self) -> bool {
        match self {
            Self::NotPrimary { .. } | Self::TooFewReplicas | Self::Busy => true,
            Self::TooLarge
            | Self::NoSession
            | Self::TooOld { .. }
            | Self::TooManySessions
            | Self::Ttl
            | Self::Stopped => false,
        }
    }
}
