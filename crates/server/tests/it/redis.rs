//! The same commands to us and to a real Redis: the same bytes come back.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config as Cases, TestRunner};

use crate::client::{Client, array};
use crate::node::{Node, PATIENCE, local};

/// How often something that must come is looked for.
const POLL: Duration = Duration::from_millis(5);

/// A real Redis, for as long as a test runs.
struct Redis {
    process: Child,
    address: SocketAddr,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().expect("our own process can be ended");
        self.process.wait().expect("an ended process can be waited for");
    }
}

impl Redis {
    async fn start() -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port is there");
        let address = free.local_addr().expect("a bound socket has an address");
        drop(free);
        let process = Command::new("redis-server")
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .expect("redis-server is installed where these tests run");
        let redis = Self { process, address };
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "redis-server does not come up");
            tokio::time::sleep(POLL).await;
        }
        redis
    }
}

/// We and Redis, side by side.
struct Pair {
    _redis: Redis,
    _node: Node,
    theirs: Client,
    ours: Client,
}

impl Pair {
    async fn start() -> Self {
        let redis = Redis::start().await;
        let node = Node::usual().await;
        let theirs = Client::connect(redis.address).await;
        let ours = Client::connect(node.address).await;
        Self { _redis: redis, _node: node, theirs, ours }
    }

    /// Both speak the given version from now on; what they say about themselves differs.
    async fn speak(&mut self, proto: &str) {
        for client in [&mut self.theirs, &mut self.ours] {
            let hello = client.ask(&format!("HELLO {proto}")).await;
            assert!(!hello.starts_with('-'), "{hello}");
        }
    }

    /// Sends the same bytes to both; the replies of both, as many as there are commands.
    async fn replies(&mut self, bytes: &[u8], count: usize) -> (Vec<Reply>, Vec<Reply>) {
        self.theirs.send(bytes).await;
        self.ours.send(bytes).await;
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..count {
            theirs.push(self.theirs.next().await.map(|bytes| text(&bytes)));
            ours.push(self.ours.next().await.map(|bytes| text(&bytes)));
        }
        (theirs, ours)
    }

    /// Sends the same bytes to both, and compares as many replies as there are commands.
    async fn compare_bytes(&mut self, bytes: &[u8], count: usize) {
        let (theirs, ours) = self.replies(bytes, count).await;
        let first = theirs.iter().zip(&ours).position(|(theirs, ours)| theirs != ours);
        if let Some(place) = first {
            let (theirs, ours) = (theirs.get(place), ours.get(place));
            panic!("reply {place} to {:?}:\n{theirs:?}\n{ours:?}", text(bytes));
        }
    }
}

/// A reply as text; nothing for the end of the connection.
type Reply = Option<String>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Compares a script: a command on each line, its words apart by one space.
fn script(protos: &'static [&'static str], lines: &'static str) {
    local(async move {
        let mut pair = Pair::start().await;
        let mut differences = Vec::new();
        for proto in protos {
            for client in [&mut pair.theirs, &mut pair.ours] {
                client.ask("RESET").await;
                client.ask("FLUSHALL").await;
            }
            pair.speak(proto).await;
            for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
                let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                let (theirs, ours) = pair.replies(&array(&words), 1).await;
                if theirs != ours {
                    differences.push(format!("RESP{proto} {line}\n  {theirs:?}\n  {ours:?}"));
                }
            }
        }
        assert!(differences.is_empty(), "theirs, then ours:\n{}", differences.join("\n"));
    });
}

const BOTH: &[&str] = &["2", "3"];

