//! Offers and what follows from them.

use super::*;

#[test]
fn a_way_is_used_if_one_side_means_to_and_the_other_can() {
    let (lz4, zstd) = (Codecs::of(Codec::Lz4), Codecs::of(Codec::Zstd));
    let here = Offer { decodes: Codecs::ALL, sends: lz4 };
    let there = Offer { decodes: lz4, sends: zstd };
    assert_eq!(here.agree(there), Agreed { send: lz4, receive: zstd });
    assert_eq!(there.agree(here), Agreed { send: zstd, receive: lz4 });
}

#[test]
fn one_that_says_nothing_gets_and_sends_plain_messages() {
    let here = Offer { decodes: Codecs::ALL, sends: Codecs::ALL };
    assert_eq!(here.agree(Offer::default()), Agreed::default());
    assert_eq!(Offer::default().agree(here), Agreed::default());
}

#[test]
fn a_byte_keeps_what_is_known() {
    for byte in 0..=u8::MAX {
        let codecs = Codecs::from_byte(byte);
        assert_eq!(codecs.byte(), byte & 3);
        assert_eq!(Codecs::from_byte(codecs.byte()), codecs);
    }
    for codec in Codec::ALL {
        assert_eq!(Codec::from_code(codec.code()), Some(codec));
        assert!(Codecs::of(codec).has(codec));
    }
}

#[test]
fn names_are_those_of_the_configuration() {
    assert_eq!(Codecs::NONE.to_string(), "off");
    assert_eq!(Codecs::of(Codec::Zstd).to_string(), "zstd");
    assert_eq!(Codecs::ALL.to_string(), "lz4,zstd");
}
