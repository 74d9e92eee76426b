//! Hard states by shard.

use std::path::Path;
use std::sync::Arc;

use super::{HardStates, shard_of};
use crate::testing::{OTHER, SHARD, UUID};
use crate::{Planted, SimDisk};

#[test]
fn the_last_one_saved_comes_back() {
    let disk = Arc::new(SimDisk::new(1));
    let dir = Path::new("/hard");
    let open = || HardStates::open(disk.clone(), dir, UUID, Planted::default()).unwrap();
    let (states, found) = open();
    assert!(found.is_empty());
    states.save(SHARD, b"one").unwrap();
    states.save(OTHER, b"").unwrap();
    states.save(SHARD, b"two").unwrap();
    let (_, found) = open();
    assert_eq!(found.len(), 2);
    assert_eq!((&found[&SHARD][..], &found[&OTHER][..]), (&b"two"[..], &b""[..]));
}

#[test]
fn only_numbers_are_shards() {
    assert_eq!(shard_of("0000000007"), Some(OTHER));
    for name in ["0000000007.tmp", "7", "00000000x7", "9999999999", "+000000007"] {
        assert_eq!(shard_of(name), None, "{name}");
    }
}
