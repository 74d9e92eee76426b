//! Random commands against a plain map, with entries becoming stable at random moments.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::kit::{Pair, words};

/// A command on a value.
#[derive(Debug, Clone)]
enum OnValue {
    Set(u8, u8),
    SetKeep(u8, u8),
    SetPx(u8, u8, u64),
    SetNx(u8, u8),
    Get(u8),
    Incr(u8, i8),
    Append(u8, u8),
}

/// A command on keys.
#[derive(Debug, Clone)]
enum OnKey {
    Del(u8, u8),
    Rename(u8, u8),
    Copy(u8, u8),
    PExpire(u8, i64),
    Persist(u8),
    PTtl(u8),
    Flush,
}

/// A command of a transaction.
#[derive(Debug, Clone)]
enum Part {
    Value(OnValue),
    Key(OnKey),
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![on_value().prop_map(Part::Value), on_key().prop_map(Part::Key)]
}

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Value(OnValue),
    Key(OnKey),
    Together(Vec<Part>),
    DbSize,
    Keys,
    Later(u64),
    Stable(usize),
    Depose,
    Reload,
}

fn on_value() -> impl Strategy<Value = OnValue> {
    let key = || 0..6_u8;
    prop_oneof![
        4 => (key(), any::<u8>()).prop_map(|(k, v)| OnValue::Set(k, v)),
        1 => (key(), any::<u8>()).prop_map(|(k, v)| OnValue::SetKeep(k, v)),
        2 => (key(), any::<u8>(), 1..50_u64).prop_map(|(k, v, t)| OnValue::SetPx(k, v, t)),
        1 => (key(), any::<u8>()).prop_map(|(k, v)| OnValue::SetNx(k, v)),
        4 => key().prop_map(OnValue::Get),
        2 => (key(), any::<i8>()).prop_map(|(k, by)| OnValue::Incr(k, by)),
        1 => (key(), any::<u8>()).prop_map(|(k, v)| OnValue::Append(k, v)),
    ]
}

fn on_key() -> impl Strategy<Value = OnKey> {
    let key = || 0..6_u8;
    prop_oneof![
        2 => (key(), key()).prop_map(|(k, l)| OnKey::Del(k, l)),
        1 => (key(), key()).prop_map(|(k, l)| OnKey::Rename(k, l)),
        1 => (key(), key()).prop_map(|(k, l)| OnKey::Copy(k, l)),
        2 => (key(), -5..50_i64).prop_map(|(k, t)| OnKey::PExpire(k, t)),
        1 => key().prop_map(OnKey::Persist),
        2 => key().prop_map(OnKey::PTtl),
        1 => Just(OnKey::Flush),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        15 => on_value().prop_map(Step::Value),
        10 => on_key().prop_map(Step::Key),
        2 => proptest::collection::vec(part(), 1..40).prop_map(Step::Together),
        1 => Just(Step::DbSize),
        2 => Just(Step::Keys),
        3 => (1..20_u64).prop_map(Step::Later),
        4 => (0..5_usize).prop_map(Step::Stable),
        1 => Just(Step::Depose),
        1 => Just(Step::Reload),
    ]
}

/// Keys with value and expiry; those that expired are taken out as time goes on.
type Map = BTreeMap<u8, (String, Option<u64>)>;

#[derive(Default)]
struct Model {
    now: Map,
    history: Vec<Map>, // the state before each unstable entry
}

fn text(value: &str) -> String {
    format!("\"{value}\"")
}

impl Model {
    fn alive(&mut self, now_ms: u64) {
        self.now.retain(|_, (_, at)| at.is_none_or(|at| at > now_ms));
    }

    fn value(&self, key: u8) -> String {
        self.now.get(&key).map_or("(nil)".to_owned(), |(value, _)| text(value))
    }

