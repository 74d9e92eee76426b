//! Commands that took long, as `SLOWLOG` shows them, and the worst times, as `LATENCY` does.

use std::collections::VecDeque;
use std::time::Duration;

use crate::client::Client;

const ARGS_MAX: usize = 32;
const ARG_BYTES_MAX: usize = 128;

/// The newest slow commands.
#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    entries: VecDeque<Slow>,
    next: i64,
}

/// A slow command.
#[derive(Debug)]
pub(crate) struct Slow {
    pub(crate) id: i64,
    pub(crate) at_s: u64,
    pub(crate) took: Duration,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) peer: String,
    pub(crate) name: Vec<u8>,
}

impl SlowLog {
    /// Notes a command; the oldest ones make room.
    pub(crate) fn note(
        &mut self,
        client: &Client,
        args: &[&[u8]],
        took: Duration,
        (at_s, entries_max): (u64, usize),
    ) {
        self.entries.push_front(Slow {
            id: self.next,
            at_s,
            took,
            args: shortened(args),
            peer: client.peer.to_string(),
            name: client.name.borrow().clone(),
        });
        self.next += 1;
        self.entries.truncate(entries_max);
    }

    /// Entries, the newest first.
    pub(crate) fn newest(&self, count: usize) -> impl ExactSizeIterator<Item = &Slow> {
        self.entries.iter().take(count)
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets them all; their numbers go on.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

/// Arguments cut to what is worth keeping, with Redis's words for what is left out.
fn shortened(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let left_out = args.len().saturating_sub(ARGS_MAX);
    let shown = if left_out > 0 { ARGS_MAX - 1 } else { args.len() };
    let mut kept: Vec<Vec<u8>> = args.iter().take(shown).map(|arg| short(arg)).collect();
    if left_out > 0 {
        kept.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    kept
}

fn short(arg: &[u8]) -> Vec<u8> {
    match arg.split_at_checked(ARG_BYTES_MAX) {
        Some((shown, rest)) if !rest.is_empty() => {
            [shown, format!("... ({} more bytes)", rest.len()).as_bytes()].concat()
        }
        _ => arg.to_vec(),
    }
}
