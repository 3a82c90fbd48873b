//! `BinaryOutputArchive`: big-endian appends to a `Vec<u8>`.

/// Encoding primitives on the growing buffer itself, so that many records share one buffer.
pub trait OutputExt {
    /// One byte.
    fn put_u8(&mut self, value: u8);
    /// A boolean as 0 or 1.
    fn put_bool(&mut self, value: bool);
    /// A 32-bit integer.
    fn put_i32(&mut self, value: i32);
    /// A 64-bit integer.
    fn put_i64(&mut self, value: i64);
    /// Length and bytes; `None` is length -1.
    fn put_bytes(&mut self, value: Option<&[u8]>);
    /// Length and UTF-8 bytes.
    fn put_str(&mut self, value: &str);
    /// An element count. Nothing here reaches `i32::MAX` elements: the input was bounded.
    fn put_count(&mut self, count: usize);
}

impl OutputExt for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_bool(&mut self, value: bool) {
        self.push(value as u8);
    }

    fn put_i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_bytes(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.put_i32(-1),
            Some(bytes) => {
                self.put_count(bytes.len());
                self.extend_from_slice(bytes);
            }
        }
    }

    fn put_str(&mut self, value: &str) {
        self.put_bytes(Some(value.as_bytes()));
    }

    fn put_count(&mut self, count: usize) {
        self.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
    }
}
