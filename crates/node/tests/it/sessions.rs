//! Sessions: a write that is sent again executes once, whatever was restarted in between.

use std::time::Duration;

use antiphon::{
    Consistency, Node, Propose, ProposeFailure, Reason, Receipt, SESSION_WINDOW, SessionId, Ticket,
};

use crate::cluster::{Counter, Three, within};

const HOUR: Duration = Duration::from_secs(3_600);

/// Sends a write under a name of the caller's own, once.
async fn send(
    node: &Node<Counter>,
    (session, seq): (SessionId, u64),
    add: u64,
) -> Result<Receipt<u64>, ProposeFailure> {
    let how = Propose { ticket: Some(Ticket { session, seq }), ..Propose::default() };
    within("a write", node.propose_with(add, how)).await
}

async fn state(node: &Node<Counter>) -> (u64, u64) {
    within("a read", node.read(Consistency::Linearizable, ())).await.unwrap().answer
}

fn rejected<T: std::fmt::Debug>(outcome: Result<T, ProposeFailure>) -> Reason {
    match outcome {
        Err(ProposeFailure::Rejected(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

async fn stop(nodes: impl IntoIterator<Item = Node<Counter>>) {
    for node in nodes {
        within("the stop", node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn a_retry_gets_the_first_reply_at_any_node_and_after_any_restart() {
    let three = Three::new();
    let nodes = [three.start(1).await, three.start(2).await, three.start(3).await];
    within("serving", nodes[0].serving()).await.unwrap();
    let session = within("a session", nodes[1].session(HOUR)).await.unwrap();
    let id = session.id();
    let first = send(&nodes[0], (id, 1), 5).await.unwrap();
    let second = send(&nodes[0], (id, 2), 7).await.unwrap();
    assert_eq!((first.reply, second.reply), (Some(5), Some(12)));
    for node in &nodes {
        assert_eq!(
            send(node, (id, 1), 5).await.unwrap(),
            first,
            "the first reply, the first token"
        );
    }
    assert_eq!(state(&nodes[2]).await, (12, 2));
    stop(nodes).await;

    // From the log alone.
    let nodes = [three.start(1).await, three.start(2).await];
    within("serving", nodes[0].serving()).await.unwrap();
    for node in &nodes {
        assert_eq!(send(node, (id, 2), 7).await.unwrap(), second);
    }
    assert_eq!(send(&nodes[1], (id, 4), 1).await.unwrap().reply, Some(13), "a gap is no matter");
    assert_eq!(send(&nodes[1], (id, 3), 1).await.unwrap().reply, Some(14), "nor is the order");
    assert!(within("a snapshot", nodes[0].snapshot()).await);
    within("the snapshot", written(&nodes[0])).await;
    stop(nodes).await;

    // From the snapshot.
    let nodes = [three.start(1).await, three.start(3).await];
    within("serving", nodes[0].serving()).await.unwrap();
    assert_eq!(send(&nodes[1], (id, 1), 5).await.unwrap(), first);
    assert_eq!(state(&nodes[1]).await, (14, 4));
    let status = nodes[0].status().await.unwrap();
    assert_eq!(status.sessions.open, 1);
    let other = within("the other's log", async {
        nodes[1].applied(status.replica.applied).await.unwrap();
        nodes[1].status().await.unwrap()
    });
    assert_eq!(other.await.digest, status.digest, "the tables are equal");
    stop(nodes).await;
}

/// Waits until a snapshot that was begun is there.
async fn written(node: &Node<Counter>) {
    let mut progress = node.progress();
    loop {
        let snapshot = node.status().await.unwrap().snapshot;
        if !snapshot.running && snapshot.at_ms > 0 {
            return;
        }
        // Whatever moves next; the node looks around by itself often enough.
        let moved = tokio::time::timeout(Duration::from_millis(20), progress.changed()).await;
        assert!(!matches!(moved, Ok(Err(_))), "the node stopped");
    }
}

#[tokio::test]
async fn many_copies_of_a_write_at_once_are_one_write() {
    let three = Three::new();
    let nodes = [three.start(1).await, three.start(2).await, three.start(3).await];
    within("serving", nodes[0].serving()).await.unwrap();
    let id = within("a session", nodes[0].session(HOUR)).await.unwrap().id();
    let mut copies = tokio::task::JoinSet::new();
    for copy in 0..40_u64 {
        let node = nodes[usize::from(copy % 2 == 1)].clone();
        copies.spawn(async move { send(&node, (id, 1 + copy % 4 / 2), 1).await.unwrap() });
    }
    let mut answers = Vec::new();
    while let Some(answer) = copies.join_next().await {
        answers.push(answer.unwrap());
    }
    answers.sort_by_key(|receipt| receipt.token);
    answers.dedup();
    let replies: Vec<_> = answers.iter().filter_map(|receipt| receipt.reply).collect();
    assert_eq!(replies, [1, 2], "two numbers, two executions");
    assert_eq!(state(&nodes[1]).await, (2, 2));
    stop(nodes).await;
}

#[tokio::test]
async fn a_session_goes_on_while_the_primary_restarts() {
    let three = Three::new();
    let (one, two, other) = (three.start(1).await, three.start(2).await, three.start(3).await);
    within("serving", one.serving()).await.unwrap();
    let session = within("a session", two.session(HOUR)).await.unwrap();
    assert_eq!(within("a write", session.propose(1)).await.unwrap().reply, Some(1));
    let writes = tokio::spawn({
        let session = session.clone();
        async move {
            let how = Propose { timeout: Duration::from_secs(20), ..Propose::default() };
            for round in 2..=60 {
                let receipt = session.propose_with(1, how).await.unwrap();
                assert_eq!(receipt.reply, Some(round), "each write counts once");
            }
        }
    });
    stop([one]).await;
    let one = three.start(1).await;
    within("all writes", writes).await.unwrap();
    assert_eq!(state(&two).await, (60, 60));
    assert_eq!(session.next_seq(), 61);
    let again = within("a retry", session.propose_again(60, 1, Propose::default())).await.unwrap();
    assert_eq!(again.reply, Some(60));
    stop([one, two, other]).await;
}

#[tokio::test]
async fn sessions_that_are_closed_expired_or_too_many_are_refused() {
    let three = Three::new();
    let small = async |id| three.builder(id).sessions_max(2).start().await.unwrap();
    let nodes = [small(1).await, small(2).await, small(3).await];
    within("serving", nodes[0].serving()).await.unwrap();
    let never = (SessionId::new(1 << 64 | 1), 1);
    assert_eq!(rejected(send(&nodes[1], never, 1).await), Reason::NoSession);
    for ttl in [Duration::ZERO, Duration::from_secs(31 * 24 * 3_600)] {
        assert_eq!(rejected(within("no", nodes[1].session(ttl)).await), Reason::Ttl);
    }

    let kept = within("a session", nodes[0].session(HOUR)).await.unwrap();
    let brief = within("a session", nodes[1].session(Duration::from_millis(300))).await.unwrap();
    assert_eq!(rejected(within("no", nodes[1].session(HOUR)).await), Reason::TooManySessions);
    assert_eq!(within("a write", brief.propose(1)).await.unwrap().reply, Some(1));
    // Nobody looks at a clock but the primary, which closes it by an entry.
    let last = within("expiry", async {
        loop {
            match send(&nodes[1], (brief.id(), 1), 1).await {
                Ok(receipt) => assert_eq!(receipt.reply, Some(1)),
                refused => break rejected(refused),
            }
        }
    });
    assert_eq!(last.await, Reason::NoSession);
    assert_eq!(rejected(send(&nodes[0], (brief.id(), 2), 1).await), Reason::NoSession);

    let another = within("a session", nodes[1].session(HOUR)).await.unwrap();
    within("closing", another.clone().close()).await.unwrap();
    assert_eq!(rejected(within("no", another.clone().close()).await), Reason::NoSession);
    assert_eq!(rejected(within("no", another.propose(1)).await), Reason::NoSession);
    assert_eq!(within("a write", kept.propose(1)).await.unwrap().reply, Some(2));
    assert_eq!(state(&nodes[1]).await, (2, 2), "what was refused was not executed");
    stop(nodes).await;
}

#[tokio::test]
async fn numbers_behind_the_window_are_refused() {
    let three = Three::new();
    let nodes = [three.start(1).await, three.start(2).await, three.start(3).await];
    within("serving", nodes[0].serving()).await.unwrap();
    let id = within("a session", nodes[0].session(HOUR)).await.unwrap().id();
    let top = SESSION_WINDOW + 1;
    send(&nodes[0], (id, top), 1).await.unwrap();
    assert_eq!(rejected(send(&nodes[1], (id, 1), 1).await), Reason::TooOld { floor: 2 });
    assert_eq!(send(&nodes[1], (id, 2), 1).await.unwrap().reply, Some(2));
    assert_eq!(rejected(send(&nodes[1], (id, 0), 1).await), Reason::TooOld { floor: 2 });
    assert_eq!(state(&nodes[0]).await, (2, 2));
    stop(nodes).await;
}

#[tokio::test]
async fn changes_show_the_writes_of_sessions() {
    let three = Three::new();
    let nodes = [three.start(1).await, three.start(2).await, three.start(3).await];
    within("serving", nodes[0].serving()).await.unwrap();
    let mut changes = nodes[1].changes(antiphon::From::Oldest);
    let session = within("a session", nodes[0].session(HOUR)).await.unwrap();
    within("a write", session.propose(5)).await.unwrap();
    within("a plain write", nodes[0].propose(6)).await.unwrap();
    for want in [5, 6] {
        assert_eq!(within("a change", changes.next()).await.unwrap().command, want);
    }
    stop(nodes).await;
}
