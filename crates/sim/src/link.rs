//! A link between two nodes: lanes that keep their order, views that end at different times.

use std::collections::BTreeMap;

use antiphon_proto::MessageLane;

/// One pair of nodes, by their places.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: (usize, usize),
    pub(crate) name: u64,   // of the newest connection
    pub(crate) alive: bool, // whether that still carries messages
    pub(crate) cutoff: u64, // what would arrive later is lost
    pub(crate) cut_until: u64,
    pub(crate) dialling: bool,
    pub(crate) lanes: BTreeMap<(usize, MessageLane), Lane>, // by sender
    pub(crate) ways: BTreeMap<usize, Way>,
}

/// One lane in one direction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    pub(crate) last: u64, // arrival of the newest message
    pub(crate) bytes: usize,
}

/// What is wrong with one direction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Way {
    pub(crate) stalled_until: u64,
    pub(crate) extra: u64,
    pub(crate) extra_until: u64,
    pub(crate) flips: u64,
}

impl Link {
    pub(crate) const fn new(a: usize, b: usize) -> Self {
        Self {
            ends: (a, b),
            name: 0,
            alive: false,
            cutoff: u64::MAX,
            cut_until: 0,
            dialling: false,
            lanes: BTreeMap::new(),
            ways: BTreeMap::new(),
        }
    }

    pub(crate) fn way(&mut self, from: usize) -> &mut Way {
        self.ways.entry(from).or_default()
    }
}
