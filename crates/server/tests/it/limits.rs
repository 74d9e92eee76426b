//! Bounds of what clients may take: connections, time, memory.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_server::{Config, Password, Refusal};

use crate::client::{Client, array};
use crate::fake::Fake;
use crate::node::{Node, config, local, until};

fn refused(node: &Node, why: Refusal) -> u64 {
    let stats = node.server.stats();
    let place = Refusal::ALL.iter().position(|(reason, _)| *reason == why);
    stats.refused.get(place.expect("every reason has a counter")).map_or(0, |count| count.get())
}

#[test]
fn one_client_too_many() {
    local(async {
        let mut config = config();
        config.limits.clients_max = 2;
        let node = Node::start(&Fake::primary(), config).await;
        let mut first = Client::connect(node.address).await;
        first.check("PING", "+PONG\r\n").await;
        let mut second = Client::connect(node.address).await;
        second.check("PING", "+PONG\r\n").await;
        let mut third = Client::connect(node.address).await;
        third.expect("-ERR max number of clients reached\r\n").await;
        third.expect_end().await;
        assert_eq!(refused(&node, Refusal::Clients), 1);
        drop(second);
        until(|| node.server.stats().clients.get() == 1).await;
        Client::connect(node.address).await.check("PING", "+PONG\r\n").await;
    });
}

#[test]
fn strangers_are_few_and_not_kept_for_long() {
    local(async {
        let mut config = Config { password: Some(Password::of("secret")), ..config() };
        config.limits.strangers_max = 1;
        config.limits.auth_timeout = Duration::from_millis(300);
        let node = Node::start(&Fake::primary(), config).await;
        let mut known = Client::connect(node.address).await;
        known.check("AUTH secret", "+OK\r\n").await;
        let mut stranger = Client::connect(node.address).await;
        stranger.check("PING", "-NOAUTH Authentication required.\r\n").await;
        let mut other = Client::connect(node.address).await;
        other.expect("-ERR max number of unauthenticated clients reached\r\n").await;
        stranger.expect_end().await;
        assert_eq!(refused(&node, Refusal::AuthTimeout), 1);
        known.check("PING", "+PONG\r\n").await;
    });
}

#[test]
fn silence_ends_a_connection_where_that_is_asked_for() {
    local(async {
        let mut config = config();
        config.limits.idle_timeout = Duration::from_millis(100);
        let node = Node::start(&Fake::primary(), config).await;
        let mut client = Client::connect(node.address).await;
        client.check("PING", "+PONG\r\n").await;
        client.expect_end().await;
        assert_eq!(refused(&node, Refusal::Idle), 1);
    });
}

#[test]
fn a_command_over_the_limit_of_a_query() {
    local(async {
        let mut config = config();
        config.limits.bulk_bytes_max = 100_000;
        config.limits.query_bytes_max = 100_000;
        let node = Node::start(&Fake::primary(), config).await;
        let mut client = Client::connect(node.address).await;
        let value = vec![b'x'; 90_000];
        let command = array(&[b"MSET", b"a", &value, b"b", &value]);
        client.send(command.get(..150_000).unwrap_or_default()).await;
        client.expect_end().await;
        assert_eq!(refused(&node, Refusal::QueryTooLong), 1);
    });
}

#[test]
fn a_slow_reader_waits_and_takes_no_memory() {
    local(async {
        let mut config = config();
        config.limits.output_soft_bytes = 64 << 10;
        let node = Node::start(&Fake::primary(), config).await;
        let mut client = Client::connect(node.address).await;
        let value = vec![b'x'; 100_000];
        client.raw(&[b"SET", b"k", &value]).await;
        // Far more than sockets hold; the server must stop by itself.
        let gets: u64 = 500;
        let pipeline = array(&[b"GET", b"k"]).repeat(500);
        client.send(&pipeline).await;
        let stats = node.server.stats();
        let mut before = u64::MAX;
        until(|| {
            let same = stats.bytes_out.get() == before;
            before = stats.bytes_out.get();
            same && before > 0
        })
        .await;
        assert!(stats.commands.get() < gets, "commands wait while replies do");
        assert!(stats.client_bytes.get() < 2 << 20, "{}", stats.client_bytes.get());
        for _ in 0..gets {
            let reply = client.next().await.expect("a reply");
            assert_eq!(reply.len(), 100_000 + 11);
        }
        client.check("PING", "+PONG\r\n").await;
    });
}