#[test]
fn connection() {
    script(
        BOTH,
        "PING
        PING hello
        PING a b
        ECHO hi
        ECHO
        SELECT 0
        SELECT 15
        SELECT 16
        SELECT -1
        SELECT x
        SELECT 0
        CLIENT GETNAME
        CLIENT SETNAME me
        CLIENT GETNAME
        CLIENT SETNAME a\u{7f}b
        CLIENT NO-EVICT ON
        CLIENT NO-EVICT MAYBE
        CLIENT REPLY ON
        CLIENT REPLY MAYBE
        CLIENT KILL 1.2.3.4:5
        CLIENT KILL ID 0
        CLIENT KILL ID 999999
        CLIENT KILL ID
        CLIENT KILL ID 1 ADDR
        CLIENT KILL TYPE nobody
        CLIENT KILL USER nobody
        CLIENT KILL SKIPME maybe
        CLIENT LIST TYPE nobody
        CLIENT LIST TYPE replica
        CLIENT LIST ID x
        CLIENT LIST ID 999999
        CLIENT PAUSE
        CLIENT PAUSE x
        CLIENT PAUSE -1
        CLIENT PAUSE 0 NEVER
        CLIENT UNPAUSE
        CLIENT TRACKINGINFO
        CLIENT GETREDIR
        CLIENT CACHING YES
        CLIENT UNBLOCK 12345
        CLIENT FOO
        CLIENT MAINT_NOTIFICATIONS ON
        CLIENT
        HELLO 4
        HELLO 1
        HELLO x
        HELLO 3 NONSENSE
        HELLO 3 SETNAME a\u{7f}b
        HELLO 3 AUTH default
        AUTH x
        AUTH a b c
        AUTH other x
        WAIT x 0
        WAIT 0 x
        WAIT 0 -1
        FOO
        FOO a b c
        foo\u{0}bar x
        GET
        GET a b",
    );
}

#[test]
fn the_node() {
    script(
        BOTH,
        "ACL WHOAMI
        ACL USERS
        ACL LIST x
        ACL CAT nonsense
        ACL FOO
        COMMAND COUNT x
        COMMAND GETKEYS GET k
        COMMAND GETKEYS MSET a 1 b 2
        COMMAND GETKEYS PING
        COMMAND GETKEYS PING x
        COMMAND GETKEYS FOO
        COMMAND GETKEYS FOO x
        COMMAND GETKEYS SET x
        COMMAND FOO
        COMMAND INFO nonsense
        COMMAND DOCS nonsense
        CONFIG GET nonsense
        CONFIG GET databases
        CONFIG GET maxmemory-policy
        CONFIG GET save
        CONFIG GET
        CONFIG SET nonsense 1
        CONFIG SET maxclients
        CONFIG RESETSTAT
        CONFIG RESETSTAT now
        CONFIG FOO
        SLOWLOG LEN
        SLOWLOG GET 0
        SLOWLOG GET x
        SLOWLOG GET -2
        SLOWLOG RESET
        SLOWLOG FOO
        LATENCY LATEST
        LATENCY HISTORY nonsense
        LATENCY RESET
        LATENCY FOO
        MODULE LIST
        MODULE LIST x
        MODULE FOO
        MEMORY USAGE nonsense
        TIME now
        DBSIZE
        ROLE x
        LASTSAVE x
        OBJECT ENCODING nonsense
        OBJECT FOO x",
    );
}

#[test]
fn strings() {
    script(
        BOTH,
        "SET k v
        GET k
        SET k w NX
        SET k w XX
        GET k
        SET k x GET
        SET other x GET
        SET k v EX 0
        SET k v EX x
        SET k v EX 10 PX 10
        SET k v KEEPTTL EX 10
        SET k v NONSENSE
        SET k v EX
        SETNX k z
        SETNX n z
        GETSET k 1
        GETDEL n
        GETDEL n
        INCR k
        INCRBY k 10
        DECR k
        DECRBY k 3
        INCRBY k x
        INCRBY k 9223372036854775807
        DECRBY k -9223372036854775808
        INCRBYFLOAT k 1.5
        INCRBYFLOAT k x
        INCRBYFLOAT k 3.0e2
        INCR k
        APPEND k abc
        APPEND new abc
        STRLEN k
        STRLEN nothing
        SETRANGE k 2 XY
        SETRANGE k -1 XY
        SETRANGE pad 3 XY
        GET pad
        SETRANGE nothing 5
        GETRANGE k 0 -1
        GETRANGE k -3 -2
        GETRANGE k 5 2
        GETRANGE k x 2
        SUBSTR k 0 1
        MSET a 1 b 2
        MSET a
        MSET a 1 b
        MSETNX a 9 z 9
        MSETNX y 9 z 9
        MGET a b nothing z
        GETEX a
        GETEX a PERSIST
        GETEX a EX 100
        GETEX a NONSENSE
        LCS a b
        SETEX k 100 v
        SETEX k 0 v
        PSETEX k 100000 v
        TTL k",
    );
}

