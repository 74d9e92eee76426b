//! Passwords: kept as a digest, compared in constant time, never printed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest};

const DIGEST_BYTES: usize = 32;

/// A password as its SHA-256. Meant for passwords with much entropy, as generated ones have.
#[derive(Clone, PartialEq, Eq)]
pub struct Password([u8; DIGEST_BYTES]);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// The digest of a text; the text itself is not kept.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(sha256(text.as_bytes()))
    }

    /// A digest that is written as 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; DIGEST_BYTES];
        if digits.len() != 2 * DIGEST_BYTES || !digits.is_ascii() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Whether `given` is the password. Takes the same time for every wrong one of a length.
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &sha256(given)).is_ok()
    }
}

pub(crate) fn sha256(text: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut bytes = [0; DIGEST_BYTES];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
    bytes
}

/// Makes whoever guesses wait longer after each wrong password.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    sources: RefCell<HashMap<IpAddr, Guess>>,
}

#[derive(Debug, Clone, Copy)]
struct Guess {
    wrong: u32,
    last: Instant,
}

impl Guesses {
    /// Sources that are remembered at once; past that the oldest is forgotten.
    const SOURCES_MAX: usize = 1024;
    /// A source that has been quiet for this long begins anew.
    const FORGET: Duration = Duration::from_secs(60);
    const DELAY_FIRST: Duration = Duration::from_millis(20);
    const DOUBLINGS_MAX: u32 = 7;

    /// Notes a wrong password; the answer is how long its sender waits for the reply.
    pub(crate) fn wrong(&self, source: IpAddr, now: Instant) -> Duration {
        let mut sources = self.sources.borrow_mut();
        if sources.len() >= Self::SOURCES_MAX && !sources.contains_key(&source) {
            let oldest = sources.iter().min_by_key(|(_, guess)| guess.last).map(|(ip, _)| *ip);
            oldest.and_then(|ip| sources.remove(&ip));
        }
        let guess = sources.entry(source).or_insert(Guess { wrong: 0, last: now });
        if now.saturating_duration_since(guess.last) > Self::FORGET {
            guess.wrong = 0;
        }
        let delay = Self::DELAY_FIRST * (1 << guess.wrong.min(Self::DOUBLINGS_MAX));
        *guess = Guess { wrong: guess.wrong.saturating_add(1), last: now };
        delay
    }

    /// Forgets a source that knew the password.
    pub(crate) fn right(&self, source: IpAddr) {
        self.sources.borrow_mut().remove(&source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_matched_by_its_text_alone() {
        let password = Password::of("correct horse");
        assert!(password.matches(b"correct horse"));
        assert!(!password.matches(b"correct hors"));
        assert!(!password.matches(b""));
        assert_eq!(format!("{password:?}"), "Password(..)");
    }

    #[test]
    fn a_digest_in_hexadecimal() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Password::from_hex(hex), Some(Password::of("abc")));
        assert_eq!(Password::from_hex(hex.trim_start_matches('b')), None);
        assert_eq!(Password::from_hex(&hex.replace('b', "g")), None);
    }

    #[test]
    fn guessing_gets_slower_and_is_forgotten() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let source = IpAddr::from([127, 0, 0, 1]);
        let first = guesses.wrong(source, now);
        assert_eq!(guesses.wrong(source, now), first * 2);
        assert_eq!(guesses.wrong(source, now + Guesses::FORGET * 2), first);
        guesses.right(source);
        assert_eq!(guesses.wrong(source, now), first);
        for host in 0..=255 {
            for part in 0..=9 {
                guesses.wrong(IpAddr::from([10, 0, part, host]), now);
            }
        }
        assert_eq!(guesses.sources.borrow().len(), Guesses::SOURCES_MAX);
    }
}
