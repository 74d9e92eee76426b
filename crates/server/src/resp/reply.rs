//! Replies as a client reads them: all types of both versions, bounded.
//!
//! [`Scanner`] finds where a reply ends without building anything and without starting over when
//! more bytes arrive; [`parse`] builds the [`Value`] of one whole reply.

use bytes::BytesMut;

use super::{Proto, Writer, decimal};

/// The longest string in a reply. Unit: bytes.
pub const BULK_BYTES_MAX: usize = 512 << 20;
/// The most values that one array, map, set or push announces.
pub const ITEMS_MAX: usize = 1 << 28;
/// How deep arrays may lie within arrays.
pub const DEPTH_MAX: usize = 64;
const LINE_BYTES_MAX: usize = 1 << 20;

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A status, such as `OK`.
    Simple(Vec<u8>),
    /// An error with its prefix.
    Error(Vec<u8>),
    /// An integer.
    Int(i64),
    /// A binary string.
    Bulk(Vec<u8>),
    /// The absent value of RESP3.
    Null,
    /// The absent string of RESP2.
    NullBulk,
    /// The absent array of RESP2.
    NullArray,
    /// Values in order.
    Array(Vec<Self>),
    /// Pairs in the order they came.
    Map(Vec<(Self, Self)>),
    /// Values whose order means nothing.
    Set(Vec<Self>),
    /// Values that answer no request.
    Push(Vec<Self>),
    /// A double.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// An integer of any length, as its digits.
    BigNumber(Vec<u8>),
    /// A text and its format of three letters.
    Verbatim([u8; 3], Vec<u8>),
    /// An error that may hold line ends.
    BulkError(Vec<u8>),
    /// Facts about the value that follows them.
    Attribute(Vec<(Self, Self)>, Box<Self>),
}

/// Bytes that are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The first byte names no type.
    #[error("reply of an unknown type, first byte {0}")]
    Type(u8),
    /// A length that is no number, or over a limit of this module.
    #[error("reply with a length that is not allowed")]
    Length,
    /// A line without an end, or a text that is not ended by a line end.
    #[error("reply without a line end")]
    LineEnd,
    /// A number, double or boolean that is none.
    #[error("reply with a malformed value")]
    Malformed,
    /// Arrays within arrays past [`DEPTH_MAX`].
    #[error("reply is nested too deep")]
    Depth,
    /// The bytes end before the reply does.
    #[error("reply is cut")]
    Short,
}

/// Finds the end of the reply at the front of a buffer.
#[derive(Debug)]
pub struct Scanner {
    at: usize,      // bytes of the front reply that are passed
    missing: usize, // values that the front reply still needs
}

impl Default for Scanner {
    fn default() -> Self {
        Self { at: 0, missing: 1 }
    }
}

impl Scanner {
    /// Bytes of the whole reply at the front of `input`; nothing when more must arrive.
    ///
    /// Hand it the same buffer again, longer, after nothing; without the reply's bytes after it.
    ///
    /// # Errors
    /// When the bytes are no reply; the scanner is of no more use then.
    pub fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, ReplyError> {
        while self.missing > 0 {
            let rest = input.get(self.at..).unwrap_or_default();
            let Some((head, after)) = head(rest)? else { return Ok(None) };
            let bytes = match head {
                Head::Line(..) | Head::NullBulk | Head::NullArray => after,
                Head::Blob(_, length) => after + length + 2,
                Head::Items(kind, count) => {
                    self.missing = self.missing.saturating_add(kind.values(count)?);
                    after
                }
            };
            if rest.len() < bytes {
                return Ok(None);
            }
            self.at += bytes;
            // Facts come before a value and are not one themselves.
            if !matches!(head, Head::Items(Items::Attribute, _)) {
                self.missing -= 1;
            }
        }
        let bytes = self.at;
        *self = Self::default();
        Ok(Some(bytes))
    }
}

