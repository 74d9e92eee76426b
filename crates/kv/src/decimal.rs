//! Sums of decimal numbers as Redis prints them.
//!
//! Redis computes with the x87 format: 64 bits of mantissa, rounded to nearest even. The same is
//! done here with whole numbers, so that replies agree to the last digit.

use num_bigint::{BigInt, BigUint, Sign};

/// Bits of the mantissa.
const MANTISSA_BITS: u64 = 64;
/// Digits after the point that are printed, before trailing zeros go.
const FRACTION_DIGITS: u32 = 17;
/// Bytes of a number's text, at most. Redis' own limit is about the same.
const TEXT_BYTES_MAX: usize = 5_000;
/// The greatest power of ten that is computed with, up and down; the format ends before.
const EXPONENT_MAX: i64 = 4_999;
/// The format's numbers are below two to this power.
const EXPONENT_BITS_MAX: i64 = 16_384;

/// A number of the x87 format: `mantissa` times two to the power of `exponent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    mantissa: u64,
    exponent: i64,
}

/// What a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A number.
    Number(Decimal),
    /// An infinity.
    Infinite,
}

/// Reads a number: digits with a point and an exponent, as wanted, or an infinity.
pub(crate) fn parse(text: &[u8]) -> Option<Parsed> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
        return Some(Parsed::Infinite);
    }
    let (digits, scale) = digits(rest)?;
    let magnitude = BigUint::parse_bytes(&digits, 10)?;
    if magnitude == BigUint::ZERO {
        return Some(Parsed::Number(Decimal { negative, mantissa: 0, exponent: 0 }));
    }
    let power = u32::try_from(scale.unsigned_abs()).ok().filter(|_| scale.abs() <= EXPONENT_MAX)?;
    let ten = BigUint::from(10_u8).pow(power);
    let number = if scale >= 0 {
        rounded(negative, &(magnitude * ten), 0, false)
    } else {
        // Enough bits of the quotient that the last of them are behind the mantissa.
        let shift = (ten.bits() + MANTISSA_BITS + 2).saturating_sub(magnitude.bits());
        let shifted = magnitude << shift;
        let quotient = &shifted / &ten;
        let inexact = &quotient * &ten != shifted;
        rounded(negative, &quotient, -i64::try_from(shift).ok()?, inexact)
    };
    number.map(Parsed::Number)
}

/// Splits a number's text into its digits and the power of ten that they are multiplied by.
fn digits(text: &[u8]) -> Option<(Vec<u8>, i64)> {
    let exponent_at = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (number, exponent) = match exponent_at {
        Some(at) => {
            let (number, exponent) = text.split_at(at);
            (number, exponent_of(exponent.get(1..)?)?)
        }
        None => (text, 0),
    };
    let point = number.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (number.get(..at)?, number.get(at + 1..)?),
        None => (number, &[][..]),
    };
    let digits = [whole, fraction].concat();
    let right = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let scale = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    right.then_some((digits, scale))
}

fn exponent_of(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let exponent = digits.iter().fold(0, |sum, &digit| sum * 10 + i64::from(digit - b'0'));
    Some(if negative { -exponent } else { exponent })
}

/// The nearest number of the format to `magnitude` times two to the power of `exponent`, and a
/// little more if `inexact`; none when it is too great.
fn rounded(negative: bool, magnitude: &BigUint, exponent: i64, inexact: bool) -> Option<Decimal> {
    let spare = magnitude.bits().saturating_sub(MANTISSA_BITS);
    let kept = magnitude >> spare;
    let rest = magnitude - (&kept << spare);
    let mut exponent = exponent + i64::try_from(spare).ok()?;
    let mut mantissa = u64::try_from(&kept).ok()?;
    if spare > 0 {
        let half = BigUint::from(1_u8) << (spare - 1);
        let up = rest > half || (rest == half && (inexact || mantissa % 2 == 1));
        if up {
            (mantissa, exponent) = match mantissa.checked_add(1) {
                Some(mantissa) => (mantissa, exponent),
                None => (1 << 63, exponent + 1),
            };
        }
    }
    let bits = i64::from(u64::BITS - mantissa.leading_zeros());
    (exponent + bits <= EXPONENT_BITS_MAX).then_some(Decimal { negative, mantissa, exponent })
}

impl Decimal {
    /// The nearest number to the sum; none when it is too great.
    pub(crate) fn plus(&self, other: &Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let whole = |number: &Self| {
            let shift = u64::try_from(number.exponent - exponent).ok()?;
            let sign = if number.negative { Sign::Minus } else { Sign::Plus };
            Some(BigInt::from_biguint(sign, BigUint::from(number.mantissa) << shift))
        };
        let sum = whole(self)? + whole(other)?;
        rounded(sum.sign() == Sign::Minus, sum.magnitude(), exponent, false)
    }

    /// The number with at most 17 digits after the point, and no zeros at its end.
    pub(crate) fn text(&self) -> String {
        let scaled = BigUint::from(self.mantissa) * BigUint::from(10_u8).pow(FRACTION_DIGITS);
        let scaled = match u64::try_from(self.exponent) {
            Ok(shift) => scaled << shift,
            Err(_) => {
                let shift = self.exponent.unsigned_abs();
                let kept = &scaled >> shift;
                let rest = &scaled - (&kept << shift);
                let half = BigUint::from(1_u8) << (shift - 1);
                let up = rest > half || (rest == half && kept.bit(0));
                if up { kept + 1_u8 } else { kept }
            }
        };
        let unit = BigUint::from(10_u8).pow(FRACTION_DIGITS);
        let (whole, fraction) = (&scaled / &unit, &scaled % &unit);
        let text = format!("{whole}.{:0>17}", fraction.to_string());
        let text = text.trim_end_matches('0').trim_end_matches('.');
        if self.negative && text != "0" { format!("-{text}") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests;
