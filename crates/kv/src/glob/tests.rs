//! Patterns against texts, and the bound on steps.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(pattern: &str, text: &str, want: bool) {
    let result = glob(pattern.as_bytes(), text.as_bytes(), Case::Sensitive);
    assert_eq!(result, Ok(want), "{pattern:?} on {text:?}");
}

#[test]
fn stars_and_marks() {
    check("", "", true);
    check("", "a", false);
    check("*", "", true);
    check("*", "anything", true);
    check("a*c", "abbbc", true);
    check("a*c", "abbbd", false);
    check("*a*b*", "xxaxxbxx", true);
    check("*a*b*", "xxbxxaxx", false);
    check("a?c", "abc", true);
    check("a?c", "ac", false);
    check("a**b", "ab", true);
    check("*ab", "aab", true);
    check("key:*", "key:1", true);
    check("key:*", "kex:1", false);
}

#[test]
fn classes() {
    check("h[ae]llo", "hallo", true);
    check("h[ae]llo", "hillo", false);
    check("h[^e]llo", "hallo", true);
    check("h[^e]llo", "hello", false);
    check("h[a-b]llo", "hbllo", true);
    check("h[b-a]llo", "hallo", true);
    check("h[a-b]llo", "hcllo", false);
    check("[\\]]", "]", true);
    check("[a", "a", true);
    check("[a", "b", false);
    check("[^]", "a", true);
    check("[]", "a", false);
    check("[a-]", "^", true); // the range from a to the bracket
    check("[a-]", "-", false);
}

#[test]
fn a_backslash_makes_a_literal() {
    check("a\\*b", "a*b", true);
    check("a\\*b", "axb", false);
    check("a\\", "a\\", true);
    check("\\a", "a", true);
}

#[test]
fn cases_are_the_same_when_asked() {
    assert_eq!(glob(b"MAX*", b"maxmemory", Case::Insensitive), Ok(true));
    assert_eq!(glob(b"[A-C]x", b"bX", Case::Insensitive), Ok(true));
    assert_eq!(glob(b"MAX*", b"maxmemory", Case::Sensitive), Ok(false));
}

#[test]
fn a_costly_pattern_is_given_up() {
    let pattern = b"*a".repeat(2_000);
    let text = vec![b'a'; 4_000];
    assert_eq!(glob(&pattern, &text, Case::Sensitive), Ok(true));
    let long = [&b"*"[..], &b"a".repeat(2_000), b"b"].concat();
    assert_eq!(glob(&long, &text, Case::Sensitive), Err(TooCostly));
    // A few steps over a class that is long.
    let class = [&b"*["[..], &b"x".repeat(10_000), b"]"].concat();
    assert_eq!(glob(&class, text.get(..50).expect("longer"), Case::Sensitive), Ok(false));
    assert_eq!(glob(&class, &text, Case::Sensitive), Err(TooCostly));
}

/// The plain recursive rule, for short texts.
fn model(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', behind @ ..] => (0..=text.len()).any(|from| model(behind, &text[from..])),
        _ => text.split_first().is_some_and(|(&byte, after)| {
            let (matches, behind) = one(pattern, byte, Case::Sensitive);
            matches && model(behind, after)
        }),
    }
}

proptest! {
    #[test]
    fn it_agrees_with_the_recursive_rule(pattern in "[ab*?]{0,10}", text in "[ab]{0,12}") {
        let result = glob(pattern.as_bytes(), text.as_bytes(), Case::Sensitive);
        prop_assert_eq!(result, Ok(model(pattern.as_bytes(), text.as_bytes())));
    }

    #[test]
    fn any_bytes_are_a_pattern(
        pattern in proptest::collection::vec(any::<u8>(), 0..40),
        text in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        prop_assert!(glob(&pattern, &text, Case::Sensitive).is_ok());
    }
}
