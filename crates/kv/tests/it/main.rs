//! Commands against the engine, as a primary and its replica see them.

#[cfg(test)]
mod any;
#[cfg(test)]
mod counters;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod model;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod strings;
#[cfg(test)]
mod transactions;
