//! The superblock's fields.

use std::path::Path;

use antiphon_proto::Incarnation;

use super::Superblock;
use crate::SimDisk;
use crate::disk::Disk;
use crate::testing::{UUID, identity};

#[test]
fn it_comes_back_as_it_was_saved() {
    let disk = SimDisk::new(1);
    let dir = Path::new("/data");
    disk.create_dir_all(dir).unwrap();
    assert_eq!(Superblock::load(&disk, dir).unwrap(), None);
    for clean in [false, true] {
        let incarnation = Incarnation::new(17);
        let saved = Superblock { store: UUID, identity: identity(), incarnation, clean };
        saved.save(&disk, dir).unwrap();
        assert_eq!(Superblock::load(&disk, dir).unwrap(), Some(saved));
    }
}

#[test]
fn bodies_that_do_not_fit_are_refused() {
    let incarnation = Incarnation::new(1);
    let whole = Superblock { store: UUID, identity: identity(), incarnation, clean: true }.encode();
    assert!(Superblock::decode(UUID, &whole).is_some());
    for length in 0..whole.len() {
        assert_eq!(Superblock::decode(UUID, &whole[..length]), None, "{length}");
    }
    let mut odd = whole.clone();
    odd[32] = 2;
    assert_eq!(Superblock::decode(UUID, &odd), None, "clean is 0 or 1");
    let mut odd = whole.clone();
    *odd.last_mut().unwrap() = 0xff;
    assert_eq!(Superblock::decode(UUID, &odd), None, "the name is text");
}
