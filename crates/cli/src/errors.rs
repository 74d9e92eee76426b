//! Every error that the command can end with: its code, its exit, what it means, what to do.
//!
//! Codes are part of the interface: one that was given is never given to another error, and none
//! changes its exit. `docs/errors.md` is written from this table and held against it by a test.

use std::fmt;

use antiphon_net::certs::CertError;
use antiphon_store::StoreError;

use crate::exit::Exit;

/// One kind of error.
#[derive(Debug)]
pub(crate) struct Explained {
    /// Its name for ever.
    pub(crate) code: &'static str,
    /// How a command ends with it.
    pub(crate) exit: Exit,
    /// What happened, in general.
    pub(crate) title: &'static str,
    /// What that means.
    pub(crate) meaning: &'static str,
    /// What to do about it.
    pub(crate) next: &'static str,
}

/// Makes the list of codes and the table from one text, so that neither lacks what the other has.
macro_rules! codes {
    ($($name:ident = $code:literal, $exit:ident, $title:literal, $meaning:literal, $next:literal;)*) => {
        /// The code of an error; its texts are in the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// All codes, in the order of their numbers.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// What is told about it.
            pub(crate) const fn explained(self) -> &'static Explained {
                match self {
                    $(Self::$name => &Explained {
                        code: $code,
                        exit: Exit::$exit,
                        title: $title,
                        meaning: $meaning,
                        next: $next,
                    },)*
                }
            }
        }
    };
}

