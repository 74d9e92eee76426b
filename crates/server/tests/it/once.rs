//! Sessions over the wire: `XSESSION`, `XSEQ`, and what a retry is answered.

use std::rc::Rc;

use crate::client::Client;
use crate::fake::Fake;
use crate::node::{Node, config, local, until};

/// A primary and a replica that hands writes on to it.
async fn pair() -> (Node, Node) {
    let primary = Node::usual().await;
    let shard = Fake::replica_of(&primary.shard);
    shard.set_peer(Some(Rc::clone(&primary.server)));
    let replica = Node::start(&shard, config()).await;
    (primary, replica)
}

/// Opens a session and lets the connection write in it; its name.
async fn bound(c: &mut Client) -> String {
    let reply = c.ask("XSESSION OPEN").await;
    let id = reply.strip_prefix("$32\r\n").and_then(|rest| rest.strip_suffix("\r\n"));
    let id = id.unwrap_or_else(|| panic!("no session: {reply}")).to_owned();
    c.check(&format!("XSESSION USE {id}"), "+OK\r\n").await;
    id
}

async fn using(node: &Node, id: &str) -> Client {
    let mut c = Client::connect(node.address).await;
    c.check(&format!("XSESSION USE {id}"), "+OK\r\n").await;
    c
}

#[test]
fn a_number_executes_once_at_any_node() {
    local(async {
        let (primary, replica) = pair().await;
        let mut c = Client::connect(replica.address).await;
        let id = bound(&mut c).await;
        let mut d = using(&primary, &id).await;
        c.check("XSEQ 1 INCR k", ":1\r\n").await;
        c.check("XSEQ 1 INCR k", ":1\r\n").await;
        d.check("XSEQ 1 INCR k", ":1\r\n").await;
        d.check("XSEQ 3 INCR k", ":2\r\n").await;
        c.check("XSEQ 2 INCR k", ":3\r\n").await;
        c.check("XSEQ 3 INCR k", ":2\r\n").await;
        c.check("GET k", "$1\r\n3\r\n").await;
        c.check("XTOKEN", "$5\r\n1-1-3\r\n").await;
        d.check("GET k", "$1\r\n3\r\n").await;
    });
}

#[test]
fn a_retry_waits_with_the_first() {
    local(async {
        let (primary, replica) = pair().await;
        let mut c = Client::connect(primary.address).await;
        let id = bound(&mut c).await;
        primary.shard.hold();
        c.send(b"XSEQ 1 INCR k\r\n").await;
        until(|| primary.shard.waiting() == 1).await;
        let (mut d, mut e) = (using(&primary, &id).await, using(&replica, &id).await);
        d.send(b"XSEQ 1 INCR k\r\n").await;
        e.send(b"XSEQ 1 INCR k\r\n").await;
        assert!(d.is_silent().await && e.is_silent().await, "nobody hears of what may be lost");
        assert_eq!(primary.shard.waiting(), 1, "it is appended once");
        let mut hasty = using(&primary, &id).await;
        hasty.send(b"XWITH local XSEQ 1 INCR k\r\n").await;
        primary.shard.sync();
        hasty.expect(":1\r\n").await;
        primary.shard.release();
        for waits in [&mut c, &mut d, &mut e] {
            waits.expect(":1\r\n").await;
        }
        c.check("GET k", "$1\r\n1\r\n").await;
    });
}

#[test]
fn what_a_write_answered_is_its_result_even_an_error_or_nothing() {
    local(async {
        let (_primary, replica) = pair().await;
        let mut c = Client::connect(replica.address).await;
        bound(&mut c).await;
        c.check("SET k word", "+OK\r\n").await;
        let not_a_number = "-ERR value is not an integer or out of range\r\n";
        c.check("XSEQ 1 INCR k", not_a_number).await;
        c.check("XSEQ 2 SETNX k v", ":0\r\n").await;
        c.check("XSEQ 3 DEL none", ":0\r\n").await;
        c.check("SET k 5", "+OK\r\n").await;
        c.check("SET none v", "+OK\r\n").await;
        c.check("XSEQ 1 INCR k", not_a_number).await;
        c.check("XSEQ 2 SETNX new v", ":0\r\n").await;
        c.check("XSEQ 3 DEL none", ":0\r\n").await;
        c.check("EXISTS none new", ":1\r\n").await;
    });
}

