//! A log of a few entries, held by value.

/// Entries that a log may have.
const ENTRIES_MAX: usize = 6;

/// An entry: the epoch it was written in and the write; write 0 is the epoch's own first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Entry {
    pub(super) epoch: u8,
    pub(super) write: u8,
}

impl Entry {
    pub(super) const fn first_of(epoch: u8) -> Self {
        Self { epoch, write: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Log {
    length: u8,
    entries: [Entry; ENTRIES_MAX], // those past the length are empty, so that equal logs are equal
}

impl Log {
    pub(super) const fn length(&self) -> u8 {
        self.length
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.entries.into_iter().take(usize::from(self.length))
    }

    pub(super) fn get(&self, index: u8) -> Option<Entry> {
        (index < self.length).then(|| self.entries[usize::from(index)])
    }

    pub(super) fn has_room_for(&self, entries: usize) -> bool {
        usize::from(self.length) + entries <= ENTRIES_MAX
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries[usize::from(self.length)] = entry;
        self.length += 1;
    }

    pub(super) fn cut(&mut self, length: u8) {
        self.entries[usize::from(length)..].fill(Entry::default());
        self.length = length;
    }

    /// Entries from the start that both logs have.
    pub(super) fn common(&self, other: &Self) -> u8 {
        let both = self.length.min(other.length);
        let differs = |at: &u8| self.entries[usize::from(*at)] != other.entries[usize::from(*at)];
        (0..both).find(differs).unwrap_or(both)
    }

    /// The epoch of the last entry; 0 when there is none.
    pub(super) fn last_epoch(&self) -> u8 {
        self.entries().last().map_or(0, |entry| entry.epoch)
    }

    pub(super) fn has_write(&self, write: u8) -> bool {
        self.entries().any(|entry| entry.write == write)
    }

    /// Grows to the first `length` entries of `other`; false when the two differ before that.
    pub(super) fn extend_to(&mut self, other: &Self, length: u8) -> bool {
        for entry in other.entries().take(usize::from(length)).skip(usize::from(self.length)) {
            self.push(entry);
        }
        self.common(other) >= length
    }
}
