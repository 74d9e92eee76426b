//! Tests of what a configuration may not be.

use super::*;

#[track_caller]
fn check(change: impl FnOnce(&mut Config), want: Option<&str>) {
    let mut config = Config::default();
    change(&mut config);
    let found = config.check().err().map(|error| error.to_string());
    match want {
        None => assert_eq!(found, None),
        Some(part) => assert!(found.as_ref().is_some_and(|f| f.contains(part)), "{found:?}"),
    }
}

#[test]
fn a_public_port_needs_a_password_or_tls() {
    let public = |config: &mut Config| config.listen = SocketAddr::from(([0, 0, 0, 0], 1));
    check(|_| {}, None);
    check(public, Some("without a password or TLS"));
    check(
        |config| {
            public(config);
            config.password = Some(Password::of("s"));
        },
        None,
    );
    check(
        |config| {
            public(config);
            config.tls = Some(TlsFiles { certificate: "c".into(), key: "k".into() });
        },
        None,
    );
}

#[test]
fn limits_that_lean_on_each_other() {
    check(|config| config.limits.query_bytes_max = 1, Some("below that of an argument"));
    check(|config| config.limits.output_hard_bytes = 1, Some("below the soft one"));
}
