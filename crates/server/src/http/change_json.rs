//! A stable entry as JSON: what it does to the keyspace. Fields are added, never renamed.

use std::time::{Duration, SystemTime};

use antiphon_kv::{Effect, decode};
use antiphon_proto::{EntryId, Hlc, ShardId, Token};
use serde::{Deserialize, Serialize};

/// Bytes of a payload past which only its size is told.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// The last millisecond of the year 9999, where RFC 3339 ends.
const SPELLED_MS_MAX: u64 = 253_402_300_799_999;

/// An entry and its effects, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeJson {
    /// Names the entry for ever: `shard-epoch-position`.
    pub token: String,
    /// Its position.
    pub lsn: u64,
    /// The epoch that appended it.
    pub epoch: u64,
    /// When, as RFC 3339 in UTC.
    pub at: String,
    /// What it does.
    pub effects: Vec<EffectJson>,
    /// Bytes of effects that are too long to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted_bytes: Option<usize>,
}

impl ChangeJson {
    /// The entry that carries `payload`.
    #[must_use]
    pub fn of(shard: ShardId, id: EntryId, at: Hlc, payload: &[u8]) -> Self {
        let tells = payload.len() <= PAYLOAD_BYTES_MAX;
        Self {
            token: Token { shard, entry: id }.to_string(),
            lsn: id.lsn.get(),
            epoch: id.epoch.get(),
            at: time(at.ms()),
            effects: if tells { effects(payload) } else { Vec::new() },
            omitted_bytes: (!tells).then_some(payload.len()),
        }
    }
}

/// One effect. Bytes that are no text are told as hexadecimal digits, in `key_hex` for `key` and
/// so on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum EffectJson {
    /// The key holds a string.
    Put {
        /// The database.
        db: u8,
        /// The key, if it is text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The key, if it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_hex: Option<String>,
        /// The value, if it is text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        /// The value, if it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_hex: Option<String>,
        /// When it expires; never, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expire_at: Option<String>,
    },
    /// The key is gone.
    Delete {
        /// The database.
        db: u8,
        /// The key, if it is text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The key, if it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_hex: Option<String>,
    },
    /// The key gets another expiry.
    Expire {
        /// The database.
        db: u8,
        /// The key, if it is text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The key, if it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_hex: Option<String>,
        /// When it expires; never, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expire_at: Option<String>,
    },
    /// The database is empty.
    Flush {
        /// The database.
        db: u8,
    },
    /// Two databases exchange their contents.
    Swap {
        /// One.
        db: u8,
        /// The other.
        with: u8,
    },
    /// Not an effect that this version knows.
    Unknown {
        /// Why.
        why: String,
    },
}

fn effects(payload: &[u8]) -> Vec<EffectJson> {
    let unknown = |why: antiphon_kv::DecodeError| EffectJson::Unknown { why: why.to_string() };
    match decode(payload) {
        Ok(effects) => effects.map(|effect| effect.map_or_else(unknown, effect_json)).collect(),
        Err(why) => vec![unknown(why)],
    }
}

fn effect_json(effect: Effect<'_>) -> EffectJson {
    match effect {
        Effect::Put { db, key, value, expire_at_ms } => {
            let ((key, key_hex), (value, value_hex)) = (text(key), text(value));
            let expire_at = expire_at_ms.map(time);
            EffectJson::Put { db: db.get(), key, key_hex, value, value_hex, expire_at }
        }
        Effect::Delete { db, key } => {
            let (key, key_hex) = text(key);
            EffectJson::Delete { db: db.get(), key, key_hex }
        }
        Effect::Expire { db, key, expire_at_ms } => {
            let (key, key_hex) = text(key);
            EffectJson::Expire { db: db.get(), key, key_hex, expire_at: expire_at_ms.map(time) }
        }
        Effect::Flush { db } => EffectJson::Flush { db: db.get() },
        Effect::Swap { one, other } => EffectJson::Swap { db: one.get(), with: other.get() },
    }
}

/// The bytes as text or as hexadecimal digits.
fn text(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_not_text) => (None, Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())),
    }
}

/// A time in milliseconds since 1970 as RFC 3339.
fn time(ms: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(ms.min(SPELLED_MS_MAX));
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use antiphon_kv::Db;
    use antiphon_proto::{Epoch, Lsn};
    use bytes::{BufMut, BytesMut};

    use super::*;

    fn change(effects: &[Effect<'_>]) -> ChangeJson {
        let mut payload = BytesMut::new();
        payload.put_u8(antiphon_kv::PAYLOAD_VERSION);
        effects.iter().for_each(|effect| effect.encode(&mut payload));
        let id = EntryId::new(Epoch::new(2), Lsn::new(17));
        ChangeJson::of(ShardId::default(), id, Hlc::ZERO, &payload)
    }

    #[test]
    fn a_change_is_told_and_understood() {
        let db = Db::default();
        let change = change(&[
            Effect::Put { db, key: b"k", value: b"v", expire_at_ms: Some(1_000) },
            Effect::Delete { db, key: b"\xff\x00" },
            Effect::Expire { db, key: b"k", expire_at_ms: None },
            Effect::Flush { db },
        ]);
        let json = serde_json::to_string(&change).expect("JSON");
        let want = concat!(
            r#"{"token":"0-2-17","lsn":17,"epoch":2,"at":"1970-01-01T00:00:00.000Z","effects":["#,
            r#"{"do":"put","db":0,"key":"k","value":"v","expire_at":"1970-01-01T00:00:01.000Z"},"#,
            r#"{"do":"delete","db":0,"key_hex":"ff00"},{"do":"expire","db":0,"key":"k"},"#,
            r#"{"do":"flush","db":0}]}"#,
        );
        assert_eq!(json, want);
        assert_eq!(serde_json::from_str::<ChangeJson>(&json).expect("its own form"), change);
    }

    #[test]
    fn what_is_too_long_or_unknown_is_said_to_be_so() {
        let value = vec![b'x'; PAYLOAD_BYTES_MAX];
        let put = Effect::Put { db: Db::default(), key: b"", value: &value, expire_at_ms: None };
        let long = change(&[put]);
        assert!(long.effects.is_empty() && long.omitted_bytes > Some(PAYLOAD_BYTES_MAX));
        let id = EntryId::ZERO;
        let other = ChangeJson::of(ShardId::default(), id, Hlc::ZERO, &[99]);
        assert!(matches!(other.effects.as_slice(), [EffectJson::Unknown { .. }]), "{other:?}");
    }
}
