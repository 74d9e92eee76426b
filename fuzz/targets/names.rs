//! Names that people and clients type: tokens and policies. A name has one spelling to print,
//! and what is printed reads back.
#![no_main]

use antiphon_proto::{Policy, Token};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    if let Ok(policy) = text.parse::<Policy>() {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
});
