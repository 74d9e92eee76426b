//! Ports for nodes that are stopped and started again at the same place.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that outgoing connections take theirs from, so that none of those sits on a
/// node's port while the node is down.
const FIRST: u16 = 20_000;
/// How many there are.
const COUNT: u16 = 12_000;

/// The first of `count` ports in a row that nobody has, for TCP and for UDP.
pub(crate) fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other test programs begin elsewhere.
    let begin = u16::try_from(std::process::id() % u32::from(COUNT)).expect("below the count");
    let mut row = (0..COUNT).map(|_| {
        let taken = NEXT.fetch_add(count, Ordering::Relaxed);
        FIRST + (begin.wrapping_add(taken) % (COUNT - count))
    });
    row.find(|first| (*first..first + count).all(is_free)).expect("some ports are free")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
}
