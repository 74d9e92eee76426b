//! Nodes that are cut off: who has no majority says so, and nobody believes another truth.

use antiphon_proto::NodeId;
use tokio::task::JoinSet;

use super::{Cluster, TIMING, advance, eventually, key, next_epoch, try_advance};
use crate::{ConfigRegister as _, Outcome, RegisterError, Version};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_is_replaced_and_learns_of_it() {
    let cluster = Cluster::of(3, TIMING).await;
    let first = advance(&cluster.get(1), "before").await;
    cluster.converged(first).await;
    let old = cluster.leader().await;
    cluster.network.cut_off(old);
    let other = old % 3 + 1;
    let version = advance(&cluster.get(other), "without it").await;
    // The old leader can neither write nor read.
    let alone = cluster.get(old);
    let written = alone.swap(next_epoch(first, 2, "alone")).await;
    assert!(
        matches!(written, Err(RegisterError::NoMajority { .. } | RegisterError::Unknown)),
        "{written:?}"
    );
    assert!(alone.read(&[key()]).await.is_err(), "what it has is old");
    assert_eq!(alone.machine().version(), first);
    cluster.network.heal();
    cluster.converged(version).await;
    let rows = cluster.get(old).history(usize::MAX).await.expect("a majority");
    assert!(rows.iter().all(|row| row.who != "alone"), "what it appended alone is gone");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_refuses_and_says_what_to_do() {
    let cluster = Cluster::of(3, TIMING).await;
    let version = advance(&cluster.get(1), "before").await;
    cluster.converged(version).await;
    cluster.stop(2).await;
    cluster.stop(3).await;
    let alone = cluster.get(1);
    // Before its lease is over a leader may take one in; then it says so at once.
    let mut last = alone.swap(next_epoch(version, 2, "alone")).await;
    if last == Err(RegisterError::Unknown) {
        last = alone.swap(next_epoch(version, 2, "alone")).await;
    }
    let error = last.expect_err("no majority");
    assert!(matches!(error, RegisterError::NoMajority { .. }), "{error:?}");
    let text = error.to_string();
    for part in ["register has no majority", "node 1, node 2, node 3", "bring back"] {
        assert!(text.contains(part), "{text}");
    }
    let read = alone.read(&[key()]).await;
    assert!(matches!(read, Err(RegisterError::NoMajority { .. })), "{read:?}");
    cluster.open(2).await;
    assert!(advance(&alone, "together").await > version);
    cluster.shutdown().await;
}

/// A voter that hears nobody does not campaign its way up: when it returns, the leader that the
/// others heard all the time still leads, in the same term.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_returns_does_not_depose_the_leader() {
    let cluster = Cluster::of(3, TIMING).await;
    let version = advance(&cluster.get(1), "before").await;
    cluster.converged(version).await;
    let leader = cluster.leader().await;
    let away = leader % 3 + 1;
    let term = cluster.get(leader).status().term;
    cluster.network.cut_off(away);
    let lonely = cluster.get(away);
    // Long enough for several elections, had it held them.
    for _read in 0..3 {
        assert!(lonely.read(&[key()]).await.is_err(), "it hears nobody");
    }
    let version = advance(&cluster.get(leader), "meanwhile").await;
    assert_eq!(lonely.status().term, term, "it asked before it counted up");
    cluster.network.heal();
    cluster.converged(version).await;
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.get(leader).status().term, term);
    cluster.shutdown().await;
}

/// Clients at all nodes write while the leader is cut off again and again: what was done stays
/// done, once, and what came of the rest is either there or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_stays_done_through_partitions() {
    let cluster = Cluster::of(3, TIMING).await;
    advance(&cluster.get(1), "first").await;
    let mut clients = JoinSet::new();
    for client in 0..6_u64 {
        let register = cluster.get(client % 3 + 1);
        clients.spawn(async move {
            let mut done = Vec::new();
            for attempt in 0..10 {
                let who = format!("{client}/{attempt}");
                if let Ok(Outcome::Done(version)) = try_advance(&register, &who).await {
                    done.push((version, who));
                }
            }
            done
        });
    }
    for _cut in 0..2 {
        let leader = cluster.leader().await;
        cluster.network.cut_off(leader);
        let other = cluster.get(leader % 3 + 1);
        let me = NodeId::new(leader);
        eventually("another leads", || other.status().leader.is_some_and(|it| it != me)).await;
        cluster.network.heal();
    }
    let done: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    let last = advance(&cluster.get(1), "last").await;
    cluster.converged(last).await;
    let rows = cluster.get(2).history(usize::MAX).await.expect("a majority");
    for (version, who) in done {
        // Version 2 wrote the first row, and each version since wrote one.
        let row = rows.iter().find(|row| row.number + 1 == version.get()).expect("kept");
        assert_eq!(row.who, who, "{version}");
    }
    let mut signed: Vec<_> = rows.iter().map(|row| &row.who).collect();
    signed.sort();
    let all = signed.len();
    signed.dedup();
    assert_eq!(signed.len(), all, "nothing was done twice");
    assert_eq!(Version::new(u64::try_from(all).expect("small") + 1), last);
    cluster.shutdown().await;
}
