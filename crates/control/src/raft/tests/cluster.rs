//! What a cluster of registers does while nothing is wrong, and from one run to the next.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_proto::{Cut, Epoch, Lsn, NodeId};
use tokio::task::JoinSet;

use super::{Cluster, TIMING, advance, eventually, exists, key, next_epoch, try_advance};
use crate::samples::shard;
use crate::wire::MESSAGE_BYTES_MAX;
use crate::{
    Command, ConfigRegister as _, Item, Key, MemberError, Outcome, Record, RegisterError,
    RegisterTiming, RegisterWatch as _, Version,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_node_is_asked_the_answer_is_the_same() {
    let cluster = Cluster::of(3, TIMING).await;
    for node in [1, 2, 3] {
        let version = advance(&cluster.get(node), "any").await;
        for other in [1, 2, 3] {
            let (now, records) = cluster.get(other).read(&[key()]).await.expect("a majority");
            assert!(now >= version);
            let seen = records.into_iter().next().flatten().expect("written");
            assert_eq!(seen.version, version, "node {other} sees what node {node} wrote");
        }
    }
    let rows = cluster.get(2).history(2).await.expect("a majority");
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [2, 3]);
    cluster.converged(Version::new(4)).await;
    let found = cluster.get(3).read(&[Key::Cluster]).await.expect("a majority").1;
    let found = found.into_iter().next().flatten().expect("founded");
    assert_eq!(found.record.as_cluster(), Some(&crate::samples::cluster()));
    cluster.shutdown().await;
}

