//! The keyed hash of keys: the key is a secret of the process, so that nobody can aim collisions.

use xxhash_rust::xxh3::{xxh3_64_with_secret, xxh3_128_with_seed};

/// Bytes of secret that the hash mixes in; XXH3 asks for at least 136.
const SECRET_BYTES: usize = 192;

/// Hashes keys under a secret that is spread out from a 128-bit seed.
#[derive(Debug, Clone)]
pub(crate) struct KeyHash {
    secret: Box<[u8; SECRET_BYTES]>,
}

impl KeyHash {
    /// Spreads the seed. All of the secret depends on all of the seed.
    pub(crate) fn new(seed: u128) -> Self {
        let mut secret = Box::new([0; SECRET_BYTES]);
        for (counter, part) in (0_u64..).zip(secret.as_chunks_mut::<16>().0) {
            *part = xxh3_128_with_seed(&seed.to_le_bytes(), counter).to_le_bytes();
        }
        Self { secret }
    }

    /// The hash of a key.
    pub(crate) fn of(&self, key: &[u8]) -> u64 {
        xxh3_64_with_secret(key, self.secret.as_slice())
    }
}
