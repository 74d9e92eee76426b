//! A cluster's life: writes, restarts, catching up.

use antiphon::{Commit, Consistency, Fate, From, Propose, ProposeFailure, Reason};

use crate::cluster::{Three, within};

#[tokio::test]
async fn one_node_alone_acknowledges_and_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let builder =
        || antiphon::Builder::new(crate::cluster::Counter::default()).data_dir(dir.path());
    let node = builder().start().await.unwrap();
    within("serving", node.serving()).await.unwrap();
    for number in 1..=10_u64 {
        let receipt = within("a write", node.propose(number)).await.unwrap();
        assert_eq!(receipt.reply, Some(number * (number + 1) / 2));
    }
    within("the stop", node.shutdown()).await.unwrap();

    let node = builder().start().await.unwrap();
    within("serving", node.serving()).await.unwrap();
    let seen = within("a read", node.read(Consistency::Linearizable, ())).await.unwrap();
    assert_eq!(seen.answer, (55, 10));
    within("the stop", node.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_write_is_on_every_node_and_readable_there() {
    let three = Three::new();
    let (one, two, mut all) = (three.start(1).await, three.start(2).await, Vec::new());
    all.push(three.start(3).await);
    within("serving", one.serving()).await.unwrap();
    let receipt = within("a write", one.propose(5)).await.unwrap();
    assert_eq!(receipt.reply, Some(5));
    assert_eq!(one.fate(receipt.token).await, Fate::Stable);
    let forwarded = within("a forwarded write", two.propose(7)).await.unwrap();
    assert_eq!(forwarded.reply, Some(12));
    all.extend([one, two]);
    for node in &all {
        let at = Consistency::AtLeast(forwarded.token);
        let seen = within("a read by token", node.read(at, ())).await.unwrap();
        assert_eq!(seen.answer, (12, 2));
        let seen = within("a read", node.read(Consistency::Linearizable, ())).await.unwrap();
        assert_eq!(seen.answer, (12, 2));
    }
    for node in all {
        within("the stop", node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn without_a_quorum_nothing_is_promised() {
    let three = Three::new();
    let (one, two) = three.without_the_third().await;
    within("a write", one.propose(1)).await.unwrap();
    within("the stop", two.shutdown()).await.unwrap();
    // From here on a write may find the link still up and then stays unknown, or is refused at
    // once; it is never acknowledged.
    let how = Propose { timeout: std::time::Duration::from_millis(50), ..Propose::default() };
    let mut refused = false;
    for _ in 0..100 {
        match within("an outcome", one.propose_with(1, how)).await {
            Ok(receipt) => panic!("acknowledged without a quorum: {receipt:?}"),
            Err(ProposeFailure::Rejected(Reason::TooFewReplicas)) => {
                refused = true;
                break;
            }
            Err(ProposeFailure::Unknown { .. }) => {}
            Err(ProposeFailure::Rejected(other)) => panic!("{other}"),
        }
    }
    assert!(refused, "a write that can't be confirmed is refused before it is made");
    let local = Propose { commit: Commit::Local, ..Propose::default() };
    let receipt = within("a local write", one.propose_with(1, local)).await.unwrap();
    assert_eq!(one.fate(receipt.token).await, Fate::Pending);
    let three_node = three.start(3).await;
    within("serving again", one.applied(receipt.token.entry.lsn)).await.unwrap();
    assert_eq!(one.fate(receipt.token).await, Fate::Stable);
    within("the stop", one.shutdown()).await.unwrap();
    within("the stop", three_node.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_replica_that_was_away_catches_up_from_the_log() {
    let three = Three::new();
    let (one, two) = three.without_the_third().await;
    let mut last = None;
    for number in 0..500 {
        last = Some(within("a write", one.propose(number)).await.unwrap().token);
    }
    let late = three.start(3).await;
    let at = Consistency::AtLeast(last.unwrap());
    let seen = within("catching up", late.read(at, ())).await.unwrap();
    assert_eq!(seen.answer, (124_750, 500));
    for node in [one, two, late] {
        within("the stop", node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn every_node_restarts_without_loss_and_changes_resume() {
    let three = Three::new();
    let mut position = None;
    let mut seen = Vec::new();
    for round in 0..3_u64 {
        let nodes = [three.start(1).await, three.start(2).await, three.start(3).await];
        within("serving", nodes[0].serving()).await.unwrap();
        for number in 0..20 {
            within("a write", nodes[0].propose(round * 20 + number)).await.unwrap();
        }
        let mut changes = nodes[0].changes(position.map_or(From::Oldest, From::After));
        while seen.len() < usize::try_from((round + 1) * 20).unwrap() {
            seen.push(within("a change", changes.next()).await.unwrap().command);
        }
        position = Some(changes.position());
        let status = nodes[0].status().await.unwrap();
        assert_eq!(status.replica.config.epoch.get(), round + 1, "each life has its epoch");
        for node in nodes {
            within("the stop", node.shutdown()).await.unwrap();
        }
    }
    assert_eq!(seen, (0..60).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_snapshot_shortens_the_log_and_the_node_restarts_from_both() {
    let three = Three::new();
    let start = async |id| {
        let builder = three.builder(id).segment_bytes(64 << 10);
        builder.snapshot_bytes(u64::MAX).retain_bytes(0).start().await.unwrap()
    };
    let nodes = [start(1).await, start(2).await, start(3).await];
    within("serving", nodes[0].serving()).await.unwrap();
    let mut sum = 0;
    let mut add = 0;
    let mut count = 0;
    let trimmed = async || nodes[0].status().await.unwrap().replica.base.lsn.get() > 0;
    while !trimmed().await {
        for _ in 0..500 {
            add += 1;
            sum += add;
            count += 1;
            within("a write", nodes[0].propose(add)).await.unwrap();
        }
        nodes[0].snapshot().await;
        assert!(count < 100_000, "the log is never shortened");
    }
    let mut changes = nodes[0].changes(From::After(antiphon::Lsn::new(0)));
    let gone = within("the answer", changes.next()).await.unwrap_err();
    assert!(matches!(gone, antiphon::ChangesError::Trimmed { .. }), "{gone}");
    for node in nodes {
        within("the stop", node.shutdown()).await.unwrap();
    }
    let nodes = [start(1).await, start(2).await];
    within("serving", nodes[0].serving()).await.unwrap();
    let seen = within("a read", nodes[0].read(Consistency::Linearizable, ())).await.unwrap();
    assert_eq!(seen.answer, (sum, count));
    for node in nodes {
        within("the stop", node.shutdown()).await.unwrap();
    }
}

/// Flips a bit of a file, `from_start` bytes in.
fn damage(path: &std::path::Path, from_start: u64) {
    use std::os::unix::fs::FileExt;
    let file =
        std::fs::File::options().read(true).write(true).open(path).expect("the log is a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, from_start).expect("the log is a file");
    byte[0] ^= 4;
    file.write_all_at(&byte, from_start).expect("the log is a file");
}

#[tokio::test]
async fn a_replica_with_a_damaged_log_fetches_what_it_lost() {
    let three = Three::new();
    let (one, two) = (three.start(1).await, three.start(2).await);
    let damaged = three.start(3).await;
    within("serving", one.serving()).await.unwrap();
    let mut last = None;
    for number in 0..300 {
        last = Some(within("a write", one.propose(number)).await.unwrap().token);
    }
    let last = last.unwrap();
    within("the copy", damaged.applied(last.entry.lsn)).await.unwrap();
    within("the stop", damaged.shutdown()).await.unwrap();
    damage(&three.log_file(3), 40_000);

    let healed = three.start(3).await;
    let seen = within("healing", healed.read(Consistency::AtLeast(last), ())).await.unwrap();
    assert_eq!(seen.answer, (44_850, 300));
    let status = healed.status().await.unwrap();
    assert!(!status.replica.amnesiac, "its log reaches as far as before");
    for node in [one, two, healed] {
        within("the stop", node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_log_without_other_nodes_is_reported_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let builder = || {
        let state = crate::cluster::Counter::default();
        antiphon::Builder::new(state).data_dir(dir.path()).segment_bytes(1 << 20)
    };
    let node = builder().start().await.unwrap();
    within("serving", node.serving()).await.unwrap();
    for number in 0..100 {
        within("a write", node.propose(number)).await.unwrap();
    }
    within("the stop", node.shutdown()).await.unwrap();
    let log = dir.path().join("log").join("0000000000000001.log");
    damage(&log, 20_000);
    let before = std::fs::read(&log).unwrap();
    let error = builder().start().await.unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("no other node"), "{error}");
    assert_eq!(std::fs::read(&log).unwrap(), before, "nothing was cut");
}
