//! The register in memory: who watches sees each change once, and a node registers once.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use antiphon_proto::{Incarnation, StoreUuid};

use crate::ConfigRegister as _;
use crate::samples::{found, node, put_shard, shard};
use crate::{
    Key, MemoryRegister, NodeRecord, RegisterNodeError, RegisterRule, RegisterWatch, Version,
    register_node,
};

/// The result of a future that does not wait.
#[track_caller]
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("waits"),
    }
}

#[test]
fn each_change_is_seen_once_in_order() {
    let register = MemoryRegister::new();
    register.apply(&found());
    let mut watch = register.watch(Version::ZERO).expect("all changes are kept");
    let mut late = register.watch(Version::new(1)).expect("all changes are kept");
    register.apply(&put_shard(0, shard(7, 1)));
    register.apply(&put_shard(0, shard(7, 2))); // conflicts, so nobody hears of it
    register.apply(&put_shard(2, shard(7, 2)));
    for version in 1..=3 {
        assert_eq!(ready(watch.next()).map(|change| change.version.get()), Ok(version));
    }
    assert_eq!(late.try_next().map(|change| change.map(|it| it.version.get())), Ok(Some(2)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(watch.next()).poll(&mut context).is_pending());
    register.apply(&put_shard(3, shard(7, 3)));
    assert_eq!(ready(watch.next()).map(|change| change.version.get()), Ok(4));
}

#[test]
fn a_node_registers_and_older_runs_do_not() {
    let register = MemoryRegister::new();
    register.apply(&found());
    let run = |incarnation, store| NodeRecord {
        incarnation: Incarnation::new(incarnation),
        store: StoreUuid::new(store),
        ..node(1)
    };
    let refused = |result: Result<Version, RegisterNodeError>| match result {
        Err(RegisterNodeError::Refused(refusal)) => refusal.rule,
        other => panic!("{other:?}"),
    };
    ready(register_node(&register, &run(1, 0xA), false)).expect("the first run");
    ready(register_node(&register, &run(2, 0xA), false)).expect("the second run");
    let old = ready(register_node(&register, &run(1, 0xA), false));
    assert_eq!(refused(old), RegisterRule::OldIncarnation);
    let other = ready(register_node(&register, &run(1, 0xB), false));
    assert_eq!(refused(other), RegisterRule::OtherStore);
    ready(register_node(&register, &run(1, 0xB), true)).expect("a replaced disk");
    let back = ready(register_node(&register, &run(3, 0xA), true));
    assert_eq!(refused(back), RegisterRule::FormerStore);
    let record = register.get(Key::Node(node(1).node)).expect("registered");
    assert_eq!(record.record.as_node().map(|node| node.store), Some(StoreUuid::new(0xB)));
    let (version, all) = ready(register.read_all()).expect("in memory");
    assert_eq!((version, all.len()), (register.machine().version(), 2));
    let rows = ready(register.history(9)).expect("in memory");
    assert_eq!(rows.len(), 3);
}
