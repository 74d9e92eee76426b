//! Tests of the numbers that RESP is made of.

use super::decimal;

#[track_caller]
fn check(text: &str, want: Option<i64>) {
    assert_eq!(decimal(text.as_bytes()), want, "{text:?}");
}

#[test]
fn a_number_has_one_spelling() {
    check("0", Some(0));
    check("7", Some(7));
    check("-12", Some(-12));
    check("9223372036854775807", Some(i64::MAX));
    check("-9223372036854775808", Some(i64::MIN));
    for none in ["", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1a", "9223372036854775808"] {
        check(none, None);
    }
    check("-9223372036854775809", None);
}
