//! The Redis serialization protocol: requests in, replies out, and replies in for clients.

pub mod reply;
pub mod request;
mod words;
mod writer;

pub use writer::Writer;

/// Version of the protocol on one connection; `HELLO` switches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proto {
    /// What every client speaks.
    #[default]
    Two,
    /// Adds maps, sets, doubles, booleans, a null of its own, verbatim strings and pushes.
    Three,
}

impl Proto {
    /// The number that `HELLO` names it by.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// The version that a number names, if we speak it.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            2 => Some(Self::Two),
            3 => Some(Self::Three),
            _ => None,
        }
    }
}

/// A number as RESP writes it: an optional minus and digits, no plus, no leading zero.
///
/// One number has one spelling, as in Redis, so `+1`, `01` and `-0` are no numbers.
#[must_use]
pub fn decimal(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'0', ..] => return None,
        [_, ..] => {}
    }
    let mut value: i64 = 0;
    for byte in digits {
        let digit = i64::from(byte.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        value = value.checked_mul(10)?;
        // Negative numbers grow downwards: the least one has no positive twin.
        value = if negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
    }
    Some(value)
}

#[cfg(test)]
mod tests;