    /// A command as a line, and the reply that is due.
    fn on_value(&mut self, command: &OnValue, now_ms: u64) -> Option<(String, String)> {
        let map = &mut self.now;
        let at = |key: u8, map: &Map| map.get(&key).and_then(|(_, at)| *at);
        Some(match *command {
            OnValue::Set(key, value) => {
                map.insert(key, (value.to_string(), None));
                (format!("SET {key} {value}"), "OK".to_owned())
            }
            OnValue::SetKeep(key, value) => {
                let kept = at(key, map);
                map.insert(key, (value.to_string(), kept));
                (format!("SET {key} {value} KEEPTTL"), "OK".to_owned())
            }
            OnValue::SetPx(key, value, ms) => {
                map.insert(key, (value.to_string(), Some(now_ms + ms)));
                (format!("SET {key} {value} PX {ms}"), "OK".to_owned())
            }
            OnValue::SetNx(key, value) => {
                let free = !map.contains_key(&key);
                map.entry(key).or_insert((value.to_string(), None));
                (format!("SETNX {key} {value}"), flag(free))
            }
            OnValue::Get(key) => (format!("GET {key}"), self.value(key)),
            OnValue::Incr(key, by) => {
                let (value, at) = map.get(&key).cloned().unwrap_or(("0".to_owned(), None));
                let line = format!("INCRBY {key} {by}");
                match value.parse::<i64>() {
                    Ok(number) if number.to_string() == value && value.len() < 18 => {
                        let sum = number + i64::from(by);
                        map.insert(key, (sum.to_string(), at));
                        (line, sum.to_string())
                    }
                    _ => return None,
                }
            }
            OnValue::Append(key, value) => {
                let at = at(key, map);
                let whole = format!("{}{value}", map.get(&key).map_or("", |(value, _)| value));
                let len = whole.len();
                map.insert(key, (whole, at));
                (format!("APPEND {key} {value}"), len.to_string())
            }
        })
    }

    /// A command as a line, and the reply that is due.
    fn on_key(&mut self, command: &OnKey, now_ms: u64) -> Option<(String, String)> {
        let map = &mut self.now;
        Some(match *command {
            OnKey::Del(key, other) => {
                let count = [key, other].iter().filter(|key| map.remove(key).is_some()).count();
                (format!("DEL {key} {other}"), count.to_string())
            }
            OnKey::Rename(key, other) => {
                let line = format!("RENAME {key} {other}");
                match map.remove(&key) {
                    Some(item) => {
                        map.insert(other, item);
                        (line, "OK".to_owned())
                    }
                    None => (line, "ERR no such key".to_owned()),
                }
            }
            OnKey::Copy(key, other) => {
                if key == other {
                    return None;
                }
                let item = map.get(&key).cloned();
                let copied = item.is_some() && !map.contains_key(&other);
                if let Some(item) = item.filter(|_| copied) {
                    map.insert(other, item);
                }
                (format!("COPY {key} {other}"), flag(copied))
            }
            OnKey::PExpire(key, ms) => {
                let there = map.contains_key(&key);
                let at = now_ms.checked_add_signed(ms).unwrap();
                match map.get_mut(&key) {
                    Some((_, old)) if at > now_ms => *old = Some(at),
                    _ => drop(map.remove(&key)),
                }
                (format!("PEXPIRE {key} {ms}"), flag(there))
            }
            OnKey::Persist(key) => {
                let had = map.get_mut(&key).and_then(|(_, at)| at.take()).is_some();
                (format!("PERSIST {key}"), flag(had))
            }
            OnKey::PTtl(key) => {
                let left = match map.get(&key) {
                    Some((_, Some(at))) => (at - now_ms).to_string(),
                    Some((_, None)) => "-1".to_owned(),
                    None => "-2".to_owned(),
                };
                (format!("PTTL {key}"), left)
            }
            OnKey::Flush => {
                map.clear();
                ("FLUSHDB".to_owned(), "OK".to_owned())
            }
        })
    }
}

fn flag(yes: bool) -> String {
    u8::from(yes).to_string()
}

fn sorted_keys(reply: &str) -> Vec<String> {
    let mut keys: Vec<String> =
        reply.split(' ').skip(1).map(|word| word.trim_matches('"').to_owned()).collect();
    keys.sort();
    keys
}

