//! Writes replies in the connection's version of the protocol.

use bytes::{BufMut, BytesMut};

use super::Proto;

/// Appends replies to a buffer; each method writes one value, or the head of one.
///
/// What RESP2 cannot say is said as Redis says it there: a map as an array of twice the length,
/// a double or a verbatim string as a bulk string, a boolean as 0 or 1.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    proto: Proto,
}

impl<'a> Writer<'a> {
    /// Writes to the end of `out`.
    pub fn new(out: &'a mut BytesMut, proto: Proto) -> Self {
        Self { out, proto }
    }

    /// The version that this writes.
    #[must_use]
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.put_slice(b"+OK\r\n");
    }

    /// A status; the text has no line end.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error, with its prefix. Line ends within the text become spaces, as in Redis.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// An error whose text may hold bytes that a client sent.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.put_u8(b'-');
        let start = self.out.len();
        self.out.put_slice(text);
        for byte in self.out.iter_mut().skip(start) {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.out.put_slice(b"\r\n");
    }

    /// A binary string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        let mut digits = itoa::Buffer::new();
        let length = digits.format(bytes.len()).as_bytes();
        self.out.reserve(bytes.len() + length.len() + 5);
        self.out.put_u8(b'$');
        self.out.put_slice(length);
        self.out.put_slice(b"\r\n");
        self.out.put_slice(bytes);
        self.out.put_slice(b"\r\n");
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.line(b':', digits.format(value).as_bytes());
    }

    /// A count, as an integer.
    pub fn count(&mut self, value: usize) {
        self.int(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// The absent value.
    pub fn null(&mut self) {
        self.out.put_slice(match self.proto {
            Proto::Two => b"$-1\r\n",
            Proto::Three => b"_\r\n",
        });
    }

    /// The absent array: `EXEC` after a watched key changed.
    pub fn null_array(&mut self) {
        self.out.put_slice(match self.proto {
            Proto::Two => b"*-1\r\n",
            Proto::Three => b"_\r\n",
        });
    }

    /// A double.
    pub fn double(&mut self, value: f64) {
        let text = double_text(value);
        match self.proto {
            Proto::Two => self.bulk(text.as_bytes()),
            Proto::Three => self.line(b',', text.as_bytes()),
        }
    }

    /// A boolean.
    pub fn boolean(&mut self, value: bool) {
        match self.proto {
            Proto::Two => self.int(i64::from(value)),
            Proto::Three => self.out.put_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// A text with its format, three letters: `txt` or `mkd`.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3, "a verbatim string's format has three letters");
        match self.proto {
            Proto::Two => self.bulk(text),
            Proto::Three => {
                self.head(b'=', text.len() + format.len() + 1);
                self.out.reserve(text.len() + 6);
                self.out.put_slice(format.as_bytes());
                self.out.put_u8(b':');
                self.out.put_slice(text);
                self.out.put_slice(b"\r\n");
            }
        }
    }

    /// Begins an array of `len` values.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len);
    }

    /// Begins a map of `len` pairs.
    pub fn map(&mut self, len: usize) {
        match self.proto {
            Proto::Two => self.head(b'*', len.saturating_mul(2)),
            Proto::Three => self.head(b'%', len),
        }
    }

    /// Begins a set of `len` values.
    pub fn set(&mut self, len: usize) {
        match self.proto {
            Proto::Two => self.head(b'*', len),
            Proto::Three => self.head(b'~', len),
        }
    }

    /// Begins a push of `len` values.
    pub fn push(&mut self, len: usize) {
        match self.proto {
            Proto::Two => self.head(b'*', len),
            Proto::Three => self.head(b'>', len),
        }
    }

    /// Whole replies that were written elsewhere.
    pub fn raw(&mut self, replies: &[u8]) {
        self.out.put_slice(replies);
    }

    /// A line of any kind; the text has no line end.
    pub(super) fn raw_line(&mut self, kind: u8, text: &[u8]) {
        self.line(kind, text);
    }

    /// A text of any kind that comes with its length.
    pub(super) fn raw_blob(&mut self, kind: u8, blob: &[u8]) {
        self.head(kind, blob.len());
        self.out.put_slice(blob);
        self.out.put_slice(b"\r\n");
    }

    /// The line that begins `len` values.
    pub(super) fn head(&mut self, kind: u8, len: usize) {
        let mut digits = itoa::Buffer::new();
        self.line(kind, digits.format(len).as_bytes());
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.put_u8(kind);
        self.out.put_slice(text);
        self.out.put_slice(b"\r\n");
    }
}

impl antiphon_kv::ReplySink for Writer<'_> {
    fn simple(&mut self, text: &str) {
        Writer::simple(self, text);
    }

    fn error(&mut self, text: &str) {
        Writer::error(self, text);
    }

    fn bulk(&mut self, bytes: &[u8]) {
        Writer::bulk(self, bytes);
    }

    fn null(&mut self) {
        Writer::null(self);
    }

    fn null_array(&mut self) {
        Writer::null_array(self);
    }

    fn int(&mut self, number: i64) {
        Writer::int(self, number);
    }

    fn double(&mut self, number: f64) {
        Writer::double(self, number);
    }

    fn boolean(&mut self, yes: bool) {
        Writer::boolean(self, yes);
    }

    fn verbatim(&mut self, format: &str, text: &[u8]) {
        Writer::verbatim(self, format, text);
    }

    fn array(&mut self, len: usize) {
        Writer::array(self, len);
    }

    fn map(&mut self, len: usize) {
        Writer::map(self, len);
    }

    fn set(&mut self, len: usize) {
        Writer::set(self, len);
    }
}

/// The shortest text that reads back as the same double.
fn double_text(value: f64) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "inf" } else { "-inf" }.to_owned()
    } else {
        value.to_string()
    }
}
