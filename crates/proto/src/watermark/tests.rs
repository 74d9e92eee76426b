//! Watermarks agree with evaluating the rule anew.

use super::*;
use crate::VoterSet;
use proptest::prelude::*;

fn rule() -> impl Strategy<Value = Rule> {
    let count = (1_usize..=5, 1_u8..32).prop_map(|(need, bits)| {
        let places = (0..5).filter(|place| bits & (1 << place) != 0);
        Rule::Count { need, of: places.fold(VoterSet::EMPTY, VoterSet::with) }
    });
    let regions = (1_usize..=3, prop::collection::vec(count.clone(), 1..4))
        .prop_map(|(need, of)| Rule::AtLeast { need, of });
    prop_oneof![count, regions]
}

proptest! {
    #[test]
    fn advancing_equals_evaluating(rule in rule(), acks in prop::collection::vec((0_usize..5, 0_u64..50), 0..60)) {
        let mut held = [Lsn::ZERO; 5];
        let mut watermark = Watermark::new(&rule);
        for (place, raw) in acks {
            held[place] = held[place].max(Lsn::new(raw));
            let mark = watermark.advance(place, Lsn::new(raw));
            prop_assert_eq!(mark, rule.mark(&|place| held[place]));
        }
    }
}
