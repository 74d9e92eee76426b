//! What bad requests get, over a socket.

use antiphon_server::{Config, Password};

use crate::client::{Client, array};
use crate::fake::Fake;
use crate::node::{Node, config, local};

/// Sends bytes that are no request; the answer is one error, and the end.
fn malformed(bytes: Vec<u8>, want: &'static str) {
    local(async move {
        let node = Node::usual().await;
        let mut client = Client::connect(node.address).await;
        client.send(&bytes).await;
        client.expect(want).await;
        client.expect_end().await;
    });
}

#[test]
fn a_malformed_length_of_an_argument() {
    malformed(b"*1\r\n$x\r\n".to_vec(), "-ERR Protocol error: invalid bulk length\r\n");
}

#[test]
fn a_malformed_length_of_an_array() {
    malformed(b"*x\r\n".to_vec(), "-ERR Protocol error: invalid multibulk length\r\n");
}

#[test]
fn an_argument_of_another_type() {
    malformed(b"*1\r\n+GET\r\n".to_vec(), "-ERR Protocol error: expected '$', got '+'\r\n");
}

#[test]
fn an_argument_over_the_limit() {
    let announced = format!("*1\r\n${}\r\n", (64 << 20) + 1);
    malformed(announced.into_bytes(), "-ERR Protocol error: invalid bulk length\r\n");
}

#[test]
fn a_line_over_the_limit() {
    malformed(vec![b'a'; (64 << 10) + 1], "-ERR Protocol error: too big inline request\r\n");
}

#[test]
fn an_open_quote() {
    malformed(b"set k \"v\r\n".to_vec(), "-ERR Protocol error: unbalanced quotes in request\r\n");
}

#[test]
fn replies_before_a_malformed_request_still_come() {
    local(async {
        let node = Node::usual().await;
        let mut client = Client::connect(node.address).await;
        client.send(b"PING\r\n*1\r\n$-7\r\n").await;
        client.expect("+PONG\r\n").await;
        client.expect("-ERR Protocol error: invalid bulk length\r\n").await;
        client.expect_end().await;
    });
}

#[test]
fn commands_that_are_wrong() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        c.check("FOO a b", {
            "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' \r\n"
        })
        .await;
        c.check("GET", "-ERR wrong number of arguments for 'get' command\r\n").await;
        c.check("client setname", {
            "-ERR wrong number of arguments for 'client|setname' command\r\n"
        })
        .await;
        c.check("client MAINT_NOTIFICATIONS ON", {
            "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n"
        })
        .await;
        c.check("SET k v", "+OK\r\n").await;
        c.check("INCR k", "-ERR value is not an integer or out of range\r\n").await;
        c.check("SET k v NX XX", "-ERR syntax error\r\n").await;
        c.check("HELLO 4", "-NOPROTO unsupported protocol version\r\n").await;
        c.check("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n").await;
        c.check("SELECT 16", "-ERR DB index is out of range\r\n").await;
        c.check("EXEC", "-ERR EXEC without MULTI\r\n").await;
        c.check("DISCARD", "-ERR DISCARD without MULTI\r\n").await;
        c.check("DEBUG SLEEP 1", "-ERR DEBUG command not allowed.\r\n").await;
        for refused in ["SHUTDOWN", "REPLICAOF a 1", "FAILOVER"] {
            let answer = c.ask(refused).await;
            assert!(answer.starts_with("-ERR "), "{answer}");
        }
    });
}

#[test]
fn a_transaction_with_an_error_is_discarded() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        c.check("MULTI", "+OK\r\n").await;
        c.check("MULTI", "-ERR MULTI calls can not be nested\r\n").await;
        c.check("WATCH k", "-ERR WATCH inside MULTI is not allowed\r\n").await;
        c.check("SET k v", "+QUEUED\r\n").await;
        c.check("GET", "-ERR wrong number of arguments for 'get' command\r\n").await;
        c.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n").await;
        c.check("GET k", "$-1\r\n").await;
    });
}

#[test]
fn a_value_over_the_limit_of_the_engine() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        c.check("SETRANGE k 67108864 x", {
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
        })
        .await;
        let key = vec![b'k'; (1 << 20) + 1];
        let found = c.raw(&[b"SET", &key, b"v"]).await;
        assert_eq!(found, b"-ERR key exceeds maximum allowed size\r\n");
    });
}

fn with_password() -> Config {
    Config { password: Some(Password::of("secret")), ..config() }
}

#[test]
fn without_the_password() {
    local(async {
        let node = Node::start(&Fake::primary(), with_password()).await;
        let mut c = Client::connect(node.address).await;
        c.check("PING", "-NOAUTH Authentication required.\r\n").await;
        c.check("FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n").await;
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        c.check("AUTH wrong", wrong).await;
        c.check("AUTH default wrong", wrong).await;
        c.check("AUTH other secret", wrong).await;
        c.check("HELLO 3 AUTH default wrong", wrong).await;
        let hello = c.ask("HELLO 3").await;
        assert!(hello.starts_with("-NOAUTH HELLO must be called"), "{hello}");
        c.check("AUTH secret", "+OK\r\n").await;
        c.check("PING", "+PONG\r\n").await;
        c.check("RESET", "+RESET\r\n").await;
        c.check("PING", "-NOAUTH Authentication required.\r\n").await;
        let hello = c.ask("HELLO 3 AUTH default secret SETNAME me").await;
        assert!(hello.starts_with("%7\r\n"), "{hello}");
        c.check("CLIENT GETNAME", "$2\r\nme\r\n").await;
    });
}

#[test]
fn before_the_password_little_is_taken() {
    local(async {
        let node = Node::start(&Fake::primary(), with_password()).await;
        let words = [b"AUTH".as_slice(); 11];
        for (bytes, want) in [
            (array(&words), "-ERR Protocol error: unauthenticated multibulk length\r\n"),
            (
                array(&[b"AUTH", &[b'x'; 16_385]]),
                "-ERR Protocol error: unauthenticated bulk length\r\n",
            ),
        ] {
            let mut client = Client::connect(node.address).await;
            client.send(&bytes).await;
            client.expect(want).await;
            client.expect_end().await;
        }
        let mut client = Client::connect(node.address).await;
        client.send(&array(&[b"AUTH", b"secret"])).await;
        client.expect("+OK\r\n").await;
        client.send(&array(&[b"ECHO", &[b'x'; 20_000]])).await;
        assert!(client.next().await.is_some_and(|reply| reply.len() > 20_000));
    });
}

#[test]
fn auth_where_no_password_is_set() {
    local(async {
        let node = Node::usual().await;
        let mut c = Client::connect(node.address).await;
        let answer = c.ask("AUTH x").await;
        assert!(answer.starts_with("-ERR AUTH <password> called without any password"), "{answer}");
        c.check("AUTH default x", "+OK\r\n").await;
    });
}
