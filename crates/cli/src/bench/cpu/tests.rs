//! The kernel's tables are read as they are written.

use super::*;

#[test]
fn a_listening_socket_is_found_by_its_port() {
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        0: 0100007F:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
        1: 0100007F:18EB 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n\
        2: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
    assert_eq!(listening_in(table, &[6379]), [4711]);
    assert_eq!(listening_in(table, &[6379, 80]), [4711, 4713]);
    assert_eq!(listening_in(table, &[]), Vec::<u64>::new());
}

#[test]
fn times_are_read_behind_a_name_with_brackets() {
    let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 100 0 0";
    let a_second = rustix::param::clock_ticks_per_second();
    let want = Duration::from_nanos(200 * 1_000_000_000 / a_second);
    assert_eq!(ticks_in(stat), Some(want));
    assert_eq!(ticks_in("42 (x) S 1"), None);
}

#[test]
fn the_machine_is_busy_when_it_does_not_idle() {
    let then = machine_in("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n");
    let now = machine_in("cpu  150 0 150 750 150 0 0 0 0 0\n");
    let sample = |machine| Sample { own: Duration::ZERO, servers: Vec::new(), machine };
    let used = sample(now).since(&sample(then), &[]);
    assert_eq!(used.machine_share, Some(0.5));
    assert!(machine_in("intr 1").is_none());
}

#[test]
fn work_of_this_process_shows() {
    let before = Sample::take(&[]);
    let mut sum = 0_u64;
    // Bounded by work, not by time: the counter has a resolution of nanoseconds.
    for number in 0..2_000_000_u64 {
        sum = sum.wrapping_mul(31).wrapping_add(std::hint::black_box(number));
    }
    std::hint::black_box(sum);
    assert!(Sample::take(&[]).since(&before, &[]).client_seconds > 0.0);
}

#[test]
fn a_server_is_found_by_its_loopback_address_and_never_this_process() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    assert!(holds_any(std::process::id(), &listening_sockets(&[address.port()])));
    assert!(Server::find(&[address], &[]).is_empty(), "this process is the client");
    let parent = std::os::unix::process::parent_id();
    let found = Server::find(&[], &[parent]);
    assert_eq!(found.iter().map(|server| server.pid).collect::<Vec<_>>(), [parent]);
}