codes! {
    Usage = "X0001", Usage, "wrong usage",
        "The command cannot be understood as it was written. Nothing has been done.",
        "See `antiphon help COMMAND`.";
    ReadFile = "X0002", Failed, "a file cannot be read",
        "A file that the command was told to read is not there, or may not be read.",
        "Check the name, and that this user may read it.";
    WriteFile = "X0003", Failed, "a file or directory cannot be written",
        "A place that the command was told to write to does not take it.",
        "Check that the directory is there, has space, and that this user may write to it.";
    Other = "X0099", Failed, "something else failed",
        "The operating system refused something that nearly always works, such as a thread.",
        "Run it again; if it stays, the text after the code says what was refused.";
    Config = "X0101", Failed, "the configuration is refused",
        "A key is unknown or missing, or a value makes no sense here. Nothing was started.",
        "`antiphon config init` explains every key, `antiphon config check` looks without starting.";
    Password = "X0102", Failed, "the password of the client port cannot be used",
        "The file that `resp.password_file` names can't be read or holds no password. The node does not start without one.",
        "Write one line into the file, such as the output of `openssl rand -base64 32`.";
    ClientPort = "X0201", Failed, "the client port cannot be opened",
        "Another program has the port, the address is of no interface, or the port is privileged.",
        "Stop who has it, or choose another address by `resp.listen`.";
    PagesPort = "X0202", Failed, "the port of the pages cannot be opened",
        "Another program has the port, the address is of no interface, or the port is privileged.",
        "Stop who has it, or choose another address by `http.listen`, or \"off\".";
    Links = "X0203", Failed, "the links to other nodes cannot be opened",
        "The address of `peer.listen` is taken or wrong, or a setting of the links is out of range.",
        "Stop who has the port, or change `peer.listen`; `antiphon config check` looks at it.";
    ClientTls = "X0204", NotAllowed, "the certificate of the client port cannot be used",
        "The files that `resp.tls_cert` and `resp.tls_key` name can't be read, hold no PEM, or do not belong together.",
        "Name a certificate chain and its key in PEM.";
    InUse = "X0301", Refused, "the data directory is in use",
        "Another process has it open. Two on one directory would destroy it, so this one stays out.",
        "Stop that process, or choose another directory.";
    OtherOwner = "X0302", Refused, "the data directory belongs to another node or cluster",
        "Its superblock names somebody else. Serving from it would mix two histories.",
        "Give this node its own directory.";
    Newer = "X0303", Refused, "a file was written by a newer version",
        "This build does not know its format and does not guess. Nothing was changed.",
        "Start the newer version again.";
    NoSuperblock = "X0304", Refused, "the data directory has no superblock",
        "It holds files, but nothing says whose they are: it is no data directory, or was damaged.",
        "Check the path. Restore the superblock, or move the directory away and start empty.";
    ReadOnly = "X0305", NotAllowed, "the data directory cannot be written or read",
        "The file system is mounted read-only, or the files belong to another user.",
        "Mount it writable, or change its owner.";
    Full = "X0306", Failed, "no space is left",
        "The device or a quota is full. What was acknowledged is on disk; nothing more is accepted.",
        "Free space on the device and start again.";
    Damaged = "X0307", Integrity, "bytes on disk are not what was written",
        "A checksum does not match. Nothing was cut, since the bytes may be entries that were acknowledged.",
        "Move the data directory aside and start the node with an empty one, which it fills from the other nodes.";
    Trimmed = "X0308", Refused, "the entries are not kept any more",
        "The log begins later than what was asked for: a snapshot holds the state up to there.",
        "Begin at the position that the text names, or load a snapshot.";
    Disk = "X0309", Failed, "the disk failed",
        "The system reported a failure of reading, writing or syncing. A sync that failed is never tried again: what the page cache holds is unknown.",
        "Check the device and start again; the other nodes have what was acknowledged.";
    State = "X0310", Integrity, "the node's state on disk cannot be understood",
        "A snapshot or the hard state has sound checksums, but its content makes no sense to this version.",
        "Run the version that wrote it, or move the data directory aside and start with an empty one.";
    DamagedAlone = "X0311", Integrity, "entries are damaged and no other node has them",
        "A checksum does not match, and the node is the only one of its cluster. It does not serve what it can't vouch for. Nothing was cut.",
        "Keep the directory: `antiphon log verify DIR` shows the places. Restore a copy of it.";
    Halted = "X0401", Failed, "the node stopped itself",
        "Going on could have lost acknowledged writes, or mixed two histories. The others go on if they are enough.",
        "The log above says what happened; `antiphon status` shows the others.";
    Unappliable = "X0402", Failed, "an entry of the log cannot be applied",
        "The entry is stable and this version does not understand it. Skipping it would make replicas differ.",
        "Run the version that wrote it, or a newer one.";
    Fault = "X0403", Failed, "a part of the node failed",
        "This is a fault of the program. What was acknowledged is on disk.",
        "Start the node again, and report the log above.";
    StoppedAtOnce = "X0404", Failed, "the node was stopped at once",
        "A second signal came before it had stopped in order. What was acknowledged is on disk.",
        "Start the node again; it recovers by itself.";
    CertificateExists = "X0501", Refused, "a certificate or key is already there",
        "Replacing it could cut nodes off from each other, so it was left as it is.",
        "Choose another directory, or use --overwrite to replace it.";
    CertificateMissing = "X0502", Failed, "a certificate or key is missing",
        "A file that links between nodes need is not named, or is not there.",
        "`antiphon cert init` makes an authority, `antiphon cert issue` the files of a node.";
    CertificateTime = "X0503", NotAllowed, "a certificate is not valid now",
        "Its time is over or has not begun. Other nodes refuse it, so the node does not start.",
        "`antiphon cert issue --overwrite` makes a new one; check the clock.";
    CertificateUnusable = "X0504", NotAllowed, "a certificate or key cannot be used",
        "It is no PEM, does not belong to its key, is signed by another authority, or names another node or cluster.",
        "Check that the right file is named; `antiphon cert show FILE` tells what it says.";
    CertificateName = "X0505", Usage, "a name cannot be in a certificate",
        "Names of clusters and nodes have a limited alphabet and length.",
        "Choose another name.";
    NoAnswer = "X0601", Failed, "a node does not answer",
        "It is not running, the address is wrong, or a firewall is between.",
        "Check the address and the node's log; pages are at `http.listen`, clients at `resp.listen`.";
    WaitOver = "X0602", Unhealthy, "the state did not come in time",
        "The cluster was asked again and again until the time was over. It was left as it is.",
        "The lines that begin with ! say what is missing; a longer --timeout waits longer.";
    NotAnAnswer = "X0603", Failed, "a node answers with something else",
        "Something answers there that is no node, or a node of a version that this one does not know.",
        "Check that the address is that of a node's pages (`http.listen`) or client port (`resp.listen`).";
    WriteUnknown = "X0604", Unknown, "whether the write happened is not known",
        "It was sent, and its acknowledgement did not come. It may be kept or lost.",
        "Ask with `XFATE ticket`; only when that says lost is a second try sure to be the only one.";
    WriteRefused = "X0605", Refused, "the write was refused",
        "Nothing was written: too few nodes are there, or the node has no primary to hand it to.",
        "`antiphon status` shows what is missing; try again later.";
    Denied = "X0606", NotAllowed, "the server wants another password",
        "The client port asks for a password, and none or a wrong one was given.",
        "Give the right one with --password-file.";
    ChangesOff = "X0607", Refused, "the node does not hand out changes",
        "They are the data itself, in clear text, so a node keeps them until it is told otherwise.",
        "Set `http.changes = true` in the node's configuration and start it again.";
    BenchConnection = "X0701", Failed, "the load cannot be put on",
        "A connection could not be made, or broke, or its server answered with something unexpected.",
        "Check that the server is running, and that this is the address of its Redis port.";
    BenchRefused = "X0702", Refused, "the server refuses a setting of the load",
        "It does not know the command, or can't do what a flag asks for.",
        "Leave the flag out, or see the log of the server.";
    BenchReport = "X0703", Refused, "the two runs cannot be compared",
        "The earlier report is none, is of another version, or its load was another one.",
        "Make it again with this version and the same flags.";
    BenchCluster = "X0704", Failed, "no cluster can be started to measure",
        "A run without an address starts its own cluster, and that failed.",
        "Name a server: `antiphon bench --address 127.0.0.1:6379`.";
    BenchRegression = "X0705", Failed, "the run is slower than the earlier one",
        "A figure got worse by more than --tolerance.",
        "Run both again on a quiet machine before you believe it.";
    BenchWrong = "X0706", Integrity, "values were not what had been written",
        "The server lost or changed a write that it had acknowledged.",
        "Keep its data directory and logs, and report it.";
    BenchFailed = "X0707", Failed, "operations of the load failed",
        "The server answered some operations with errors, or none at all.",
        "See the errors in the report; --allow-errors accepts them.";
    DemoNode = "X0801", Failed, "a node of the demo ended",
        "Its last words are above: mostly a port that is taken.",
        "Choose other ports by --resp-port, --http-port and --peer-port.";
    DemoNotReady = "X0802", Unhealthy, "the demo does not accept writes",
        "Its nodes run but no write was acknowledged in time.",
        "The nodes' last words are above; RUST_LOG=debug makes them say more.";
    DemoEmpty = "X0803", Failed, "no node of the demo is left",
        "All of them have ended, one after the other.",
        "Their logs are beside their data, which --keep leaves there.";
    DemoStop = "X0804", Failed, "a node of the demo did not stop in order",
        "It was ended. What it had acknowledged is on disk.",
        "See its log, which --keep leaves there.";
}

