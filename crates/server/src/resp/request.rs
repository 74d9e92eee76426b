//! Cuts whole commands out of a receive buffer, without copying their arguments.
//!
//! The parser keeps its place between calls, so a command that arrives in many pieces is looked
//! at once. Texts of errors, and the order in which they are found, are those of Redis.

use std::ops::Range;

use super::decimal;
use super::words::Words;

/// The longest inline request, and the longest line that holds a length. Unit: bytes.
pub const INLINE_BYTES_MAX: usize = 64 << 10;
/// The most arguments that a command may have.
pub const ARGS_MAX: usize = 1 << 20;
/// The most arguments before a connection has authenticated.
pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;
/// The longest argument before a connection has authenticated. Unit: bytes.
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 << 10;

/// What one connection may send; checked before anything is allocated for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument. Unit: bytes.
    pub bulk_bytes_max: usize,
    /// Whether the connection has authenticated, or need not.
    pub authenticated: bool,
}

/// What the front of the buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A whole command of this many bytes; its arguments are in [`Parser::arg`].
    Command {
        /// Bytes from the front of the buffer.
        bytes: usize,
    },
    /// This many bytes that ask for nothing: an empty line or an empty array.
    Nothing {
        /// Bytes from the front of the buffer.
        bytes: usize,
    },
    /// The beginning of a command; more must arrive.
    More,
}

/// Bytes that are no request. The connection answers with the text and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A line without an end.
    #[error("Protocol error: too big inline request")]
    InlineTooBig,
    /// A quote that does not close.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// An array's length without an end of line.
    #[error("Protocol error: too big mbulk count string")]
    ArrayLineTooBig,
    /// No number, or more arguments than [`ARGS_MAX`].
    #[error("Protocol error: invalid multibulk length")]
    ArrayLength,
    /// More than [`UNAUTHENTICATED_ARGS_MAX`] arguments before authentication.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedArrayLength,
    /// An argument's length without an end of line.
    #[error("Protocol error: too big bulk count string")]
    BulkLineTooBig,
    /// An argument that does not begin with `$`.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    NoBulk(u8),
    /// No number, negative, or over [`Limits::bulk_bytes_max`].
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// Over [`UNAUTHENTICATED_BULK_BYTES_MAX`] before authentication.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
}

/// Where the parser stands within the command at the front of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At its first byte.
    Start,
    /// Before an argument's length; this many arguments are missing.
    Length { missing: usize },
    /// Before an argument of `bytes`; this many are missing, with this one.
    Bulk { missing: usize, bytes: usize },
}

/// Parser of one connection's requests.
///
/// Hand it the same buffer again, longer, after [`Cut::More`]; hand it the buffer without the
/// cut bytes after anything else.
#[derive(Debug)]
pub struct Parser {
    place: Place,
    at: usize, // bytes of the front command that are understood
    spans: Vec<Range<usize>>,
    words: Words,
    inline: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            place: Place::Start,
            at: 0,
            spans: Vec::new(),
            words: Words::default(),
            inline: false,
        }
    }
}

impl Parser {
    /// Cuts the command at the front of `input`.
    ///
    /// # Errors
    /// When the bytes are no request; the parser is of no more use then.
    pub fn cut(&mut self, input: &[u8], limits: &Limits) -> Result<Cut, RequestError> {
        if self.place == Place::Start {
            match input.first() {
                None => return Ok(Cut::More),
                Some(b'*') => match self.array(input, limits)? {
                    Some(cut) => return Ok(cut),
                    None => self.inline = false,
                },
                Some(_) => return self.line(input),
            }
        }
        self.arguments(input, limits)
    }

    /// Number of arguments of the command that was cut last, its name among them.
    #[must_use]
    pub fn args(&self) -> usize {
        if self.inline { self.words.len() } else { self.spans.len() }
    }

    /// An argument of the command that was cut last, out of the buffer it was cut from.
    #[must_use]
    pub fn arg<'a>(&'a self, input: &'a [u8], index: usize) -> Option<&'a [u8]> {
        if self.inline {
            return self.words.get(index);
        }
        self.spans.get(index).and_then(|span| input.get(span.clone()))
    }

