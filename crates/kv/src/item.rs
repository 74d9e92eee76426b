//! One key with its value and expiry, in one shared allocation.
//!
//! Layout: a flag byte, the key's length in 1, 2 or 4 bytes, the expiry in 8 bytes if there is
//! one, the key, the value. Numbers are little-endian. The bytes are canonical: equal items have
//! equal bytes, so their hash serves as the item's part of the digest.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

const HAS_EXPIRY: u8 = 1;
const KIND_STRING: u8 = 0; // in the upper four bits of the flag byte
const EXPIRY_BYTES: usize = 8;
/// Items up to this size are put together on the stack, so that their memory is not zeroed first.
const SMALL_BYTES: usize = 512;
/// What the allocator and the shared count add to an item's own bytes, about.
const HEAP_OVERHEAD_BYTES: usize = 16 + 16;

/// A key, its value, and when it expires. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item(Arc<[u8]>);

/// What an item holds. Data types join here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A string.
    Str(&'a [u8]),
}

#[derive(Clone, Copy)]
struct Layout {
    flags: u8,
    expiry: usize,
    key: usize,
    value: usize,
}

impl Layout {
    fn new(key_bytes: usize, expires: bool) -> Self {
        let (width, length_bytes) = match key_bytes {
            0..=0xff => (0, 1),
            0x100..=0xffff => (1, 2),
            _ => (2, 4),
        };
        let flags = (KIND_STRING << 4) | (width << 1) | u8::from(expires);
        let expiry = 1 + length_bytes;
        let key = expiry + if expires { EXPIRY_BYTES } else { 0 };
        Self { flags, expiry, key, value: key + key_bytes }
    }

    fn read(bytes: &[u8]) -> Self {
        let flags = *bytes.first().expect("an item has its flag byte");
        let length_bytes = match (flags >> 1) & 3 {
            0 => 1,
            1 => 2,
            _ => 4,
        };
        let expiry = 1 + length_bytes;
        let mut length = [0; 4];
        for (to, from) in length.iter_mut().zip(bytes.get(1..expiry).expect("its key's length")) {
            *to = *from;
        }
        let key_bytes = usize::try_from(u32::from_le_bytes(length)).expect("32 bits fit");
        let key = expiry + if flags & HAS_EXPIRY == 0 { 0 } else { EXPIRY_BYTES };
        Self { flags, expiry, key, value: key + key_bytes }
    }
}

impl Item {
    /// A string.
    pub(crate) fn string(key: &[u8], value: &[u8], expire_at_ms: Option<u64>) -> Self {
        Self::build(key, expire_at_ms, value.len(), |place| place.copy_from_slice(value))
    }

    /// A string of `value_bytes` bytes that `fill` writes; they are zero before.
    ///
    /// # Panics
    /// When the key has more bytes than 32 bits count: the engine refuses such keys.
    pub(crate) fn build(
        key: &[u8],
        expire_at_ms: Option<u64>,
        value_bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Self {
        let layout = Layout::new(key.len(), expire_at_ms.is_some());
        let total = layout.value + value_bytes;
        let write = |bytes: &mut [u8]| {
            let (head, value) = bytes.split_at_mut(layout.value);
            write_head(head, layout, key, expire_at_ms);
            fill(value);
        };
        let mut small = [0; SMALL_BYTES];
        if let Some(bytes) = small.get_mut(..total) {
            write(bytes);
            return Self(Arc::from(&*bytes));
        }
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, total).collect();
        write(Arc::get_mut(&mut bytes).expect("nobody else knows it yet"));
        Self(bytes)
    }

    /// The key.
    pub(crate) fn key(&self) -> &[u8] {
        let layout = Layout::read(&self.0);
        self.0.get(layout.key..layout.value).expect("an item holds its key")
    }

    /// The value.
    pub(crate) fn value(&self) -> Value<'_> {
        let layout = Layout::read(&self.0);
        Value::Str(self.0.get(layout.value..).expect("an item holds its value"))
    }

    /// When the key ceases to be, in milliseconds since 1970.
    pub(crate) fn expire_at_ms(&self) -> Option<u64> {
        let layout = Layout::read(&self.0);
        let bytes = self.0.get(layout.expiry..layout.key).expect("an item holds its expiry");
        (layout.flags & HAS_EXPIRY != 0)
            .then(|| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    /// Whether the key has ceased to be at `now_ms`.
    pub(crate) fn expired(&self, now_ms: u64) -> bool {
        self.expire_at_ms().is_some_and(|at| at <= now_ms)
    }

    /// The same key and value with another expiry.
    pub(crate) fn with_expiry(&self, expire_at_ms: Option<u64>) -> Self {
        match self.value() {
            Value::Str(value) => Self::string(self.key(), value, expire_at_ms),
        }
    }

    /// The same value and expiry under another key.
    pub(crate) fn with_key(&self, key: &[u8]) -> Self {
        match self.value() {
            Value::Str(value) => Self::string(key, value, self.expire_at_ms()),
        }
    }

    /// The item's part of its database's digest.
    pub(crate) fn digest(&self) -> u128 {
        xxh3_128(&self.0)
    }

    /// Bytes of memory that the item takes, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.len() + HEAP_OVERHEAD_BYTES
    }
}

fn write_head(head: &mut [u8], layout: Layout, key: &[u8], expire_at_ms: Option<u64>) {
    let (flags, rest) = head.split_first_mut().expect("a head has its flag byte");
    *flags = layout.flags;
    let (length, rest) = rest.split_at_mut(layout.expiry - 1);
    let key_bytes = u32::try_from(key.len()).expect("the engine limits keys far below 32 bits");
    for (to, from) in length.iter_mut().zip(key_bytes.to_le_bytes()) {
        *to = from;
    }
    let (expiry, rest) = rest.split_at_mut(layout.key - layout.expiry);
    if let Some(at) = expire_at_ms {
        expiry.copy_from_slice(&at.to_le_bytes());
    }
    rest.copy_from_slice(key);
}

#[cfg(test)]
mod tests;