/// The value of the one whole reply that `input` is.
///
/// # Errors
/// When the bytes are no reply, are cut, or go on after it.
pub fn parse(input: &[u8]) -> Result<Value, ReplyError> {
    let mut reader = Reader { rest: input };
    let value = reader.value(0)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(ReplyError::LineEnd) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Items {
    Array,
    Map,
    Set,
    Push,
    Attribute,
}

impl Items {
    /// Values that follow the head.
    fn values(self, count: usize) -> Result<usize, ReplyError> {
        match self {
            Self::Array | Self::Set | Self::Push => Ok(count),
            Self::Map | Self::Attribute => count.checked_mul(2).ok_or(ReplyError::Length),
        }
    }
}

/// The first line of a value.
#[derive(Debug, Clone, Copy)]
enum Head<'a> {
    Line(u8, &'a [u8]),
    Blob(u8, usize),
    Items(Items, usize),
    NullBulk,
    NullArray,
}

/// Reads a value's first line, and the bytes it takes.
fn head(input: &[u8]) -> Result<Option<(Head<'_>, usize)>, ReplyError> {
    let Some((&kind, rest)) = input.split_first() else { return Ok(None) };
    if !b"+-:$*_,#(=!%~>|".contains(&kind) {
        return Err(ReplyError::Type(kind));
    }
    let Some(end) = memchr::memchr(b'\n', rest) else {
        return if rest.len() > LINE_BYTES_MAX { Err(ReplyError::LineEnd) } else { Ok(None) };
    };
    let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.ok_or(ReplyError::LineEnd)?;
    let head = match kind {
        b'$' if line == b"-1" => Head::NullBulk,
        b'*' if line == b"-1" => Head::NullArray,
        b'$' | b'=' | b'!' => Head::Blob(kind, length(line, BULK_BYTES_MAX)?),
        b'*' => Head::Items(Items::Array, length(line, ITEMS_MAX)?),
        b'%' => Head::Items(Items::Map, length(line, ITEMS_MAX)?),
        b'~' => Head::Items(Items::Set, length(line, ITEMS_MAX)?),
        b'>' => Head::Items(Items::Push, length(line, ITEMS_MAX)?),
        b'|' => Head::Items(Items::Attribute, length(line, ITEMS_MAX)?),
        _ => Head::Line(kind, line),
    };
    Ok(Some((head, end + 2)))
}

fn length(text: &[u8], max: usize) -> Result<usize, ReplyError> {
    let length = decimal(text).and_then(|length| usize::try_from(length).ok());
    length.filter(|length| *length <= max).ok_or(ReplyError::Length)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, ReplyError> {
        if depth > DEPTH_MAX {
            return Err(ReplyError::Depth);
        }
        let (head, after) = head(self.rest)?.ok_or(ReplyError::Short)?;
        self.rest = self.rest.get(after..).ok_or(ReplyError::Short)?;
        match head {
            Head::NullBulk => Ok(Value::NullBulk),
            Head::NullArray => Ok(Value::NullArray),
            Head::Line(kind, line) => line_value(kind, line),
            Head::Blob(kind, length) => blob_value(kind, self.blob(length)?),
            Head::Items(kind, count) => self.items(kind, count, depth + 1),
        }
    }

    fn blob(&mut self, length: usize) -> Result<&'a [u8], ReplyError> {
        let (blob, rest) = self.rest.split_at_checked(length).ok_or(ReplyError::Short)?;
        let (end, rest) = rest.split_at_checked(2).ok_or(ReplyError::Short)?;
        self.rest = rest;
        if end == b"\r\n" { Ok(blob) } else { Err(ReplyError::LineEnd) }
    }

    fn items(&mut self, kind: Items, count: usize, depth: usize) -> Result<Value, ReplyError> {
        Ok(match kind {
            Items::Array => Value::Array(self.list(count, depth)?),
            Items::Set => Value::Set(self.list(count, depth)?),
            Items::Push => Value::Push(self.list(count, depth)?),
            Items::Map => Value::Map(self.pairs(count, depth)?),
            Items::Attribute => {
                let facts = self.pairs(count, depth)?;
                Value::Attribute(facts, Box::new(self.value(depth)?))
            }
        })
    }

    fn list(&mut self, count: usize, depth: usize) -> Result<Vec<Value>, ReplyError> {
        let mut list = Vec::with_capacity(self.room(count));
        for _ in 0..count {
            list.push(self.value(depth)?);
        }
        Ok(list)
    }

    fn pairs(&mut self, count: usize, depth: usize) -> Result<Vec<(Value, Value)>, ReplyError> {
        let mut pairs = Vec::with_capacity(self.room(count));
        for _ in 0..count {
            pairs.push((self.value(depth)?, self.value(depth)?));
        }
        Ok(pairs)
    }

    /// Items to make room for: never more than the bytes that are there can hold.
    fn room(&self, count: usize) -> usize {
        const ITEM_BYTES_MIN: usize = 3;
        count.min(self.rest.len() / ITEM_BYTES_MIN)
    }
}

