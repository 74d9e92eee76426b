//! The types that a value can have, each parsed where it enters.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use antiphon::{Level, LevelError};
use antiphon_net::Compression;
use antiphon_proto::{NodeId, Policy, PolicyError, Shape};
use toml::Value;

use crate::config::{Kind, nearest};

/// Something that a key can be set to.
pub trait Setting: Sized {
    /// How a text outside a file is read.
    const KIND: Kind = Kind::Text;

    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with it, as a fragment that follows the key and a colon.
    fn from_value(value: &Value) -> Result<Self, String>;

    /// What the key is when nothing sets it; nothing if it must be set.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: Setting> Setting for Option<T> {
    const KIND: Kind = T::KIND;

    fn from_value(value: &Value) -> Result<Self, String> {
        T::from_value(value).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl Setting for String {
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = text(value)?;
        if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
    }
}

impl Setting for PathBuf {
    fn from_value(value: &Value) -> Result<Self, String> {
        String::from_value(value).map(Self::from)
    }
}

impl Setting for bool {
    const KIND: Kind = Kind::Switch;

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| expected("true or false", value))
    }
}

macro_rules! whole {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            const KIND: Kind = Kind::Whole;

            fn from_value(value: &Value) -> Result<Self, String> {
                let number = value.as_integer().ok_or_else(|| expected("a whole number", value))?;
                Self::try_from(number).ok().filter(|&number| number > 0).ok_or_else(|| {
                    format!("{number} is not within 1 to {}", Self::MAX)
                })
            }
        }
    )*};
}
whole!(u16, u32, u64);

impl Setting for NodeId {
    const KIND: Kind = Kind::Whole;

    fn from_value(value: &Value) -> Result<Self, String> {
        u64::from_value(value).map(Self::new)
    }
}

impl Setting for Duration {
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = text(value)?;
        humantime::parse_duration(text).map_err(|error| format!("\"{text}\" is no time: {error}"))
    }
}

impl Setting for SocketAddr {
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = text(value)?;
        text.parse().map_err(|error| {
            format!("\"{text}\" is no address and port such as 127.0.0.1:7101: {error}")
        })
    }
}

/// A number of bytes: `64 MiB`, `1.25 GB` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteLen(u64);

impl ByteLen {
    /// Wraps a number of bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The units of a size, the longest spelling first.
const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl FromStr for ByteLen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no size such as \"64 MiB\", \"1.25 GB\" or 4096");
        let unit = UNITS.iter().find_map(|&(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
        let (number, unit) = unit.unwrap_or((text, 1));
        let (whole, part) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
        let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || part.len() > 6 || !digits_only(whole) || !digits_only(part) {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_too_long| wrong())?;
        let millionths: u64 = format!("{part:0<6}").parse().map_err(|_too_long| wrong())?;
        let bytes = whole.checked_mul(unit).ok_or_else(wrong)?;
        let rest = u128::from(unit) * u128::from(millionths) / 1_000_000;
        let rest = u64::try_from(rest).map_err(|_too_long| wrong())?;
        bytes.checked_add(rest).map(Self).ok_or_else(wrong)
    }
}

impl Setting for ByteLen {
    fn from_value(value: &Value) -> Result<Self, String> {
        if let Some(number) = value.as_integer() {
            return u64::from_value(&Value::Integer(number)).map(Self);
        }
        let size: Self = text(value)?.parse()?;
        if size.0 == 0 { Err("it must not be 0".to_owned()) } else { Ok(size) }
    }
}

impl fmt::Display for ByteLen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits =
            |unit: &&(&str, u64)| unit.1 > 1 && self.0 >= unit.1 && self.0.is_multiple_of(unit.1);
        match UNITS.iter().filter(fits).max_by_key(|unit| unit.1) {
            Some((unit, bytes)) => write!(f, "{} {unit}", self.0 / bytes),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// A host, by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    text: String,
    port: u16,
}

impl Endpoint {
    /// As it was written, `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The port; 0 stands for a free one.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no host and port such as node-1.example:7301");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        // Colons belong to an address of version 6, and that wears brackets here.
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let plain = !host.is_empty() && !host.contains([':', '[', ']', '/', ' ']);
        let fine = bracketed.map_or(plain, |host| host.parse::<std::net::Ipv6Addr>().is_ok());
        let port = port.parse().map_err(|_not_a_port| wrong())?;
        if fine { Ok(Self { text: text.to_owned(), port }) } else { Err(wrong()) }
    }
}

