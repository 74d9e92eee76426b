//! Whole numbers as texts, by Redis' rule: one text for each number.

use crate::reply::Fault;

/// The most bytes that a number of 64 bits takes, with its sign.
pub(crate) const INT_BYTES_MAX: usize = 20;

/// Reads a number that is written the one right way: no plus, no leading zeros, no spaces.
pub(crate) fn int(text: &[u8]) -> Option<i64> {
    if text == b"0" {
        return Some(0);
    }
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if text.len() > INT_BYTES_MAX || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut number = 0_i64; // gathered below zero, where there is room for one more
    for &digit in digits {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit <= 9)?;
        number = number.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(number) } else { number.checked_neg() }
}

/// As [`int`], for a command's word.
///
/// # Errors
/// The text for the client.
pub(crate) fn word(text: &[u8]) -> Result<i64, Fault> {
    int(text).ok_or(Fault::NOT_INTEGER)
}

/// A number's text, without allocation.
pub(crate) struct Digits {
    bytes: [u8; INT_BYTES_MAX],
    from: usize,
}

impl Digits {
    pub(crate) fn signed(number: i64) -> Self {
        let mut digits = Self::unsigned(number.unsigned_abs());
        if number < 0 {
            digits.push_front(b'-');
        }
        digits
    }

    pub(crate) fn unsigned(mut number: u64) -> Self {
        let mut digits = Self { bytes: [0; INT_BYTES_MAX], from: INT_BYTES_MAX };
        loop {
            let digit = u8::try_from(number % 10).expect("a remainder of ten");
            digits.push_front(b'0' + digit);
            number /= 10;
            if number == 0 {
                return digits;
            }
        }
    }

    fn push_front(&mut self, byte: u8) {
        self.from -= 1;
        *self.bytes.get_mut(self.from).expect("20 bytes hold every number") = byte;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.from..).expect("the text lies within")
    }
}

#[cfg(test)]
mod tests;
