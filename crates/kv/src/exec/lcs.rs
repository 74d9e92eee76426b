//! `LCS`: the longest common subsequence of two strings.

use super::{Run, string};
use crate::item::Item;
use crate::number;
use crate::reply::{Fault, ReplySink};

/// Cells of the table of lengths, of 4 bytes each: bounds memory and time of one command.
const CELLS_MAX: usize = 16 << 20;

/// Options of the command.
#[derive(Debug, Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: usize,
}

impl Options {
    fn parse(words: &[&[u8]]) -> Result<Self, Fault> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.to_ascii_uppercase().as_slice() {
                b"LEN" => options.len = true,
                b"IDX" => options.idx = true,
                b"WITHMATCHLEN" => options.with_match_len = true,
                b"MINMATCHLEN" => {
                    let len = number::word(words.next().ok_or(Fault::SYNTAX)?)?;
                    options.min_match_len = usize::try_from(len).unwrap_or(0);
                }
                _ => return Err(Fault::SYNTAX),
            }
        }
        if options.len && options.idx {
            return Err(Fault::fixed(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

/// A run of bytes that both strings have: where it begins in each, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Match {
    one: usize,
    other: usize,
    len: usize,
}

/// `LCS key key [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]`.
pub(super) fn lcs<S: ReplySink>(run: &mut Run<'_, '_, S>) -> Result<(), Fault> {
    let (one, other) = (run.key(run.arg(1)), run.key(run.arg(2)));
    let (one, other) = (run.read(&one), run.read(&other));
    let (one, other) = (text(one.as_ref())?, text(other.as_ref())?);
    let options = Options::parse(run.rest(3))?;
    let lengths = Lengths::of(one, other)?;
    let common = lengths.get(one.len(), other.len());
    if options.len {
        run.count(to_usize(common));
        return Ok(());
    }
    let matches = lengths.matches(one, other); // from the end to the beginning
    if !options.idx {
        let parts = matches.iter().rev();
        let parts = parts.map(|part| one.get(part.one..part.one + part.len).unwrap_or_default());
        run.out.bulk(&parts.collect::<Vec<_>>().concat());
        return Ok(());
    }
    let shown = matches.iter().filter(|part| part.len >= options.min_match_len);
    let shown: Vec<Match> = shown.copied().collect();
    run.out.map(2);
    run.out.bulk(b"matches");
    run.out.array(shown.len());
    for part in shown {
        run.out.array(if options.with_match_len { 3 } else { 2 });
        for from in [part.one, part.other] {
            run.out.array(2);
            run.count(from);
            run.count(from + part.len - 1);
        }
        if options.with_match_len {
            run.count(part.len);
        }
    }
    run.out.bulk(b"len");
    run.count(to_usize(common));
    Ok(())
}

fn text(item: Option<&Item>) -> Result<&[u8], Fault> {
    let wrong = |_fault| Fault::fixed("ERR The specified keys must contain string values");
    Ok(item.map(string).transpose().map_err(wrong)?.unwrap_or_default())
}

fn to_usize(length: u32) -> usize {
    usize::try_from(length).expect("32 bits fit")
}

/// Lengths of the longest common subsequences of all pairs of beginnings.
struct Lengths {
    cells: Vec<u32>,
    width: usize,
}

impl Lengths {
    fn of(one: &[u8], other: &[u8]) -> Result<Self, Fault> {
        let width = other.len() + 1;
        let cells = width.checked_mul(one.len() + 1).filter(|&cells| cells <= CELLS_MAX);
        let cells = cells.ok_or(Fault::fixed(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ))?;
        let mut table = Self { cells: vec![0; cells], width };
        for (i, byte) in (1..).zip(one) {
            for (j, at) in (1..).zip(other) {
                let length = if byte == at {
                    table.get(i - 1, j - 1) + 1
                } else {
                    table.get(i - 1, j).max(table.get(i, j - 1))
                };
                *table.cells.get_mut(i * width + j).expect("a cell within") = length;
            }
        }
        Ok(table)
    }

    fn get(&self, i: usize, j: usize) -> u32 {
        *self.cells.get(i * self.width + j).expect("a cell within")
    }

    /// The common runs, the last first.
    fn matches(&self, one: &[u8], other: &[u8]) -> Vec<Match> {
        let mut all: Vec<Match> = Vec::new();
        let (mut i, mut j) = (one.len(), other.len());
        while let (Some(up), Some(left)) = (i.checked_sub(1), j.checked_sub(1)) {
            if one.get(up) == other.get(left) {
                match all.last_mut() {
                    Some(last) if (last.one, last.other) == (i, j) => {
                        *last = Match { one: up, other: left, len: last.len + 1 };
                    }
                    _ => all.push(Match { one: up, other: left, len: 1 }),
                }
                (i, j) = (up, left);
            } else if self.get(up, j) > self.get(i, left) {
                i = up;
            } else {
                j = left;
            }
        }
        all
    }
}