    /// All arguments of the command that was cut last, in order.
    pub fn iter<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        (0..self.args()).filter_map(move |index| self.arg(input, index))
    }

    /// Bytes that the front command needs at least, as far as it is known: for reserving.
    #[must_use]
    pub fn needs(&self) -> usize {
        match self.place {
            Place::Start | Place::Length { .. } => self.at,
            Place::Bulk { bytes, .. } => self.at.saturating_add(bytes).saturating_add(2),
        }
    }

    /// Gives back memory that an unusually long command took.
    pub fn shrink(&mut self) {
        const KEEP: usize = 1024;
        if self.spans.capacity() > KEEP {
            self.spans = Vec::new();
        }
        if self.inline {
            self.words = Words::default();
            self.inline = false;
            self.spans.clear();
        }
    }

    /// Reads the array's length; a cut when there is nothing to read after it.
    fn array(&mut self, input: &[u8], limits: &Limits) -> Result<Option<Cut>, RequestError> {
        let Some((text, after)) = number_line(input, 1, RequestError::ArrayLineTooBig)? else {
            return Ok(Some(Cut::More));
        };
        let count = decimal(text).ok_or(RequestError::ArrayLength)?;
        let Ok(missing) = usize::try_from(count) else {
            return Ok(Some(Cut::Nothing { bytes: after }));
        };
        if missing > ARGS_MAX {
            return Err(RequestError::ArrayLength);
        }
        if missing > UNAUTHENTICATED_ARGS_MAX && !limits.authenticated {
            return Err(RequestError::UnauthenticatedArrayLength);
        }
        if missing == 0 {
            return Ok(Some(Cut::Nothing { bytes: after }));
        }
        self.spans.clear();
        self.at = after;
        self.place = Place::Length { missing };
        Ok(None)
    }

    fn arguments(&mut self, input: &[u8], limits: &Limits) -> Result<Cut, RequestError> {
        loop {
            match self.place {
                Place::Length { missing: 0 } => {
                    self.place = Place::Start;
                    return Ok(Cut::Command { bytes: std::mem::take(&mut self.at) });
                }
                Place::Length { missing } => {
                    let Some((bytes, after)) = bulk_length(input, self.at, limits)? else {
                        return Ok(Cut::More);
                    };
                    self.at = after;
                    self.place = Place::Bulk { missing, bytes };
                }
                Place::Bulk { missing, bytes } => {
                    let end = self.at.saturating_add(bytes);
                    // As in Redis the two bytes that end an argument are not looked at.
                    if input.len() < end.saturating_add(2) {
                        return Ok(Cut::More);
                    }
                    self.spans.push(self.at..end);
                    self.at = end + 2;
                    self.place = Place::Length { missing: missing - 1 };
                }
                Place::Start => return Ok(Cut::More),
            }
        }
    }

    fn line(&mut self, input: &[u8]) -> Result<Cut, RequestError> {
        let seen = input.get(self.at..).unwrap_or_default();
        let Some(more) = memchr::memchr(b'\n', seen) else {
            if input.len() > INLINE_BYTES_MAX {
                return Err(RequestError::InlineTooBig);
            }
            self.at = input.len();
            return Ok(Cut::More);
        };
        let end = std::mem::take(&mut self.at) + more;
        if end > INLINE_BYTES_MAX {
            return Err(RequestError::InlineTooBig);
        }
        let line = input.get(..end).unwrap_or_default();
        self.inline = true;
        if !self.words.split(line.strip_suffix(b"\r").unwrap_or(line)) {
            return Err(RequestError::UnbalancedQuotes);
        }
        let bytes = end + 1;
        Ok(if self.words.len() == 0 { Cut::Nothing { bytes } } else { Cut::Command { bytes } })
    }
}

/// The length of the argument at `at`, and where the argument begins.
fn bulk_length(
    input: &[u8],
    at: usize,
    limits: &Limits,
) -> Result<Option<(usize, usize)>, RequestError> {
    let Some((text, after)) = number_line(input, at, RequestError::BulkLineTooBig)? else {
        return Ok(None);
    };
    let number = match text {
        [b'$', number @ ..] => number,
        [other, ..] => return Err(RequestError::NoBulk(*other)),
        [] => return Err(RequestError::NoBulk(b'\r')),
    };
    let length = decimal(number).ok_or(RequestError::BulkLength)?;
    let length = usize::try_from(length).map_err(|_negative| RequestError::BulkLength)?;
    if length > limits.bulk_bytes_max {
        return Err(RequestError::BulkLength);
    }
    if length > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
        return Err(RequestError::UnauthenticatedBulkLength);
    }
    Ok(Some((length, after)))
}

/// The line at `at` without its end, and where the next one begins.
fn number_line(
    input: &[u8],
    at: usize,
    too_big: RequestError,
) -> Result<Option<(&[u8], usize)>, RequestError> {
    let rest = input.get(at..).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\r', rest) else {
        return if rest.len() > INLINE_BYTES_MAX { Err(too_big) } else { Ok(None) };
    };
    if end > INLINE_BYTES_MAX {
        return Err(too_big);
    }
    if rest.len() < end + 2 {
        return Ok(None);
    }
    Ok(rest.get(..end).map(|text| (text, at + end + 2)))
}

#[cfg(test)]
mod tests;
