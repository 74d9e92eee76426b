//! Commands on keys of any type.

use super::Run;
use crate::base::Db;
use crate::item::{Item, Value};
use crate::number;
use crate::pending::Key;
use crate::reply::{Fault, ReplySink};

/// Strings up to this length lie with their header, and have an encoding's name of their own.
const EMBEDDED_BYTES_MAX: usize = 44;
/// Bytes of an unknown word that an error repeats.
const SHOWN_BYTES_MAX: usize = 128;
/// What `MEMORY USAGE` adds to an item's bytes for its place in the tables.
const TABLE_BYTES: usize = 32;

/// `DEL key ...`, `UNLINK key ...`.
pub(super) fn del<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let mut deleted = 0;
    for bytes in run.rest(1) {
        let key = run.key(bytes);
        if run.find(&key).is_some() {
            run.delete(&key)?;
            deleted += 1;
        }
    }
    run.count(deleted);
    Ok(())
}

/// `EXISTS key ...`, `TOUCH key ...`: a key that is named twice counts twice.
pub(super) fn exists<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let mut found = 0;
    for bytes in run.rest(1) {
        let key = run.key(bytes);
        let there = run.find(&key).is_some();
        run.engine.count_lookup(there);
        found += usize::from(there);
    }
    run.count(found);
    Ok(())
}

/// `TYPE key`.
pub(super) fn type_of<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let key = run.key(run.arg(1));
    let name = run.find(&key).map_or("none", type_name);
    run.out.simple(name);
    Ok(())
}

/// The name of an item's type.
pub(super) fn type_name(item: &Item) -> &'static str {
    match item.value() {
        Value::Str(_) => "string",
    }
}

/// Whether a rename may take the place of another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Replace,
    Spare,
}

/// `RENAME key new`, `RENAMENX key new`.
pub(super) fn rename<S: ReplySink>(
    run: &mut Run<'_, '_, S>,
    existing: Existing,
) -> Result<(), Fault> {
    let (from, to) = (run.key(run.arg(1)), run.key(run.arg(2)));
    let item = run.item(&from).ok_or(Fault::NO_KEY)?;
    let same = from.bytes == to.bytes;
    let free = run.find(&to).is_none();
    let acts = !same && (free || existing == Existing::Replace);
    if acts {
        run.delete(&from)?;
        run.put_item(&to, item.with_key(to.bytes))?;
    }
    match existing {
        Existing::Replace => run.ok(),
        Existing::Spare => run.flag(acts),
    }
    Ok(())
}

/// `COPY source destination [DB number] [REPLACE]`.
pub(super) fn copy<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let mut existing = Existing::Spare;
    let mut db = run.context.db;
    let mut words = run.rest(3).iter();
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"REPLACE") {
            existing = Existing::Replace;
        } else if word.eq_ignore_ascii_case(b"DB") {
            db = database_word(words.next().ok_or(Fault::SYNTAX)?)?;
        } else {
            return Err(Fault::SYNTAX);
        }
    }
    let from = run.key(run.arg(1));
    let to = run.engine.key(run.context.pending, db, run.arg(2));
    if (from.place, from.bytes) == (to.place, to.bytes) {
        return Err(Fault::SAME_OBJECT);
    }
    let copied = transfer(run, (&from, &to), existing)?.is_some();
    run.flag(copied);
    Ok(())
}

/// `MOVE key database`.
pub(super) fn move_key<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let db = database_word(run.arg(2))?;
    let from = run.key(run.arg(1));
    let to = run.engine.key(run.context.pending, db, run.arg(1));
    if from.place == to.place {
        return Err(Fault::SAME_OBJECT);
    }
    let moved = transfer(run, (&from, &to), Existing::Spare)?.is_some();
    if moved {
        run.delete(&from)?;
    }
    run.flag(moved);
    Ok(())
}

/// Puts a key's item at another key; none when the one is not there or the other is in the way.
fn transfer<S: ReplySink>(
    run: &mut Run<'_, '_, S>,
    (from, to): (&Key<'_>, &Key<'_>),
    existing: Existing,
) -> Result<Option<()>, Fault> {
    let Some(item) = run.item(from) else { return Ok(None) };
    if run.find(to).is_some() && existing == Existing::Spare {
        return Ok(None);
    }
    run.put_item(to, item.with_key(to.bytes))?;
    Ok(Some(()))
}

/// Reads a database's number, which is first one of 32 bits.
fn database_word(word: &[u8]) -> Result<Db, Fault> {
    let number = i32::try_from(number::word(word)?).map_err(|_too_great| Fault::NOT_INT32)?;
    database(number).ok_or(Fault::DB_INDEX)
}

fn database(number: i32) -> Option<Db> {
    u64::try_from(number).ok().and_then(Db::new)
}

