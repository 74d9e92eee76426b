//! Commands and replies as bytes.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes that are no value of the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(pub String);

/// A value that travels through the log.
///
/// The same value must be read back on every node and by every later version of the program.
pub trait Codec: Sized + Send + 'static {
    /// Appends the value's bytes.
    fn encode(&self, out: &mut BytesMut);

    /// Reads a value back; all of `bytes` is its own.
    ///
    /// # Errors
    /// When the bytes are no such value.
    fn decode(bytes: &Bytes) -> Result<Self, CodecError>;
}

impl Codec for () {
    fn encode(&self, _out: &mut BytesMut) {}

    fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        if bytes.is_empty() { Ok(()) } else { Err(CodecError("expected nothing".to_owned())) }
    }
}

impl Codec for Bytes {
    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(self);
    }

    fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        Ok(bytes.clone())
    }
}

impl Codec for Vec<u8> {
    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(self);
    }

    fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        Ok(bytes.to_vec())
    }
}

impl Codec for String {
    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(self.as_bytes());
    }

    fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        Self::from_utf8(bytes.to_vec()).map_err(|error| CodecError(error.to_string()))
    }
}

macro_rules! number {
    ($($name:ty),+) => {$(
        impl Codec for $name {
            fn encode(&self, out: &mut BytesMut) {
                out.put_slice(&self.to_le_bytes());
            }

            fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
                let bytes = bytes.as_ref().try_into().map_err(|_other_length| {
                    CodecError(format!("expected {} bytes", size_of::<Self>()))
                })?;
                Ok(Self::from_le_bytes(bytes))
            }
        }
    )+};
}

number!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);
