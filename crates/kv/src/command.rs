//! The table of commands: what each is called, takes, touches, and who runs it.

mod table;

use crate::reply::Fault;

/// The longest name of a command, with room for new ones.
const NAME_BYTES_MAX: usize = 24;

/// A command of the protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Who runs it.
    pub runs: Runs,
    /// Words it takes with its name; negative: at least so many.
    pub arity: i8,
    /// Its properties.
    pub flags: Flags,
    /// Where its keys stand.
    pub keys: KeyRange,
    /// The group in the documentation.
    pub group: Group,
    /// The version of Redis (of Valkey, of this program) it came with.
    pub since: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
}

/// Who runs a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// The engine, against the keyspace.
    Keys(Keys),
    /// The server, for the connection or the node.
    Session(Session),
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is the command of that name")]
        pub enum $name {
            $($variant),*
        }
    };
}

names! {
    /// Commands on keys, which the engine runs.
    Keys {
    Append, Copy, DbSize, Decr, DecrBy, Del, DelEx, DelIfEq, Digest, Exists, Expire,
    ExpireAt, ExpireTime, FlushAll, FlushDb, Get, GetDel, GetEx, GetRange, GetSet, Incr,
    IncrBy, IncrByFloat, Keys, Lcs, Memory, MGet, Move, MSet, MSetNx, Object, Persist,
    PExpire, PExpireAt, PExpireTime, PSetEx, PTtl, RandomKey, Rename, RenameNx, Scan, Set,
    SetEx, SetNx, SetRange, StrLen, SubStr, SwapDb, Touch, Ttl, Type, Unlink,
    }
}

names! {
    /// Commands on the connection or the node, which the server runs.
    Session {
    Acl, Auth, BgSave, Client, Command, Config, Debug, Discard, Echo, Exec, Failover,
    Hello, Info, LastSave, Latency, Lolwut, Module, Multi, Ping, Quit, ReplicaOf, Reset,
    Role, Save, Select, Shutdown, SlaveOf, SlowLog, Time, Unwatch, Wait, WaitAof, Watch,
    XFate, XPolicy, XSeq, XSession, XToken, XWith,
    }
}

/// Where a command's keys stand among its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key; 0: no keys.
    pub first: usize,
    /// The last key; negative: counted from the last word, which is -1.
    pub last: i8,
    /// From one key to the next.
    pub step: usize,
}

/// The group of a command in the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Any type of value.
    Generic,
    /// Strings.
    String,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// Transactions.
    Transactions,
}

impl Group {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Transactions => "transactions",
        }
    }
}

/// Properties of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u32);

/// Names of the flags that `COMMAND INFO` shows.
const FLAG_NAMES: [(Flags, &str); 14] = [
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// May change keys.
    pub const WRITE: Self = Self(1);
    /// Changes no keys.
    pub const READONLY: Self = Self(1 << 1);
    /// May take memory: refused when there is none.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For administrators.
    pub const ADMIN: Self = Self(1 << 3);
    /// Not for scripts.
    pub const NOSCRIPT: Self = Self(1 << 4);
    /// May wait.
    pub const BLOCKING: Self = Self(1 << 5);
    /// Allowed while the data set is loaded.
    pub const LOADING: Self = Self(1 << 6);
    /// Allowed while the data is stale.
    pub const STALE: Self = Self(1 << 7);
    /// Not in the log of slow commands.
    pub const SKIP_SLOWLOG: Self = Self(1 << 8);
    /// Takes constant or logarithmic time.
    pub const FAST: Self = Self(1 << 9);
    /// Allowed before authentication.
    pub const NO_AUTH: Self = Self(1 << 10);
    /// Not while the data set is replaced.
    pub const NO_ASYNC_LOADING: Self = Self(1 << 11);
    /// Not in a transaction.
    pub const NO_MULTI: Self = Self(1 << 12);
    /// Allowed while a script keeps the server busy.
    pub const ALLOW_BUSY: Self = Self(1 << 13);
    /// Its keys cannot be told from their positions alone.
    pub const MOVABLEKEYS: Self = Self(1 << 14);
    /// In the category of dangerous commands.
    pub const DANGEROUS: Self = Self(1 << 15);
    /// In the category of the keyspace, besides its group's.
    pub const KEYSPACE: Self = Self(1 << 16);
    /// In the category of connections, besides its group's.
    pub const CONNECTION: Self = Self(1 << 17);

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names that `COMMAND INFO` shows.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let movable = self.has(Self::MOVABLEKEYS).then_some("movablekeys");
        let named = FLAG_NAMES.iter().filter(move |(flag, _)| self.has(*flag));
        named.map(|&(_, name)| name).chain(movable)
    }
}

impl Command {
    /// Finds a command by its name, in any case. Allocates nothing.
    #[must_use]
    pub fn find(name: &[u8]) -> Option<&'static Self> {
        let mut buffer = [0; NAME_BYTES_MAX];
        let lower = buffer.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let lower = &*lower;
        let at = table::COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(lower));
        at.ok().and_then(|at| table::COMMANDS.get(at))
    }

    /// All commands, by name.
    #[must_use]
    pub const fn all() -> &'static [Self] {
        table::COMMANDS
    }

    /// Whether it may change keys.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        self.flags.has(Flags::WRITE)
    }

    /// Checks the number of words, its name among them.
    ///
    /// # Errors
    /// The text for the client.
    pub fn check_arity(&self, words: usize) -> Result<(), Fault> {
        let wanted = usize::from(self.arity.unsigned_abs());
        let right = if self.arity < 0 { words >= wanted } else { words == wanted };
        if right { Ok(()) } else { Err(Fault::arity(self.name)) }
    }

    /// Positions of the keys among `args`, whose first is the command's name.
    pub fn key_positions(&self, args: &[&[u8]]) -> impl Iterator<Item = usize> + use<> {
        let range = match self.runs {
            // The key follows the subcommand.
            Runs::Keys(Keys::Object | Keys::Memory) => KeyRange { first: 2, last: 2, step: 1 },
            Runs::Keys(_) | Runs::Session(_) => self.keys,
        };
        let last = match usize::try_from(range.last) {
            Ok(last) => last.min(args.len().saturating_sub(1)),
            Err(_) => args.len().saturating_sub(usize::from(range.last.unsigned_abs())),
        };
        let end = if range.first == 0 { 0 } else { last + 1 };
        (range.first..end).step_by(range.step.max(1))
    }

    /// The categories of access rules that it is in, each with its `@`.
    pub fn categories(&self) -> impl Iterator<Item = &'static str> {
        let has = |flag| self.flags.has(flag);
        let group = match self.group {
            Group::Generic => Some("@keyspace"),
            Group::String => Some("@string"),
            Group::Connection => Some("@connection"),
            Group::Transactions => Some("@transaction"),
            Group::Server => None,
        };
        let keyspace = has(Flags::KEYSPACE).then_some("@keyspace");
        let connection = has(Flags::CONNECTION).then_some("@connection");
        let dangerous = has(Flags::ADMIN) || has(Flags::DANGEROUS);
        [
            keyspace.or(connection).or(group),
            has(Flags::READONLY).then_some("@read"),
            has(Flags::WRITE).then_some("@write"),
            has(Flags::ADMIN).then_some("@admin"),
            dangerous.then_some("@dangerous"),
            has(Flags::BLOCKING).then_some("@blocking"),
            Some(if has(Flags::FAST) { "@fast" } else { "@slow" }),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests;
