//! The commands, in the order of their names.

use super::{Command, Flags, Group, KeyRange, Keys, Runs, Session};

macro_rules! commands {
    ($($name:literal $kind:ident::$run:ident $arity:literal [$($flag:ident)*]
        $first:literal $last:literal $step:literal $group:ident $since:literal
        $summary:literal;)*) => {
        /// All commands, sorted by name.
        pub(super) static COMMANDS: &[Command] = &[$(Command {
            name: $name,
            runs: Runs::$kind($kind::$run),
            arity: $arity,
            flags: Flags::NONE$(.with(Flags::$flag))*,
            keys: KeyRange { first: $first, last: $last, step: $step },
            group: Group::$group,
            since: $since,
            summary: $summary,
        }),*];
    };
}

// Name, what runs it, words it takes (negative: at least), flags, keys (first, last, step),
// group, version it came with, and what it does.
commands! {
    "acl" Session::Acl -2 [] 0 0 0 Server "6.0.0"
        "Tells about users and command categories.";
    "append" Keys::Append 3 [WRITE DENYOOM FAST] 1 1 1 String "2.0.0"
        "Adds bytes to the end of a string.";
    "auth" Session::Auth -2 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] 0 0 0 Connection "1.0.0"
        "Proves who the connection is.";
    "bgsave" Session::BgSave -1 [ADMIN NOSCRIPT NO_ASYNC_LOADING] 0 0 0 Server "1.0.0"
        "Takes a snapshot.";
    "client" Session::Client -2 [] 0 0 0 Connection "2.4.0"
        "Tells about connections and sets properties of this one.";
    "command" Session::Command -1 [LOADING STALE CONNECTION] 0 0 0 Server "2.8.13"
        "Tells about commands.";
    "config" Session::Config -2 [] 0 0 0 Server "2.0.0"
        "Reads and sets parameters.";
    "copy" Keys::Copy -3 [WRITE DENYOOM] 1 2 1 Generic "6.2.0"
        "Copies a key's value and expiry to another key.";
    "dbsize" Keys::DbSize 1 [READONLY FAST KEYSPACE] 0 0 0 Server "1.0.0"
        "Counts the keys of the database.";
    "debug" Session::Debug -2 [ADMIN NOSCRIPT LOADING STALE] 0 0 0 Server "1.0.0"
        "Is refused.";
    "decr" Keys::Decr 2 [WRITE DENYOOM FAST] 1 1 1 String "1.0.0"
        "Takes one from an integer.";
    "decrby" Keys::DecrBy 3 [WRITE DENYOOM FAST] 1 1 1 String "1.0.0"
        "Takes a number from an integer.";
    "del" Keys::Del -2 [WRITE] 1 -1 1 Generic "1.0.0"
        "Deletes keys.";
    "delex" Keys::DelEx -2 [WRITE FAST] 1 1 1 String "8.4.0"
        "Deletes a key if its value meets a condition.";
    "delifeq" Keys::DelIfEq 3 [WRITE FAST] 1 1 1 String "9.0.0"
        "Deletes a key if it holds a given value.";
    "digest" Keys::Digest 2 [READONLY FAST] 1 1 1 String "8.4.0"
        "Gives the hash of a string.";
    "discard" Session::Discard 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] 0 0 0 Transactions "2.0.0"
        "Drops the commands of a transaction.";
    "echo" Session::Echo 2 [LOADING STALE FAST] 0 0 0 Connection "1.0.0"
        "Returns its argument.";
    "exec" Session::Exec 1 [NOSCRIPT LOADING STALE SKIP_SLOWLOG] 0 0 0 Transactions "1.2.0"
        "Executes the commands of a transaction.";
    "exists" Keys::Exists -2 [READONLY FAST] 1 -1 1 Generic "1.0.0"
        "Counts which of the keys exist.";
    "expire" Keys::Expire -3 [WRITE FAST] 1 1 1 Generic "1.0.0"
        "Lets a key expire after some seconds.";
    "expireat" Keys::ExpireAt -3 [WRITE FAST] 1 1 1 Generic "1.2.0"
        "Lets a key expire at a second.";
    "expiretime" Keys::ExpireTime 2 [READONLY FAST] 1 1 1 Generic "7.0.0"
        "Tells the second at which a key expires.";
    "failover" Session::Failover -1 [ADMIN NOSCRIPT STALE] 0 0 0 Server "6.2.0"
        "Hands the primary's role over.";
    "flushall" Keys::FlushAll -1 [WRITE DANGEROUS KEYSPACE] 0 0 0 Server "1.0.0"
        "Empties all databases.";
    "flushdb" Keys::FlushDb -1 [WRITE DANGEROUS KEYSPACE] 0 0 0 Server "1.0.0"
        "Empties the database.";
    "get" Keys::Get 2 [READONLY FAST] 1 1 1 String "1.0.0"
        "Reads a string.";
    "getdel" Keys::GetDel 2 [WRITE FAST] 1 1 1 String "6.2.0"
        "Reads a string and deletes its key.";
    "getex" Keys::GetEx -2 [WRITE FAST] 1 1 1 String "6.2.0"
        "Reads a string and changes its expiry.";
    "getrange" Keys::GetRange 4 [READONLY] 1 1 1 String "2.4.0"
        "Reads a part of a string.";
    "getset" Keys::GetSet 3 [WRITE DENYOOM FAST] 1 1 1 String "1.0.0"
        "Writes a string and returns the one before.";
    "hello" Session::Hello -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] 0 0 0 Connection "6.0.0"
        "Chooses the protocol and proves who the connection is.";
    "incr" Keys::Incr 2 [WRITE DENYOOM FAST] 1 1 1 String "1.0.0"
        "Adds one to an integer.";
    "incrby" Keys::IncrBy 3 [WRITE DENYOOM FAST] 1 1 1 String "1.0.0"
        "Adds a number to an integer.";
    "incrbyfloat" Keys::IncrByFloat 3 [WRITE DENYOOM FAST] 1 1 1 String "2.6.0"
        "Adds a decimal number to a number.";
    "info" Session::Info -1 [LOADING STALE DANGEROUS] 0 0 0 Server "1.0.0"
        "Tells about the server.";
    "keys" Keys::Keys 2 [READONLY DANGEROUS] 0 0 0 Generic "1.0.0"
        "Lists the keys that match a pattern.";
    "lastsave" Session::LastSave 1 [LOADING STALE FAST DANGEROUS] 0 0 0 Server "1.0.0"
        "Tells when the last snapshot was taken.";
    "latency" Session::Latency -2 [] 0 0 0 Server "2.8.13"
        "Tells about slow events.";
    "lcs" Keys::Lcs -3 [READONLY] 1 2 1 String "7.0.0"
        "Finds the longest common subsequence of two strings.";
    "lolwut" Session::Lolwut -1 [READONLY FAST] 0 0 0 Server "5.0.0"
        "Shows the version.";
    "memory" Keys::Memory -2 [] 0 0 0 Server "4.0.0"
        "Tells how much memory a key takes.";
    "mget" Keys::MGet -2 [READONLY FAST] 1 -1 1 String "1.0.0"
        "Reads several strings.";
    "module" Session::Module -2 [] 0 0 0 Server "4.0.0"
        "Lists modules, of which there are none.";
    "move" Keys::Move 3 [WRITE FAST] 1 1 1 Generic "1.0.0"
        "Moves a key to another database.";
    "mset" Keys::MSet -3 [WRITE DENYOOM] 1 -1 2 String "1.0.1"
        "Writes several strings.";
    "msetnx" Keys::MSetNx -3 [WRITE DENYOOM] 1 -1 2 String "1.0.1"
        "Writes several strings if none of the keys exists.";
    "multi" Session::Multi 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] 0 0 0 Transactions "1.2.0"
        "Begins a transaction.";
    "object" Keys::Object -2 [] 0 0 0 Generic "2.2.3"
        "Tells how a key is held.";
    "persist" Keys::Persist 2 [WRITE FAST] 1 1 1 Generic "2.2.0"
        "Takes a key's expiry away.";
    "pexpire" Keys::PExpire -3 [WRITE FAST] 1 1 1 Generic "2.6.0"
        "Lets a key expire after some milliseconds.";
    "pexpireat" Keys::PExpireAt -3 [WRITE FAST] 1 1 1 Generic "2.6.0"
        "Lets a key expire at a millisecond.";
    "pexpiretime" Keys::PExpireTime 2 [READONLY FAST] 1 1 1 Generic "7.0.0"
        "Tells the millisecond at which a key expires.";
    "ping" Session::Ping -1 [FAST] 0 0 0 Connection "1.0.0"
        "Asks for a sign of life.";
    "psetex" Keys::PSetEx 4 [WRITE DENYOOM] 1 1 1 String "2.6.0"
        "Writes a string that expires after some milliseconds.";
    "pttl" Keys::PTtl 2 [READONLY FAST] 1 1 1 Generic "2.6.0"
        "Tells how many milliseconds a key has left.";
    "quit" Session::Quit -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] 0 0 0 Connection "1.0.0"
        "Closes the connection.";
    "randomkey" Keys::RandomKey 1 [READONLY] 0 0 0 Generic "1.0.0"
        "Draws a key.";
    "rename" Keys::Rename 3 [WRITE] 1 2 1 Generic "1.0.0"
        "Gives a key another name.";
    "renamenx" Keys::RenameNx 3 [WRITE FAST] 1 2 1 Generic "1.0.0"
        "Gives a key another name that is not taken.";
    "replicaof" Session::ReplicaOf 3 [ADMIN NOSCRIPT STALE NO_ASYNC_LOADING] 0 0 0 Server "5.0.0"
        "Is refused; nodes are configured by other means.";
    "reset" Session::Reset 1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] 0 0 0 Connection "6.2.0"
        "Brings the connection back to its first state.";
    "role" Session::Role 1 [NOSCRIPT LOADING STALE FAST DANGEROUS] 0 0 0 Server "2.8.12"
        "Tells the node's part in replication.";
    "save" Session::Save 1 [ADMIN NOSCRIPT NO_ASYNC_LOADING NO_MULTI] 0 0 0 Server "1.0.0"
        "Takes a snapshot.";
    "scan" Keys::Scan -2 [READONLY] 0 0 0 Generic "2.8.0"
        "Walks over the keys a few at a time.";
    "select" Session::Select 2 [LOADING STALE FAST] 0 0 0 Connection "1.0.0"
        "Chooses the database.";
    "set" Keys::Set -3 [WRITE DENYOOM] 1 1 1 String "1.0.0"
        "Writes a string.";
    "setex" Keys::SetEx 4 [WRITE DENYOOM] 1 1 1 String "2.0.0"
        "Writes a string that expires after some seconds.";
    "setnx" Keys::SetNx 3 [WRITE DENYOOM FAST] 1 1 1 String "1.0.0"
        "Writes a string if the key does not exist.";
    "setrange" Keys::SetRange 4 [WRITE DENYOOM] 1 1 1 String "2.2.0"
        "Overwrites a part of a string.";
    "shutdown" Session::Shutdown -1 [ADMIN NOSCRIPT LOADING STALE NO_MULTI ALLOW_BUSY] 0 0 0 Server "1.0.0"
        "Is refused by default.";
    "slaveof" Session::SlaveOf 3 [ADMIN NOSCRIPT STALE NO_ASYNC_LOADING] 0 0 0 Server "1.0.0"
        "Is refused; the old name of REPLICAOF.";
    "slowlog" Session::SlowLog -2 [] 0 0 0 Server "2.2.12"
        "Tells about slow commands.";
    "strlen" Keys::StrLen 2 [READONLY FAST] 1 1 1 String "2.2.0"
        "Tells how long a string is.";
    "substr" Keys::SubStr 4 [READONLY] 1 1 1 String "1.0.0"
        "Reads a part of a string; the old name of GETRANGE.";
    "swapdb" Keys::SwapDb 3 [WRITE FAST DANGEROUS KEYSPACE] 0 0 0 Server "4.0.0"
        "Exchanges two databases.";
    "time" Session::Time 1 [LOADING STALE FAST] 0 0 0 Server "2.6.0"
        "Tells the time.";
    "touch" Keys::Touch -2 [READONLY FAST] 1 -1 1 Generic "3.2.1"
        "Counts which of the keys exist.";
    "ttl" Keys::Ttl 2 [READONLY FAST] 1 1 1 Generic "1.0.0"
        "Tells how many seconds a key has left.";
    "type" Keys::Type 2 [READONLY FAST] 1 1 1 Generic "1.0.0"
        "Tells the type of a key's value.";
    "unlink" Keys::Unlink -2 [WRITE FAST] 1 -1 1 Generic "4.0.0"
        "Deletes keys.";
    "unwatch" Session::Unwatch 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] 0 0 0 Transactions "2.2.0"
        "Forgets the watched keys.";
    "wait" Session::Wait 3 [NOSCRIPT CONNECTION] 0 0 0 Generic "3.0.0"
        "Waits until replicas have received this connection's writes.";
    "waitaof" Session::WaitAof 4 [BLOCKING] 0 0 0 Generic "7.2.0"
        "Waits until this connection's writes are on disks.";
    "watch" Session::Watch -2 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] 1 -1 1 Transactions "2.2.0"
        "Lets the next transaction fail if a key changes before.";
    "xfate" Session::XFate 2 [LOADING STALE FAST] 0 0 0 Connection "0.1.0"
        "Tells what became of a write.";
    "xpolicy" Session::XPolicy -1 [LOADING STALE FAST] 0 0 0 Connection "0.1.0"
        "Chooses how many copies this connection's writes wait for.";
    "xseq" Session::XSeq -3 [MOVABLEKEYS] 0 0 0 Connection "0.1.0"
        "Executes a write once, however often it is sent.";
    "xsession" Session::XSession -2 [LOADING STALE NO_MULTI] 0 0 0 Connection "0.1.0"
        "Opens, uses, closes and describes sessions, in which writes execute once.";
    "xtoken" Session::XToken 1 [LOADING STALE FAST] 0 0 0 Connection "0.1.0"
        "Gives the token of this connection's last write.";
    "xwith" Session::XWith -3 [MOVABLEKEYS] 0 0 0 Connection "0.1.0"
        "Runs one command under a given policy.";
}
