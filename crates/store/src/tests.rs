//! Tests of the store as a whole: every crash, every flipped byte, every planted bug.

mod crash;
mod errors;
mod flips;
mod golden;
mod model;
mod planted;
