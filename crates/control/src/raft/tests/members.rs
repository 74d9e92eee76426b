//! Changes of who votes: one at a time, within limits, and never by a node that forgot.

use antiphon_proto::{Incarnation, NodeId};

use super::{Cluster, TIMING, advance, by, eventually};
use crate::samples::node;
use crate::{
    ConfigRegister as _, Key, MemberError, NodeRecord, RegisterError, Role, register_node,
};

async fn refused(cluster: &Cluster, node: u64, role: Role) -> String {
    match cluster.get(1).set_role(NodeId::new(node), role, by()).await {
        Err(MemberError::NotNow(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_one_to_five_vote() {
    let cluster = Cluster::of_one(TIMING).await;
    assert!(refused(&cluster, 1, Role::Learner).await.contains("last that votes"));
    assert!(refused(&cluster, 9, Role::Voter).await.contains("has not joined"));
    for node in 2..=6 {
        cluster.add(node).await;
        if node <= 5 {
            cluster.set_role(node, Role::Voter).await;
        }
    }
    assert!(refused(&cluster, 6, Role::Voter).await.contains("5 nodes vote already"));
    let status = cluster.get(1).status();
    assert_eq!(status.voters, [1, 2, 3, 4, 5].map(NodeId::new));
    assert_eq!(status.learners, [NodeId::new(6)]);
    let version = advance(&cluster.get(6), "a learner asks").await;
    cluster.converged(version).await;
    cluster.set_role(5, Role::Learner).await;
    cluster.set_role(6, Role::Voter).await;
    cluster.set_role(5, Role::Removed).await;
    let status = cluster.get(1).status();
    assert_eq!(status.voters, [1, 2, 3, 4, 6].map(NodeId::new));
    assert_eq!(status.learners, []);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nodes_record_says_what_it_is() {
    let cluster = Cluster::of(2, TIMING).await;
    let run = NodeRecord { role: Role::Learner, ..node(2) };
    register_node(&cluster.get(2), &run, false).await.expect("registered");
    cluster.set_role(2, Role::Learner).await; // no vote any more
    cluster.set_role(2, Role::Voter).await;
    let records = cluster.get(1).read(&[Key::Node(NodeId::new(2))]).await.expect("a majority").1;
    let record = records.into_iter().next().flatten().expect("registered");
    assert_eq!(record.record.as_node().map(|node| node.role), Some(Role::Voter));
    let next = NodeRecord { incarnation: Incarnation::new(3), ..run };
    register_node(&cluster.get(2), &next, false).await.expect("a newer run");
    let rows = cluster.get(1).history(9).await.expect("a majority");
    assert_eq!(rows.last().map(|row| row.why.as_str()), Some("started again"));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_loses_its_vote_hands_over() {
    let cluster = Cluster::of(3, TIMING).await;
    let leader = cluster.leader().await;
    let asked = leader % 3 + 1;
    let changed = cluster.get(asked).set_role(NodeId::new(leader), Role::Learner, by()).await;
    changed.expect("two others vote");
    let old = NodeId::new(leader);
    let other = cluster.get(asked);
    eventually("another leads", || other.status().leader.is_some_and(|it| it != old)).await;
    let version = advance(&cluster.get(leader), "the old leader follows").await;
    cluster.converged(version).await;
    cluster.shutdown().await;
}

/// A voter whose file is gone has forgotten what it promised. It may not come back as if nothing
/// had happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_lost_its_file_is_not_let_in() {
    let cluster = Cluster::of(3, TIMING).await;
    let version = advance(&cluster.get(1), "before").await;
    cluster.stop(3).await;
    std::fs::remove_file(cluster.file(3)).expect("its file");
    let empty = cluster.open(3).await;
    let joined = empty.join(&[NodeId::new(1), NodeId::new(2)]).await;
    let Err(MemberError::NotNow(text)) = joined else { panic!("{joined:?}") };
    assert!(text.contains("make it a learner first"), "{text}");
    assert_eq!(empty.status().term, 0, "it has not voted");
    cluster.set_role(3, Role::Removed).await;
    empty.join(&[NodeId::new(2)]).await.expect("as a new one");
    cluster.set_role(3, Role::Voter).await;
    cluster.converged(version).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_cluster_waits_for_one() {
    let cluster = Cluster::of_one(TIMING).await;
    let lonely = cluster.open(2).await;
    let joined = lonely.join(&[NodeId::new(8), NodeId::new(9)]).await;
    let Err(MemberError::Register(RegisterError::NoMajority { voters, reason })) = joined else {
        panic!("{joined:?}")
    };
    assert_eq!(voters, "node 8, node 9");
    assert!(reason.contains("no link"), "{reason}");
    lonely.join(&[NodeId::new(9), NodeId::new(1)]).await.expect("one of them is there");
    cluster.shutdown().await;
}
