//! Every number has one text, and no other text is a number.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, want: Option<i64>) {
    assert_eq!(int(text.as_bytes()), want, "{text:?}");
}

#[test]
fn texts_at_the_edges() {
    check("0", Some(0));
    check("-1", Some(-1));
    check("9223372036854775807", Some(i64::MAX));
    check("-9223372036854775808", Some(i64::MIN));
    for wrong in [
        "",
        "-",
        "-0",
        "+1",
        "01",
        "-01",
        " 1",
        "1 ",
        "1a",
        "a",
        "0x1",
        "1.0",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "111111111111111111111",
    ] {
        check(wrong, None);
    }
}

proptest! {
    #[test]
    fn every_number_reads_back(number in any::<i64>()) {
        let digits = Digits::signed(number);
        prop_assert_eq!(digits.as_bytes().to_vec(), number.to_string().into_bytes());
        prop_assert_eq!(int(digits.as_bytes()), Some(number));
    }

    #[test]
    fn unsigned_numbers_print(number in any::<u64>()) {
        let digits = Digits::unsigned(number);
        prop_assert_eq!(digits.as_bytes().to_vec(), number.to_string().into_bytes());
    }
}
