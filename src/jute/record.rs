//! The [`Jute`] trait and the `records!` macro that declares records once.

use std::sync::Arc;

use super::{Input, JuteError, OutputExt};

/// A jute `buffer`. Null and empty differ on the wire and on disk; bytes are shared, not copied.
pub type Buffer = Option<Arc<[u8]>>;

/// A value with a jute encoding.
pub trait Jute: Sized {
    /// Appends the encoding.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads one value; trailing bytes stay in `input`, as Java ignores them.
    fn decode(input: &mut Input<'_>) -> Result<Self, JuteError>;

    /// The encoding as a fresh vector.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

macro_rules! primitive {
    ($type:ty, $put:ident, $read:ident) => {
        impl Jute for $type {
            fn encode(&self, out: &mut Vec<u8>) {
                out.$put(*self);
            }
            fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
                input.$read()
            }
        }
    };
}

primitive!(bool, put_bool, read_bool);
primitive!(i32, put_i32, read_i32);
primitive!(i64, put_i64, read_i64);

/// Malformed UTF-8 becomes U+FFFD, as `new String(bytes, UTF_8)` makes it. Null is an error: where
/// null means something the field is an `Option<String>`.
impl Jute for String {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_str(self);
    }
    fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
        Option::<String>::decode(input)?.ok_or(JuteError::Null("string"))
    }
}

impl Jute for Option<String> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_bytes(self.as_deref().map(str::as_bytes));
    }
    fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
        let bytes = input.read_bytes()?;
        Ok(bytes.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => String::from_utf8_lossy(bytes).into_owned(),
        }))
    }
}

impl Jute for Buffer {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_bytes(self.as_deref());
    }
    fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
        Ok(input.read_bytes()?.map(Arc::from))
    }
}

/// A null vector reads as empty: no request or record gives the two a different meaning.
impl<T: Jute> Jute for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_count(self.len());
        for item in self {
            item.encode(out);
        }
    }
    fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
        let count = input.read_count()?.unwrap_or(0);
        // The count is not to be trusted: every element takes at least one byte.
        let mut items = Vec::with_capacity(count.min(input.rest().len()).min(1024));
        for _ in 0..count {
            items.push(T::decode(input)?);
        }
        Ok(items)
    }
}

/// Declares records field for field as in `zookeeper.jute`: struct, encoder and decoder.
#[macro_export]
macro_rules! records {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),* }

        impl $crate::jute::Jute for $name {
            #[allow(unused_variables, reason = "records without fields")]
            fn encode(&self, out: &mut Vec<u8>) {
                $($crate::jute::Jute::encode(&self.$field, out);)*
            }
            #[allow(unused_variables, reason = "records without fields")]
            fn decode(input: &mut $crate::jute::Input<'_>) -> Result<Self, $crate::jute::JuteError> {
                Ok(Self { $($field: $crate::jute::Jute::decode(input)?),* })
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_buffers_differ() {
        let null: Buffer = None;
        let empty: Buffer = Some(Arc::from(&b""[..]));
        assert_eq!(null.to_bytes(), [0xff; 4]);
        assert_eq!(empty.to_bytes(), [0; 4]);
        assert_eq!(Buffer::decode(&mut Input::unbounded(&[0xff; 4])), Ok(None));
        assert_eq!(Buffer::decode(&mut Input::unbounded(&[0; 4])), Ok(empty));
    }

    #[test]
    fn a_count_beyond_the_data_neither_allocates_nor_panics() {
        let bytes = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1];
        let result = Vec::<i32>::decode(&mut Input::unbounded(&bytes));
        assert_eq!(result, Err(JuteError::Eof { wanted: 4, left: 0 }));
    }

    #[test]
    fn lengths_are_bounded_by_the_limits() {
        let mut bytes = Vec::new();
        bytes.put_i32(3000);
        bytes.extend([b'x'; 3000]);
        let tight = super::super::Limits::new(1000, Some(1));
        assert_eq!(String::decode(&mut Input::new(&bytes, tight)), Err(JuteError::Length(3000)));
        assert!(String::decode(&mut Input::unbounded(&bytes)).is_ok());
        let negative = (-2i32).to_be_bytes();
        assert_eq!(String::decode(&mut Input::unbounded(&negative)), Err(JuteError::Length(-2)));
    }

    #[test]
    fn malformed_utf8_is_replaced() {
        let bytes = [0, 0, 0, 2, b'a', 0xff];
        assert_eq!(String::decode(&mut Input::unbounded(&bytes)), Ok("a\u{fffd}".to_owned()));
    }
}
