//! Probes for process managers and load balancers: yes is 200, no is 503.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;

use crate::http::query;
use crate::pages::Pages;
use crate::status::Status;

type Answer = (StatusCode, &'static str);

/// Whether the process does its work: the owner thread has its turns.
pub(super) async fn alive(State(pages): State<Arc<Pages>>) -> Answer {
    answer(pages.fresh(Instant::now()).is_some(), "alive\n", "not alive\n")
}

/// Whether the node may take the traffic of its role; if not, for whom it waits.
pub(super) async fn ready(State(pages): State<Arc<Pages>>) -> (StatusCode, Cow<'static, str>) {
    let newest = pages.fresh(Instant::now());
    let serving = newest.as_ref().is_some_and(|newest| newest.status.serving);
    let waiting = newest.as_ref().and_then(|newest| newest.status.waiting.as_ref());
    match waiting {
        Some(waiting) if !serving => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {waiting}\n").into())
        }
        Some(_) | None => {
            let (code, text) = answer(serving, "ready\n", "not ready\n");
            (code, text.into())
        }
    }
}

/// Whether the node accepts writes.
pub(super) async fn primary(State(pages): State<Arc<Pages>>) -> Answer {
    let newest = pages.fresh(Instant::now());
    let primary = newest.is_some_and(|newest| newest.status.primary && newest.status.serving);
    answer(primary, "primary\n", "not the primary\n")
}

/// Whether the node is a replica that follows, and with `max_lag` not further behind than that.
pub(super) async fn replica(State(pages): State<Arc<Pages>>, RawQuery(asked): RawQuery) -> Answer {
    const WRONG: Answer =
        (StatusCode::BAD_REQUEST, "ask /replica or /replica?max_lag=1s, in ms, s or m\n");
    let mut most = None;
    for (name, value) in query::pairs(asked.as_deref()) {
        match (name, query::duration(value)) {
            ("max_lag", Some(time)) => most = Some(time),
            _ => return WRONG,
        }
    }
    let newest = pages.fresh(Instant::now());
    let follows = newest.is_some_and(|newest| follows(&newest.status, most));
    answer(follows, "replica\n", "not such a replica\n")
}

fn follows(status: &Status, most: Option<Duration>) -> bool {
    let Some(upstream) = status.upstream.as_ref().filter(|_| !status.primary) else { return false };
    // What a silent parent has appended since is not known: silence counts as lag.
    let silent = Duration::from_secs(upstream.silent_s);
    let behind = Duration::try_from_secs_f64(upstream.lag_s).unwrap_or(Duration::MAX);
    status.serving && upstream.connected && most.is_none_or(|most| behind.max(silent) <= most)
}

fn answer(yes: bool, then: &'static str, or: &'static str) -> Answer {
    if yes { (StatusCode::OK, then) } else { (StatusCode::SERVICE_UNAVAILABLE, or) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Upstream;

    #[track_caller]
    fn check(upstream: Upstream, most: Option<u64>, want: bool) {
        let status = Status { serving: true, upstream: Some(upstream), ..Status::default() };
        assert_eq!(follows(&status, most.map(Duration::from_millis)), want, "{status:?} {most:?}");
    }

    #[test]
    fn a_replica_is_taken_when_it_follows_closely_enough() {
        let at =
            |lag_s, silent_s| Upstream { connected: true, lag_s, silent_s, ..Upstream::default() };
        check(at(0.0, 0), None, true);
        check(at(100.0, 0), None, true);
        check(at(0.999, 0), Some(1_000), true);
        check(at(1.0, 0), Some(1_000), true);
        check(at(1.001, 0), Some(1_000), false);
        check(at(0.0, 2), Some(1_000), false);
        check(at(f64::NAN, 0), Some(1_000), false);
        check(Upstream { connected: false, ..at(0.0, 0) }, None, false);
        let primary = Status { primary: true, serving: true, ..Status::default() };
        assert!(!follows(&primary, None));
    }
}
