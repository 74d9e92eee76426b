//! When replies leave: policies, timeouts, fates, and the order in all of it.

use crate::client::{Client, array};
use crate::fake::Fake;
use crate::node::{Node, config, local, until};

#[test]
fn a_write_waits_and_what_comes_behind_it_too() {
    local(async {
        let node = Node::usual().await;
        node.shard.hold();
        let mut writer = Client::connect(node.address).await;
        let mut other = Client::connect(node.address).await;
        writer.send(b"SET k v\r\nPING\r\nSET k w\r\nGET other\r\n").await;
        until(|| node.shard.waiting() == 2).await;
        assert!(writer.is_silent().await, "nothing leaves before the write is stable");
        other.check("PING", "+PONG\r\n").await;
        other.send(b"GET k\r\n").await;
        assert!(other.is_silent().await, "a read of what is not stable waits");
        node.shard.release();
        for want in ["+OK\r\n", "+PONG\r\n", "+OK\r\n", "$-1\r\n"] {
            writer.expect(want).await;
        }
        other.expect("$1\r\nw\r\n").await;
    });
}

#[test]
fn a_weaker_policy_is_answered_sooner() {
    local(async {
        let node = Node::usual().await;
        node.shard.hold();
        let mut c = Client::connect(node.address).await;
        c.send(b"XWITH local SET k v\r\n").await;
        until(|| node.shard.waiting() == 1).await;
        assert!(c.is_silent().await, "not even the primary's disk has it");
        node.shard.sync();
        c.expect("+OK\r\n").await;
        c.check("XTOKEN", "$5\r\n1-1-1\r\n").await;
        c.check("XFATE 1-1-1", "$7\r\npending\r\n").await;
        node.shard.release();
        c.check("XFATE 1-1-1", "$6\r\nstable\r\n").await;
        c.check("XFATE 1-1-9", "$7\r\nunknown\r\n").await;
        let nonsense = c.ask("XFATE nonsense").await;
        assert!(nonsense.starts_with("-ERR not a token"), "{nonsense}");
    });
}

#[test]
fn the_policy_of_a_connection() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        c.check("XTOKEN", "$-1\r\n").await;
        c.check("XPOLICY ack(2) TIMEOUT 50", "+OK\r\n").await;
        c.check("XPOLICY", {
            "*4\r\n$6\r\npolicy\r\n$6\r\nack(2)\r\n$10\r\ntimeout_ms\r\n:50\r\n"
        })
        .await;
        let wrong = c.ask("XPOLICY most").await;
        assert!(wrong.starts_with("-ERR no such policy"), "{wrong}");
        c.check("XPOLICY all TIMEOUT x", "-ERR timeout is not an integer or out of range\r\n")
            .await;
        c.check("XWITH all", "-ERR wrong number of arguments for 'xwith' command\r\n").await;
        c.check("XWITH all TIMEOUT 1", {
            "-ERR wrong number of arguments for 'xwith' command\r\n"
        })
        .await;
    });
}

#[test]
fn a_write_whose_policy_is_not_met_in_time_is_unknown() {
    local(async {
        let node = Node::usual().await;
        node.shard.hold();
        let mut c = Client::connect(node.address).await;
        c.send(b"XWITH quorum TIMEOUT 50 SET k v\r\nPING\r\nXWITH all TIMEOUT 1 SET k w\r\n").await;
        let first = c.next().await.expect("a reply");
        let first = String::from_utf8_lossy(&first).into_owned();
        assert!(first.starts_with("-XUNKNOWN ticket=1-1-1 "), "{first}");
        c.expect("+PONG\r\n").await;
        let second = c.next().await.expect("a reply");
        assert!(second.starts_with(b"-XUNKNOWN ticket=1-1-2 "));
        c.check("XFATE 1-1-1", "$7\r\npending\r\n").await;
        node.shard.release();
        c.check("GET k", "$1\r\nw\r\n").await;
        assert_eq!(node.server.stats().policy_timeouts.get(), 2);
    });
}

#[test]
fn a_policy_that_cannot_be_met_writes_nothing() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        node.shard.set_enough(false);
        c.check("SET k v", "-NOREPLICAS Not enough good replicas to write.\r\n").await;
        c.check("GET k", "$-1\r\n").await;
        c.check("DEL k", ":0\r\n").await;
        node.shard.set_enough(true);
        c.check("SET k v", "+OK\r\n").await;
        assert_eq!(node.shard.waiting(), 0);
    });
}

#[test]
fn a_full_log_lets_writes_wait() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        node.shard.set_room(false);
        c.send(b"SET k v\r\nMULTI\r\nSET a b\r\nEXEC\r\n").await;
        assert!(c.is_silent().await);
        node.shard.set_room(true);
        for want in ["+OK\r\n", "+OK\r\n", "+QUEUED\r\n", "*1\r\n+OK\r\n"] {
            c.expect(want).await;
        }
        node.shard.set_room(false);
        let refused = c.ask("XWITH local TIMEOUT 20 SET k w").await;
        assert!(refused.starts_with("-TRYAGAIN "), "{refused}");
        c.check("GET k", "$1\r\nv\r\n").await;
    });
}

#[test]
fn a_primary_that_loses_its_role_says_so() {
    local(async {
        let node = Node::usual().await;
        node.shard.hold();
        let mut c = Client::connect(node.address).await;
        c.send(b"SET k v\r\nGET k\r\n").await;
        until(|| node.shard.waiting() == 1).await;
        node.shard.demote();
        let write = c.next().await.expect("a reply");
        assert!(write.starts_with(b"-XUNKNOWN ticket=1-1-1 "));
        let read = c.next().await.expect("a reply");
        assert!(read.starts_with(b"-TRYAGAIN "));
        let next = c.ask("SET k v").await;
        assert!(next.starts_with("-MASTERDOWN "), "{next}");
    });
}

