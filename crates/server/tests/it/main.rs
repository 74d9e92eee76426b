//! Sessions over real sockets: against a shard in this process, and side by side with Redis.

mod client;
mod fake;
mod forwarding;
mod limits;
mod node;
mod once;
mod pages;
mod policies;
mod redis;
mod refusals;
mod secured;
