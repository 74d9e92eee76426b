//! Configurations and hard states: decoded or refused, and one that is decoded keeps what its
//! users rely on.
#![no_main]

use antiphon_fuzz::within;
use antiphon_proto::{Config, EntryId, HardState, Policy};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    within(input, 64, 16 << 10, || check(input));
});

fn check(input: &[u8]) {
    if let Ok(hard) = HardState::decode(input) {
        assert!(hard.config.epoch <= hard.promised);
        assert_eq!(HardState::decode(&hard.encode()), Ok(hard));
    }
    let Ok(config) = Config::decode(input) else { return };
    assert_eq!(config.check(), Ok(()));
    assert_eq!(Config::decode(&config.encode()).as_ref(), Ok(&config));
    assert!(config.nodes().contains(&config.primary));
    assert_eq!(config.parent(config.primary), None);
    for node in config.nodes() {
        let above = std::iter::successors(Some(node), |node| config.parent(*node));
        assert_eq!(above.last(), Some(config.primary));
    }
    config.rule(config.floor).expect("the floor was checked");
    for policy in [Policy::Local, Policy::Quorum, Policy::All, Policy::Ack(2), Policy::Prefix(15)] {
        if let Ok(rule) = config.rule(policy) {
            assert!(rule.sat(config.voter_set()), "all voters satisfy {policy}");
        }
    }
    config.keep(&config.history, EntryId::ZERO);
}
