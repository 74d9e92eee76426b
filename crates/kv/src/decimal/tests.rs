//! Sums, digit for digit as a server with x87 arithmetic prints them.

use super::*;

#[track_caller]
fn check(one: &str, other: &str, want: &str) {
    let number = |text: &str| match parse(text.as_bytes()) {
        Some(Parsed::Number(number)) => number,
        parsed => panic!("{text:?} is {parsed:?}"),
    };
    let sum = number(one).plus(&number(other)).unwrap();
    assert_eq!(sum.text(), want, "{one} + {other}");
}

#[test]
fn sums_print_without_surprise() {
    check("10.50", "0.1", "10.6");
    check("0.1", "0.2", "0.3");
    check("5.0e3", "2.0e2", "5200");
    check("3", "1.5", "4.5");
    check("1", "-1", "0");
    check("-0", "0", "0");
    check("-1.5", "0.25", "-1.25");
    check("0.00000000000000001", "0", "0.00000000000000001");
    check("0.000000000000000001", "0", "0");
    check("-0.000000000000000001", "0", "0");
    check("1e100", "0", &exact_power_of_ten());
    check(".5", "1.", "1.5");
    check("9223372036854775807", "1", "9223372036854775808");
}

/// The number of the format nearest to ten to the power of 100.
fn exact_power_of_ten() -> String {
    let ten = BigUint::from(10_u8).pow(100);
    let spare = ten.bits() - 64;
    let up = ((&ten >> (spare - 1)) & BigUint::from(1_u8)) == BigUint::from(1_u8);
    let kept = (&ten >> spare) + u8::from(up);
    (kept << spare).to_string()
}

#[test]
fn a_text_that_is_no_number_is_refused() {
    for text in ["", " 1", "1 ", "a", "1a", "--1", "1e", "1e+", ".", "-", "nan", "1e99999", "1.2.3"]
    {
        assert_eq!(parse(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(parse(&vec![b'1'; TEXT_BYTES_MAX + 1]), None);
    assert_eq!(parse(b"-inf"), Some(Parsed::Infinite));
    assert_eq!(parse(b"Infinity"), Some(Parsed::Infinite));
}

#[test]
fn a_number_past_the_format_is_refused() {
    assert_eq!(parse(b"1e4933"), None);
    assert!(matches!(parse(b"1e4932"), Some(Parsed::Number(_))));
}

#[test]
fn every_short_number_reads_back() {
    for whole in [0, 1, 7, 42, 99] {
        for fraction in 0..1_000 {
            let text = format!("{whole}.{fraction:03}");
            let trimmed = text.trim_end_matches('0').trim_end_matches('.');
            check(&text, "0", trimmed);
        }
    }
}