/// `SWAPDB one other`.
pub(super) fn swapdb<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let number = |at, text| {
        let number = number::int(run.arg(at)).and_then(|number| i32::try_from(number).ok());
        number.ok_or(Fault::fixed(text))
    };
    let one = number(1, "ERR invalid first DB index")?;
    let other = number(2, "ERR invalid second DB index")?;
    let one = database(one).ok_or(Fault::DB_INDEX)?;
    let other = database(other).ok_or(Fault::DB_INDEX)?;
    if one != other {
        let places = run.engine.places(Some(run.context.pending)).clone();
        run.context.pending.swap(one, other, &places);
        run.check_fits()?;
    }
    run.ok();
    Ok(())
}

/// `OBJECT ENCODING | FREQ | IDLETIME | REFCOUNT key`, `OBJECT HELP`.
pub(super) fn object<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let word = run.arg(1).to_ascii_lowercase();
    let name = match word.as_slice() {
        b"help" => "help",
        b"encoding" => "encoding",
        b"freq" => "freq",
        b"idletime" => "idletime",
        b"refcount" => "refcount",
        _ => return Err(unknown_subcommand(run.arg(1), "OBJECT")),
    };
    let [bytes] = run.rest(2) else {
        if name == "help" && run.args.len() == 2 {
            help(run, &OBJECT_HELP);
            return Ok(());
        }
        return Err(Fault::arity(&format!("object|{name}")));
    };
    if name == "help" {
        return Err(Fault::arity("object|help"));
    }
    let key = run.key(bytes);
    let Some(item) = run.item(&key) else {
        run.out.null();
        return Ok(());
    };
    match name {
        "encoding" => run.out.bulk(encoding(&item).as_bytes()),
        "refcount" => run.out.int(1),
        // Nothing is evicted by age, so no time of access is kept.
        "idletime" => run.out.int(0),
        _ => return Err(Fault::fixed(NO_FREQUENCY)),
    }
    Ok(())
}

const NO_FREQUENCY: &str = "ERR An LFU maxmemory policy is not selected, access frequency not \
    tracked. Please note that when switching between policies at runtime LRU and LFU data will \
    take some time to adjust.";

const OBJECT_HELP: [&str; 11] = [
    "OBJECT <subcommand> <key>. Subcommands are:",
    "ENCODING <key>",
    "    How the value would be held by Redis.",
    "FREQ <key>",
    "    Is refused: no access frequency is kept.",
    "IDLETIME <key>",
    "    Always 0: no time of access is kept.",
    "REFCOUNT <key>",
    "    Always 1.",
    "HELP",
    "    Prints this help.",
];

const MEMORY_HELP: [&str; 5] = [
    "MEMORY <subcommand> [<arg> ...]. Subcommands are:",
    "USAGE <key> [SAMPLES <count>]",
    "    Bytes of memory that the key takes, about.",
    "HELP",
    "    Prints this help.",
];

fn help<S: ReplySink>(run: &mut Run<'_, '_, S>, lines: &[&str]) {
    run.out.array(lines.len());
    for line in lines {
        run.out.simple(line);
    }
}

fn unknown_subcommand(word: &[u8], command: &str) -> Fault {
    let word = String::from_utf8_lossy(word.get(..SHOWN_BYTES_MAX).unwrap_or(word));
    Fault::text_of(format!("ERR unknown subcommand '{word}'. Try {command} HELP."))
}

/// How Redis would hold a value that was written as a whole.
fn encoding(item: &Item) -> &'static str {
    match item.value() {
        Value::Str(value) if number::int(value).is_some() => "int",
        Value::Str(value) if value.len() <= EMBEDDED_BYTES_MAX => "embstr",
        Value::Str(_) => "raw",
    }
}

/// `MEMORY USAGE key [SAMPLES count]`, `MEMORY HELP`.
pub(super) fn memory<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let word = run.arg(1);
    if word.eq_ignore_ascii_case(b"HELP") && run.args.len() == 2 {
        help(run, &MEMORY_HELP);
        return Ok(());
    }
    if !word.eq_ignore_ascii_case(b"USAGE") {
        return Err(unknown_subcommand(word, "MEMORY"));
    }
    let Some((key, mut options)) = run.rest(2).split_first() else {
        return Err(Fault::arity("memory|usage"));
    };
    while let [word, behind @ ..] = options {
        let [count, behind @ ..] = behind else { return Err(Fault::SYNTAX) };
        if !word.eq_ignore_ascii_case(b"SAMPLES") || number::word(count)? < 0 {
            return Err(Fault::SYNTAX);
        }
        options = behind;
    }
    let key = run.key(key);
    match run.find(&key).map(Item::heap_bytes) {
        Some(bytes) => run.count(bytes + TABLE_BYTES),
        None => run.out.null(),
    }
    Ok(())
}
