//! Commands on the whole of a database.

use std::collections::BTreeMap;

use super::Run;
use super::keys::type_name;
use crate::base::{DATABASES, Db, Place};
use crate::glob::{Case, glob};
use crate::item::Item;
use crate::number::{self, Digits};
use crate::pending::{Change, What};
use crate::reply::{Fault, ReplySink};

/// A cursor counts the upper 48 bits of hashes, so that it stays exact in clients that read
/// numbers as floating point.
const CURSOR_SHIFT: u32 = 16;
const POSITION_MAX: u64 = u64::MAX >> CURSOR_SHIFT;
/// Keys that `SCAN` looks at when nothing else is said.
const COUNT_DEFAULT: usize = 10;
/// Segments, most of them empty, that one `SCAN` walks over.
const SEGMENTS_PER_SCAN: usize = 256;
/// Draws before `RANDOMKEY` takes the next key that it finds.
const DRAWS_MAX: usize = 64;

/// What is not in the base, of one database: pending and unstable keys.
#[derive(Default)]
struct Speculative<'a> {
    hidden: bool, // the base's keys do not count
    keys: BTreeMap<&'a [u8], Option<&'a Item>>,
}

impl<'r, S: ReplySink> Run<'r, '_, S> {
    fn place(&self) -> Place {
        self.engine.places(Some(self.context.pending)).of(self.context.db)
    }

    /// The reply rests on the whole database.
    fn rest_on_all(&mut self) {
        self.dirty = self.dirty.max(self.engine.all_dirty_until());
    }

    fn speculative(&self, place: Place) -> Speculative<'_> {
        let mut all = Speculative::default();
        let overlay = &self.engine.overlay;
        if !overlay.is_empty() {
            all.hidden = overlay.hides(place);
            for held in overlay.of(place) {
                all.keys.insert(held.item.key(), (!held.gone).then_some(&held.item));
            }
        }
        for change in self.context.pending.changes() {
            match change {
                Change::Key { place: at, item, what, .. } if *at == place => {
                    all.keys.insert(item.key(), (*what != What::Gone).then_some(item));
                }
                Change::Flush { place: at, .. } if *at == place => {
                    all = Speculative { hidden: true, keys: BTreeMap::new() };
                }
                Change::Key { .. } | Change::Flush { .. } | Change::Swap { .. } => {}
            }
        }
        all
    }

    /// All keys of the database that have not expired, in no order.
    fn visible<'v>(&'v self, speculative: &'v Speculative<'v>) -> impl Iterator<Item = &'v Item> {
        let keys = self.engine.base.database(self.place()).keys();
        let stable = if speculative.hidden { None } else { Some(keys.iter()) };
        stable
            .into_iter()
            .flatten()
            .filter(|item| {
                speculative.keys.is_empty() || !speculative.keys.contains_key(item.key())
            })
            .chain(speculative.keys.values().filter_map(|item| *item))
            .filter(|item| !item.expired(self.context.now_ms))
    }

    fn position(&self, item: &Item) -> u64 {
        self.engine.base.hasher().of(item.key()) >> CURSOR_SHIFT
    }
}

/// `DBSIZE`. Keys that have expired count until they are deleted.
pub(super) fn dbsize<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    run.rest_on_all();
    let place = run.place();
    let speculative = run.speculative(place);
    let base = run.engine.base.database(place).keys();
    let (mut size, hasher) = (0, run.engine.base.hasher());
    let stable = |key: &[u8]| !speculative.hidden && base.find(hasher.of(key), key).is_some();
    if !speculative.hidden {
        size = base.len();
    }
    for (key, item) in &speculative.keys {
        match (item.is_some(), stable(key)) {
            (true, false) => size += 1,
            (false, true) => size -= 1,
            (true, true) | (false, false) => {}
        }
    }
    run.count(size);
    Ok(())
}

