//! Patterns of `KEYS` and `SCAN`: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a literal.
//!
//! Iterative: on a mismatch it goes back to the last star only, which is enough, and counts its
//! steps, so that no pattern holds the thread for long.

/// Steps that one match may take: bytes of the pattern that are looked at, again for each try.
const STEPS_MAX: usize = 1 << 20;

/// Whether letters of both cases are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `a` is not `A`.
    Sensitive,
    /// `a` is `A`, for ASCII letters.
    Insensitive,
}

/// The match took too many steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("pattern takes too long to match")]
pub struct TooCostly;

/// Whether `text` as a whole matches `pattern`.
///
/// # Errors
/// When finding out takes more than a million steps.
pub fn glob(pattern: &[u8], text: &[u8], case: Case) -> Result<bool, TooCostly> {
    let (mut rest, mut left) = (pattern, text);
    let mut star: Option<(&[u8], &[u8])> = None; // the pattern behind the last star, and its text
    let mut steps = 0;
    while steps < STEPS_MAX {
        steps += 1;
        if let Some(behind) = rest.strip_prefix(b"*") {
            star = Some((behind, left));
            rest = behind;
            continue;
        }
        if rest.is_empty() && left.is_empty() {
            return Ok(true);
        }
        if let Some((&byte, after)) = left.split_first() {
            let (matches, behind) = one(rest, byte, case);
            // A class is as costly as it is long.
            steps += rest.len() - behind.len();
            if matches {
                (rest, left) = (behind, after);
                continue;
            }
        }
        // The last star takes one byte more.
        let Some((behind, [_, from @ ..])) = star else { return Ok(false) };
        star = Some((behind, from));
        (rest, left) = (behind, from);
    }
    Err(TooCostly)
}

/// Matches one byte against the head of a pattern; returns the pattern behind it, too.
fn one(pattern: &[u8], byte: u8, case: Case) -> (bool, &[u8]) {
    match pattern {
        [b'?', behind @ ..] => (true, behind),
        [b'[', behind @ ..] => class(behind, byte, case),
        [b'\\', literal, behind @ ..] | [literal, behind @ ..] => {
            (same(*literal, byte, case), behind)
        }
        [] => (false, pattern),
    }
}

fn same(one: u8, other: u8, case: Case) -> bool {
    match case {
        Case::Sensitive => one == other,
        Case::Insensitive => one.eq_ignore_ascii_case(&other),
    }
}

/// Matches a byte against a class behind its `[`. A class without `]` ends with the pattern.
fn class(pattern: &[u8], byte: u8, case: Case) -> (bool, &[u8]) {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut found = false;
    loop {
        match rest {
            [b'\\', literal, behind @ ..] => {
                found |= same(*literal, byte, case);
                rest = behind;
            }
            [b']', behind @ ..] => return (found != negated, behind),
            [first, b'-', last, behind @ ..] => {
                let (low, high) = (first.min(last), first.max(last));
                found |= within(*low, *high, byte, case);
                rest = behind;
            }
            [literal, behind @ ..] => {
                found |= same(*literal, byte, case);
                rest = behind;
            }
            [] => return (found != negated, rest),
        }
    }
}

fn within(low: u8, high: u8, byte: u8, case: Case) -> bool {
    let range = low..=high;
    match case {
        Case::Sensitive => range.contains(&byte),
        Case::Insensitive => {
            let low = low.to_ascii_lowercase();
            let high = high.to_ascii_lowercase();
            (low..=high).contains(&byte.to_ascii_lowercase())
        }
    }
}

#[cfg(test)]
mod tests;
