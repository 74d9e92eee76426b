//! A load generator for any Redis-protocol server: closed loop for capacity, open loop for latency.
//!
//! Each thread owns its connections and one poll; nothing is shared while the load runs. It is
//! built to leave the processor to the servers, since both often stand on one machine: one read
//! and one write for each batch, no allocation for an operation, one clock reading for each read.

pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod compare;
mod connection;
pub(crate) mod cpu;
mod dial;
mod driver;
mod ledger;
pub(crate) mod limit;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod scan;
mod schedule;
mod tally;
mod timer;
pub(crate) mod tls;
pub(crate) mod wire;
mod work;
