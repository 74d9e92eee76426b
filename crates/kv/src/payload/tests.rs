//! Effects round-trip; any bytes are decoded or refused.

use proptest::prelude::*;

use super::*;

fn db() -> impl Strategy<Value = Db> {
    (0..16_u64).prop_map(|number| Db::new(number).unwrap())
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..300)
}

fn encode(effects: &[Effect<'_>]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u8(PAYLOAD_VERSION);
    for effect in effects {
        let before = out.len();
        effect.encode(&mut out);
        assert_eq!(out.len() - before, effect.encoded_bytes(), "{effect:?}");
    }
    out
}

#[track_caller]
fn check_refused(payload: &[u8], want: DecodeError) {
    let result = decode(payload).and_then(|effects| effects.collect::<Result<Vec<_>, _>>());
    assert_eq!(result, Err(want), "{payload:?}");
}

proptest! {
    #[test]
    fn effects_round_trip(
        db in db(),
        other in db(),
        key in text(),
        value in text(),
        at in proptest::option::of(0..=EXPIRE_AT_MS_MAX),
    ) {
        let effects = [
            Effect::Put { db, key: &key, value: &value, expire_at_ms: at },
            Effect::Delete { db, key: &key },
            Effect::Expire { db, key: &key, expire_at_ms: at },
            Effect::Flush { db },
            Effect::Swap { one: db, other },
        ];
        let payload = encode(&effects);
        let decoded: Result<Vec<_>, _> = decode(&payload).unwrap().collect();
        prop_assert_eq!(decoded.unwrap(), effects);
        for cut in 1..payload.len() {
            // A cut is refused or falls between two effects.
            let decoded: Result<Vec<_>, _> = decode(&payload[..cut]).unwrap().collect();
            match decoded {
                Ok(some) => prop_assert_eq!(&effects[..some.len()], some),
                Err(error) => prop_assert_eq!(error, DecodeError::Short),
            }
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(mut payload in text(), versioned in any::<bool>()) {
        if versioned && let Some(first) = payload.first_mut() {
            *first = PAYLOAD_VERSION;
        }
        if let Ok(effects) = decode(&payload) {
            let decoded: Vec<_> = effects.collect();
            prop_assert!(decoded.iter().rev().skip(1).all(Result::is_ok));
        }
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    check_refused(&[], DecodeError::Short);
    check_refused(&[0], DecodeError::Version(0));
    check_refused(&[2, 6, 0], DecodeError::Version(2));
    check_refused(&[1, 99, 0], DecodeError::Effect(99));
    check_refused(&[1, 6, 16], DecodeError::Database(16));
    check_refused(&[1, 7, 0, 16], DecodeError::Database(16));
    check_refused(&[1, 3, 0, 5, b'a'], DecodeError::Short);
    check_refused(&[1, 3, 0, 0x80, 0], DecodeError::Length);
    check_refused(&[1, 3, 0, 0xff, 0xff, 0xff, 0xff, 0xff], DecodeError::Length);
    check_refused(&[1, 3, 0, 0xff, 0xff, 0xff, 0xff, 0x7f], DecodeError::Length);
    check_refused(&[1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 1, b'a'], DecodeError::Time(1 << 63));
}

#[test]
fn the_bytes_of_a_payload_are_pinned() {
    let db = Db::new(2).unwrap();
    let payload = encode(&[
        Effect::Put { db, key: b"k", value: b"vw", expire_at_ms: None },
        Effect::Put { db, key: b"k", value: b"v", expire_at_ms: Some(0x0102) },
        Effect::Delete { db, key: b"k" },
        Effect::Expire { db, key: b"k", expire_at_ms: Some(3) },
        Effect::Expire { db, key: b"k", expire_at_ms: None },
        Effect::Flush { db },
        Effect::Swap { one: db, other: Db::new(3).unwrap() },
    ]);
    assert_eq!(crate::testing::hex(&payload), crate::testing::shown("payload"));
}
