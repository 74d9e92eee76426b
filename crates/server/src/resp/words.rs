//! Splits an inline request into words, with Redis's rules for quotes and escapes.

/// The words of a line, one after another in one buffer.
#[derive(Debug, Default)]
pub(super) struct Words {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Words {
    /// Forgets the words, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The word at `index`.
    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let before = index.checked_sub(1).and_then(|i| self.ends.get(i).copied());
        self.text.get(before.unwrap_or(0)..end)
    }

    /// Replaces the words with those of `line`; false when its quotes do not close.
    pub(super) fn split(&mut self, line: &[u8]) -> bool {
        self.clear();
        // Redis reads the line as a C string: what follows a zero byte is not seen.
        let end = memchr::memchr(0, line).unwrap_or(line.len());
        let mut rest = line.get(..end).unwrap_or_default();
        loop {
            rest = without_leading_space(rest);
            if rest.is_empty() {
                return true;
            }
            match self.word(rest) {
                Some(after) => rest = after,
                None => return false,
            }
            self.ends.push(self.text.len());
        }
    }

    /// Takes one word off the front; nothing when a quote does not close.
    fn word<'a>(&mut self, mut rest: &'a [u8]) -> Option<&'a [u8]> {
        loop {
            match rest {
                [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some(rest),
                [b'"', after @ ..] => return closed(self.double_quoted(after)?),
                [b'\'', after @ ..] => return closed(self.single_quoted(after)?),
                [byte, after @ ..] => {
                    self.text.push(*byte);
                    rest = after;
                }
            }
        }
    }

    fn double_quoted<'a>(&mut self, mut rest: &'a [u8]) -> Option<&'a [u8]> {
        loop {
            rest = match rest {
                [] => return None,
                [b'"', after @ ..] => return Some(after),
                [b'\\', b'x', high, low, after @ ..]
                    if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                {
                    self.text.push(hex(*high) << 4 | hex(*low));
                    after
                }
                [b'\\', escaped, after @ ..] => {
                    self.text.push(unescape(*escaped));
                    after
                }
                [byte, after @ ..] => {
                    self.text.push(*byte);
                    after
                }
            }
        }
    }

    fn single_quoted<'a>(&mut self, mut rest: &'a [u8]) -> Option<&'a [u8]> {
        loop {
            rest = match rest {
                [] => return None,
                [b'\'', after @ ..] => return Some(after),
                [b'\\', b'\'', after @ ..] => {
                    self.text.push(b'\'');
                    after
                }
                [byte, after @ ..] => {
                    self.text.push(*byte);
                    after
                }
            }
        }
    }
}

/// After a closing quote a word must end.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] => Some(rest),
        [next, ..] if is_space(*next) => Some(rest),
        [_, ..] => None,
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

/// White space as C's `isspace` knows it; Rust's own notion leaves out the vertical tab.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn without_leading_space(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}
