//! The register's records, commands, outcomes and state: decoded or refused, and what was decoded
//! can be written again. A state that was decoded takes what is decoded next.
#![no_main]

use antiphon_control::{Command, Machine, Outcome, Record, Version};
use antiphon_fuzz::within;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    within(input, 256, 64 << 10, || check(input));
});

fn check(input: &[u8]) {
    if let Ok(outcome) = Outcome::decode(input) {
        assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
    }
    if let Ok(state) = Machine::decode(input) {
        let copy = Machine::decode(&state.encode()).expect("what was decoded is within limits");
        assert_eq!(copy.digest(), state.digest());
    }
    if let Ok(command) = Command::decode(input) {
        apply(&command);
    }
    let Ok(record) = Record::decode(input) else { return };
    assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(&record));
    assert_eq!(record.check(), Ok(()));
    apply(&Command::one(Version::ZERO, record, None));
}

/// Whatever a command says, it is written whole or leaves no trace.
fn apply(command: &Command) {
    let mut machine = Machine::new();
    let before = machine.digest();
    match machine.apply(command) {
        Outcome::Done(version) => {
            assert_eq!(machine.version(), version);
            assert_eq!(machine.records().count(), command.items.len());
            assert!(matches!(machine.apply(command), Outcome::Conflict(_)));
        }
        Outcome::Conflict(_) | Outcome::Refused(_) => assert_eq!(machine.digest(), before),
    }
}
