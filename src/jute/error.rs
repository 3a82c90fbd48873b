//! What can go wrong while decoding bytes from a client, a peer or a file.

/// A decoding failure. Java throws `IOException` (or `EOFException`) in the same places.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JuteError {
    /// Fewer bytes than the field needs.
    #[error("unexpected end of data: {wanted} bytes wanted, {left} left")]
    Eof {
        /// Bytes that the field needs.
        wanted: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A negative length other than -1, or one over `jute.maxbuffer` + extra size
    /// (`BinaryInputArchive.checkLength`).
    #[error("Unreasonable length = {0}")]
    Length(i32),
    /// A null where the record needs a value. Java goes on and meets a `NullPointerException`.
    #[error("null value of {0}")]
    Null(&'static str),
    /// A value outside its set: an unknown transaction type, a wrong magic.
    #[error("{what}: unexpected value {value}")]
    Value {
        /// What was being decoded.
        what: &'static str,
        /// The value found.
        value: i64,
    },
}
