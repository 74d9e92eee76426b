//! For whom a primary waits before it begins, in words that every page repeats.

use std::fmt;

use crate::replica::{Replica, Role};
use crate::{Lsn, NodeId, Sealed};

/// For whom a primary waits before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// No voter remembers anything. These were not seen in this run of the primary.
    FirstStart(Vec<NodeId>),
    /// The first epoch has begun. These do not hold its first entry yet.
    FirstEntry(Vec<NodeId>),
    /// Those that count are not enough: one of the others could know of an acknowledged write
    /// that they lack.
    Voters(Vec<(NodeId, Missing)>),
}

/// Why a voter's log does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No link leads to it.
    Unreachable,
    /// It was asked and has not answered.
    Silent,
    /// It came back with an empty directory.
    NewDisk,
    /// It lost what it had acknowledged and has not caught up since.
    Incomplete,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::Silent => "has not answered",
            Self::NewDisk => "disk is new",
            Self::Incomplete => "log is incomplete",
        })
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |nodes: &[NodeId]| {
            let names: Vec<_> = nodes.iter().map(NodeId::to_string).collect();
            let word = if names.len() == 1 { "node" } else { "nodes" };
            format!("{word} {}", names.join(", "))
        };
        match self {
            Self::FirstStart(nodes) => {
                write!(out, "first start, waiting for {} to be seen once", names(nodes))
            }
            Self::FirstEntry(nodes) => {
                write!(out, "first start, waiting for {} to hold the first entry", names(nodes))
            }
            Self::Voters(voters) => {
                out.write_str("waiting for voters whose logs count: ")?;
                for (index, (node, missing)) in voters.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(out, "{comma}node {node} ({missing})")?;
                }
                Ok(())
            }
        }
    }
}

impl Replica {
    /// For whom this primary waits; none at other nodes, and when it waits for nobody.
    #[must_use]
    pub fn waiting(&self) -> Option<Waiting> {
        match &self.role {
            Role::Recovering(recovery) if self.may_ask() => {
                let replies = recovery.replies();
                if self.is_sealed_enough(recovery) {
                    return None;
                }
                let unseen = |node: &NodeId| !replies.contains_key(node);
                if self.is_blank() && replies.values().all(|sealed| sealed.blank) {
                    return Some(Waiting::FirstStart(self.other_voters().filter(unseen).collect()));
                }
                let own = (!self.is_whole()).then(|| (self.me.node, self.own_loss()));
                let others = self.other_voters().filter_map(|node| {
                    self.missing(node, replies.get(&node)).map(|missing| (node, missing))
                });
                Some(Waiting::Voters(own.into_iter().chain(others).collect()))
            }
            Role::Primary(primary) if !primary.is_serving() && !self.established.is_known() => {
                let held = primary.holders();
                let lacks =
                    |node: &NodeId| self.config.place(*node).is_some_and(|at| !held.has(at));
                Some(Waiting::FirstEntry(self.other_voters().filter(lacks).collect()))
            }
            Role::Recovering(_) | Role::Primary(_) | Role::Follower(_) | Role::Halted => None,
        }
    }

    fn other_voters(&self) -> impl Iterator<Item = NodeId> {
        let voters = self.config.voters.iter().map(|member| member.node);
        voters.filter(|node| *node != self.me.node)
    }

    fn own_loss(&self) -> Missing {
        if self.is_new() { Missing::NewDisk } else { Missing::Incomplete }
    }

    fn missing(&self, node: NodeId, reply: Option<&Sealed>) -> Option<Missing> {
        let linked = self.links.contains(&node);
        match reply {
            Some(sealed) if sealed.blank => Some(Missing::NewDisk),
            // It joined since, and has copied nothing.
            Some(sealed) if sealed.amnesiac && sealed.last.lsn == Lsn::ZERO => {
                Some(Missing::NewDisk)
            }
            Some(sealed) if sealed.amnesiac => Some(Missing::Incomplete),
            Some(sealed) if linked || sealed.last <= self.log.last() => None,
            None if linked => Some(Missing::Silent),
            Some(_) | None => Some(Missing::Unreachable),
        }
    }
}