/// Twelve clients at three nodes want the next version, all at once: each version has one winner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_has_one_winner() {
    const CLIENTS: u64 = 12;
    const ROUNDS: usize = 8;
    let cluster = Cluster::of(3, TIMING).await;
    advance(&cluster.get(1), "first").await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let register = cluster.get(client % 3 + 1);
        clients.spawn(async move {
            let who = format!("client {client}");
            let (mut won, mut lost) = (Vec::new(), 0);
            for _round in 0..ROUNDS {
                match try_advance(&register, &who).await {
                    Ok(Outcome::Done(version)) => won.push(version),
                    Ok(Outcome::Conflict(_)) => lost += 1,
                    Ok(Outcome::Refused(refusal)) => panic!("{refusal}"),
                    Err(error) => assert_eq!(error, RegisterError::Unknown),
                }
            }
            (who, won, lost)
        });
    }
    let (mut winners, mut conflicts) = (BTreeMap::new(), 0);
    while let Some(client) = clients.join_next().await {
        let (who, won, lost) = client.expect("no client panics");
        conflicts += lost;
        for version in won {
            assert_eq!(winners.insert(version, who.clone()), None, "two won {version}");
        }
    }
    assert!(conflicts > 0, "they raced");
    let rows = cluster.get(1).history(usize::MAX).await.expect("a majority");
    let signed: Vec<_> = rows.iter().skip(1).map(|row| row.who.clone()).collect();
    // Versions 1 and 2 are the cluster's and the first of the shard; each row is a version.
    for (version, who) in &winners {
        let place = usize::try_from(version.get() - 3).expect("small");
        assert_eq!(signed.get(place), Some(who), "{version}");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_was_written_outlives_a_restart_of_all() {
    let cluster = Cluster::of(3, TIMING).await;
    let mut version = Version::ZERO;
    for _write in 0..5 {
        version = advance(&cluster.get(1), "before").await;
    }
    cluster.converged(version).await;
    let before = cluster.get(1).machine();
    for node in [1, 2, 3] {
        cluster.stop(node).await;
    }
    for node in [1, 2, 3] {
        cluster.open(node).await;
    }
    let (now, _) = cluster.get(2).read(&[key()]).await.expect("a majority");
    assert_eq!(now, version);
    assert_eq!(cluster.get(2).machine().digest(), before.digest());
    assert_eq!(cluster.get(2).cluster(), Some(super::cluster().cluster));
    let after = advance(&cluster.get(3), "after").await;
    assert!(after > version);
    cluster.converged(after).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_sees_each_version_once_in_order() {
    let cluster = Cluster::of(3, TIMING).await;
    let mut watches: Vec<_> =
        cluster.all().iter().map(|one| one.watch(Version::new(1)).expect("kept")).collect();
    let mut writers = JoinSet::new();
    for node in [1, 2, 3] {
        let register = cluster.get(node);
        writers.spawn(async move {
            for _write in 0..5 {
                advance(&register, "writer").await;
            }
        });
    }
    // Somewhere in the middle another node leads.
    let leader = cluster.leader().await;
    cluster.get(leader).hand_over(NodeId::new(leader % 3 + 1)).await.expect("it runs");
    for watch in &mut watches {
        for version in 2..=16 {
            let change = watch.next().await.expect("kept");
            assert_eq!(change.version.get(), version);
            assert!(change.records.iter().any(|(changed, _)| *changed == key()));
        }
    }
    writers.join_all().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_catches_up_by_a_snapshot() {
    let timing = RegisterTiming { snapshot_after: 16, ..TIMING };
    let cluster = Cluster::of_one(timing).await;
    let mut version = Version::ZERO;
    for _write in 0..60 {
        version = advance(&cluster.get(1), "early").await;
    }
    eventually("the log's beginning is gone", || {
        let metrics = cluster.get(1).shared.metrics();
        metrics.purged.is_some_and(|id| id.index > 20)
    })
    .await;
    cluster.add(2).await;
    let late = cluster.get(2);
    eventually("it has all", || late.machine().version() >= version).await;
    assert!(late.shared.log.snapshot().is_some(), "what it missed came as a snapshot");
    assert_eq!(late.status().learners, [NodeId::new(2)]);
    let after = advance(&late, "late").await;
    cluster.converged(after).await;
    // And from its own file.
    cluster.stop(2).await;
    let late = cluster.open(2).await;
    eventually("it has all again", || late.machine().version() >= after).await;
    assert_eq!(
        late.watch(Version::ZERO).err().map(|error| error.to_string().contains("no longer")),
        Some(true)
    );
    cluster.shutdown().await;
}

/// Thirty-two shards with full cut tables: nearly as long as a command may be.
fn long(first: u32) -> Command {
    let full = |id| {
        let mut record = shard(id, 2_000);
        let row = |epoch| Cut { epoch: Epoch::new(epoch), end: Lsn::new(1 << 40 | epoch) };
        record.active.history = (1..=1_024).map(row).collect();
        Item { expect: Version::ZERO, record: Record::Shard(Box::new(record)) }
    };
    Command { items: (first..first + 32).map(full).collect(), rows: vec![] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_for_one_message_comes_in_parts() {
    let timing = RegisterTiming { snapshot_after: 16, ..TIMING };
    let cluster = Cluster::of_one(timing).await;
    cluster.add(2).await;
    cluster.network.cut_off(2);
    for first in [100, 200, 300, 400] {
        let written = cluster.get(1).swap(long(first)).await;
        assert!(matches!(written, Ok(Outcome::Done(_))), "{written:?}");
    }
    cluster.network.heal();
    let version = Version::new(5);
    let behind = cluster.get(2);
    eventually("it has the entries", || behind.machine().version() == version).await;
    assert!(behind.shared.log.snapshot().is_none(), "they came as entries");
    let mut version = version;
    for _write in 0..40 {
        version = advance(&cluster.get(1), "short").await;
    }
    eventually("the long ones are gone from the log", || {
        cluster.get(1).shared.metrics().purged.is_some_and(|id| id.index > 10)
    })
    .await;
    cluster.add(3).await;
    cluster.converged(version).await;
    let (_, state) = cluster.get(3).shared.log.snapshot().expect("it came as a snapshot");
    assert!(state.len() > 2 * MESSAGE_BYTES_MAX / 3, "of several parts");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn founding_goes_on_where_it_stopped() {
    let cluster = Cluster::of_one(TIMING).await;
    cluster.stop(1).await;
    let again = cluster.open(1).await;
    let other = crate::ClusterRecord { cluster: crate::ClusterUuid::new(0xC2), ..super::cluster() };
    let uuid = again.found(other.clone()).await.expect("it is founded already");
    assert_eq!(uuid, super::cluster().cluster, "the first one counts");
    // A node that stopped before it had begun its log.
    let half = cluster.open(7).await;
    half.shared.log.set_cluster(other.cluster).await.expect("a good disk");
    let uuid = half.found(super::cluster()).await.expect("goes on");
    assert_eq!(uuid, other.cluster);
    assert!(matches!(half.join(&[NodeId::new(1)]).await, Err(MemberError::HasCluster(_))));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_says_what_is_there() {
    let cluster = Cluster::of_one(TIMING).await;
    let register = cluster.get(1);
    let version = advance(&register, "one").await;
    let outcome = register.swap(next_epoch(Version::ZERO, 9, "two")).await;
    assert_eq!(outcome, Ok(Outcome::Conflict(vec![(key(), version)])));
    let all = register.read_all().await.expect("one node is its own majority").1;
    let keys: BTreeSet<_> = all.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, BTreeSet::from([Key::Cluster, key()]));
    assert!(exists(&cluster.file(1)));
    cluster.shutdown().await;
}
