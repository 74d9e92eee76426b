//! What is going to happen, by time and then by the order in which it was put in.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Events to come.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Item<T>>>,
    turn: u64,
}

#[derive(Debug)]
struct Item<T> {
    at: u64,
    turn: u64,
    due: T,
}

impl<T> PartialEq for Item<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.turn) == (other.at, other.turn)
    }
}

impl<T> Eq for Item<T> {}

impl<T> PartialOrd for Item<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Item<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.turn).cmp(&(other.at, other.turn))
    }
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), turn: 0 }
    }

    pub(crate) fn push(&mut self, at: u64, due: T) {
        self.turn += 1;
        self.heap.push(Reverse(Item { at, turn: self.turn, due }));
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        self.heap.pop().map(|Reverse(item)| (item.at, item.due))
    }
}
