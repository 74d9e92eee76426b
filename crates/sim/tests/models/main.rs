//! Two explicit-state models of the protocol's rules, searched to the last state.
//!
//! `failover` is sealing, election, cutting of logs and planned change; `reads` is clean local
//! reads under leases. They share no code with the product, on purpose: they check the rules,
//! and a rule that is wrong is wrong in both. Each rule also has a mutant, the same model with
//! the rule left out, in which the search must find a lost write or a false read: a model that
//! cannot fail proves nothing.
//!
//! `cargo test -p sim --test models` takes small bounds. With `ANTIPHON_MODELS=full`
//! in the environment the bounds are those that the protocol was judged by; add `--release`,
//! and `-- --nocapture` to see the figures.

#[cfg(test)]
mod failover;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod search;
#[cfg(test)]
mod set;