#[test]
fn keys_and_expiry() {
    script(
        BOTH,
        "SET a 1
        SET b 2
        EXISTS a b a nothing
        TYPE a
        TYPE nothing
        TOUCH a nothing
        TTL a
        PTTL nothing
        EXPIRE a 100
        TTL a
        EXPIRE a 200 NX
        EXPIRE a 200 XX
        EXPIRE a 100 GT
        EXPIRE a 100 LT
        EXPIRE a 10 NX XX
        EXPIRE a x
        EXPIRE a 10 NONSENSE
        EXPIRE nothing 10
        EXPIREAT a 33177117420
        EXPIRETIME a
        PEXPIRETIME a
        EXPIRETIME nothing
        EXPIRETIME b
        PEXPIREAT a 33177117420123
        PEXPIRETIME a
        PERSIST a
        PERSIST a
        TTL a
        EXPIRE a 9223372036854775807
        EXPIRE a -1
        EXISTS a
        SET a 1
        RENAME a c
        RENAME a c
        RENAMENX c b
        RENAMENX c d
        COPY d e
        COPY d e
        COPY d e REPLACE
        COPY d d
        COPY d f DB 3
        COPY d f DB 99
        MOVE d 3
        MOVE d 3
        MOVE b 0
        SWAPDB 0 3
        SWAPDB 0 x
        SWAPDB 0 99
        EXISTS d
        SWAPDB 0 3
        KEYS b*
        KEYS nothing*
        SCAN 0 MATCH nothing* COUNT 1000
        SCAN x
        SCAN 0 COUNT 0
        SCAN 0 NONSENSE
        OBJECT ENCODING b
        OBJECT REFCOUNT nothing
        DEL b nothing
        UNLINK e
        FLUSHDB NONSENSE
        FLUSHDB ASYNC
        DBSIZE
        RANDOMKEY
        FLUSHALL SYNC",
    );
}

#[test]
fn transactions() {
    script(
        BOTH,
        "MULTI
        SET a 1
        INCR a
        GET a
        PING
        ECHO x
        EXEC
        MULTI
        MULTI
        WATCH a
        GET
        SET a 2
        EXEC
        MULTI
        FOO
        DISCARD
        MULTI
        INCR nothing x
        EXEC
        MULTI
        SET s v
        INCR s
        GET s
        EXEC
        EXEC
        DISCARD
        WATCH a b
        UNWATCH
        WATCH a
        SET a 5
        MULTI
        GET a
        EXEC
        MULTI
        SELECT 2
        SET z 1
        SELECT 0
        GET z
        EXEC
        MULTI
        EXEC
        MULTI
        RESET
        EXEC",
    );
}

