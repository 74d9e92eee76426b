//! Bodies that go to several peers are compressed once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::codec::Codec;
use crate::packing::Packed;

/// What became of one body: nothing if it does not shrink.
pub(super) type Cell = Arc<OnceCell<Option<Packed>>>;

/// Bodies that are remembered at most.
const BODIES_MAX: usize = 64;
/// Their bytes at most, or a single longer one.
const BYTES_MAX: usize = 16 << 20;

/// Bodies that a peer was sent and others may be.
#[derive(Debug, Default)]
pub(super) struct SharedBodies {
    ring: Mutex<VecDeque<Entry>>,
}

#[derive(Debug)]
struct Entry {
    body: Bytes, // holds the memory, so that its address means this body and no other
    codec: Codec,
    cell: Cell,
    left: usize, // peers that may still ask for it
}

impl SharedBodies {
    /// The place for what becomes of a body, which goes to `peers` peers at most.
    pub(super) fn cell(&self, body: &Bytes, codec: Codec, peers: usize) -> Cell {
        let Some(others) = peers.checked_sub(1).filter(|others| *others > 0) else {
            return Cell::default();
        };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &Entry| {
            entry.codec == codec
                && std::ptr::eq(entry.body.as_ptr(), body.as_ptr())
                && entry.body.len() == body.len()
        };
        if let Some(at) = ring.iter().position(same) {
            let entry = ring.get_mut(at).expect("it was just found");
            entry.left = entry.left.saturating_sub(1);
            let cell = Arc::clone(&entry.cell);
            if entry.left == 0 {
                ring.remove(at);
            }
            return cell;
        }
        let cell = Cell::default();
        let kept = Arc::clone(&cell);
        ring.push_back(Entry { body: body.clone(), codec, cell: kept, left: others });
        trim(&mut ring);
        cell
    }

    /// Forgets everything: who waits for a body is no longer known.
    pub(super) fn clear(&self) {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Keeps within the bounds, the newest always.
fn trim(ring: &mut VecDeque<Entry>) {
    let mut bytes: usize = ring.iter().map(|entry| entry.body.len()).sum();
    while ring.len() > BODIES_MAX || (bytes > BYTES_MAX && ring.len() > 1) {
        let oldest = ring.pop_front().expect("it is not empty");
        bytes = bytes.saturating_sub(oldest.body.len());
    }
}

#[cfg(test)]
mod tests;