#[test]
fn replies_over_the_hard_limit_end_the_connection() {
    local(async {
        let mut config = config();
        config.limits.output_soft_bytes = 1000;
        config.limits.output_hard_bytes = 3_000_000;
        let node = Node::start(&Fake::primary(), config).await;
        let mut client = Client::connect(node.address).await;
        let value = vec![b'x'; 1_000_000];
        for key in [b"a", b"b"] {
            client.raw(&[b"SET", key, &value]).await;
        }
        client.send(&array(&[b"MGET", b"a", b"b", b"a", b"b", b"a", b"b", b"a", b"b"])).await;
        until(|| refused(&node, Refusal::OutputTooLong) == 1).await;
    });
}

#[test]
fn a_stranger_that_takes_no_replies_is_cut_off_early() {
    local(async {
        let config = Config { password: Some(Password::of("secret")), ..config() };
        assert_eq!(config.limits.stranger_output_bytes, 64 << 10);
        assert!(config.limits.output_soft_bytes > config.limits.stranger_output_bytes);
        let node = Node::start(&Fake::primary(), config).await;
        let stream = tokio::net::TcpStream::connect(node.address).await.expect("the port is open");
        let batch = b"x\r\n".repeat(10_000);
        // More than the sockets hold, until the server has enough of it.
        until(|| {
            drop(stream.try_write(&batch));
            refused(&node, Refusal::OutputTooLong) == 1
        })
        .await;
        assert!(node.server.stats().client_bytes.get() < 1 << 20, "far from what others may take");
    });
}

#[test]
fn a_killed_client_is_gone_at_once() {
    local(async {
        let node = Node::usual().await;
        let mut one = Client::connect(node.address).await;
        let mut other = Client::connect(node.address).await;
        let id = one.ask("CLIENT ID").await;
        let id = id.trim_start_matches(':').trim_end().to_owned();
        other.check("CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n").await;
        other.check(&format!("CLIENT KILL ID {id}"), ":1\r\n").await;
        one.expect_end().await;
        other.check("CLIENT KILL 1.2.3.4:5", "-ERR No such client\r\n").await;
        other.check("PING", "+PONG\r\n").await;
    });
}

#[test]
fn a_half_closed_client_gets_what_it_asked_for() {
    local(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let node = Node::usual().await;
        node.shard.hold();
        let stream = tokio::net::TcpStream::connect(node.address).await.expect("the port is open");
        let (mut from, mut to) = stream.into_split();
        to.write_all(b"SET k v\r\nPING\r\n").await.expect("the server reads");
        to.shutdown().await.expect("half a close");
        until(|| node.shard.waiting() == 1).await;
        node.shard.release();
        let mut all = Vec::new();
        from.read_to_end(&mut all).await.expect("the server writes");
        assert_eq!(all, b"+OK\r\n+PONG\r\n");
    });
}

/// Field of a line of `/proc/net/tcp`: the timer that runs for a connection, and when it ends.
fn timer(local: SocketAddr, remote: SocketAddr) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's connections");
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ports = (port(fields.get(1)?)?, port(fields.get(2)?)?);
        let ours = ports == (local.port(), remote.port());
        ours.then(|| fields.get(5).map(|timer| (*timer).to_owned()))?
    })
}

#[test]
fn a_client_that_vanished_is_looked_for() {
    local(async {
        let node = Node::start(&Fake::primary(), config()).await;
        let stream = tokio::net::TcpStream::connect(node.address).await.expect("it is open");
        let from = stream.local_addr().expect("it is bound");
        let mut client = Client::over(stream);
        client.check("PING", "+PONG\r\n").await;
        // 2 is the timer of keep-alive; that of the reply may run for a moment.
        until(|| timer(node.address, from).is_some_and(|timer| timer.starts_with("02:"))).await;
        client
            .check("CONFIG GET tcp-keepalive", "*2\r\n$13\r\ntcp-keepalive\r\n$3\r\n300\r\n")
            .await;
    });
}