#[test]
fn a_transaction_executes_once() {
    local(async {
        let (primary, replica) = pair().await;
        let mut c = Client::connect(replica.address).await;
        let id = bound(&mut c).await;
        for node in [&replica, &primary] {
            let mut c = using(node, &id).await;
            for (ask, want) in [
                ("WATCH k", "+OK\r\n"),
                ("MULTI", "+OK\r\n"),
                ("INCR k", "+QUEUED\r\n"),
                ("GET k", "+QUEUED\r\n"),
                ("XSEQ 1 EXEC", "*2\r\n:1\r\n$1\r\n1\r\n"),
                ("EXEC", "-ERR EXEC without MULTI\r\n"),
            ] {
                c.check(ask, want).await;
            }
        }
        for node in [&replica, &primary] {
            let mut c = using(node, &id).await;
            c.check("MULTI", "+OK\r\n").await;
            c.check("INCR k", "+QUEUED\r\n").await;
            let within = c.ask("XSEQ 2 INCR k").await;
            assert_eq!(within, "-ERR within MULTI, XSEQ stands before EXEC\r\n");
            let aborted = c.ask("XSEQ 2 EXEC").await;
            assert!(aborted.starts_with("-EXECABORT "), "{aborted}");
            c.check("XSEQ 2 EXEC", "-ERR EXEC without MULTI\r\n").await;
            c.check("GET k", "$1\r\n1\r\n").await;
        }
    });
}

#[test]
fn a_pipeline_of_a_session_keeps_its_order() {
    local(async {
        let (_primary, replica) = pair().await;
        let mut c = Client::connect(replica.address).await;
        bound(&mut c).await;
        c.send(b"XSEQ 1 INCR a\r\nXSEQ 2 INCR a\r\nINCR a\r\nXSEQ 1 INCR a\r\nXSEQ 4 GET a\r\n")
            .await;
        c.send(b"XSEQ 3 INCR a\r\nGET a\r\nXSESSION INFO\r\n").await;
        for want in [
            ":1\r\n",
            ":2\r\n",
            ":3\r\n",
            ":1\r\n",
            "-ERR XSEQ takes a command that writes, or EXEC in a transaction\r\n",
            ":4\r\n",
            "$1\r\n4\r\n",
        ] {
            c.expect(want).await;
        }
        let info = String::from_utf8(c.next().await.expect("a reply")).expect("text");
        assert!(info.contains("highest\r\n:3\r\n$6\r\nlowest\r\n:1\r\n"), "{info}");
        assert!(info.contains("replies\r\n:3\r\n") && info.contains("ttl_ms\r\n:3600000\r\n"));
    });
}

#[test]
fn replies_that_are_not_kept_are_said_to_have_been_given() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        bound(&mut c).await;
        // With its length and the protocol's version around it, the second is as long as may be.
        for (seq, bytes, kept) in [(1, 4_085, true), (2, 4_086, true), (3, 4_087, false)] {
            let value = "x".repeat(bytes);
            c.check(&format!("SET k {value}"), "+OK\r\n").await;
            let first = c.ask(&format!("XSEQ {seq} GETSET k y")).await;
            assert_eq!(first, format!("${bytes}\r\n{value}\r\n"));
            let again = c.ask(&format!("XSEQ {seq} GETSET k z")).await;
            if kept {
                assert_eq!(again, first);
            } else {
                assert!(again.starts_with("-XAPPLIED ticket=1-1-"), "{again}");
                assert!(again.ends_with(" the write happened, its reply is not kept\r\n"));
            }
            c.check("GET k", "$1\r\ny\r\n").await;
        }
        c.ask("HELLO 3").await;
        let other = c.ask("XSEQ 1 GETSET k z").await;
        assert!(other.contains("its reply is kept in RESP2"), "{other}");
        c.check("XSEQ 4 SET k v GET", "$1\r\ny\r\n").await;
        c.check("XSEQ 5 GETDEL none", "_\r\n").await;
        c.check("XSEQ 5 GETDEL none", "_\r\n").await;
    });
}

