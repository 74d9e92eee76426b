//! Messages within the process.

use std::collections::VecDeque;

use antiphon_net::{Lane, Link, MemoryLink, MemoryNetwork, Transport};
use antiphon_proto::NodeId;
use bytes::Bytes;

use crate::Scale;
use crate::tools::{Stretch, block_on, thread};

const BYTES: usize = 100;
/// Messages that a receiver takes and a sender gives at once, under load.
const BATCH: usize = 64;

async fn pair() -> (MemoryLink, MemoryLink) {
    let network = MemoryNetwork::new();
    let ids = [NodeId::new(1), NodeId::new(2)];
    let [one, two] = ids.map(|id| network.bind(id).expect("both are free"));
    one.admit(&ids);
    let (called, caller) = tokio::join!(one.accept(), two.connect(ids[0], ""));
    (called.expect("it was called"), caller.expect("it is admitted"))
}

pub(crate) fn same_thread(scale: Scale) {
    block_on(async {
        let (one, two) = pair().await;
        let message = Bytes::from(vec![7; BYTES]);
        let stretch = Stretch::begin();
        for _ in 0..scale.memory_messages {
            one.send(Lane::Log, message.clone().into()).await.expect("the link stands");
            let received = two.receive(Lane::Log).await.expect("the link stands");
            assert_eq!(received.len(), BYTES);
        }
        stretch.end("memory, same thread, one by one", scale.memory_messages);
    });
}

/// As peers use it: what a turn queued goes and comes as one batch.
pub(crate) fn same_thread_in_batches(scale: Scale) {
    block_on(async {
        let (one, two) = pair().await;
        let message = Bytes::from(vec![7; BYTES]);
        let (mut sent, mut received) = (VecDeque::new(), VecDeque::new());
        let rounds = scale.memory_messages.div_ceil(64);
        let stretch = Stretch::begin();
        for _ in 0..rounds {
            sent.extend(std::iter::repeat_n(&message, BATCH).map(|it| it.clone().into()));
            one.send_batch(Lane::Log, &mut sent).await.expect("the link stands");
            two.receive_batch(Lane::Log, &mut received).await.expect("the link stands");
            assert_eq!(received.len(), BATCH);
            received.clear();
        }
        stretch.end("memory, same thread, by 64", rounds * 64);
    });
}

pub(crate) fn across_threads(scale: Scale) {
    let (one, two) = block_on(pair());
    let count = scale.memory_messages;
    let stretch = Stretch::begin();
    let sender = thread(move || async move {
        let message = Bytes::from(vec![7; BYTES]);
        let mut batch = VecDeque::new();
        let mut sent = 0;
        while sent < count {
            while batch.len() < BATCH && sent < count {
                batch.push_back(message.clone().into());
                sent += 1;
            }
            one.send_batch(Lane::Log, &mut batch).await.expect("the link stands");
        }
        one.flush(Lane::Log).await.expect("the link stands");
    });
    block_on(async {
        let mut received = 0;
        let mut batch = VecDeque::new();
        while received < count {
            two.receive_batch(Lane::Log, &mut batch).await.expect("the link stands");
            received +=
                batch.drain(..).map(|message| u64::from(message.len() == BYTES)).sum::<u64>();
        }
    });
    sender.join().expect("the sender ends in order");
    stretch.end("memory, across threads, under load", count);
}