/// Runs a command on both; panics when they differ.
fn command(
    pair: &mut Pair,
    model: &mut Model,
    line_of: impl FnOnce(&mut Model) -> Option<(String, String)>,
) {
    let before = model.now.clone();
    let Some((line, want)) = line_of(model) else { return };
    let unstable = pair.unstable();
    assert_eq!(pair.say(&line), want, "{line}");
    if pair.unstable() > unstable {
        model.history.push(before);
    } else {
        assert_eq!(model.now, before, "{line} changed the model only");
    }
}

/// Runs commands as one entry on both; panics when they differ.
fn together(pair: &mut Pair, model: &mut Model, parts: &[Part]) {
    let before = model.now.clone();
    for part in parts {
        let line = match part {
            Part::Value(on_value) => model.on_value(on_value, pair.now_ms),
            Part::Key(on_key) => model.on_key(on_key, pair.now_ms),
        };
        if let Some((line, want)) = line {
            assert_eq!(pair.execute(&words(&line)), want, "{line} of {parts:?}");
        }
    }
    let want: Vec<String> = model.now.keys().map(u8::to_string).collect();
    assert_eq!(sorted_keys(&pair.execute(&words("KEYS *"))), want);
    match pair.propose() {
        Some(_) => model.history.push(before),
        None => assert_eq!(model.now, before),
    }
}

/// Takes one step on both; panics when they differ.
fn take(pair: &mut Pair, model: &mut Model, step: &Step) {
    let now_ms = pair.now_ms;
    model.alive(now_ms);
    match step {
        Step::Value(on_value) => command(pair, model, |model| model.on_value(on_value, now_ms)),
        Step::Key(on_key) => command(pair, model, |model| model.on_key(on_key, now_ms)),
        Step::Together(parts) => together(pair, model, parts),
        Step::Keys => {
            let want: Vec<String> = model.now.keys().map(u8::to_string).collect();
            assert_eq!(sorted_keys(&pair.say("KEYS *")), want);
        }
        Step::DbSize => {
            // Expired keys count until they are deleted.
            let size: usize = pair.say("DBSIZE").parse().unwrap();
            assert!((model.now.len()..=6).contains(&size));
        }
        Step::Later(ms) => pair.now_ms += ms,
        Step::Stable(entries) => {
            pair.stabilise(*entries);
            let stable = model.history.len().min(*entries);
            model.history.drain(..stable);
        }
        Step::Depose => {
            pair.depose();
            if let Some(stable) = model.history.first() {
                model.now = stable.clone();
                model.history.clear();
            }
            model.alive(now_ms);
        }
        Step::Reload => {
            let mut snapshot = Vec::new();
            pair.replica.cut().write(&mut snapshot).unwrap();
            let digest = pair.replica.digest();
            pair.replica.restore(&mut &*snapshot).unwrap();
            assert_eq!(pair.replica.digest(), digest);
        }
    }
}

proptest! {
    #[test]
    fn replies_are_those_of_a_map(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut pair, mut model) = (Pair::default(), Model::default());
        for step in &steps {
            take(&mut pair, &mut model, step);
        }
        // What a replica answers once all is stable and its clock has come as far.
        pair.say("SET 99 v");
        pair.stabilise(usize::MAX);
        model.alive(pair.now_ms);
        for key in 0..6 {
            prop_assert_eq!(pair.ask_replica(&format!("GET {key}")), model.value(key));
        }
        let expired = pair.primary.expire(pair.now_ms, usize::MAX, &mut pair.pending);
        pair.propose();
        pair.stabilise(usize::MAX);
        let stats = pair.replica.db_stats(pair.db, pair.now_ms);
        prop_assert_eq!(stats.keys, model.now.len() as u64 + 1, "{} expired", expired);
        let expiring = model.now.values().filter(|(_, at)| at.is_some()).count();
        prop_assert_eq!(stats.expires, expiring as u64);
    }
}