#[test]
fn copies_that_a_client_waits_for() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        c.check("WAIT 1 0", ":1\r\n").await;
        node.shard.hold();
        c.check("XPOLICY local", "+OK\r\n").await;
        c.send(b"SET k v\r\nWAIT 1 30\r\nWAITAOF 1 1 0\r\nPING\r\n").await;
        until(|| node.shard.waiting() == 1).await;
        node.shard.sync();
        c.expect("+OK\r\n").await;
        c.expect(":0\r\n").await;
        assert!(c.is_silent().await, "no limit of time was given");
        node.shard.release();
        c.expect("*2\r\n:1\r\n:1\r\n").await;
        c.expect("+PONG\r\n").await;
        c.check("WAIT x 0", "-ERR value is not an integer or out of range\r\n").await;
        c.check("WAIT 1 x", "-ERR timeout is not an integer or out of range\r\n").await;
        c.check("WAIT 1 -1", "-ERR timeout is negative\r\n").await;
    });
}

#[test]
fn a_client_that_leaves_while_it_waits_is_forgotten() {
    local(async {
        let node = Node::usual().await;
        node.shard.hold();
        let mut c = Client::connect(node.address).await;
        c.send(b"XWITH local SET k v\r\nWAIT 1 0\r\n").await;
        until(|| node.shard.waiting() == 1).await;
        node.shard.sync();
        c.expect("+OK\r\n").await;
        drop(c);
        until(|| node.server.stats().clients.get() == 0).await;
    });
}

#[test]
fn a_transaction_is_one_entry() {
    local(async {
        let node = Node::usual().await;
        node.shard.hold();
        let mut c = Client::connect(node.address).await;
        c.send(b"MULTI\r\nSET a 1\r\nINCR a\r\nLPUSH\r\n").await;
        for want in ["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n"] {
            c.expect(want).await;
        }
        let unknown = c.next().await.expect("a reply");
        assert!(unknown.starts_with(b"-ERR unknown command"));
        c.check("DISCARD", "+OK\r\n").await;
        c.send(b"MULTI\r\nSET a 1\r\nINCR a\r\nSELECT 1\r\nGET a\r\nSELECT 0\r\nEXEC\r\n").await;
        until(|| node.shard.waiting() == 1).await;
        for _ in 0..6 {
            assert!(c.next().await.is_some());
        }
        assert!(c.is_silent().await, "the replies of EXEC wait as one");
        node.shard.release();
        c.expect("*5\r\n+OK\r\n:2\r\n+OK\r\n$-1\r\n+OK\r\n").await;
    });
}

#[test]
fn a_watched_key_that_changes() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        let mut other = Client::connect(node.address).await;
        c.check("WATCH k", "+OK\r\n").await;
        other.check("SET k v", "+OK\r\n").await;
        c.check("MULTI", "+OK\r\n").await;
        c.check("SET k w", "+QUEUED\r\n").await;
        c.check("EXEC", "*-1\r\n").await;
        c.check("WATCH k", "+OK\r\n").await;
        c.check("UNWATCH", "+OK\r\n").await;
        other.check("SET k x", "+OK\r\n").await;
        c.check("MULTI", "+OK\r\n").await;
        c.check("EXEC", "*0\r\n").await;
        c.check("WATCH k", "+OK\r\n").await;
        node.shard.next_epoch();
        c.check("MULTI", "+OK\r\n").await;
        let refused = c.ask("EXEC").await;
        assert!(refused.starts_with("-EXECABORT "), "{refused}");
    });
}

#[test]
fn replies_that_are_not_wanted() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        c.send(b"CLIENT REPLY SKIP\r\nSET a b\r\nGET a\r\n").await;
        c.expect("$1\r\nb\r\n").await;
        c.send(b"CLIENT REPLY OFF\r\nSET a c\r\nFOO\r\nPING\r\nCLIENT REPLY ON\r\n").await;
        c.expect("+OK\r\n").await;
        c.check("GET a", "$1\r\nc\r\n").await;
    });
}

#[test]
fn a_pause_holds_writes_until_it_is_lifted() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        let mut other = Client::connect(node.address).await;
        c.check("CLIENT PAUSE 60000 WRITE", "+OK\r\n").await;
        other.check("GET k", "$-1\r\n").await;
        other.send(b"SET k v\r\n").await;
        assert!(other.is_silent().await);
        c.check("CLIENT UNPAUSE", "+OK\r\n").await;
        other.expect("+OK\r\n").await;
        c.check("CLIENT PAUSE 30", "+OK\r\n").await;
        other.check("PING", "+PONG\r\n").await;
    });
}

#[test]
fn keys_expire_by_an_entry() {
    local(async {
        let node = Node::start(&Fake::primary(), config()).await;
        let mut c = Client::connect(node.address).await;
        c.check("SET k v PX 30", "+OK\r\n").await;
        c.check("DBSIZE", ":1\r\n").await;
        until(|| node.server.stats().expired.get() == 1).await;
        c.check("DBSIZE", ":0\r\n").await;
        let info = c.ask("INFO stats").await;
        assert!(info.contains("expired_keys:1\r\n"), "{info}");
    });
}

#[test]
fn a_long_command_arrives_in_pieces() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        let value: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
        let bytes = array(&[b"SET", b"k", &value]);
        for piece in bytes.chunks(70_001) {
            c.send(piece).await;
        }
        c.expect("+OK\r\n").await;
        let reply = c.raw(&[b"GET", b"k"]).await;
        assert!(reply.windows(value.len()).any(|window| window == value));
        let stats = node.server.stats();
        until(|| stats.client_bytes.get() < 1 << 20).await;
    });
}
