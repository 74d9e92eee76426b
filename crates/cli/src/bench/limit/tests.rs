//! The verdict follows the counters and claims nothing that they do not show.

use super::*;
use crate::bench::cpu::ServerUsed;

fn used(client: f64, server: Option<f64>, machine: Option<f64>) -> Used {
    let server = server.map(|busiest| ServerUsed {
        pid: 7,
        name: "redis-server".to_owned(),
        seconds: busiest * 1.2,
        busiest_thread_seconds: busiest,
    });
    Used { client_seconds: client, servers: server.into_iter().collect(), machine_share: machine }
}

#[track_caller]
fn check(used: &Used, kept_rate: bool, want: LimitedBy) {
    let limit = verdict(Seen { seconds: 10.0, threads: 1, cores: 2, kept_rate, used });
    assert_eq!(limit.by, want, "{}", limit.because);
}

#[test]
fn the_fullest_thread_limits() {
    check(&used(9.5, Some(5.0), Some(0.8)), false, LimitedBy::Client);
    check(&used(5.0, Some(9.5), Some(0.8)), false, LimitedBy::Server);
    check(&used(5.0, Some(5.0), Some(0.99)), false, LimitedBy::Machine);
    check(&used(2.0, Some(2.0), Some(0.3)), false, LimitedBy::Waiting);
    check(&used(2.0, None, None), false, LimitedBy::Waiting);
    check(&used(9.5, Some(9.5), Some(1.0)), true, LimitedBy::Rate);
}

#[test]
fn an_invisible_server_is_said_to_be_so() {
    let used = used(2.0, None, None);
    let limit =
        verdict(Seen { seconds: 10.0, threads: 2, cores: 2, kept_rate: false, used: &used });
    assert_eq!(limit.because, "client 10 % busy, the server's CPU is not visible from here");
}

#[test]
fn what_other_processes_take_is_not_laid_on_the_run() {
    for (machine, want) in
        [(1.0, "machine 100 %, 49 % of it by other processes"), (0.55, "machine 55 %")]
    {
        // Of 20 core seconds, the client took 5 and the server 5.16.
        let used = used(5.0, Some(4.3), Some(machine));
        let limit =
            verdict(Seen { seconds: 10.0, threads: 1, cores: 2, kept_rate: false, used: &used });
        assert!(limit.because.ends_with(want), "{}", limit.because);
    }
}
