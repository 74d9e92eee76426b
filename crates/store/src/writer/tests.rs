//! The writer thread: order, limits, failure, end.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;

use super::Writer;
use crate::testing::{Maker, SHARD, lsn, open, read_all};
use crate::{Completion, Fault, Op, Operation, SimDisk, StoreError};

const PATIENCE: Duration = Duration::from_secs(60);

fn start(disk: &SimDisk, queue_bytes_max: usize) -> (Writer, Receiver<Completion>) {
    let (sender, done) = channel();
    let committer = open(disk.clone()).into_committer();
    let report = move |completion| sender.send(completion).expect("the test listens");
    (Writer::start(committer, queue_bytes_max, report).unwrap(), done)
}

#[test]
fn completions_come_in_order_and_nothing_is_lost() {
    let disk = SimDisk::new(1);
    let (writer, done) = start(&disk, 1 << 20);
    let mut maker = Maker::new(SHARD);
    let mut expected = Vec::new();
    for round in 0..200 {
        if round % 7 == 3 {
            let state = Bytes::from(vec![round; 5]);
            writer.submit(Op::Hard { shard: SHARD, state, ticket: 1_000 }).unwrap();
            expected.push(1_000);
        }
        writer.submit(maker.op(1, 50)).unwrap();
        expected.push(u64::from(round) + 1);
    }
    for ticket in expected {
        let completion = done.recv_timeout(PATIENCE).unwrap();
        if let Completion::Appended { ticket: found, durable, .. } = completion {
            assert_eq!((found, durable.id.lsn), (ticket, lsn(ticket)));
        } else {
            let saved = matches!(completion, Completion::HardSaved { ticket: 1_000, .. });
            assert!(saved && ticket == 1_000, "{completion:?}");
        }
    }
    writer.stop().unwrap();
    let store = open(disk);
    assert!(store.superblock().clean);
    assert_eq!(store.hard(SHARD).unwrap()[0], 199);
    assert_eq!(store.reader().bounds(SHARD).last, maker.position());
    assert_eq!(read_all(&store.reader(), SHARD).len(), 200 * (64 + 50));
}

#[test]
fn a_full_queue_gives_the_operation_back() {
    let disk = SimDisk::new(1);
    let (sender, done) = channel();
    let (open_gate, gate) = channel::<()>();
    let report = move |completion: Completion| {
        sender.send(completion).expect("the test listens");
        gate.recv_timeout(PATIENCE).expect("the test opens the gate");
    };
    let writer = Writer::start(open(disk).into_committer(), 2_000, report).unwrap();
    let mut maker = Maker::new(SHARD);
    writer.submit(maker.op(1, 10)).unwrap();
    done.recv_timeout(PATIENCE).unwrap();
    // The thread stands in the callback: from here on the queue fills.
    let mut taken = 0;
    let mut op = maker.op(1, 500);
    while let Ok(()) = writer.submit(op.clone()) {
        taken += 1;
        assert!(taken < 10, "the queue has a limit");
        op = maker.op(1, 500);
    }
    assert!(taken >= 2 && writer.queued_bytes() <= 2_000);
    open_gate.send(()).unwrap();
    for _ in 0..taken {
        done.recv_timeout(PATIENCE).unwrap();
        open_gate.send(()).unwrap();
    }
    writer.submit(op).unwrap();
    done.recv_timeout(PATIENCE).unwrap();
    open_gate.send(()).unwrap();
    writer.stop().unwrap();
}

#[test]
fn an_operation_over_the_whole_limit_is_taken_alone() {
    let disk = SimDisk::new(1);
    let (writer, done) = start(&disk, 100);
    writer.submit(Maker::new(SHARD).op(1, 3_000)).unwrap();
    assert!(matches!(done.recv_timeout(PATIENCE).unwrap(), Completion::Appended { .. }));
}

#[test]
fn a_failure_is_reported_once_and_ends_the_writer() {
    let disk = SimDisk::new(1);
    let (writer, done) = start(&disk, 1 << 20);
    let mut maker = Maker::new(SHARD);
    writer.submit(maker.op(1, 10)).unwrap();
    assert!(matches!(done.recv_timeout(PATIENCE).unwrap(), Completion::Appended { .. }));
    disk.fail(Operation::Sync, 1, Fault::Device);
    let next = maker.op(1, 10);
    let last = maker.op(1, 10);
    writer.submit(next).unwrap();
    let Completion::Failed(error) = done.recv_timeout(PATIENCE).unwrap() else {
        panic!("the sync failed")
    };
    assert!(matches!(*error, StoreError::Sync { .. }));
    // The thread ends, and with it the callback.
    assert!(done.recv_timeout(PATIENCE).is_err(), "nothing is reported after the failure");
    let refused = writer.submit(last).unwrap_err();
    assert!(matches!(*refused.0, Op::Append { .. }));
    assert!(matches!(writer.stop(), Err(StoreError::Stopped)));
}

#[test]
fn operations_run_here_when_the_thread_has_nothing_to_do_and_keep_the_order() {
    let disk = SimDisk::new(1);
    let (writer, done) = start(&disk, 1 << 20);
    let mut maker = Maker::new(SHARD);
    let (mut here, mut there, mut due) = (0, 0, 0);
    for round in 0..400_u64 {
        let mut ops = vec![maker.op(1, 50)];
        let mut finished = Vec::new();
        // Every third one goes to the thread, so that the next finds it busy, or not.
        if round % 3 != 0 && writer.run_here(&mut ops, &mut finished) {
            here += 1;
            assert!(ops.is_empty());
            let [Completion::Appended { durable, .. }] = finished.as_slice() else {
                panic!("{finished:?}");
            };
            assert_eq!(durable.id.lsn, lsn(round + 1), "all before it are durable too");
        } else {
            there += 1;
            writer.submit(ops.remove(0)).unwrap();
            // Sometimes the thread is given the time to finish, and is then idle.
            if round % 6 == 0 {
                (0..std::mem::take(&mut due)).for_each(|_| {
                    done.recv_timeout(PATIENCE).unwrap();
                });
                done.recv_timeout(PATIENCE).unwrap();
            } else {
                due += 1;
            }
        }
    }
    assert!(here > 0 && there > 0, "{here} here, {there} there");
    for _ in 0..due {
        done.recv_timeout(PATIENCE).unwrap();
    }
    writer.stop().unwrap();
    assert_eq!(open(disk).reader().bounds(SHARD).last, maker.position());
}

#[test]
fn a_failure_here_ends_the_writer_too() {
    let disk = SimDisk::new(1);
    let (writer, _done) = start(&disk, 1 << 20);
    let mut maker = Maker::new(SHARD);
    disk.fail(Operation::Sync, 1, Fault::Device);
    let mut finished = Vec::new();
    assert!(writer.run_here(&mut vec![maker.op(1, 50)], &mut finished));
    assert!(matches!(finished.as_slice(), [Completion::Failed(_)]), "{finished:?}");
    let mut ops = vec![maker.op(1, 50)];
    assert!(!writer.run_here(&mut ops, &mut finished));
    assert!(writer.submit(ops.remove(0)).is_err());
    assert!(matches!(writer.stop(), Err(StoreError::Stopped)));
}