fn line_value(kind: u8, line: &[u8]) -> Result<Value, ReplyError> {
    Ok(match kind {
        b'+' => Value::Simple(line.to_vec()),
        b'-' => Value::Error(line.to_vec()),
        b':' => Value::Int(decimal(line).ok_or(ReplyError::Malformed)?),
        b',' => Value::Double(double(line).ok_or(ReplyError::Malformed)?),
        b'(' => Value::BigNumber(big_number(line).ok_or(ReplyError::Malformed)?),
        b'#' if line == b"t" => Value::Boolean(true),
        b'#' if line == b"f" => Value::Boolean(false),
        b'_' if line.is_empty() => Value::Null,
        _ => return Err(ReplyError::Malformed),
    })
}

fn blob_value(kind: u8, blob: &[u8]) -> Result<Value, ReplyError> {
    Ok(match kind {
        b'$' => Value::Bulk(blob.to_vec()),
        b'!' => Value::BulkError(blob.to_vec()),
        _ => match blob {
            [a, b, c, b':', text @ ..] => Value::Verbatim([*a, *b, *c], text.to_vec()),
            _ => return Err(ReplyError::Malformed),
        },
    })
}

fn double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn big_number(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let good = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    good.then(|| text.to_vec())
}

impl Value {
    /// Appends this value's own encoding: what [`parse`] reads back as the same value.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out, Proto::Three);
        match self {
            Self::Simple(text) => writer.raw_line(b'+', text),
            Self::Error(text) => writer.raw_line(b'-', text),
            Self::Int(value) => writer.int(*value),
            Self::Bulk(bytes) => writer.bulk(bytes),
            Self::Null => writer.null(),
            Self::NullBulk => writer.raw(b"$-1\r\n"),
            Self::NullArray => writer.raw(b"*-1\r\n"),
            Self::Double(value) => writer.double(*value),
            Self::Boolean(value) => writer.boolean(*value),
            Self::BigNumber(digits) => writer.raw_line(b'(', digits),
            Self::Verbatim(format, text) => {
                writer.raw_blob(b'=', &[format.as_slice(), b":", text].concat());
            }
            Self::BulkError(text) => writer.raw_blob(b'!', text),
            Self::Array(list) => encode_list(b'*', list, out),
            Self::Set(list) => encode_list(b'~', list, out),
            Self::Push(list) => encode_list(b'>', list, out),
            Self::Map(pairs) => encode_pairs(b'%', pairs, out),
            Self::Attribute(facts, value) => {
                encode_pairs(b'|', facts, out);
                value.encode(out);
            }
        }
    }
}

fn encode_list(kind: u8, list: &[Value], out: &mut BytesMut) {
    Writer::new(out, Proto::Three).head(kind, list.len());
    list.iter().for_each(|value| value.encode(out));
}

fn encode_pairs(kind: u8, pairs: &[(Value, Value)], out: &mut BytesMut) {
    Writer::new(out, Proto::Three).head(kind, pairs.len());
    for (key, value) in pairs {
        key.encode(out);
        value.encode(out);
    }
}

#[cfg(test)]
mod tests;
