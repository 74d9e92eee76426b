//! Where replies go, and what a command that fails says. The wire format is the server's.

use std::borrow::Cow;

/// Takes a command's reply, value by value. Aggregates announce how many values follow.
pub trait ReplySink {
    /// A status such as `OK`.
    fn simple(&mut self, text: &str);
    /// A failure: its code, a space, and words.
    fn error(&mut self, text: &str);
    /// A string of bytes.
    fn bulk(&mut self, bytes: &[u8]);
    /// No value, where a string or a number could be.
    fn null(&mut self);
    /// No value, where an array could be.
    fn null_array(&mut self);
    /// A whole number.
    fn int(&mut self, number: i64);
    /// A number with a fraction.
    fn double(&mut self, number: f64);
    /// Yes or no.
    fn boolean(&mut self, yes: bool);
    /// A text for people; `format` is three letters, such as `txt`.
    fn verbatim(&mut self, format: &str, text: &[u8]);
    /// `len` values follow.
    fn array(&mut self, len: usize);
    /// `len` pairs of key and value follow.
    fn map(&mut self, len: usize);
    /// `len` distinct values follow.
    fn set(&mut self, len: usize);
}

/// Why a command failed, in the words that clients know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Cow<'static, str>);

impl Fault {
    /// An option is unknown, misplaced, or in conflict with another.
    pub const SYNTAX: Self = Self::fixed("ERR syntax error");
    /// A word is no whole number of 64 bits.
    pub const NOT_INTEGER: Self = Self::fixed("ERR value is not an integer or out of range");
    /// A word is no whole number of 32 bits.
    pub const NOT_INT32: Self =
        Self::fixed("ERR value is out of range, value must between -2147483648 and 2147483647");
    /// A word or value is no number.
    pub const NOT_FLOAT: Self = Self::fixed("ERR value is not a valid float");
    /// The key holds a value of another type.
    pub const WRONG_TYPE: Self =
        Self::fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// The key is not there, and must be.
    pub const NO_KEY: Self = Self::fixed("ERR no such key");
    /// A sum leaves the range of 64 bits.
    pub const OVERFLOW: Self = Self::fixed("ERR increment or decrement would overflow");
    /// The negation of a decrement leaves the range of 64 bits.
    pub const DECREMENT_OVERFLOW: Self = Self::fixed("ERR decrement would overflow");
    /// A sum is no number.
    pub const NAN: Self = Self::fixed("ERR increment would produce NaN or Infinity");
    /// An offset is negative or past the last byte.
    pub const OFFSET: Self = Self::fixed("ERR offset is out of range");
    /// A value would be longer than the limit.
    pub const TOO_LONG: Self =
        Self::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// A key is longer than the limit.
    pub const KEY_TOO_LONG: Self = Self::fixed("ERR key exceeds maximum allowed size");
    /// A transaction or a command of many keys has more effects than one entry holds.
    pub const TOO_LARGE: Self = Self::fixed("ERR write exceeds maximum allowed size of one entry");
    /// Memory is used up.
    pub const OUT_OF_MEMORY: Self =
        Self::fixed("OOM command not allowed when used memory > 'maxmemory'.");
    /// Source and destination are one.
    pub const SAME_OBJECT: Self = Self::fixed("ERR source and destination objects are the same");
    /// A database past the last.
    pub const DB_INDEX: Self = Self::fixed("ERR DB index is out of range");
    /// A scan's cursor is no number.
    pub const CURSOR: Self = Self::fixed("ERR invalid cursor");

    pub(crate) const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// A text with words of the client in it, which must not end the line.
    pub(crate) fn text_of(text: String) -> Self {
        let one_line =
            if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], " ") } else { text };
        Self(Cow::Owned(one_line))
    }

    /// A command has the wrong number of words.
    #[must_use]
    pub fn arity(command: &str) -> Self {
        Self::text_of(format!("ERR wrong number of arguments for '{command}' command"))
    }

    /// An expiry that is past or not a time.
    pub(crate) fn expire_time(command: &str) -> Self {
        Self::text_of(format!("ERR invalid expire time in '{command}' command"))
    }

    /// The words, with the code before them.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}
