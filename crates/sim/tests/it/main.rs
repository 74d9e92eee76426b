//! The simulator over many seeds: nothing breaks, the same seed is the same run, rare branches
//! are taken, and each planted bug is found.

mod determinism;
mod mutations;
mod plans;
mod seeds;