/// `KEYS pattern`.
pub(super) fn keys<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    run.rest_on_all();
    let pattern = run.arg(1);
    let mut found = Vec::new();
    {
        let speculative = run.speculative(run.place());
        for item in run.visible(&speculative) {
            if matches(pattern, item.key())? {
                found.push(item.clone());
            }
        }
    }
    run.out.array(found.len());
    for item in found {
        run.out.bulk(item.key());
    }
    Ok(())
}

fn matches(pattern: &[u8], key: &[u8]) -> Result<bool, Fault> {
    if pattern == b"*" {
        return Ok(true);
    }
    glob(pattern, key, Case::Sensitive)
        .map_err(|too_costly| Fault::text_of(format!("ERR {too_costly}")))
}

/// `RANDOMKEY`.
pub(super) fn randomkey<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    run.rest_on_all();
    let drawn = draw(run);
    match drawn {
        Some(item) => run.out.bulk(item.key()),
        None => run.out.null(),
    }
    Ok(())
}

fn draw<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Option<Item> {
    for _ in 0..DRAWS_MAX {
        let (around, which) = ((run.context.random)(), (run.context.random)());
        let keys = run.engine.base.database(run.place()).keys();
        let Some((segment, _)) = keys.segment_of(around) else { break };
        let Some(which) = which.checked_rem(segment.len() as u64) else { continue };
        let item = segment.iter().nth(usize::try_from(which).ok()?)?;
        let key = run.engine.key(run.context.pending, run.context.db, item.key());
        let found = run.engine.find(run.context.pending, &key, run.context.now_ms);
        if let Some(item) = found.item {
            return Some(item.clone());
        }
    }
    // Few keys, or all of them expired or unstable.
    let speculative = run.speculative(run.place());
    run.visible(&speculative).next().cloned()
}

/// What `SCAN` was asked for.
struct Scan<'a> {
    from: u64,
    count: usize,
    pattern: Option<&'a [u8]>,
    of_type: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    fn parse(args: &[&'a [u8]]) -> Result<Self, Fault> {
        let (cursor, options) = args.split_first().ok_or(Fault::SYNTAX)?;
        let from = cursor_of(cursor)?;
        let mut scan = Self { from, count: COUNT_DEFAULT, pattern: None, of_type: None };
        let mut words = options.iter();
        while let Some(word) = words.next() {
            let operand = words.next().ok_or(Fault::SYNTAX)?;
            match word.to_ascii_uppercase().as_slice() {
                b"COUNT" => {
                    let count = number::word(operand)?;
                    let count = usize::try_from(count).ok().filter(|&count| count > 0);
                    scan.count = count.ok_or(Fault::SYNTAX)?;
                }
                b"MATCH" => scan.pattern = Some(operand),
                b"TYPE" => scan.of_type = Some(operand),
                _ => return Err(Fault::SYNTAX),
            }
        }
        Ok(scan)
    }

    fn wants(&self, item: &Item) -> Result<bool, Fault> {
        let typed =
            self.of_type.is_none_or(|name| name.eq_ignore_ascii_case(type_name(item).as_bytes()));
        Ok(typed && self.pattern.map_or(Ok(true), |pattern| matches(pattern, item.key()))?)
    }
}

