//! The ranges of the settings.

use super::*;
use crate::certs::{Authority, IssueRequest};

fn config() -> QuicConfig {
    let (authority, _key) = Authority::create("test", 1).unwrap();
    let (certificate, key) = authority.issue(&IssueRequest::new(NodeId::new(1))).unwrap();
    let authorities = authority.certificate_pem();
    let credentials = Credentials::from_pem(&certificate, &key, authorities, "test").unwrap();
    QuicConfig::new(NodeId::new(1), "127.0.0.1:0", credentials)
}

#[track_caller]
fn check(change: impl FnOnce(&mut QuicConfig), want: Option<&str>) {
    let mut config = config();
    change(&mut config);
    match (config.check(), want) {
        (Ok(()), None) => {}
        (Err(BindError::Setting { setting, .. }), Some(want)) => assert_eq!(setting, want),
        (outcome, want) => panic!("{outcome:?} instead of {want:?}"),
    }
}

#[test]
fn settings_hold_to_their_ranges() {
    check(|_| {}, None);
    check(|config| config.mtu = 9000, None);
    check(|config| config.mtu = 9001, Some("mtu"));
    check(|config| config.mtu = 65_000, Some("mtu"));
    check(|config| config.mtu = 1228, None);
    check(|config| config.mtu = 1227, Some("mtu"));
    check(|config| config.keep_alive = config.idle_timeout, Some("idle_timeout"));
    check(|config| config.keep_alive = Duration::ZERO, Some("keep_alive and connect_timeout"));
    check(|config| config.connect_timeout = Duration::ZERO, Some("keep_alive and connect_timeout"));
    check(|config| config.message_bytes_max.log = 0, Some("message_bytes_max"));
    check(|config| config.message_bytes_max.bulk = MESSAGE_BYTES_CEILING, None);
    check(
        |config| config.message_bytes_max.bulk = MESSAGE_BYTES_CEILING + 1,
        Some("message_bytes_max"),
    );
    check(|config| config.ack_delay = Duration::from_secs(60), Some("limits"));
    check(|config| config.round_trip = Duration::ZERO, Some("limits"));
}

#[test]
fn the_window_is_bandwidth_times_round_trip() {
    let window = |bandwidth, milliseconds| {
        let mut config = config();
        config.bandwidth_bytes_per_second = bandwidth;
        config.round_trip = Duration::from_millis(milliseconds);
        config.window_bytes()
    };
    assert_eq!(window(1_250_000_000, 10), 12_500_000);
    assert_eq!(window(125_000_000, 80), 10_000_000);
    assert_eq!(window(1000, 1), WINDOW_BYTES_MIN);
    assert_eq!(window(u64::MAX, 1000), WINDOW_BYTES_MAX);
}
