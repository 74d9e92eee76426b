//! Nodes of a cluster in one process: real logs on real files, links in memory and over QUIC.

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod learners;
mod life;
#[cfg(test)]
mod sessions;