#[test]
fn sessions_that_are_not_there_refuse() {
    local(async {
        let (primary, replica) = pair().await;
        let mut c = Client::connect(replica.address).await;
        c.check("XSEQ 1 INCR k", "-ERR no session, XSESSION USE comes first\r\n").await;
        let closed = "-XNOSESSION the session is not open or has expired, nothing was executed\r\n";
        let mut never = using(&replica, "00000000000000010000000000000063").await;
        never.check("XSEQ 1 INCR k", closed).await;
        let id = bound(&mut c).await;
        for (wrong, text) in [
            ("XSESSION USE 12", "-ERR not a session"),
            ("XSESSION USE", "-ERR wrong number of arguments for 'xsession|use' command"),
            ("XSESSION OPEN TTL 0", "-ERR TTL is not from 1 ms to 30 days"),
            ("XSESSION OPEN FOR 9", "-ERR syntax error"),
            ("XSESSION SHUT", "-ERR unknown subcommand 'SHUT'"),
            ("XSEQ 0 INCR k", "-ERR the number of a write is an integer from 1 on"),
            ("XSEQ one INCR k", "-ERR the number of a write is an integer from 1 on"),
            ("XSEQ 1 INCR", "-ERR XSEQ takes a command that writes"),
            ("XSEQ 1 NONSENSE", "-ERR XSEQ takes a command that writes"),
            ("XSEQ 1 XSEQ 2 INCR k", "-ERR XSEQ takes a command that writes"),
        ] {
            let said = c.ask(wrong).await;
            assert!(said.starts_with(text), "{wrong}: {said}");
        }
        c.check("XSEQ 300 INCR k", ":1\r\n").await;
        let old = c.ask("XSEQ 44 INCR k").await;
        assert!(old.starts_with("-XTOOOLD floor=45 "), "{old}");
        c.check("XSEQ 45 INCR k", ":2\r\n").await;
        c.check("RESET", "+RESET\r\n").await;
        c.check("XSEQ 301 INCR k", "-ERR no session, XSESSION USE comes first\r\n").await;
        c.check(&format!("XSESSION CLOSE {id}"), "+OK\r\n").await;
        c.check(&format!("XSESSION CLOSE {id}"), closed).await;
        c.check(&format!("XSESSION INFO {id}"), closed).await;
        c.check(&format!("XSESSION USE {id}"), "+OK\r\n").await;
        c.check("XSEQ 301 INCR k", closed).await;
        c.check("GET k", "$1\r\n2\r\n").await;
        // The fake shard takes three.
        for _ in 0..3 {
            bound(&mut c).await;
        }
        let full = "-TRYAGAIN too many sessions are open and none has expired\r\n";
        c.check("XSESSION OPEN", full).await;
        c.check("XSESSION CLOSE", "+OK\r\n").await;
        bound(&mut c).await;
        primary.shard.set_enough(false);
        c.check("XSESSION OPEN", "-NOREPLICAS Not enough good replicas to write.\r\n").await;
        c.check("XSEQ 1 INCR k", "-NOREPLICAS Not enough good replicas to write.\r\n").await;
        primary.shard.set_enough(true);
        c.check("XSEQ 1 INCR k", ":3\r\n").await;
    });
}

#[test]
fn what_was_lost_with_the_primary_is_executed_by_its_retry() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        let id = bound(&mut c).await;
        node.shard.hold();
        c.send(b"XSEQ 1 INCR k\r\n").await;
        until(|| node.shard.waiting() == 1).await;
        node.shard.demote();
        let lost = String::from_utf8(c.next().await.expect("a reply")).expect("text");
        assert!(lost.starts_with("-XUNKNOWN ticket=1-1-2 "), "{lost}");
        node.shard.promote();
        let mut c = using(&node, &id).await;
        c.check("XSEQ 1 INCR k", ":1\r\n").await;
        c.check("XSEQ 1 INCR k", ":1\r\n").await;
    });
}
