//! `org.apache.jute`: ZooKeeper's serialisation, on the wire and on disk.
//!
//! Everything is big endian, fields back to back, no tags. `-1` is the length of a null string,
//! buffer or vector. Records are declared once with [`records!`](crate::records).

mod error;
mod input;
mod output;
mod record;

pub use error::JuteError;
pub use input::{DEFAULT_MAX_BUFFER, Input, Limits};
pub use output::OutputExt;
pub use record::{Buffer, Jute};