impl Code {
    /// The code that `text` spells, in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.explained().code.eq_ignore_ascii_case(text))
    }

    /// The code of the [`Problem`] in an error's chain.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error.downcast_ref::<Problem>().map_or(Self::Other, Problem::code)
    }

    /// Whether `text` has the shape of a code, known or not.
    pub(crate) fn looks_like(text: &str) -> bool {
        let digits = text.strip_prefix(['X', 'x']).unwrap_or_default();
        digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.explained().code)
    }
}

/// An error with its code, what happened this time, and a next step if the usual one is not best.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    what: String,
    next: Option<String>,
}

impl Problem {
    /// `what` happened; the table says what that means.
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), next: None }
    }

    /// Wrong usage that the parser cannot see, such as two flags that contradict each other.
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Code::Usage, what).or_do(next)
    }

    /// A next step for this time, instead of the one in the table.
    #[must_use]
    pub(crate) fn or_do(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Whether asking again may help: the node may only be away.
    pub(crate) fn is_passing(&self) -> bool {
        self.code == Code::NoAnswer
    }

    /// Its code.
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// What to do about it.
    pub(crate) fn next(&self) -> &str {
        self.next.as_deref().unwrap_or(self.code.explained().next)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

/// Gives an error of another crate its code on the way up.
pub(crate) trait Coded<T> {
    /// The same outcome; a failure says `doing`, then its own text.
    ///
    /// # Errors
    /// The failure with its code.
    fn coded(self, code: Code, doing: impl FnOnce() -> String) -> Result<T, Problem>;
}

impl<T, E: fmt::Display> Coded<T> for Result<T, E> {
    fn coded(self, code: Code, doing: impl FnOnce() -> String) -> Result<T, Problem> {
        self.map_err(|error| Problem::new(code, format!("{}: {error}", doing())))
    }
}

/// A failure of local files.
pub(crate) fn store_problem(error: &StoreError) -> Problem {
    let code = match error {
        StoreError::InUse { .. } => Code::InUse,
        StoreError::OtherNode { .. } | StoreError::OtherCluster { .. } => Code::OtherOwner,
        StoreError::Newer { .. } => Code::Newer,
        StoreError::NoSuperblock { .. } => Code::NoSuperblock,
        StoreError::ReadOnly { .. } => Code::ReadOnly,
        StoreError::Full { .. } => Code::Full,
        StoreError::Damaged(_) => Code::Damaged,
        StoreError::Trimmed { .. } => Code::Trimmed,
        StoreError::TooLarge { .. } => Code::State,
        StoreError::Sync { .. } | StoreError::Io { .. } | StoreError::Stopped => Code::Disk,
    };
    // The store's texts end with the next step, after the last semicolon.
    let text = error.to_string();
    match text.rsplit_once("; ") {
        Some((what, next)) => Problem::new(code, what).or_do(sentence(next)),
        None => Problem::new(code, text),
    }
}

fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", rest.as_str())
}

/// A certificate, key or authority that cannot be used or made.
pub(crate) fn certificate_problem(error: &CertError) -> Problem {
    let code = match error {
        CertError::Exists { .. } => Code::CertificateExists,
        CertError::Missing { .. } => Code::CertificateMissing,
        CertError::Read { .. } => Code::ReadFile,
        CertError::Write { .. } => Code::WriteFile,
        CertError::Name { .. } => Code::CertificateName,
        CertError::Expired { .. } | CertError::NotYetValid { .. } => Code::CertificateTime,
        CertError::Unreadable { .. }
        | CertError::Key { .. }
        | CertError::KeyMismatch { .. }
        | CertError::NotAuthority { .. }
        | CertError::Identity(_)
        | CertError::Library(_) => Code::CertificateUnusable,
    };
    let what = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Problem::new(code, what)
}

#[cfg(test)]
mod tests;
