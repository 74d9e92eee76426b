//! Writes at a replica: they reach the primary, and their writer reads them.

use std::rc::Rc;

use antiphon_server::Config;

use crate::client::Client;
use crate::fake::{Fake, REPLICA};
use crate::node::{Node, config, local, until};

/// A primary and a replica that hands writes on to it.
async fn pair() -> (Node, Node) {
    let primary = Node::usual().await;
    let shard = Fake::replica_of(&primary.shard);
    shard.set_peer(Some(Rc::clone(&primary.server)));
    let replica = Node::start(&shard, config()).await;
    (primary, replica)
}

#[test]
fn a_write_at_a_replica_is_read_there_afterwards() {
    local(async {
        let (primary, replica) = pair().await;
        let mut c = Client::connect(replica.address).await;
        c.check("SET k v", "+OK\r\n").await;
        c.check("GET k", "$1\r\nv\r\n").await;
        c.check("XTOKEN", "$5\r\n1-1-1\r\n").await;
        c.check("INCR k", "-ERR value is not an integer or out of range\r\n").await;
        Client::connect(primary.address).await.check("GET k", "$1\r\nv\r\n").await;
        c.check("SELECT 3", "+OK\r\n").await;
        c.check("SET k w", "+OK\r\n").await;
        c.check("GET k", "$1\r\nw\r\n").await;
        c.check("WAIT 1 0", ":1\r\n").await;
    });
}

#[test]
fn a_read_waits_for_the_write_of_its_connection() {
    local(async {
        let (_primary, replica) = pair().await;
        replica.shard.hold();
        let mut c = Client::connect(replica.address).await;
        c.check("SET k v", "+OK\r\n").await;
        c.send(b"GET k\r\n").await;
        assert!(c.is_silent().await, "the replica has not applied the write");
        let mut other = Client::connect(replica.address).await;
        other.check("GET k", "$-1\r\n").await;
        replica.shard.release();
        c.expect("$1\r\nv\r\n").await;
    });
}

#[test]
fn a_pipeline_keeps_its_order() {
    local(async {
        let (_primary, replica) = pair().await;
        let mut c = Client::connect(replica.address).await;
        c.send(b"SET a 1\r\nINCR a\r\nFOO\r\nINCR a\r\nGET a\r\nINCR a\r\nPING\r\n").await;
        for want in [
            "+OK\r\n",
            ":2\r\n",
            "-ERR unknown command 'FOO', with args beginning with: \r\n",
            ":3\r\n",
            "$1\r\n3\r\n",
            ":4\r\n",
            "+PONG\r\n",
        ] {
            c.expect(want).await;
        }
        c.send(b"CLIENT REPLY SKIP\r\nINCR a\r\nINCR a\r\n").await;
        c.expect(":6\r\n").await;
    });
}

#[test]
fn a_policy_travels_with_the_write() {
    local(async {
        let (primary, replica) = pair().await;
        primary.shard.hold();
        let mut c = Client::connect(replica.address).await;
        c.send(b"XWITH local SET k v\r\n").await;
        until(|| primary.shard.waiting() == 1).await;
        primary.shard.sync();
        c.expect("+OK\r\n").await;
        let late = c.ask("XWITH all TIMEOUT 20 SET k w").await;
        assert!(late.starts_with("-XUNKNOWN ticket=1-1-2 "), "{late}");
        primary.shard.release();
        c.check("GET k", "$1\r\nw\r\n").await;
    });
}

#[test]
fn a_transaction_at_a_replica() {
    local(async {
        let (_primary, replica) = pair().await;
        let mut c = Client::connect(replica.address).await;
        c.send(b"MULTI\r\nSET a 1\r\nGET a\r\nEXEC\r\nGET a\r\n").await;
        for want in
            ["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "*2\r\n+OK\r\n$1\r\n1\r\n", "$1\r\n1\r\n"]
        {
            c.expect(want).await;
        }
    });
}

#[test]
fn keys_that_are_watched_through_a_replica() {
    local(async {
        let (primary, replica) = pair().await;
        let mut c = Client::connect(replica.address).await;
        let mut other = Client::connect(primary.address).await;
        c.check("WATCH k", "+OK\r\n").await;
        other.check("SET k v", "+OK\r\n").await;
        c.check("MULTI", "+OK\r\n").await;
        c.check("SET k w", "+QUEUED\r\n").await;
        c.check("EXEC", "*-1\r\n").await;
        c.check("WATCH k", "+OK\r\n").await;
        c.check("MULTI", "+OK\r\n").await;
        c.check("SET k w", "+QUEUED\r\n").await;
        c.check("EXEC", "*1\r\n+OK\r\n").await;
        c.check("WATCH k", "+OK\r\n").await;
        c.check("UNWATCH", "+OK\r\n").await;
        other.check("SET k x", "+OK\r\n").await;
        c.check("MULTI", "+OK\r\n").await;
        c.check("EXEC", "*0\r\n").await;
    });
}

#[test]
fn a_transaction_whose_watch_is_gone_is_refused_whole() {
    local(async {
        let (primary, replica) = pair().await;
        let mut c = Client::connect(replica.address).await;
        c.check("WATCH k", "+OK\r\n").await;
        primary.server.peer_left(REPLICA);
        c.check("MULTI", "+OK\r\n").await;
        c.check("SET k w", "+QUEUED\r\n").await;
        let refused = c.ask("EXEC").await;
        assert!(refused.starts_with("-EXECABORT "), "{refused}");
        c.check("GET k", "$-1\r\n").await;
    });
}

#[test]
fn without_a_primary_nothing_is_written() {
    local(async {
        let (primary, replica) = pair().await;
        replica.shard.set_peer(None);
        let mut c = Client::connect(replica.address).await;
        c.send(b"SET k v\r\nSET k w\r\nGET k\r\n").await;
        for _ in 0..2 {
            let refused = c.next().await.expect("a reply");
            assert!(refused.starts_with(b"-MASTERDOWN "));
        }
        c.expect("$-1\r\n").await;
        Client::connect(primary.address).await.check("GET k", "$-1\r\n").await;
    });
}

#[test]
fn a_replica_that_does_not_forward_refuses() {
    local(async {
        let primary = Node::usual().await;
        let shard = Fake::replica_of(&primary.shard);
        let replica = Node::start(&shard, Config { forward: false, ..config() }).await;
        let mut c = Client::connect(replica.address).await;
        let read_only = "-READONLY You can't write against a read only replica.\r\n";
        c.check("SET k v", read_only).await;
        c.check("MULTI", "+OK\r\n").await;
        c.check("SET k v", "+QUEUED\r\n").await;
        c.check("EXEC", read_only).await;
        c.check("GET k", "$-1\r\n").await;
    });
}
