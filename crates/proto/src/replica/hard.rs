//! What a node must never forget: the promise, and the configuration that it obeys.

use prost::Message as _;

use crate::{Config, Epoch, Lsn, WireError};

/// Promise and configuration, as they lie on disk. Invariant: `config.epoch <= promised`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardState {
    /// Nothing below this epoch is accepted any more.
    pub promised: Epoch,
    /// The newest configuration that was obeyed.
    pub config: Config,
    /// The end of the log that this node acknowledged once and has lost; 0 when it lost nothing,
    /// [`Lsn::MAX`] when nobody knows how much. It does not count in a recovery until its log
    /// reaches there again.
    pub owed: Lsn,
    /// Whether this primary knows that something may have been acknowledged: from then on a
    /// voter with a new disk does not count in a recovery. Means nothing at other nodes.
    pub established: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireHard {
    #[prost(uint64, tag = "1")]
    promised: u64,
    #[prost(bytes = "vec", tag = "2")]
    config: Vec<u8>,
    #[prost(uint64, tag = "3")]
    owed: u64,
    // The other way round, so that a state without the field is taken for the careful one.
    #[prost(bool, tag = "4")]
    unserved: bool,
}

impl HardState {
    /// The bytes that the store keeps.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (promised, owed) = (self.promised.get(), self.owed.get());
        let (config, unserved) = (self.config.encode(), !self.established);
        WireHard { promised, config, owed, unserved }.encode_to_vec()
    }

    /// Reads back what [`HardState::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no hard state, or one that contradicts itself.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let wire =
            WireHard::decode(bytes).map_err(|_malformed| WireError::Malformed("protobuf"))?;
        let config = Config::decode(&wire.config)?;
        let promised = Epoch::new(wire.promised);
        if config.epoch > promised {
            return Err(WireError::Malformed("a configuration that was never promised"));
        }
        Ok(Self { promised, config, owed: Lsn::new(wire.owed), established: !wire.unserved })
    }
}