#[test]
fn inline_and_malformed_requests() {
    local(async {
        let mut pair = Pair::start().await;
        for (bytes, replies) in [
            (b"PING\r\n".as_slice(), 1),
            (b"  ECHO \"a\\x41\\n\" \r\n", 1),
            (b"ECHO 'it\\'s'\n", 1),
            (b"\r\n\r\n*0\r\n*-1\r\nPING\r\n", 1),
            (b"SET k \"v w\"\r\nGET k\r\n", 2),
            (b"FOO\r\n", 1),
        ] {
            pair.compare_bytes(bytes, replies).await;
        }
        for bytes in [
            b"*1\r\n:1\r\n".as_slice(),
            b"*1\r\n$-1\r\n",
            b"*1\r\n$abc\r\n",
            b"*abc\r\n",
            b"*+1\r\n",
            b"*2147483648\r\n",
            b"ECHO \"x\r\n",
            b"ECHO 'x\r\n",
            b"ECHO \"x\"y\r\n",
        ] {
            pair.theirs = Client::connect(pair._redis.address).await;
            pair.ours = Client::connect(pair._node.address).await;
            // One error, and the end.
            pair.compare_bytes(bytes, 2).await;
        }
    });
}

/// A word that commands meet often, or any bytes.
fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "a", "b", "c", "0", "1", "-1", "10", "x", "", "9223372036854775807", "1.5", "100000",
        ]).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

/// A command that both know, with words that may or may not suit it.
fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let names = vec![
        "GET",
        "SET",
        "SETNX",
        "GETSET",
        "GETDEL",
        "MGET",
        "MSET",
        "MSETNX",
        "INCR",
        "DECR",
        "INCRBY",
        "DECRBY",
        "APPEND",
        "STRLEN",
        "SETRANGE",
        "GETRANGE",
        "DEL",
        "UNLINK",
        "EXISTS",
        "TYPE",
        "TOUCH",
        "RENAME",
        "RENAMENX",
        "COPY",
        "PERSIST",
        "TTL",
        "EXPIRETIME",
        "DBSIZE",
        "ECHO",
        "PING",
        "MULTI",
        "EXEC",
        "DISCARD",
        "WATCH",
        "UNWATCH",
        "FLUSHDB",
    ];
    let options = vec!["NX", "XX", "GET", "KEEPTTL", "REPLACE"];
    (
        prop::sample::select(names),
        prop::collection::vec(word(), 0..4),
        prop::option::weighted(0.15, prop::sample::select(options)),
    )
        .prop_map(|(name, mut words, option)| {
            // A long run of zeros is Redis's own business; an offset stays small.
            if let ("SETRANGE", Some(offset)) = (name, words.get_mut(1)) {
                offset.truncate(2);
            }
            let mut command = vec![name.as_bytes().to_vec()];
            command.append(&mut words);
            command.extend(option.map(|option| option.as_bytes().to_vec()));
            command
        })
}

/// Random pipelines, in both versions of the protocol.
fn random(proto: &'static str) {
    local(async move {
        let mut pair = Pair::start().await;
        let mut runner = TestRunner::new(Cases { failure_persistence: None, ..Cases::default() });
        let strategy = prop::collection::vec(command(), 1..40);
        for _ in 0..150 {
            let commands = strategy.new_tree(&mut runner).expect("a case").current();
            for client in [&mut pair.theirs, &mut pair.ours] {
                client.ask("RESET").await;
                client.ask("FLUSHALL").await;
            }
            pair.speak(proto).await;
            let mut bytes = Vec::new();
            for command in &commands {
                let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
                bytes.extend_from_slice(&array(&words));
            }
            let (theirs, ours) = pair.replies(&bytes, commands.len()).await;
            let first = theirs.iter().zip(&ours).position(|(theirs, ours)| theirs != ours);
            if let Some(place) = first {
                let sent: Vec<String> = commands
                    .iter()
                    .take(place + 1)
                    .map(|words| words.iter().map(|word| text(word)).collect::<Vec<_>>().join(" "))
                    .collect();
                let (theirs, ours) = (theirs.get(place), ours.get(place));
                panic!("after {sent:#?}:\n{theirs:?}\n{ours:?}");
            }
        }
    });
}

#[test]
fn random_commands_in_resp2() {
    random("2");
}

#[test]
fn random_commands_in_resp3() {
    random("3");
}
