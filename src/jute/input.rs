//! `BinaryInputArchive` over a byte slice: bounds-checked, never allocates more than is there.

use super::JuteError;

/// Java's default of `jute.maxbuffer`: 0xfffff.
pub const DEFAULT_MAX_BUFFER: i32 = 0xf_ffff;

/// The bound on the length of one string or buffer, `jute.maxbuffer` plus
/// `zookeeper.jute.maxbuffer.extrasize` (at least 1024, by default `jute.maxbuffer` again).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes; saturates at `i32::MAX` as in Java.
    pub buffer_bytes_max: i32,
}

impl Limits {
    /// From the two settings, with Java's clamping.
    pub fn new(max_buffer: i32, extra_size: Option<i32>) -> Self {
        let extra = extra_size.unwrap_or(max_buffer).max(1024);
        Limits { buffer_bytes_max: max_buffer.saturating_add(extra) }
    }

    /// No bound but that of the data itself: for trusted files and tests.
    pub const UNBOUNDED: Limits = Limits { buffer_bytes_max: i32::MAX };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::new(DEFAULT_MAX_BUFFER, None)
    }
}

/// A cursor over bytes. Cheap to copy, so a caller can look ahead and come back.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    rest: &'a [u8],
    limits: Limits,
}

impl<'a> Input<'a> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8], limits: Limits) -> Self {
        Input { rest: bytes, limits }
    }

    /// Starts at the first byte, bounded only by the data.
    pub fn unbounded(bytes: &'a [u8]) -> Self {
        Input::new(bytes, Limits::UNBOUNDED)
    }

    /// Bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The limits that nested decoders should keep to.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// True when every byte was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], JuteError> {
        match self.rest.split_at_checked(count) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(JuteError::Eof { wanted: count, left: self.rest.len() }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], JuteError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(JuteError::Eof { wanted: N, left: self.rest.len() }),
        }
    }

    /// One byte.
    pub fn read_u8(&mut self) -> Result<u8, JuteError> {
        Ok(self.array::<1>()?[0])
    }

    /// A boolean: any byte but 0 is true, as `DataInputStream.readBoolean`.
    pub fn read_bool(&mut self) -> Result<bool, JuteError> {
        Ok(self.read_u8()? != 0)
    }

    /// A 32-bit integer.
    pub fn read_i32(&mut self) -> Result<i32, JuteError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A 64-bit integer.
    pub fn read_i64(&mut self) -> Result<i64, JuteError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// The bytes of a buffer or string; `None` for length -1.
    pub fn read_bytes(&mut self) -> Result<Option<&'a [u8]>, JuteError> {
        let length = self.read_i32()?;
        if length == -1 {
            return Ok(None);
        }
        if length < 0 || length > self.limits.buffer_bytes_max {
            return Err(JuteError::Length(length));
        }
        // Non-negative, checked above.
        self.take(length as usize).map(Some)
    }

    /// The element count of a vector; `None` for -1. Other negative counts read as empty, as the
    /// loop in Java's `Index` does.
    pub fn read_count(&mut self) -> Result<Option<usize>, JuteError> {
        let count = self.read_i32()?;
        Ok(if count == -1 { None } else { Some(usize::try_from(count).unwrap_or(0)) })
    }
}