impl Setting for Endpoint {
    fn from_value(value: &Value) -> Result<Self, String> {
        text(value)?.parse()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where something listens, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl Setting for Listen {
    fn from_value(value: &Value) -> Result<Self, String> {
        if text(value)? == "off" {
            Ok(Self::Off)
        } else {
            SocketAddr::from_value(value).map(Self::At)
        }
    }
}

/// What carries the links between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// QUIC with mutual TLS.
    Quic,
    /// Inside one process.
    Memory,
}

impl Setting for TransportKind {
    fn from_value(value: &Value) -> Result<Self, String> {
        match text(value)? {
            "quic" => Ok(Self::Quic),
            "memory" => Ok(Self::Memory),
            other => Err(choice(other, &["quic", "memory"])),
        }
    }
}

impl Setting for Compression {
    fn from_value(value: &Value) -> Result<Self, String> {
        match text(value)? {
            "off" => Ok(Self::Off),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            "auto" => Ok(Self::Auto),
            other => Err(choice(other, &["off", "lz4", "zstd", "auto"])),
        }
    }
}

/// How the replication tree is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ShapeKind {
    /// The primary sends to every other node.
    Star,
    /// Each node sends to the next.
    Chain,
}

impl fmt::Display for ShapeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Star => "star",
            Self::Chain => "chain",
        })
    }
}

impl From<ShapeKind> for Shape {
    fn from(kind: ShapeKind) -> Self {
        match kind {
            ShapeKind::Star => Self::Star,
            ShapeKind::Chain => Self::Chain,
        }
    }
}

impl Setting for ShapeKind {
    fn from_value(value: &Value) -> Result<Self, String> {
        match text(value)? {
            "star" => Ok(Self::Star),
            "chain" => Ok(Self::Chain),
            other => Err(choice(other, &["star", "chain"])),
        }
    }
}

impl Setting for Policy {
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = text(value)?;
        text.parse().map_err(|error: PolicyError| format!("\"{text}\": {error}"))
    }
}

impl Setting for Level {
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = text(value)?;
        text.parse().map_err(|error: LevelError| format!("\"{text}\": {error}"))
    }
}

/// One node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: NodeId,
    /// Where other nodes reach it.
    pub peer: Endpoint,
    /// Where clients reach it.
    pub resp: Endpoint,
    /// Where it stands, if there are several places.
    pub region: Option<String>,
}

const MEMBER_KEYS: [&str; 4] = ["id", "peer", "resp", "region"];

impl Setting for Member {
    fn from_value(value: &Value) -> Result<Self, String> {
        let table = value.as_table().ok_or_else(|| {
            expected("{ id = 1, peer = \"host:port\", resp = \"host:port\" }", value)
        })?;
        if let Some(unknown) = table.keys().find(|key| !MEMBER_KEYS.contains(&key.as_str())) {
            let hint = nearest(unknown, MEMBER_KEYS).unwrap_or("id");
            return Err(format!("unknown key `{unknown}`; did you mean `{hint}`?"));
        }
        let region = table.get("region");
        Ok(Self {
            id: field(table, "id")?,
            peer: field(table, "peer")?,
            resp: field(table, "resp")?,
            region: region.map(String::from_value).transpose().map_err(inside("region"))?,
        })
    }
}

impl Setting for Vec<Member> {
    const KIND: Kind = Kind::List;

    fn from_value(value: &Value) -> Result<Self, String> {
        let items = value.as_array().ok_or_else(|| expected("a list of members", value))?;
        let each = items.iter().enumerate().map(|(place, item)| {
            Member::from_value(item).map_err(|error| format!("member {}: {error}", place + 1))
        });
        each.collect()
    }
}

fn field<T: Setting>(table: &toml::Table, key: &str) -> Result<T, String> {
    let value = table.get(key).ok_or_else(|| format!("`{key}` is missing"))?;
    T::from_value(value).map_err(inside(key))
}

fn inside(key: &str) -> impl Fn(String) -> String {
    move |error| format!("`{key}`: {error}")
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| expected("a text in quotes", value))
}

fn expected(what: &str, found: &Value) -> String {
    format!("expected {what}, found {} {found}", found.type_str())
}

fn choice(found: &str, known: &[&str]) -> String {
    let hint = nearest(found, known.iter().copied()).map(|near| format!("; did you mean {near}?"));
    format!("\"{found}\" is none of {}{}", known.join(", "), hint.unwrap_or_default())
}
