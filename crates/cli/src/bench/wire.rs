//! Writes requests: the parts that never change are laid out once for a run.

use crate::bench::plan::Load;

/// Appends `arguments` as one request.
pub(crate) fn request(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// The requests of one load.
#[derive(Debug)]
pub(crate) struct Requests {
    set_head: Vec<u8>,
    set_middle: Vec<u8>,
    get_head: Vec<u8>,
    wait: Vec<u8>,
    key: Vec<u8>,
    values: Values,
}

impl Requests {
    /// The requests of `load`, its values drawn from `seed`; a `WAIT` gives up after `wait_ms`.
    pub(crate) fn new(load: &Load, seed: u64, wait_ms: u64) -> Self {
        let key = format!("${}\r\n", load.key_bytes);
        let mut wait = Vec::new();
        if let Some(replicas) = load.wait {
            let (replicas, wait_ms) = (replicas.to_string(), wait_ms.to_string());
            request(&mut wait, &[b"WAIT", replicas.as_bytes(), wait_ms.as_bytes()]);
        }
        Self {
            set_head: format!("*3\r\n$3\r\nSET\r\n{key}").into_bytes(),
            set_middle: format!("\r\n${}\r\n", load.value_bytes).into_bytes(),
            get_head: format!("*2\r\n$3\r\nGET\r\n{key}").into_bytes(),
            wait,
            key: key_template(size(load.key_bytes)),
            values: Values { seed, bytes: size(load.value_bytes) },
        }
    }

    /// The values that are written.
    pub(crate) const fn values(&self) -> Values {
        self.values
    }

    /// Appends the write of `key` with the value of its `sequence`-th write.
    pub(crate) fn set(&self, out: &mut Vec<u8>, key: u32, sequence: u32) {
        out.extend_from_slice(&self.set_head);
        self.key(out, key);
        out.extend_from_slice(&self.set_middle);
        self.values.append(out, key, sequence);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the read of `key`.
    pub(crate) fn get(&self, out: &mut Vec<u8>, key: u32) {
        out.extend_from_slice(&self.get_head);
        self.key(out, key);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the `WAIT` of the load.
    pub(crate) fn wait(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.wait);
    }

    fn key(&self, out: &mut Vec<u8>, mut key: u32) {
        let start = out.len();
        out.extend_from_slice(&self.key);
        for digit in out.iter_mut().skip(start).rev() {
            if key == 0 {
                break;
            }
            *digit = b"0123456789".get(size(key % 10)).copied().unwrap_or(b'0');
            key /= 10;
        }
    }
}

/// Fewest bytes that tell `keys` keys apart.
pub(crate) fn key_bytes_min(keys: u32) -> u32 {
    keys.saturating_sub(1).checked_ilog10().map_or(1, |log| log + 1)
}

/// `key:000` when there is room for the word beside ten digits, else all digits.
fn key_template(bytes: usize) -> Vec<u8> {
    let mut template = vec![b'0'; bytes];
    if bytes >= 14 {
        for (place, letter) in template.iter_mut().zip(b"key:") {
            *place = *letter;
        }
    }
    template
}

fn size(count: u32) -> usize {
    usize::try_from(count).expect("a 32-bit count fits the address space of every supported target")
}

/// Values that can be told again from seed, key and sequence.
///
/// The first eight bytes name the key and the sequence, as far as they fit; the rest follows from
/// them, so that a value of one write is never taken for that of another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values {
    seed: u64,
    bytes: usize,
}

impl Values {
    /// Appends the value of the `sequence`-th write of `key`.
    pub(crate) fn append(&self, out: &mut Vec<u8>, key: u32, sequence: u32) {
        let name = (u64::from(key) << 32) | u64::from(sequence);
        let mut left = self.bytes;
        let mut random = Random::new(self.seed ^ mix(name));
        let mut word = name;
        while left > 0 {
            let bytes = word.to_le_bytes();
            let take = left.min(bytes.len());
            out.extend(bytes.iter().take(take));
            left -= take;
            word = random.next();
        }
    }

    /// The sequence that `value` names, when it is long enough to name one of `key`.
    pub(crate) fn named_sequence(&self, value: &[u8], key: u32) -> Option<u32> {
        let name = value.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))?;
        if name >> 32 == u64::from(key) { u32::try_from(name & 0xffff_ffff).ok() } else { None }
    }
}

/// A small generator: a counter through a mixing function, good enough to spread load.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Starts from `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let wide = (self.next() >> 32) * u64::from(bound);
        u32::try_from(wide >> 32).expect("32 bits times 32 bits, shifted by 32, is 32 bits")
    }
}

/// The finishing function of `SplitMix64`.
const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests;
