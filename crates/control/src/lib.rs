//! The configuration register of Antiphon: who is primary, who votes, which nodes there are.
//!
//! The register is a small replicated table. [`Machine`] is its state, pure: a command comes in,
//! an outcome comes out, and every copy that applied the same commands is the same. Whoever uses
//! the register sees [`ConfigRegister`]: read, compare-and-swap of a batch, watch.
//! [`MemoryRegister`] is one of these in a single process, for tests and the simulator.

mod command;
mod machine;
mod memory;
#[cfg(feature = "raft")]
mod raft;
mod reconfigure;
mod record;
mod register;
#[cfg(test)]
mod samples;
#[cfg(feature = "raft")]
mod wire;

pub use command::{
    BATCH_ITEMS_MAX, COMMAND_BYTES_MAX, Command, Item, Outcome, Refusal, RegisterRule,
};
pub use machine::{
    Change, Compacted, HISTORY_KEPT, Machine, NODES_KEPT_MAX, SHARDS_MAX, SNAPSHOT_BYTES_MAX,
};
pub use memory::{MemoryRegister, MemoryWatch};
pub use reconfigure::{
    Declined, NodeTrait, Order, Person, Plan, Probed, Promise, Reconfigurator, ReconfigureEffect,
    ReconfigureEvent, ReconfigureOptions, SealRefusal,
};
pub use record::{
    ADDRESSES_MAX, Appointment, Cause, ClusterRecord, ClusterUuid, FORMER_STORES_MAX, HistoryRow,
    Key, Loss, NodeRecord, Pause, RECORD_BYTES_MAX, Record, RecordError, RecoveryReport, Role,
    SealedVoter, ShardRecord, TEXT_BYTES_MAX, Version, Versioned, WallMs,
};
pub use register::{
    ConfigRegister, RegisterError, RegisterNodeError, RegisterWatch, register_node,
};

#[cfg(feature = "raft")]
pub use raft::{
    MemberError, OpenError, RaftRegister, RaftWatch, RegisterConfig, RegisterStatus,
    RegisterTiming, StorageError,
};
#[cfg(feature = "raft")]
pub use wire::{Class, ControlWire, MESSAGE_BYTES_MAX, NotSent};