/// A cursor that a client sent. One past the last position has nothing behind it.
fn cursor_of(text: &[u8]) -> Result<u64, Fault> {
    let text = std::str::from_utf8(text).map_err(|_not_text| Fault::CURSOR)?;
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_not_number| Fault::CURSOR)
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`.
///
/// Keys come in the order of their hashes: one that is there during the whole walk is returned
/// exactly once, whatever is written meanwhile and however the tables grow.
pub(super) fn scan<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let scan = Scan::parse(run.rest(1))?;
    run.rest_on_all();
    let (items, next) = walk(run, &scan);
    let mut found = Vec::with_capacity(items.len());
    for item in items {
        if !item.expired(run.now_ms()) && scan.wants(&item)? {
            found.push(item);
        }
    }
    run.out.array(2);
    run.out.bulk(Digits::unsigned(next).as_bytes());
    run.out.array(found.len());
    for item in found {
        run.out.bulk(item.key());
    }
    Ok(())
}

/// The next items at or behind the cursor, and the cursor behind them, 0 at the end.
fn walk<S: ReplySink>(run: &Run<'_, '_, S>, scan: &Scan<'_>) -> (Vec<Item>, u64) {
    if scan.from > POSITION_MAX {
        return (Vec::new(), 0);
    }
    let place = run.place();
    let speculative = run.speculative(place);
    let base = run.engine.base.database(place).keys();
    let mut items: Vec<(u64, &Item)> = Vec::new();
    let (mut from, mut end) = (scan.from, POSITION_MAX);
    for _ in 0..SEGMENTS_PER_SCAN {
        let segment = base.segment_of(from << CURSOR_SHIFT).filter(|_| !speculative.hidden);
        let Some((segment, last)) = segment else { break };
        end = last >> CURSOR_SHIFT;
        let here = segment.iter().filter(|item| {
            speculative.keys.is_empty() || !speculative.keys.contains_key(item.key())
        });
        let here = here.map(|item| (run.position(item), item));
        items.extend(here.filter(|&(position, _)| position >= from));
        if items.len() >= scan.count || end == POSITION_MAX {
            break;
        }
        from = end + 1;
    }
    let unstable = speculative.keys.values().filter_map(|item| *item);
    let unstable = unstable.map(|item| (run.position(item), item));
    items.extend(unstable.filter(|(position, _)| (scan.from..=end).contains(position)));
    items.sort_unstable_by_key(|&(position, _)| position);
    let next = cut_to_count(&mut items, scan.count).unwrap_or(if end == POSITION_MAX {
        0
    } else {
        end + 1
    });
    (items.into_iter().map(|(_, item)| item.clone()).collect(), next)
}

/// Keeps the first `count` items, and more that share the last one's position. Returns where the
/// others begin.
fn cut_to_count(items: &mut Vec<(u64, &Item)>, count: usize) -> Option<u64> {
    let (last, _) = *items.get(count.checked_sub(1)?)?;
    let kept = items.partition_point(|&(position, _)| position <= last);
    let more = kept < items.len();
    items.truncate(kept);
    more.then_some(last + 1)
}

/// `FLUSHDB [ASYNC | SYNC]`.
pub(super) fn flushdb<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    flush(run, &[run.context.db])
}

/// `FLUSHALL [ASYNC | SYNC]`.
pub(super) fn flushall<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    flush(run, &Db::all().collect::<Vec<_>>())
}

fn flush<S: ReplySink>(run: &mut Run<'_, '_, S>, all: &[Db]) -> Result<(), Fault> {
    // Memory is always given back little by little, so both words mean the same.
    let known =
        |word: &[u8]| word.eq_ignore_ascii_case(b"ASYNC") || word.eq_ignore_ascii_case(b"SYNC");
    match run.rest(1) {
        [] => {}
        [word] if known(word) => {}
        _ => return Err(Fault::SYNTAX),
    }
    run.rest_on_all();
    let used = used_places(run);
    for &db in all {
        let place = run.engine.places(Some(run.context.pending)).of(db);
        if used.get(place.index()).is_some_and(|used| *used) {
            run.context.pending.flush(db, place);
        }
    }
    run.check_fits()?;
    run.ok();
    Ok(())
}

/// The places where there may be a key.
fn used_places<S: ReplySink>(run: &Run<'_, '_, S>) -> [bool; DATABASES] {
    let mut used = [false; DATABASES];
    let mut mark = |place: Place| {
        if let Some(used) = used.get_mut(place.index()) {
            *used = true;
        }
    };
    Place::all()
        .filter(|&place| run.engine.base.database(place).keys().len() > 0)
        .for_each(&mut mark);
    run.engine.overlay.places_used().for_each(&mut mark);
    for change in run.context.pending.changes() {
        if let Change::Key { place, .. } = change {
            mark(*place);
        }
    }
    used
}
