//! Reasons to close as numbers on the wire, and the library's errors as ours.

use antiphon_proto::NodeId;
use s2n_quic::application;
use s2n_quic::connection::Error as ConnectionError;
use s2n_quic::provider::event::Location;
use s2n_quic::stream::Error as StreamError;

use crate::error::{CloseReason, Closed, ConnectError, Refusal};

/// Numbers of the reasons that are not refusals.
const SHUTDOWN: u32 = 1;
const REPLACED: u32 = 2;
const DROPPED: u32 = 3;
const VIOLATION: u32 = 4;
/// Numbers of refusals begin here, in the order of [`KINDS`].
const REFUSED: u32 = 16;
/// TLS alerts stand here among the transport's error numbers (RFC 9001, 4.8).
const TLS_ALERTS: u64 = 0x100;

/// Refusals that one side tells the other; new ones are added at the end.
const KINDS: [&str; 9] = [
    "no_certificate",
    "invalid",
    "no_identity",
    "ambiguous",
    "wrong_cluster",
    "wrong_node",
    "unknown_node",
    "duplicate",
    "busy",
];

pub(super) fn code(reason: CloseReason) -> application::Error {
    application::Error::from(match reason {
        CloseReason::Shutdown => SHUTDOWN,
        CloseReason::Replaced => REPLACED,
        CloseReason::Dropped => DROPPED,
        CloseReason::Violation => VIOLATION,
        CloseReason::Refused(kind) => {
            let known = (REFUSED..).zip(KINDS).find(|(_, known)| *known == kind);
            known.map_or(VIOLATION, |(code, _)| code)
        }
    })
}

fn reason(code: u64) -> Option<CloseReason> {
    match u32::try_from(code).ok()? {
        SHUTDOWN => Some(CloseReason::Shutdown),
        REPLACED => Some(CloseReason::Replaced),
        DROPPED => Some(CloseReason::Dropped),
        VIOLATION => Some(CloseReason::Violation),
        code => {
            let known = (REFUSED..).zip(KINDS).find(|(known, _)| *known == code);
            known.map(|(_, kind)| CloseReason::Refused(kind))
        }
    }
}

/// Why a stream's connection is over.
pub(super) fn of_stream(error: StreamError) -> Closed {
    if let StreamError::ConnectionError { error, .. } = error {
        return of_connection(error);
    }
    Closed::Broken(error.to_string())
}

/// Why a connection is over.
pub(super) fn of_connection(error: ConnectionError) -> Closed {
    if let ConnectionError::Application { error: code, .. } = error
        && let Some(reason) = reason(*code)
    {
        return Closed::There(reason);
    }
    if let ConnectionError::Transport { initiator: Location::Remote, .. } = error
        && let Some(alert) = alert(error)
    {
        return Closed::There(CloseReason::Refused(alert_name(alert)));
    }
    if let ConnectionError::Closed { .. } = error {
        return Closed::There(CloseReason::Dropped);
    }
    if let ConnectionError::IdleTimerExpired { .. } = error {
        return Closed::Silent;
    }
    Closed::Broken(error.to_string())
}

/// Why a connection to this node could not be made, as far as the connection knows it.
pub(super) fn of_attempt(peer: NodeId, error: ConnectionError) -> ConnectError {
    if let ConnectionError::MaxHandshakeDurationExceeded { .. } = error {
        return ConnectError::Timeout(peer);
    }
    of_closed(of_connection(error))
}

/// A link that ended while it was being made: a refusal, if the other side said so.
pub(super) fn of_closed(closed: Closed) -> ConnectError {
    if let Closed::There(CloseReason::Refused(kind)) = closed {
        return Refusal::ByPeer(kind.to_owned()).into();
    }
    closed.into()
}

/// The alert by which TLS ended a connection, if it was TLS that ended it.
pub(super) fn alert(error: ConnectionError) -> Option<u64> {
    let ConnectionError::Transport { code, .. } = error else { return None };
    code.as_u64().checked_sub(TLS_ALERTS).filter(|alert| *alert < TLS_ALERTS)
}

/// The alert of a side that knows none of the protocols offered (RFC 8446, 6).
pub(super) const NO_APPLICATION_PROTOCOL: u64 = 120;

/// The other alerts that concern who we are; the library says little more than the first.
const fn alert_name(alert: u64) -> &'static str {
    match alert {
        40 => "handshake refused",
        42 => "bad certificate",
        43 => "unsupported certificate",
        44 => "certificate revoked",
        45 => "certificate expired",
        46 => "certificate not trusted",
        48 => "unknown authority",
        116 => "certificate required",
        NO_APPLICATION_PROTOCOL => "other protocol",
        _ => "TLS alert",
    }
}
