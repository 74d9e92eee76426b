//! Finds where a reply ends and what it says, without copying. Both RESP2 and RESP3.

/// Longest line that is not a bulk: a status, an error, a number. Servers send far less.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Longest bulk; the protocol's own limit.
const BULK_BYTES_MAX: u64 = 512 << 20;
/// Most items in one reply, nested ones among them.
const ITEMS_MAX: u64 = 1 << 20;

/// What a reply says, as far as a load generator cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// `+OK`.
    Status(&'a [u8]),
    /// `-ERR ...`, without the sign.
    Error(&'a [u8]),
    /// `:1`.
    Integer(i64),
    /// A string of bytes.
    Bulk(&'a [u8]),
    /// No value, in any of its spellings.
    Null,
    /// Out of band, or a remark before a reply: answers no request.
    Push,
    /// An aggregate, a double, a boolean and the like, skipped whole.
    Other,
}

/// Bytes that are no reply; the connection cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScanError {
    /// No type of reply starts so.
    #[error("a reply cannot start with byte 0x{0:02x}")]
    NotAReply(u8),
    /// A length or number that is none.
    #[error("a number in a reply is malformed")]
    BadNumber,
    /// Over a limit of this reader.
    #[error("a reply is larger than this client reads")]
    TooLarge,
}

/// The first reply in `buffer` and its length; `None` when more bytes are needed.
///
/// # Errors
/// [`ScanError`] when the bytes cannot become a reply.
pub(crate) fn scan(buffer: &[u8]) -> Result<Option<(Reply<'_>, usize)>, ScanError> {
    // What nearly every write is answered with.
    if buffer.starts_with(b"+OK\r\n") {
        return Ok(Some((Reply::Status(b"OK"), 5)));
    }
    let mut at = 0;
    let mut owed = 1_u64;
    let mut said = None;
    while owed > 0 {
        let Some((item, length)) = item(buffer.get(at..).unwrap_or_default())? else {
            return Ok(None);
        };
        at += length;
        let (reply, more) = match item {
            Item::Whole(reply) => (reply, 0),
            Item::Aggregate(more) => (Reply::Other, more),
            Item::Push(more) => (Reply::Push, more),
            // Inside an aggregate it is no item of its own.
            Item::Attribute(more) => (Reply::Push, more + u64::from(said.is_some())),
        };
        owed = owed - 1 + more;
        if owed > ITEMS_MAX {
            return Err(ScanError::TooLarge);
        }
        said = said.or(Some(reply));
    }
    Ok(said.map(|reply| (reply, at)))
}

enum Item<'a> {
    Whole(Reply<'a>),
    Aggregate(u64),
    Push(u64),
    Attribute(u64),
}

fn item(buffer: &[u8]) -> Result<Option<(Item<'_>, usize)>, ScanError> {
    let Some((&kind, rest)) = buffer.split_first() else { return Ok(None) };
    if !b"+-:$*_#,(!=%~|>".contains(&kind) {
        return Err(ScanError::NotAReply(kind));
    }
    let Some(line) = line(rest)? else { return Ok(None) };
    let after = 1 + line.len() + 2;
    let item = match kind {
        b'+' => Item::Whole(Reply::Status(line)),
        b'-' => Item::Whole(Reply::Error(line)),
        b':' => Item::Whole(Reply::Integer(number(line)?)),
        b'_' => Item::Whole(Reply::Null),
        b'#' | b',' | b'(' => Item::Whole(Reply::Other),
        b'*' if line.starts_with(b"-") => Item::Whole(Reply::Null),
        b'*' | b'~' => Item::Aggregate(count(line)?),
        b'>' => Item::Push(count(line)?),
        b'%' => Item::Aggregate(2 * count(line)?),
        b'|' => Item::Attribute(2 * count(line)?),
        _ => return bulk(kind, line, buffer, after),
    };
    Ok(Some((item, after)))
}

fn bulk<'a>(
    kind: u8,
    line: &[u8],
    buffer: &'a [u8],
    after: usize,
) -> Result<Option<(Item<'a>, usize)>, ScanError> {
    if line.starts_with(b"-") {
        return Ok(Some((Item::Whole(Reply::Null), after)));
    }
    let length = u64::try_from(number(line)?).ok().filter(|&length| length <= BULK_BYTES_MAX);
    let length = length.and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or(ScanError::TooLarge)?;
    let Some(body) = buffer.get(after..after + length) else { return Ok(None) };
    if buffer.len() < after + length + 2 {
        return Ok(None);
    }
    let reply = match kind {
        b'!' => Reply::Error(body),
        b'=' => Reply::Other,
        _ => Reply::Bulk(body),
    };
    Ok(Some((Item::Whole(reply), after + length + 2)))
}

/// The bytes before the first CR LF.
fn line(buffer: &[u8]) -> Result<Option<&[u8]>, ScanError> {
    let end = buffer.iter().take(LINE_BYTES_MAX).position(|&byte| byte == b'\r');
    match end {
        Some(end) if buffer.len() > end + 1 => Ok(buffer.get(..end)),
        None if buffer.len() >= LINE_BYTES_MAX => Err(ScanError::TooLarge),
        Some(_) | None => Ok(None),
    }
}

fn number(line: &[u8]) -> Result<i64, ScanError> {
    let text = std::str::from_utf8(line).ok();
    text.and_then(|text| text.parse().ok()).ok_or(ScanError::BadNumber)
}

fn count(line: &[u8]) -> Result<u64, ScanError> {
    let count = u64::try_from(number(line)?).ok().ok_or(ScanError::BadNumber)?;
    if count > ITEMS_MAX { Err(ScanError::TooLarge) } else { Ok(count) }
}

#[cfg(test)]
mod tests;
